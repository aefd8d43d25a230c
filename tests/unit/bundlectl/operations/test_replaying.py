"""A site remembers what moved each name last, and lets nothing older move it back."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError, VerificationError
from bundlectl.operations.replaying import ImportMemory, RegistryMemory, StoreMemory, hold_forward, names_of
from bundles.inventory import Inventory
from bundles.lock import Lock, LockedArtifact
from bundles.plan import TargetPlan, UpstreamNaming
from bundles.selection import Selection
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST
from registry_fixtures.faults import Fault, Refuse
from tests.unit.bundlectl.operations.signed import push_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.bundlectl.operations.site import Site

DAY = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def archive(day: int) -> Inventory:
    return Inventory(name="release", issued=DAY + dt.timedelta(days=day), refs={}, blobs=frozenset())


def plan_of(**images: bytes) -> TargetPlan:
    """A plan that gives each name the digest of some content."""
    artifacts = tuple(
        LockedArtifact(
            type="image",
            name=name,
            reference=f"registry.example/{name}:v1",
            digest=Digest.of(content),
            size=len(content),
            media_type=OCI_MANIFEST,
            trust="declared",
            manifests=(Digest.of(content),),
        )
        for name, content in images.items()
    )
    sizes = {item.digest: item.size for item in artifacts}
    lock = Lock(sources=(), selection=Selection().to_json(), manifests=(), artifacts=artifacts, blobs=sizes)
    return TargetPlan.of(lock, UpstreamNaming())


def held(
    day: int, known: ImportMemory | None = None, *, allowed: bool = False, signed: bool = True, **images: bytes
) -> ImportMemory:
    return hold_forward(
        archive(day), names_of(plan_of(**images)), known or ImportMemory(), signed=signed, allowed=allowed
    )


def test_each_name_is_remembered_with_what_it_got_and_when() -> None:
    assert held(3, a=b"one").names == {
        "registry.example/a:v1": (str(Digest.of(b"one")), "2026-11-04T00:00:00Z"),
    }


def test_a_later_archive_moves_names_and_an_older_one_does_not_move_them_back() -> None:
    known = held(2, held(1, a=b"one", b=b"same"), a=b"two")
    with pytest.raises(VerificationError, match="would move back") as raised:
        held(1, known, a=b"one", b=b"same")
    assert "registry.example/a:v1" in raised.value.message
    assert "registry.example/b:v1" not in raised.value.message
    assert "--allow-rollback" in str(raised.value.hint)
    assert held(3, known, a=b"three").names["registry.example/a:v1"][0] == str(Digest.of(b"three"))


def test_an_older_archive_that_moves_nothing_back_is_taken_and_changes_no_date() -> None:
    known = held(5, a=b"one")
    assert held(1, known, a=b"one") == known
    other = held(1, known, a=b"one", b=b"new")
    assert other.names["registry.example/a:v1"] == known.names["registry.example/a:v1"]
    assert other.names["registry.example/b:v1"][1] == "2026-11-02T00:00:00Z"


def test_of_the_same_second_neither_is_the_later_one() -> None:
    known = held(1, a=b"one")
    with pytest.raises(VerificationError, match="of the same second"):
        held(1, known, a=b"two")
    assert held(1, known, a=b"one") == known


def test_what_nobody_signed_moves_nothing_that_was_and_keeps_nothing_out_that_is() -> None:
    known = held(1, a=b"one")
    with pytest.raises(VerificationError, match="nobody's signature"):
        held(9, known, signed=False, a=b"two")
    assert held(9, known, signed=False, a=b"one") == known
    unsigned = held(9, signed=False, a=b"two")
    assert held(1, unsigned, a=b"one") == known
    with pytest.raises(VerificationError, match="would move back"):
        held(8, unsigned, signed=False, a=b"one")
    assert held(9, known, signed=False, allowed=True, a=b"two") == unsigned


def test_what_is_allowed_is_what_is_remembered_then() -> None:
    known = held(5, a=b"new", b=b"kept")
    back = held(1, known, allowed=True, a=b"old")
    assert back.names["registry.example/a:v1"] == (str(Digest.of(b"old")), "2026-11-02T00:00:00Z")
    assert back.names["registry.example/b:v1"] == known.names["registry.example/b:v1"]
    held(2, back, a=b"between")


def test_what_is_allowed_makes_nothing_older_that_it_does_not_move() -> None:
    known = held(5, a=b"new", b=b"same")
    back = held(1, known, allowed=True, a=b"old", b=b"same")
    assert back.names["registry.example/b:v1"] == known.names["registry.example/b:v1"]
    with pytest.raises(VerificationError):
        held(4, back, b=b"another")


def test_of_many_names_a_few_are_told() -> None:
    names = {f"n{number}": b"new" for number in range(20)}
    known = held(5, **names)
    with pytest.raises(VerificationError, match="and 15 more") as raised:
        held(1, known, **dict.fromkeys(names, b"old"))
    assert len(raised.value.message) < 500


DIGESTS = st.binary(max_size=2).map(lambda data: str(Digest.of(data)))
NAMES = st.dictionaries(st.text(), st.tuples(DIGESTS, st.text()), max_size=5)
MEMORIES = NAMES.flatmap(
    lambda names: st.frozensets(st.sampled_from(sorted(names)) if names else st.nothing()).map(
        lambda unsigned: ImportMemory(names, unsigned)
    )
)


@given(MEMORIES)
def test_what_is_written_is_read_back(memory: ImportMemory) -> None:
    assert ImportMemory.from_bytes(memory.to_bytes(), origin="x") == memory


@given(MEMORIES, MEMORIES)
def test_of_two_memories_each_name_has_what_is_signed_and_then_what_came_later(
    one: ImportMemory, two: ImportMemory
) -> None:
    joined = one.joined(two)
    assert joined.names.keys() == one.names.keys() | two.names.keys()
    assert joined.unsigned <= joined.names.keys()
    for name, (_, issued) in joined.names.items():
        said = [(name not in item.unsigned, item.names[name][1]) for item in (one, two) if name in item.names]
        assert (name not in joined.unsigned, issued) == max(said)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"names":[1],"unsigned":[]}',
        b'{"names":{}}',
        b'{"names":{},"unsigned":1}',
        b'{"names":{"a":1},"unsigned":[]}',
        b'{"names":{"a":[]},"unsigned":[]}',
        b'{"names":{"a":["sha256:0","x"]},"unsigned":[]}',
        b'{"names":{"a":"sha256"},"unsigned":[]}',
        b"[" * 100_000,
        b"\xff",
    ],
    ids=lambda raw: ascii(raw[:20]),
)
def test_damage_is_told_and_not_taken_for_nothing(raw: bytes) -> None:
    with pytest.raises(ContentError, match="remembered of imports is damaged") as raised:
        ImportMemory.from_bytes(raw, origin="x")
    assert raised.value.hint
    assert ImportMemory.from_bytes(None, origin="x") == ImportMemory()


def test_a_store_remembers(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store", create=True) as store:
        assert StoreMemory(store).read() == ImportMemory()
        known = held(1, a=b"one")
        StoreMemory(store).change(lambda _: known)
    with Store.open(tmp_path / "store") as store:
        assert StoreMemory(store).read() == known
        assert list(store.verify()) == []
    with Store.open(tmp_path / "store") as store:
        memory = StoreMemory(store)
        memory.change(lambda before: held(2, before, b=b"two"))
        assert memory.read().names.keys() == {"registry.example/a:v1", "registry.example/b:v1"}
        with pytest.raises(VerificationError):
            memory.change(lambda before: held(0, before, a=b"zero"))
        assert memory.read().names.keys() == {"registry.example/a:v1", "registry.example/b:v1"}
    path = tmp_path / "store" / "bundlectl" / "imports.json"
    path.write_bytes(path.read_bytes()[:-3])
    with Store.open(tmp_path / "store") as store, pytest.raises(ContentError, match="damaged"):
        StoreMemory(store).read()


def memory_of(site: Site, session: Any) -> RegistryMemory:
    return RegistryMemory(session.target(site.target.host), site.naming, session)


def test_a_registry_remembers_below_its_prefix_and_so_does_the_machine(site: Site) -> None:
    site.memory = site.folder / "state"
    known = held(1, a=b"one")
    with site.session() as session:
        memory = memory_of(site, session)
        assert memory.read() == ImportMemory()
        memory.change(lambda _: known)
        assert memory.read() == known
    assert "eks/bundlectl/imports" in site.target.holdings.names()
    (path,) = (site.memory / "imports").iterdir()
    assert json.loads(path.read_bytes())["names"].keys() == known.names.keys()
    # Somebody puts an older record into the registry: the machine knows better.
    with site.session() as session:
        memory_of(site, session).change(lambda _: held(3, a=b"two"))
    site.memory = None
    with site.session() as session:
        memory_of(site, session).change(lambda _: known)
    site.memory = site.folder / "state"
    with site.session() as session:
        assert memory_of(site, session).read() == held(3, a=b"two")


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_lets_nobody_look_is_made_up_for_by_the_machine(site: Site, status: int) -> None:
    site.memory = site.folder / "state"
    site.target.faults.add(Fault(Refuse(status), path="*/bundlectl/imports/*"))
    try:
        with site.session() as session:
            memory_of(site, session).change(lambda _: held(1, a=b"one"))
            assert memory_of(site, session).read() == held(1, a=b"one")
    finally:
        site.target.faults.clear()


def test_a_record_that_is_none_is_refused(site: Site) -> None:
    with site.session() as session:
        repository = session.target(site.target.host).repository("eks/bundlectl/imports")
        push_image(repository, tag="latest")
        with pytest.raises(ContentError, match="not what bundlectl remembers"):
            memory_of(site, session).read()

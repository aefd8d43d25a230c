"""An inventory is read only in the form in which it is written, whoever wrote it."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import io
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundlectl.errors import BundlectlError, ContentError, VerificationError
from bundles import inventory as module
from bundles.inventory import (
    ArchiveContents,
    Inventory,
    NamedFile,
    looks_like_inventory,
    open_inventory,
    sign_inventory,
)
from mirror.archive.plan import Member, capacity_of
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from signing.envelope import sign_dsse
from signing.identity import TrustAnchors
from tests.unit.bundles.signed_documents import KEY, OTHER_SIGNER, SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable

ANCHORS: Final = TrustAnchors(keys=(KEY,))
NOW: Final = dt.datetime(2026, 11, 26, 12, 30, 0, tzinfo=dt.UTC)
CAPACITY: Final = capacity_of(64 * 1024)

TEXT: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
NAMES: Final = st.builds("/".join, st.lists(st.sampled_from(["a", "b.json", "ä", "..x"]), min_size=1, max_size=3))
DIGESTS: Final = st.builds(
    lambda number, algorithm: Digest.of(str(number).encode(), algorithm),
    st.integers(0, 30),
    st.sampled_from(["sha256", "sha512"]),
)
SIZES: Final = st.integers(0, 2**33)
FILES: Final = st.builds(NamedFile, NAMES, DIGESTS, SIZES)


@st.composite
def contents(draw: st.DrawFn) -> ArchiveContents:
    members = draw(st.dictionaries(DIGESTS, st.integers(0, 2**21), max_size=8))
    lock, signature, *tool = draw(st.lists(FILES, min_size=2, max_size=4, unique_by=lambda item: item.name))
    return ArchiveContents(
        lock=lock,
        lock_signature=draw(st.sampled_from([None, signature])),
        members=(Member(Digest.of(b"x"), 5, "index.json"), *(Member(*item) for item in members.items())),
        volume_size=CAPACITY,
        parity=draw(st.integers(0, 9)),
        present=tuple(sorted(draw(st.sets(DIGESTS)))),
        since=tuple(sorted(draw(st.sets(DIGESTS)))),
        tool=tuple(tool),
    )


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    archive = draw(st.none() | contents())
    beside = {item.name for item in (archive.lock, archive.lock_signature, *archive.tool) if item} if archive else set()
    refs = {name: digest for name, digest in draw(st.dictionaries(TEXT, DIGESTS)).items() if name not in beside}
    return Inventory(
        name=draw(TEXT),
        issued=dt.datetime.fromtimestamp(draw(st.integers(0, 200_000_000_000)), dt.UTC),
        refs=refs,
        blobs=frozenset(draw(st.sets(DIGESTS))).union(archive.blobs() if archive else ()),
        archive=archive,
    )


def site(count: int = 3, archive: ArchiveContents | None = None) -> Inventory:
    digests = [Digest.of(str(number).encode()) for number in range(count)]
    refs = {f"registry.example/eks/app{number}:v1": digest for number, digest in enumerate(digests[::10])}
    return Inventory(name="site", issued=NOW, refs=refs, blobs=frozenset(digests), archive=archive)


def carried(**more: Any) -> Inventory:
    found = ArchiveContents(
        lock=NamedFile("a.lock.json", Digest.of(b"lock"), 4),
        members=(Member(Digest.of(b"index"), 5, "index.json"), Member(Digest.of(b"0"), 1)),
        volume_size=CAPACITY,
        tool=(NamedFile("tool/install", Digest.of(b"tool"), 4),),
    )
    return Inventory(name="a", issued=NOW, refs={}, blobs=found.blobs(), archive=replace(found, **more))


# Writing and reading


@given(inventories())
def test_what_is_written_is_read_back(inventory: Inventory) -> None:
    raw = inventory.to_bytes()
    read = Inventory.from_bytes(raw, origin="x")
    assert read == inventory
    assert read.to_bytes() == raw


@given(inventory=inventories(), signed=st.booleans(), packed=st.booleans())
@settings(max_examples=30)
def test_signed_or_not_and_compressed_or_not_it_is_the_same(
    *, inventory: Inventory, signed: bool, packed: bool
) -> None:
    raw = sign_inventory(inventory, SIGNER) if signed else inventory.to_bytes()
    raw = gzip.compress(raw, mtime=0) if packed else raw
    assert open_inventory(raw, None, origin="x") == (inventory, None)
    assert looks_like_inventory(io.BytesIO(raw))
    if signed:
        read, proof = open_inventory(raw, ANCHORS, origin="x")
        assert read == inventory
        assert proof is not None
        assert proof.identity == KEY


def test_the_bytes_do_not_depend_on_the_order_of_anything_but_members() -> None:
    inventory = site(50)
    turned = replace(
        inventory, refs=dict(reversed(inventory.refs.items())), blobs=frozenset(sorted(inventory.blobs, reverse=True))
    )
    assert turned.to_bytes() == inventory.to_bytes()
    digests = tuple(sorted(inventory.blobs))
    one, two = carried(present=digests, since=digests), carried(present=digests[::-1], since=digests[::-1])
    assert one.to_bytes() == two.to_bytes()


def test_an_archive_is_the_same_whenever_it_was_made_and_no_other_is() -> None:
    made = carried()
    assert replace(made, issued=NOW + dt.timedelta(days=1)).archive_id == made.archive_id
    others = [carried(parity=1), replace(made, name="b"), replace(made, refs={"x": Digest.of(b"x")}), site()]
    assert made.archive_id not in {other.archive_id for other in others}


def test_small_files_of_the_layout_are_not_what_a_site_has() -> None:
    read = Inventory.from_bytes(carried().to_bytes(), origin="x")
    assert read.blobs == {Digest.of(b"0")}


@pytest.mark.parametrize("signed", [False, True])
def test_less_than_a_hundred_bytes_a_blob_are_needed(*, signed: bool) -> None:
    count = 5_000
    digests = [Digest.of(str(number).encode()) for number in range(count)]
    # As many names as a release has, and of their length.
    refs = {
        f"harbor.site.example/eks/eks-anywhere/component-{number}/image-{number}:v1.33.{number}-eks-a-{number}": digest
        for number, digest in enumerate(digests[:500])
    }
    inventory = Inventory(name="site", issued=NOW, refs=refs, blobs=frozenset(digests))
    raw = sign_inventory(inventory, SIGNER) if signed else inventory.to_bytes()
    assert len(gzip.compress(raw, mtime=0)) < 100 * count


# What is refused


def changed(inventory: Inventory, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(inventory.to_bytes())
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


ALTERED: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "a field that is not known": lambda found: found.update(more=1),
    "a field of the predicate that is not known": lambda found: found["predicate"].update(more=1),
    "a field that is absent": lambda found: found["predicate"].pop("issued"),
    "no archive at all": lambda found: found["predicate"].pop("archive"),
    "another order of blobs": lambda found: found["predicate"]["blobs"].reverse(),
    "a blob twice": lambda found: found["predicate"]["blobs"].append(found["predicate"]["blobs"][-1]),
    "blobs that are an object": lambda found: found["predicate"].update(blobs={"sha256:" + "a" * 64: 1}),
    "blobs that are text": lambda found: found["predicate"].update(blobs="sha256:" + "a" * 64),
    "a blob that is a number": lambda found: found["predicate"].update(blobs=[1]),
    "an upper-case digest": lambda found: found["predicate"].update(blobs=["sha256:" + "A" * 64]),
    "another order of subjects": lambda found: found["subject"].reverse(),
    "a subject twice": lambda found: found["subject"].append(found["subject"][0]),
    "a subject of another algorithm": lambda found: found["subject"][0]["digest"].update(sha1="a" * 40),
    "a subject of two digests": lambda found: found["subject"][0]["digest"].update(sha512="a" * 128),
    "a subject with more to it": lambda found: found["subject"][0].update(uri="x"),
    "a time of another form": lambda found: found["predicate"].update(issued="2026-11-26T12:30:00+00:00"),
    "a time without zeros": lambda found: found["predicate"].update(issued="2026-11-26T12:30:0Z"),
    "a time that is none": lambda found: found["predicate"].update(issued=1),
    "a name that is none": lambda found: found["predicate"].update(name=None),
    "half of a surrogate pair": lambda found: found["predicate"].update(name="\\ud800"),
    "a name with a NUL": lambda found: found["predicate"].update(name="a\0b"),
    "an archive that is text": lambda found: found["predicate"].update(archive="x"),
    "an archive that is false": lambda found: found["predicate"].update(archive=False),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_this_does_not_write_is_not_read(what: str) -> None:
    raw = changed(site(30), ALTERED[what]).replace(b"\\\\ud800", b"\\ud800")
    assert raw != site(30).to_bytes()
    with pytest.raises(ContentError):
        Inventory.from_bytes(raw, origin="x")


def archive(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["predicate"]["archive"].update(more)


def member(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["predicate"]["archive"]["members"][1].update(more)


def lock(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda found: found["predicate"]["archive"]["lock"].update(more)


ALTERED_ARCHIVES: Final[dict[str, Callable[[dict[str, Any]], object]]] = {
    "a member twice": lambda found: found["predicate"]["archive"]["members"].append(
        found["predicate"]["archive"]["members"][1]
    ),
    "a member that is a list": archive(members=[[]]),
    "members of no kind": archive(members=None),
    "a negative size": member(size=-1),
    "a size that is true": member(size=True),
    "a size that is broken": member(size=1.0),
    "a size beyond all disks": member(size=2**62),
    "an empty name": member(name=""),
    "a size that needs a billion volumes": member(size=2**61),
    "volumes of nothing": archive(volumeSize=0),
    "volumes of no blocks": archive(volumeSize=CAPACITY + 1),
    "a lock that is no subject": lock(digest=str(Digest.of(b"other"))),
    "a lock outside of the folder": lock(name="../a.lock.json"),
    "a lock at the root": lock(name="/etc/passwd"),
    "a tool outside of the folder": lambda found: found["predicate"]["archive"]["tool"][0].update(name="tool/../../x"),
    "the same tool twice": lambda found: found["predicate"]["archive"]["tool"].append(
        found["predicate"]["archive"]["tool"][0]
    ),
    "a tool that is the lock": lambda found: found["predicate"]["archive"]["tool"].append(
        found["predicate"]["archive"]["lock"]
    ),
    "no list of tools": archive(tool=None),
    "parity of text": archive(parity="2"),
    "present in another order": archive(present=sorted([str(Digest.of(b"1")), str(Digest.of(b"2"))], reverse=True)),
    "since that is an object": archive(since={}),
}


@pytest.mark.parametrize("what", ALTERED_ARCHIVES)
def test_an_archive_that_contradicts_itself_is_not_read(what: str) -> None:
    raw = changed(carried(), ALTERED_ARCHIVES[what])
    with pytest.raises(ContentError):
        Inventory.from_bytes(raw, origin="x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"dsseEnvelope":' + b"[" * 100_000,
        b'{"dsseEnvelope":null}',
        b'{"dsseEnvelope":{"payload":1}}',
        b'{"dsseEnvelope":{"payload":"e30="}}',
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x00garbage that is no stream",
        gzip.compress(b"{}", mtime=0),
        gzip.compress(b"x" * 1000, mtime=0)[:-9],
        gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0),
    ],
)
def test_what_is_something_else_is_refused(raw: bytes) -> None:
    for anchors in (None, ANCHORS):
        with pytest.raises((ContentError, VerificationError)):
            open_inventory(raw, anchors, origin="x")


def test_whitespace_keys_given_twice_and_other_predicates_are_refused() -> None:
    raw = site().to_bytes()
    for wrong in (raw + b"\n", b" " + raw, raw.replace(b'"blobs":', b'"blobs":[],"blobs":'), raw.replace(b":", b": ")):
        with pytest.raises(ContentError):
            open_inventory(wrong, None, origin="x")
    with pytest.raises(ContentError, match="of this version"):
        open_inventory(raw.replace(b"inventory/v1alpha1", b"inventory/v2"), None, origin="x")


def test_what_unpacks_to_more_than_any_inventory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INVENTORY_LIMIT", 1_000_000)
    with pytest.raises(ContentError, match="unpacks to more than"):
        open_inventory(gzip.compress(bytes(1_000_001)), None, origin="x")
    with pytest.raises(VerificationError, match="larger than"):
        open_inventory(b'{"dsseEnvelope":' + bytes(1_000_000), ANCHORS, origin="x")


def test_a_signature_must_be_there_hold_and_be_of_an_inventory() -> None:
    raw = sign_inventory(site(), SIGNER)
    with pytest.raises(VerificationError, match="is not signed"):
        open_inventory(site().to_bytes(), ANCHORS, origin="x")
    with pytest.raises(VerificationError, match="none of the given keys"):
        open_inventory(sign_inventory(site(), OTHER_SIGNER), ANCHORS, origin="x")
    with pytest.raises(VerificationError, match="something else"):
        open_inventory(sign_dsse(site().to_bytes(), "text/plain", SIGNER), ANCHORS, origin="x")
    bundle = json.loads(raw)
    for forged in (site(4).to_bytes(), b"{}"):
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
        with pytest.raises(VerificationError, match="does not hold"):
            open_inventory(canonical_json(bundle), ANCHORS, origin="x")


@given(st.binary(max_size=200))
@example(b'{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}')
def test_of_any_bytes_an_inventory_is_read_or_an_error_told(raw: bytes) -> None:
    for given_ in (raw, gzip.compress(raw), b"\x1f\x8b" + raw, b'{"dsseEnvelope":' + raw):
        looks_like_inventory(io.BytesIO(given_))
        with pytest.raises(BundlectlError):
            open_inventory(given_, None, origin="x")


@given(st.data())
def test_of_an_inventory_that_was_altered_anywhere_nothing_else_is_read(data: st.DataObject) -> None:
    raw = carried().to_bytes()
    place = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.binary(min_size=0, max_size=3))
    altered = raw[:place] + other + raw[place + 1 :]
    try:
        read, _ = open_inventory(altered, None, origin="x")
    except (ContentError, VerificationError):
        return
    assert read.to_bytes() == altered


def test_other_files_do_not_look_like_one() -> None:
    packed = (gzip.compress(b"{}", mtime=0), zlib.compress(b"{}"))
    for raw in (b"", b"{}", b"\x1f\x8b", *packed, b'{"apiVersion":"bundlectl.dev/'):
        assert not looks_like_inventory(io.BytesIO(raw))

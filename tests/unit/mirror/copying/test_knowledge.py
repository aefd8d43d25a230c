"""What is known of a target, and what a record of it is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from mirror.copying import Referrer, Root, TargetKnowledge
from mirror.copying.knowledge import sample
from mirror.copying.remembered import TargetMemory
from mirror.memory import MemoryRepository
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.mirror.copying.bench import Bench

HOST = "registry.example:5000"
DIGESTS = st.binary(min_size=1, max_size=2).map(Digest.of)
TAGS = st.lists(st.sampled_from(["v1", "v2", "latest"]), min_size=1, unique=True).map(tuple)
WANTED = st.fixed_dictionaries(
    {
        "descriptor": DIGESTS.map(lambda digest: Descriptor("", digest, 0)),
        "tags": TAGS,
        "platforms": st.sampled_from([(), (Platform.parse("linux/amd64"),), (Platform.parse("linux/arm64"),)]),
        "manifests": st.lists(DIGESTS, max_size=3).map(tuple),
        "referrers": st.lists(
            st.builds(
                Referrer, DIGESTS.map(lambda digest: Descriptor("", digest, 0)), st.sampled_from([None, "s.sig"])
            ),
            max_size=2,
        ).map(tuple),
    }
)


def root(**wanted: Any) -> Root:
    anywhere: Any = MemoryRepository(f"{HOST}/a/one", lambda: (_ for _ in ()).throw(AssertionError))
    return Root(label="a/one", source=anywhere, target=anywhere, **wanted)


def needs(wanted: dict[str, Any]) -> tuple[Any, ...]:
    """All that makes a difference at the target."""
    return (
        wanted["descriptor"].digest,
        sorted(wanted["tags"]),
        wanted["platforms"],
        sorted(wanted["manifests"]),
        sorted((item.descriptor.digest, item.tag or "") for item in wanted["referrers"]),
    )


@given(confirmed=WANTED, wanted=WANTED)
def test_a_record_counts_for_exactly_what_was_confirmed(confirmed: dict[str, Any], wanted: dict[str, Any]) -> None:
    memory = TargetMemory(None, HOST)
    tagged = confirmed["descriptor"].digest
    memory.confirm(root(**confirmed), tagged)
    same = needs(confirmed) == needs(wanted)
    assert memory.recall(root(**wanted)) == (tagged if same else None)


def test_what_is_remembered_outlives_the_run(tmp_path: Path) -> None:
    wanted = root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=("v1", "v2"))
    with TargetMemory(tmp_path, HOST) as memory:
        memory.confirm(wanted, Digest.of(b"x"))
    with TargetMemory(tmp_path, HOST) as memory:
        assert memory.recall(wanted) == Digest.of(b"x")
        memory.forget(wanted)
    with TargetMemory(tmp_path, HOST) as memory, TargetMemory(tmp_path, "another.example") as other:
        assert memory.recall(wanted) is None
        assert other.recall(wanted) is None


def test_a_doubt_lasts_until_all_is_confirmed_again(tmp_path: Path) -> None:
    wanted = root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=("v1", "v2"))
    with TargetMemory(tmp_path, HOST) as memory:
        memory.confirm(wanted, Digest.of(b"x"))
        memory.doubt(wanted.target.name, "v2")
    with TargetMemory(tmp_path, HOST) as memory:
        assert memory.recall(wanted) is None
        assert memory.doubts(wanted)
        memory.confirm(wanted, Digest.of(b"x"))
        assert not memory.doubts(wanted)


def test_a_doubt_that_arose_while_a_run_was_under_way_outlasts_what_that_run_confirms(tmp_path: Path) -> None:
    wanted = root(descriptor=Descriptor("", Digest.of(b"a"), 0), tags=("v1",))
    with TargetMemory(tmp_path, HOST) as running:
        running.confirm(wanted, wanted.descriptor.digest)
        with TargetMemory(tmp_path, HOST) as verifying:
            verifying.doubt(f"{HOST}/a/one", "v1")
    with TargetMemory(tmp_path, HOST) as forgetting:
        assert forgetting.doubts(wanted)
        forgetting.forget(wanted)
    with TargetMemory(tmp_path, HOST) as after:
        assert (after.doubts(wanted), after.recall(wanted)) == (True, None)
        after.confirm(wanted, wanted.descriptor.digest)
    with TargetMemory(tmp_path, HOST) as last:
        assert (last.doubts(wanted), last.recall(wanted)) == (False, wanted.descriptor.digest)


def test_what_a_killed_run_confirmed_some_seconds_ago_is_kept(tmp_path: Path) -> None:
    many = [root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=(f"v{number}",)) for number in range(300)]
    killed = TargetMemory(tmp_path, HOST)
    for wanted in many:
        killed.confirm(wanted, Digest.of(b"x"))
    with TargetMemory(tmp_path, HOST) as memory:
        assert sum(memory.recall(wanted) is not None for wanted in many) >= 256
    killed.close()


def test_a_record_of_nonsense_is_no_record(tmp_path: Path) -> None:
    wanted = root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=("v1",))
    with TargetMemory(tmp_path, HOST) as memory:
        memory.confirm(wanted, replace(Digest.of(b"x"), algorithm="md5"))
    with TargetMemory(tmp_path, HOST) as memory:
        assert memory.recall(wanted) is None


def test_a_hundredth_is_sampled_and_never_fewer_than_ten() -> None:
    roots = [root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=("v1",))] * 2000
    assert [len(sample(roots[:count])) for count in (0, 3, 10, 500, 2000)] == [0, 3, 10, 10, 20]
    numbered = [root(descriptor=Descriptor("", Digest.of(b"x"), 0), tags=(f"v{number}",)) for number in range(2000)]
    assert {item.tags for item in sample(numbered)} != {item.tags for item in sample(numbered)}


def test_a_listed_tag_is_not_asked_for(bench: Bench) -> None:
    image = bench.image("a/one", b"layer")
    wanted = bench.root("a/one", image)
    bench.copy([wanted])
    bench.target.requests.clear()
    knowledge = TargetKnowledge(listed={(wanted.target.name, "v1"): image.descriptor.digest})
    assert bench.copy([wanted], knowledge=knowledge).artifacts_skipped == 1
    assert bench.target.requests.count() == 0


def test_a_tag_that_is_listed_elsewhere_is_put_right(bench: Bench) -> None:
    old, new = bench.image("a/one", b"old", config="old"), bench.image("a/one", b"new", config="new")
    bench.copy([bench.root("a/one", old)])
    wanted = bench.root("a/one", new)
    knowledge = TargetKnowledge(listed={(wanted.target.name, "v1"): old.descriptor.digest})
    assert bench.copy([wanted], knowledge=knowledge).artifacts_done == 1
    assert bench.tag("a/one") == new.descriptor.digest


def test_a_list_that_names_no_tags_lets_them_be_asked_for(bench: Bench) -> None:
    wanted = bench.root("a/one", bench.image("a/one", b"layer"))
    bench.copy([wanted])
    assert bench.copy([wanted], knowledge=TargetKnowledge(listed={})).artifacts_skipped == 1


def test_a_signature_that_two_artifacts_share_is_asked_for_once(bench: Bench) -> None:
    image = bench.image("a/one", b"layer")
    signature = Referrer(bench.image("a/one", b"s", tag=None, config="s").descriptor, "sha256-x.sig")
    roots = [bench.root("a/one", image, tags=(tag,), referrers=(signature,)) for tag in ("v1", "v2", "v3", "v4")]
    bench.copy(roots)
    bench.target.requests.clear()
    assert bench.copy(roots).artifacts_skipped == 4
    assert len(bench.sent("HEAD", "*/manifests/sha256-x.sig")) == 1

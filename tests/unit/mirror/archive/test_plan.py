"""Where everything lies follows from the sizes, and what comes of it is a plain tar."""

from __future__ import annotations

import io
import tarfile
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError, UsageError
from mirror.archive.plan import BLOCK, ArchivePlan, Literal, Member, Span, capacity_of
from mirror.oci.digest import Digest
from tests.unit.mirror.archive.archives import CAPACITY, noise

if TYPE_CHECKING:
    from pathlib import Path

SIZES = st.one_of(
    st.sampled_from([0, 1, BLOCK, BLOCK + 1, CAPACITY - BLOCK, CAPACITY - BLOCK + 1, CAPACITY, 3 * CAPACITY]),
    st.integers(0, 2 * BLOCK),
    st.integers(0, 3 * CAPACITY),
)
CAPACITIES = st.integers(CAPACITY // BLOCK, 2 * CAPACITY // BLOCK).map(lambda blocks: blocks * BLOCK)
MEMBERS = st.lists(st.tuples(SIZES, st.sampled_from(["sha256", "sha512"])), max_size=10)


def made(wanted: list[tuple[int, str]], capacity: int) -> tuple[ArchivePlan, dict[Digest, bytes]]:
    contents = {}
    for number, (size, algorithm) in enumerate(wanted):
        data = noise(size, number)
        contents[Digest.of(data, algorithm)] = data
    members = [Member(Digest.of(b"{}"), 2, "oci-layout"), *(Member(key, len(data)) for key, data in contents.items())]
    return ArchivePlan(members, capacity), {**contents, Digest.of(b"{}"): b"{}"}


def stretch(plan: ArchivePlan, contents: dict[Digest, bytes], start: int, end: int) -> bytes:
    """The bytes from start to end; pieces must follow one another."""
    found, position = [], start
    for piece in plan.pieces(start, end):
        assert piece.offset == position
        if isinstance(piece, Literal):
            data = piece.data
        else:
            data = contents[piece.member.digest][piece.begin : piece.begin + piece.size]
            assert len(data) == piece.size
        assert data
        found.append(data)
        position += len(data)
        assert piece.end == position
    assert position == end
    return b"".join(found)


@given(MEMBERS, CAPACITIES)
@settings(max_examples=60, deadline=None)
def test_volumes_one_after_the_other_are_one_plain_tar_of_the_members(
    wanted: list[tuple[int, str]], capacity: int
) -> None:
    plan, contents = made(wanted, capacity)
    whole = b"".join(stretch(plan, contents, volume.start, volume.end) for volume in plan.volumes)
    assert len(whole) == plan.size
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
        entries = tar.getmembers()
        assert [entry.name for entry in entries] == [member.path for member in plan.members]
        for entry, member in zip(entries, plan.members, strict=True):
            assert (entry.mode, entry.uid, entry.gid, entry.mtime, entry.isreg()) == (0o644, 0, 0, 0, True)
            file = tar.extractfile(entry)
            assert file is not None
            assert file.read() == contents[member.digest]
            if not member.name:
                assert plan.locate(member.digest) == (entry.offset_data, entry.size)
    assert whole[-2 * BLOCK :] == bytes(2 * BLOCK)


@given(MEMBERS, CAPACITIES)
@settings(max_examples=60, deadline=None)
def test_a_header_crosses_no_edge_and_a_member_only_if_it_is_larger_than_a_volume(
    wanted: list[tuple[int, str]], capacity: int
) -> None:
    plan, _ = made(wanted, capacity)
    *others, last = plan.volumes
    assert all(0 < volume.size <= capacity for volume in others)
    assert last.size <= capacity + 2 * BLOCK
    assert all(one.end == two.start for one, two in pairwise(plan.volumes))
    assert [volume.number for volume in plan.volumes] == list(range(1, len(plan.volumes) + 1))
    headers = [
        (piece, volume)
        for volume in plan.volumes
        for piece in plan.pieces(volume.start, volume.end)
        if isinstance(piece, Literal) and piece.data.strip(b"\0")
    ]
    assert len(headers) == len(plan.members)
    for member in plan.members:
        place = plan.locate(member.digest)
        if place is None:
            continue
        parts = plan.volumes_of(*place)
        header = next(piece for piece, _ in headers if piece.end == place[0])
        if len(parts) > 1:
            assert len(header.data) + -(-member.size // BLOCK) * BLOCK > capacity
        assert all(plan.settled(volume.end) == sum(place) for volume in parts[:-1])
    for volume in plan.volumes[:-1]:
        following = next(plan.pieces(volume.end, volume.end + BLOCK))
        is_cut = isinstance(following, Span) and following.begin > 0
        assert (plan.settled(volume.end) > volume.end) == is_cut


@given(MEMBERS, st.data())
@settings(max_examples=40, deadline=None)
def test_any_stretch_is_told_without_what_is_around_it(wanted: list[tuple[int, str]], data: st.DataObject) -> None:
    plan, contents = made(wanted, CAPACITY)
    whole = stretch(plan, contents, 0, plan.size)
    start = data.draw(st.integers(0, plan.size - 1))
    end = data.draw(st.integers(start + 1, plan.size))
    assert stretch(plan, contents, start, end) == whole[start:end]
    parts = plan.volumes_of(start, end - start)
    assert parts[0].start <= start < parts[0].end
    assert parts[-1].start < end <= parts[-1].end
    assert all(one.end == two.start for one, two in pairwise(parts))


def test_sizes_beyond_8_gib_and_long_names_get_a_pax_header_that_tar_reads(tmp_path: Path) -> None:
    huge, long = Digest.of(b"huge"), Digest.of(b"long", "sha512")
    plan = ArchivePlan([Member(huge, 9 * 1024**3 + 1), Member(long, 5)], capacity_of(4 * 1024**3))
    path = tmp_path / "sparse.tar"
    with path.open("wb") as file:
        for piece in plan.pieces(0, plan.size):
            if isinstance(piece, Literal):
                file.seek(piece.offset)
                file.write(piece.data)
    assert path.stat().st_size == plan.size
    assert path.stat().st_blocks * 512 < 1024**2
    with tarfile.open(path) as tar:
        entries = tar.getmembers()
    assert [(entry.name, entry.size) for entry in entries] == [
        (f"blobs/sha256/{huge.encoded}", 9 * 1024**3 + 1),
        (f"blobs/sha512/{long.encoded}", 5),
    ]
    assert [(entry.offset_data, entry.size) for entry in entries] == [plan.locate(huge), plan.locate(long)]
    assert len(plan.volumes) == 3
    assert all(volume.size < 4 * 1024**3 for volume in plan.volumes)


@given(
    st.one_of(st.text(min_size=95, max_size=105), st.text("ab/é", min_size=1, max_size=150)).filter(
        lambda name: "\0" not in name
    ),
    st.one_of(st.integers(0, 2**40), st.integers(8**11 - 2, 8**11 + 2)),
)
def test_a_header_is_as_long_as_it_is_taken_for(name: str, size: int) -> None:
    plan = ArchivePlan([Member(Digest.of(b"x"), size, name), Member(Digest.of(b"y"), 0)], 2**40)
    header = next(plan.pieces(0, 2**20))
    assert isinstance(header, Literal)
    second = plan.locate(Digest.of(b"y"))
    assert second == (header.end + -(-size // BLOCK) * BLOCK + BLOCK, 0)


def test_where_everything_lies_is_part_of_the_format() -> None:
    """Archives of yesterday are read tomorrow: this may change only with the format's version."""
    blocks = [61, 1, 64, 61, 65, 0]
    members = [Member(Digest.of(b"%d" % number), size * BLOCK) for number, size in enumerate(blocks)]
    plan = ArchivePlan(members, 64 * BLOCK)
    # The second fills a volume to its end. The third is larger than one. The fourth leaves one block, into which the
    # header of the fifth, which is larger than a volume, too, would fit, and not one byte of its content.
    assert [place[0] // BLOCK for member in members if (place := plan.locate(member.digest))] == [
        1,
        63,
        65,
        130,
        192,
        258,
    ]
    assert [volume.start // BLOCK for volume in plan.volumes] == [0, 64, 128, 191, 255]
    assert plan.size == 260 * BLOCK


def test_the_same_sizes_give_the_same_bytes_and_others_do_not() -> None:
    one, contents = made([(5, "sha256"), (BLOCK, "sha512")], CAPACITY)
    two, _ = made([(5, "sha256"), (BLOCK, "sha512")], CAPACITY)
    assert stretch(one, contents, 0, one.size) == stretch(two, contents, 0, two.size)
    turned = ArchivePlan(one.members[::-1], CAPACITY)
    assert stretch(turned, contents, 0, turned.size) != stretch(one, contents, 0, one.size)


@pytest.mark.parametrize("size", [64 * 1024, 64 * 1024 + 1, 700_000_000, 4 * 1024**3])
def test_a_volume_stays_below_the_split_size_with_the_end_of_the_archive(size: int) -> None:
    capacity = capacity_of(size)
    assert capacity % BLOCK == 0
    assert size - 2 * BLOCK <= capacity + 2 * BLOCK < size


def test_volumes_smaller_than_64_kib_are_refused() -> None:
    with pytest.raises(UsageError, match="too small"):
        capacity_of(64 * 1024 - 1)


@pytest.mark.parametrize("capacity", [0, 1, BLOCK, CAPACITY - BLOCK, CAPACITY + 1, -CAPACITY])
def test_a_capacity_that_no_split_size_gives_is_refused(capacity: int) -> None:
    with pytest.raises(ContentError, match="capacity"):
        ArchivePlan([], capacity)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([Member(Digest.of(b"x"), 1), Member(Digest.of(b"x"), 1)], "twice"),
        ([Member(Digest.of(b"x"), 1, "same"), Member(Digest.of(b"y"), 1, "same")], "twice"),
        ([Member(Digest.of(b"x"), -1)], "cannot be"),
        ([Member(Digest.of(b"x"), CAPACITY * 100_001)], "more than 100,000 volumes"),
        ([Member(Digest.of(b"x"), 2**61)], "more than 100,000 volumes"),
        ([Member(Digest.of(b"x"), 1, "n" * CAPACITY)], "header is larger than a volume"),
    ],
    ids=["blob twice", "name twice", "negative", "a volume too many", "two exbibytes", "long name"],
)
def test_members_that_make_no_archive_are_refused_at_once(members: list[Member], told: str) -> None:
    with pytest.raises(ContentError, match=told):
        ArchivePlan(members, CAPACITY)


def test_a_digest_that_is_no_member_is_nowhere() -> None:
    plan = ArchivePlan([Member(Digest.of(b"x"), 1, "named")], CAPACITY)
    assert plan.locate(Digest.of(b"x")) is None
    assert plan.locate(Digest.of(b"y")) is None

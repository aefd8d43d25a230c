"""Every byte of every volume is checked; what is damaged is named, with the blobs in it."""

from __future__ import annotations

import errno
import os
from threading import Event
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import InterruptError
from mirror.archive.checking import Verified, check_parity, check_volume, check_volumes
from mirror.archive.plan import Literal
from mirror.archive.repairing import write_parity
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.archive.reading import VolumeSet

SIZES = [100, 20_000, 0, 9_000, 3 * CAPACITY, 700, 15_000, 15_000, 1]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "out", SIZES).written()


def check(volumes: VolumeSet) -> Verified:
    return check_volumes(volumes, progress=lambda _: None, cancelled=Event())


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x04
    path.write_bytes(raw)


def offsets(archive: Archive, number: int) -> list[int]:
    """Bytes of a volume, one at each end of each piece."""
    volume = archive.volumes[number - 1]
    return [
        at - volume.start
        for piece in archive.plan.pieces(volume.start, volume.end)
        for at in {piece.offset, piece.end - 1}
    ]


def test_a_right_archive_has_no_problems_and_all_of_it_is_read(archive: Archive) -> None:
    read = []
    found = check_volumes(archive.set(), progress=read.append, cancelled=Event())
    assert found == Verified()
    assert sum(read) == archive.plan.size


@pytest.mark.parametrize("number", [1, 2, 4, 6])
@pytest.mark.parametrize("with_sums", [True, False], ids=["sums", "no sums"])
def test_one_flipped_bit_anywhere_is_found(archive: Archive, number: int, *, with_sums: bool) -> None:
    if not with_sums:
        for name in archive.names():
            if name.endswith(".sum.json"):
                (archive.path / name).unlink()
    file, large = archive.file(number), archive.members[4]
    place = archive.plan.locate(large.digest)
    assert place is not None
    for at in offsets(archive, number):
        flip(file, at)
        found = check(archive.set())
        position = archive.volumes[number - 1].start + at
        (piece,) = archive.plan.pieces(position, position + 1)
        told = [item.number for item in found.problems]
        if with_sums or isinstance(piece, Literal) or piece.member is not large:
            assert told == [number]
        else:
            assert told == [item.number for item in archive.plan.volumes_of(*place)]
        assert found.damaged == (set() if isinstance(piece, Literal) else {piece.member.digest})
        assert all(item.kind == "damaged" for item in found.problems)
        flip(file, at)


def test_the_bytes_after_a_blob_count_too(archive: Archive) -> None:
    volume = archive.volumes[-1]
    flip(archive.file(volume.number), volume.size - 1)
    (problem,) = check(archive.set()).problems
    assert problem.number == volume.number
    assert "not as it was written" in problem.message


def test_a_volume_that_was_cut_is_checked_as_far_as_it_goes(archive: Archive) -> None:
    os.truncate(archive.file(1), 25_000)
    flip(archive.file(1), 600)
    found = check(archive.set())
    assert [(item.number, item.message) for item in found.problems] == [(1, "has 25,000 of 32,256 bytes")]
    assert found.damaged == {archive.members[0].digest}


def test_a_sector_that_cannot_be_read_damages_its_blob_and_the_check_goes_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = archive.file(1).stat().st_ino
    place = archive.plan.locate(archive.members[1].digest)
    assert place is not None
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        at = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_ino == bad and at <= place[0] + 5000 < at + size:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size)

    flip(archive.file(1), archive.volumes[0].size - 1000)
    monkeypatch.setattr(os, "read", read)
    found = check(archive.set())
    (problem,) = found.problems
    assert problem.number == 1
    assert "Input/output error" in problem.message
    assert found.damaged == {archive.members[1].digest, archive.members[3].digest}


@pytest.mark.parametrize("number", [1, 2])
def test_a_sum_file_is_not_believed_against_the_digests_of_the_inventory(archive: Archive, number: int) -> None:
    sums = archive.path / f"a-{number:04}.sum.json"
    found = archive.set().stated(archive.volumes[number - 1])
    assert found is not None
    sums.write_bytes(sums.read_bytes().replace(found.sha256.encoded.encode(), b"0" * 64))
    assert check(archive.set()).problems == []
    # Of a blob that cannot be read to its end, nothing but the sum file says what is right.
    archive.file(3).unlink()
    told = [(item.number, item.message) for item in check(archive.set()).problems]
    assert ((2, "is not what a-0002.sum.json says") in told) == (number == 2)


def test_missing_volumes_are_problems_and_the_blobs_in_them_are_not_damaged(archive: Archive) -> None:
    archive.file(3).unlink()
    found = check(archive.set())
    assert [(item.number, item.kind) for item in found.problems] == [(3, "missing")]
    assert found.damaged == set()


def test_one_volume_can_be_checked_alone(archive: Archive) -> None:
    flip(archive.file(2), 700)
    volumes = archive.set()
    told = [check_volume(volumes, item, progress=lambda _: None, cancelled=Event()) for item in archive.volumes]
    assert [item is not None for item in told] == [item.number == 2 for item in archive.volumes]
    assert volumes.problems() == [told[1]]


def test_cancelled_it_stops(archive: Archive) -> None:
    cancelled = Event()
    with pytest.raises(InterruptError):
        check_volumes(archive.set(), progress=lambda _: cancelled.set(), cancelled=cancelled)


def test_parity_counts_only_in_its_place_with_its_sum_and_of_this_archive(archive: Archive) -> None:
    write_parity(archive.set(), archive.folder, 4, progress=lambda _: None, cancelled=Event())

    def right() -> list[int]:
        return sorted(check_parity(archive.set(), 4, progress=lambda _: None, cancelled=Event()))

    assert right() == [1, 2, 3, 4]
    flip(archive.path / "a-p01.parity", 5)
    os.truncate(archive.path / "a-p02.parity", 100)
    sums = archive.path / "a-p03.sum.json"
    sums.write_bytes(sums.read_bytes().replace(b"sha256:one", b"sha256:two"))
    assert right() == [4]
    for name in ("a-p04.parity", "a-p04.sum.json"):
        (archive.path / name).rename(archive.path / name.replace("p04", "p01"))
    assert right() == []

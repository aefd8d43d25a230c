"""Volumes are written whole or have no name; what is there already is not written again."""

from __future__ import annotations

import errno
import io
import os
import re
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError, TransportError
from mirror.archive.writing import VolumeWriter
from mirror.oci.digest import Digest
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.archive.plan import Member, Volume
    from mirror.archive.sums import VolumeSum
    from mirror.oci.repository import BlobReader

SIZES = [100, 20_000, 0, 9_000, 3 * CAPACITY, 700, 15_000, 15_000, 1]
"""Over six volumes of 32 KiB, the fifth over four of them."""


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "out", SIZES)


def test_every_volume_is_what_the_plan_says_and_has_its_sum_beside_it(archive: Archive) -> None:
    written = archive.write()
    assert [was_there for _, was_there in written] == [False] * len(archive.volumes)
    for found, _ in written:
        data = archive.file(found.volume).read_bytes()
        assert data == archive.bytes_of(found.volume)
        assert (found.name, found.size, found.sha256) == (archive.file(found.volume).name, len(data), Digest.of(data))
    assert len(archive.names()) == 2 * len(archive.volumes)
    assert archive.moved == archive.plan.size
    whole = b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes)
    with tarfile.open(fileobj=io.BytesIO(whole), mode="r:") as tar:
        assert [entry.name for entry in tar] == [member.path for member in archive.members]


def test_each_member_is_read_once_however_many_volumes_it_lies_in(archive: Archive) -> None:
    archive.write()
    assert archive.opened == [member.digest for member in archive.members if member.size]


def test_what_is_there_is_hashed_and_stays(archive: Archive) -> None:
    archive.write()
    before = {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()}
    archive.opened.clear()
    assert all(was_there for _, was_there in archive.write())
    assert archive.opened == []
    assert {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()} == before


@pytest.mark.parametrize("number", range(1, 7))
def test_a_lost_volume_is_written_again_bit_by_bit(archive: Archive, number: int) -> None:
    archive.write()
    before = archive.file(number).read_bytes()
    archive.file(number).unlink()
    assert [was_there for _, was_there in archive.write()] == [volume.number != number for volume in archive.volumes]
    assert archive.file(number).read_bytes() == before
    archive.file(number).unlink()
    ((found, was_there),) = archive.write(number)
    assert (found.volume, was_there) == (number, False)
    assert archive.file(number).read_bytes() == before


@pytest.mark.parametrize("what", ["bit", "short", "long", "no sum", "other sum", "other archive", "link", "fifo"])
@pytest.mark.timeout(20)
def test_what_is_there_and_is_not_right_is_written_again(archive: Archive, what: str) -> None:
    archive.write()
    file, sums = archive.file(3), archive.path / "a-0003.sum.json"
    right, said = file.read_bytes(), sums.read_bytes()
    if what == "bit":
        file.write_bytes(right[:1000] + bytes([right[1000] ^ 1]) + right[1001:])
    elif what == "short":
        file.write_bytes(right[:-1])
    elif what == "long":
        file.write_bytes(right + b"x")
    elif what == "no sum":
        sums.unlink()
    elif what == "other sum":
        sums.write_bytes(said.replace(Digest.of(right).encoded.encode(), b"0" * 64))
    elif what == "other archive":
        sums.write_bytes(said.replace(b"sha256:one", b"sha256:two"))
    else:
        file.unlink()
        os.mkfifo(file) if what == "fifo" else file.symlink_to("a-0001.tar")
    states = [was_there for _, was_there in archive.write()]
    assert states == [volume.number != 3 for volume in archive.volumes]
    assert not file.is_symlink()
    assert (file.read_bytes(), sums.read_bytes()) == (right, said)


def test_what_is_there_is_hashed_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write()
    for number in (1, 3):
        archive.file(number).unlink()
    hashed: list[int] = []
    real = VolumeWriter._is_right

    def counted(writer: VolumeWriter, volume: Volume) -> VolumeSum | None:
        hashed.append(volume.number)
        return real(writer, volume)

    monkeypatch.setattr(VolumeWriter, "_is_right", counted)
    archive.write()
    assert hashed == [volume.number for volume in archive.volumes]


def test_a_cut_run_goes_on_from_any_byte(archive: Archive) -> None:
    first = archive.bytes_of(1)
    for cut in (0, 1, 511, 512, 513, 611, 612, 613, 1024, *range(2000, len(first), 5001), len(first) - 1, len(first)):
        archive.partial(1).write_bytes(first[:cut])
        archive.moved = 0
        archive.write(1)
        assert archive.file(1).read_bytes() == first
        assert not archive.partial(1).exists()
        assert archive.moved == len(first)
        archive.file(1).unlink()


@pytest.mark.parametrize("at", [0, 300, 511, 512, 700, 25_000, 30_000, -1])
def test_what_is_wrong_of_a_cut_run_is_not_gone_on_with(archive: Archive, at: int) -> None:
    first = bytearray(archive.bytes_of(1))
    first[at] ^= 0x10
    archive.partial(1).write_bytes(first)
    archive.write(1)
    assert archive.file(1).read_bytes() == archive.bytes_of(1)


def test_what_is_right_of_a_cut_run_is_not_read_again_from_the_source(archive: Archive) -> None:
    place = archive.plan.locate(archive.members[3].digest)
    assert place is not None
    archive.partial(1).write_bytes(archive.bytes_of(1)[: place[0] + 1])
    archive.write(1)
    assert archive.members[0].digest not in archive.opened
    assert archive.opened[0] == archive.members[3].digest


def test_more_than_a_volume_left_by_a_cut_run_is_cut_off(archive: Archive) -> None:
    archive.partial(2).write_bytes(archive.bytes_of(2) + b"more")
    archive.write(2)
    assert archive.file(2).read_bytes() == archive.bytes_of(2)


@pytest.mark.parametrize("number", [number for number, size in enumerate(SIZES) if size])
def test_of_a_blob_that_turns_out_wrong_at_its_end_no_volume_has_a_part(archive: Archive, number: int) -> None:
    member = archive.members[number]
    right = archive.by_digest[member.digest]
    archive.wrong[member.digest] = right[:-1] + bytes([right[-1] ^ 1])
    with pytest.raises(ContentError):
        archive.write()
    place = archive.plan.locate(member.digest)
    assert place is not None
    parts = {volume.number for volume in archive.plan.volumes_of(*place)}
    before = {volume.number for volume in archive.volumes if volume.end <= place[0] and volume.number not in parts}
    assert {int(name[2:6]) for name in archive.names()} == before
    assert not [name for name in archive.names() if name.endswith(".partial")]
    archive.wrong.clear()
    archive.write()
    assert b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes) == archive.tar()


def test_a_volume_with_half_a_blob_has_no_name_before_the_blob_was_read_to_its_end(archive: Archive) -> None:
    large = archive.members[4]
    place = archive.plan.locate(large.digest)
    assert place is not None
    parts = archive.plan.volumes_of(*place)
    assert len(parts) > 2
    opened = archive.open

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > place[1] * 2 // 3:
                raise TransportError("the connection broke")
            return super().read(min(size or 0, 4096))

    def broken(member: Member) -> BlobReader:
        return Broken(archive.by_digest[member.digest]) if member is large else opened(member)

    archive.open = broken  # type: ignore[method-assign]
    with pytest.raises(TransportError):
        archive.write()
    assert not {archive.file(part.number).name for part in parts} & set(archive.names())
    archive.open = opened  # type: ignore[method-assign]
    archive.write()
    assert b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes) == archive.tar()
    assert not [name for name in archive.names() if name.endswith(".partial")]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_volume_that_is_written_alone_has_no_name_either_before_its_blobs_were_read_to_their_end(
    archive: Archive, number: int
) -> None:
    large = archive.members[4]
    place = archive.plan.locate(large.digest)
    assert place is not None
    last = archive.plan.volumes_of(*place)[-1]
    assert number < last.number
    right = archive.by_digest[large.digest]
    archive.wrong[large.digest] = right[:-1] + bytes([right[-1] ^ 1])
    if large in archive.plan.cut(archive.volumes[number - 1]):
        with pytest.raises(ContentError):
            archive.write(number)
        assert archive.names() == []
    else:
        archive.write(number)


@pytest.mark.parametrize("size", [-1, 1])
def test_a_blob_of_another_size_ends_the_export(archive: Archive, size: int) -> None:
    member = archive.members[1]
    right = archive.by_digest[member.digest]
    archive.wrong[member.digest] = right[:-1] if size < 0 else right + b"x"
    with pytest.raises((ContentError, TransportError)):
        archive.write()
    assert not [name for name in archive.names() if name.endswith(".tar")]


def test_an_error_of_the_source_keeps_what_is_finished_and_goes_on_there(archive: Archive) -> None:
    opened = archive.open

    def gone(member: Member) -> BlobReader:
        if member is archive.members[6]:
            raise MissingError("is not there any more")
        return opened(member)

    archive.open = gone  # type: ignore[method-assign]
    with pytest.raises(MissingError, match="any more"):
        archive.write()
    finished = [name for name in archive.names() if name.endswith(".tar")]
    assert finished
    assert len(finished) < len(archive.volumes)
    for name in finished:
        number = int(name[2:6])
        assert archive.file(number).read_bytes() == archive.bytes_of(number)
    archive.open = opened  # type: ignore[method-assign]
    archive.opened.clear()
    archive.write()
    assert b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes) == archive.tar()
    assert archive.members[0].digest not in archive.opened


def test_a_cancelled_run_stops_and_leaves_what_it_has_under_another_name(archive: Archive) -> None:
    written = archive.writer().write(archive.volumes)
    next(written)
    archive.cancelled.set()
    with pytest.raises(InterruptError, match="stopped"):
        list(written)
    assert [name for name in archive.names() if name.endswith(".tar")] == ["a-0001.tar"]
    archive.cancelled.clear()
    archive.write()
    assert b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes) == archive.tar()


@pytest.mark.parametrize("call", ["write", "fsync", "ftruncate", "rename"])
def test_a_medium_that_refuses_is_told_and_no_volume_has_a_name_too_soon(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real: Any = getattr(os, call)
    calls: list[int] = []

    def full(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StoreError, match="No space left"):
            archive.write()
    for name in archive.names():
        if re.search(r"\.tar", name):
            assert (archive.path / name).read_bytes() == archive.bytes_of(int(name[2:6]))
    archive.write()
    assert b"".join(archive.file(volume.number).read_bytes() for volume in archive.volumes) == archive.tar()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["link", "fifo", "folder"])
def test_what_somebody_put_in_the_place_of_an_unfinished_volume_is_not_written_through(
    archive: Archive, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    if kind == "link":
        archive.partial(1).symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(archive.partial(1))
    else:
        archive.partial(1).mkdir()
    with pytest.raises(StoreError):
        archive.write()
    assert outside.read_bytes() == b"precious"

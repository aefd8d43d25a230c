"""Volumes are read where they lie; what is the matter with them is told, and the rest is read all the same."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.archive.folder import Folder
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = [100, 20_000, 0, 9_000, 3 * CAPACITY, 700, 15_000, 15_000, 1]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "out", SIZES).written()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("shared") / "out", SIZES).written()


def told(archive: Archive, *others: Folder) -> list[tuple[int, str, str]]:
    return [(item.number, item.kind, item.message) for item in archive.set(*others).problems()]


def test_of_a_whole_archive_every_member_is_read(archive: Archive) -> None:
    volumes = archive.set()
    assert volumes.problems() == []
    assert [archive.read(number, volumes) for number in range(len(SIZES))] == archive.contents


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_any_stretch_is_read_over_as_many_volumes_as_it_lies_in(shared: Archive, data: st.DataObject) -> None:
    tar = shared.tar()
    offset = data.draw(st.integers(0, len(tar) - 1))
    size = data.draw(st.integers(0, len(tar) - offset))
    step = data.draw(st.integers(1, 5000))
    with shared.set().open(offset, size, artifact="x") as reader:
        assert b"".join(iter(lambda: reader.read(step), b"")) == tar[offset : offset + size]
        assert reader.read() == b""


def test_a_reader_is_the_file_itself_while_one_volume_has_the_rest(archive: Archive) -> None:
    volumes = archive.set()
    edge = archive.volumes[0].end
    with volumes.open(edge - 10, 30, artifact="x") as reader:
        assert reader.file is None
        assert reader.read(10) == archive.tar()[edge - 10 : edge]
        file = reader.file
        assert file is not None
        assert os.read(file, 5) == archive.tar()[edge : edge + 5]
        reader.passed(5)
        assert reader.read() == archive.tar()[edge + 5 : edge + 20]
        assert reader.file is None


def test_a_volume_that_is_not_there_is_named_and_the_rest_is_read(archive: Archive) -> None:
    archive.file(2).unlink()
    assert told(archive) == [(2, "missing", "is not there")]
    volumes = archive.set()
    lost = set(range(len(SIZES))) - archive.readable(volumes)
    assert lost
    for number in archive.readable(volumes):
        assert archive.read(number, volumes) == archive.contents[number]
    for number in lost:
        with pytest.raises(MissingError, match=r"lies in a-0002\.tar, which is not there") as raised:
            archive.read(number, volumes)
        assert raised.value.hint


@pytest.mark.parametrize("left", [0, 1, 511, 512, 20_000, 30_000])
def test_a_volume_that_was_cut_is_read_up_to_the_cut(archive: Archive, left: int) -> None:
    right = archive.file(1).read_bytes()
    archive.file(1).write_bytes(right[:left])
    ((number, kind, message),) = told(archive)
    assert (number, kind) == (1, "damaged")
    assert ("bytes" in message) == (left >= 512)
    volumes = archive.set()
    there = archive.readable(volumes)
    places = [archive.plan.locate(member.digest) for member in archive.members]
    expected = {
        number
        for number, place in enumerate(places)
        if place and (archive.volumes[0].end <= place[0] or 0 < sum(place) <= left)
    }
    assert there == expected
    for number in there:
        assert archive.read(number, volumes) == archive.contents[number]


def test_one_byte_makes_the_difference_whether_a_blob_is_there(archive: Archive) -> None:
    place = archive.plan.locate(archive.members[1].digest)
    assert place is not None
    os.truncate(archive.file(1), sum(place))
    assert 1 in archive.readable(archive.set())
    os.truncate(archive.file(1), sum(place) - 1)
    assert archive.readable(archive.set()) >= {0}
    assert 1 not in archive.readable(archive.set())


def test_a_volume_that_is_too_long_is_told_and_read(archive: Archive) -> None:
    with archive.file(1).open("ab") as file:
        file.write(b"more")
    ((number, kind, _),) = told(archive)
    assert (number, kind) == (1, "damaged")
    assert archive.readable(archive.set()) == set(range(len(SIZES)))


def test_volumes_of_another_export_are_named_and_nothing_of_them_is_read(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "other", SIZES, seed=1, identity="sha256:two").written()
    shutil.copy(other.file(2), archive.path)
    shutil.copy(other.path / "a-0002.sum.json", archive.path)
    assert told(archive) == [(2, "damaged", "belongs to another export")]
    assert archive.set().path(archive.volumes[1]) is None


def test_a_volume_of_another_export_without_its_sum_file_does_not_begin_as_it_should(
    archive: Archive, tmp_path: Path
) -> None:
    other = Archive(tmp_path / "other", SIZES, seed=1, identity="sha256:two").written()
    shutil.copy(other.file(1), archive.path)
    (archive.path / "a-0001.sum.json").unlink()
    assert told(archive) == [(1, "damaged", "does not begin as it should")]
    assert archive.set().path(archive.volumes[0]) is None


def test_a_flipped_bit_in_its_first_header_does_not_make_a_volume_unreadable(archive: Archive) -> None:
    raw = bytearray(archive.file(1).read_bytes())
    raw[0] ^= 1
    archive.file(1).write_bytes(raw)
    assert told(archive) == [(1, "damaged", "does not begin as it should")]
    volumes = archive.set()
    assert [archive.read(number, volumes) for number in range(len(SIZES))] == archive.contents


def test_volumes_lie_on_as_many_media_as_it_takes(archive: Archive, tmp_path: Path) -> None:
    second = Folder(tmp_path / "second")
    second.make()
    for number in (2, 4):
        archive.file(number).rename(second.path / archive.file(number).name)
    assert [number for number, _, _ in told(archive)] == [2, 4]
    volumes = archive.set(second)
    assert volumes.problems() == []
    assert [archive.read(number, volumes) for number in range(len(SIZES))] == archive.contents


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("what", ["cut", "alien", "fifo", "none"])
def test_a_whole_copy_on_one_medium_is_taken_for_a_bad_one_on_another(
    archive: Archive, tmp_path: Path, what: str, *, turned: bool
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(archive.path, copy)
    bad = (copy if turned else archive.path) / "a-0001.tar"
    if what == "cut":
        os.truncate(bad, 1000)
    elif what == "alien":
        sums = bad.with_name("a-0001.sum.json")
        sums.write_bytes(sums.read_bytes().replace(b"sha256:one", b"sha256:two"))
    else:
        bad.unlink()
        if what == "fifo":
            os.mkfifo(bad)
    volumes = archive.set(Folder(copy))
    assert volumes.problems() == []
    assert archive.read(0, volumes) == archive.contents[0]


def test_of_two_bad_copies_the_one_that_can_be_read_is_read(archive: Archive, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(archive.path, copy)
    os.truncate(archive.file(1), 5000)
    sums = copy / "a-0001.sum.json"
    sums.write_bytes(sums.read_bytes().replace(b"sha256:one", b"sha256:two"))
    volumes = archive.set(Folder(copy))
    assert [item.message for item in volumes.problems()] == ["has 5,000 of 32,256 bytes"]
    assert archive.read(0, volumes) == archive.contents[0]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("a-0002.tar"), lambda path: path.mkdir()])
def test_what_is_no_regular_file_is_no_volume(archive: Archive, make: Callable[[Path], None]) -> None:
    archive.file(1).unlink()
    make(archive.file(1))
    assert told(archive) == [(1, "missing", "is not there")]


def test_a_medium_with_errors_damages_its_volumes_and_nothing_else(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = archive.file(1).stat().st_ino
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, size)

    volumes = archive.set()
    monkeypatch.setattr(os, "read", read)
    with pytest.raises(StoreError, match="Input/output error"):
        archive.read(0, volumes)
    ((number, kind, message),) = told(archive)
    assert (number, kind) == (1, "damaged")
    assert "Input/output error" in message
    assert archive.read(8, archive.set()) == archive.contents[8]


def test_a_volume_that_comes_while_it_is_looked_for_again_is_found(archive: Archive) -> None:
    raw = archive.file(1).read_bytes()
    archive.file(1).unlink()
    volumes = archive.set()
    assert volumes.look(archive.volumes[0]) is not None
    archive.file(1).write_bytes(raw)
    assert volumes.look(archive.volumes[0]) is None
    assert archive.read(0, volumes) == archive.contents[0]


def test_a_volume_that_goes_while_it_is_read_is_told(archive: Archive) -> None:
    volumes = archive.set()
    place = archive.plan.locate(archive.members[4].digest)
    assert place is not None
    with volumes.open(*place, artifact="large") as reader:
        assert reader.read(10)
        archive.file(3).unlink()
        with pytest.raises(MissingError):
            reader.read()
    os.truncate(archive.file(1), 600)
    with pytest.raises(ContentError, match="ends early"):
        archive.read(1, volumes)

"""What is lost or damaged is given back bit by bit, or it is said how much more is needed."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError
from mirror.archive.folder import Folder
from mirror.archive.repairing import lacking, repair, write_parity
from mirror.archive.sums import VolumeSum
from mirror.oci.digest import Digest
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.archive.reading import VolumeSet

TWELVE = [20_000] * 6 + [4 * CAPACITY, 9_000, 0, 700, 17_000, 30_000]


def made(path: Path, parity: int = 2, **more: Any) -> Archive:
    archive = Archive(path, TWELVE, **more).written()
    assert len(archive.volumes) == 12
    write_parity(archive.set(), archive.folder, parity, progress=lambda _: None, cancelled=Event())
    return archive


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return made(tmp_path_factory.mktemp("pristine") / "out")


@pytest.fixture
def archive(pristine: Archive, tmp_path: Path) -> Archive:
    """A copy of it in a folder of the test's own."""
    shutil.copytree(pristine.path, tmp_path / "out")
    copy = Archive(tmp_path / "out", TWELVE)
    assert copy.plan.volumes == pristine.plan.volumes
    return copy


def mend(
    volumes: VolumeSet, folder: Folder | None = None, parity: int = 2, cancelled: Event | None = None
) -> list[str]:
    return repair(
        volumes, parity, folder or volumes.folders[0], progress=lambda _: None, cancelled=cancelled or Event()
    )


def contents(archive: Archive) -> dict[str, bytes]:
    return {name: (archive.path / name).read_bytes() for name in archive.names()}


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 0x20
    path.write_bytes(raw)


@pytest.mark.parametrize("first", range(1, 12))
def test_any_two_of_twelve_volumes_are_given_back_bit_by_bit(archive: Archive, first: int) -> None:
    before = contents(archive)
    for second in range(first + 1, 13):
        for number in (first, second):
            archive.file(number).unlink()
            (archive.path / f"a-{number:04}.sum.json").unlink()
        volumes = archive.set()
        assert mend(volumes) == [archive.file(first).name, archive.file(second).name]
        assert volumes.problems() == []
        assert contents(archive) == before


@pytest.mark.parametrize(
    "damage",
    [
        {1: "flip", 7: "cut"},
        {6: "gone", 12: "flip"},
        {5: "alien", 8: "empty"},
        {7: "flip"},
        {3: "long", 4: "gone"},
        {2: "fifo", 9: "flip"},
    ],
    ids=str,
)
@pytest.mark.timeout(20)
def test_damaged_volumes_are_given_back_like_lost_ones(archive: Archive, damage: dict[int, str]) -> None:
    before = contents(archive)
    for number, kind in damage.items():
        file = archive.file(number)
        if kind == "flip":
            flip(file, 5000)
        elif kind == "cut":
            os.truncate(file, 600)
        elif kind == "empty":
            os.truncate(file, 0)
        elif kind == "long":
            os.truncate(file, CAPACITY + 512)
        elif kind == "alien":
            file.write_bytes(bytes(file.stat().st_size))
        else:
            file.unlink()
            if kind == "fifo":
                os.mkfifo(file)
    assert mend(archive.set()) == [archive.file(number).name for number in damage]
    assert contents(archive) == before


def test_a_right_archive_is_left_alone(archive: Archive) -> None:
    before = {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()}
    assert mend(archive.set()) == []
    assert {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()} == before


def test_without_any_sum_file_of_a_volume_damage_is_found_and_repaired_all_the_same(archive: Archive) -> None:
    before = contents(archive)
    for number in range(1, 13):
        (archive.path / f"a-{number:04}.sum.json").unlink()
    flip(archive.file(2), 3000)
    archive.file(11).unlink()
    mend(archive.set())
    assert archive.file(2).read_bytes() == before["a-0002.tar"]
    assert archive.file(11).read_bytes() == before["a-0011.tar"]


def test_a_sum_file_that_lies_about_a_right_volume_spends_no_parity(archive: Archive) -> None:
    before = contents(archive)
    for number in (3, 9):
        sums = archive.path / f"a-{number:04}.sum.json"
        right = Digest.of(archive.file(number).read_bytes()).encoded.encode()
        sums.write_bytes(sums.read_bytes().replace(right, b"0" * 64))
    for number in (1, 12):
        archive.file(number).unlink()
    assert mend(archive.set()) == ["a-0001.tar", "a-0012.tar"]
    for number in (1, 12):
        assert archive.file(number).read_bytes() == before[f"a-{number:04}.tar"]


@pytest.mark.parametrize("lost", [(1, 2, 3), (1, 12, "p01"), (5, "p01", "p02")], ids=str)
def test_too_many_are_told_and_nothing_is_changed(archive: Archive, lost: tuple[int | str, ...]) -> None:
    for name in lost:
        (archive.path / (f"a-{name}.parity" if isinstance(name, str) else archive.file(name).name)).unlink()
    before = contents(archive)
    volumes = archive.set()
    with pytest.raises(MissingError) as raised:
        mend(volumes)
    assert "any 1 more of them" in str(raised.value.hint)
    assert contents(archive) == before
    parity = sum(name.startswith("a-p") and name.endswith("parity") for name in before)
    assert lacking(volumes, 2, parity) == 1


def test_parity_that_is_damaged_itself_counts_as_lost(archive: Archive) -> None:
    flip(archive.path / "a-p01.parity", 100)
    archive.file(4).unlink()
    assert mend(archive.set()) == ["a-0004.tar"]
    assert archive.file(4).read_bytes() == archive.bytes_of(4)


def test_parity_of_other_bytes_gives_nothing_back_and_the_damaged_volume_stays(archive: Archive) -> None:
    """Somebody made a sum file for it: that is nobody's word."""
    flip(archive.file(4), 5000)
    for number in (1, 2):
        parity = archive.path / f"a-p{number:02}.parity"
        flip(parity, 1)
        stated = VolumeSum.from_bytes((archive.path / f"a-p{number:02}.sum.json").read_bytes(), origin="x")
        forged = VolumeSum(
            archive=stated.archive,
            volume=number,
            name=stated.name,
            size=stated.size,
            sha256=Digest.of(parity.read_bytes()),
        )
        (archive.path / f"a-p{number:02}.sum.json").write_bytes(forged.to_bytes())
    before = contents(archive)
    with pytest.raises(ContentError, match="was rebuilt, and") as raised:
        mend(archive.set())
    assert "do not belong" in str(raised.value.hint)
    assert contents(archive) == before


def test_repaired_volumes_go_where_there_is_room_when_the_medium_cannot_be_written(
    archive: Archive, tmp_path: Path
) -> None:
    second = Folder(tmp_path / "second")
    second.make()
    archive.file(2).unlink()
    volumes = archive.set(second)
    mend(volumes, second)
    assert (second.path / "a-0002.tar").read_bytes() == archive.bytes_of(2)
    assert not archive.file(2).exists()
    assert volumes.problems() == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_ends_the_repair_and_leaves_nothing_behind(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    flip(archive.file(4), 5000)
    before = contents(archive)
    volumes = archive.set()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(StoreError, match="No space left"):
            mend(volumes)
    assert contents(archive) == before
    mend(archive.set())
    assert archive.file(4).read_bytes() == archive.bytes_of(4)


def test_a_cancelled_repair_leaves_nothing_behind(archive: Archive) -> None:
    archive.file(4).unlink()
    before = contents(archive)
    cancelled = Event()
    with pytest.raises(InterruptError):
        repair(archive.set(), 2, archive.folder, progress=lambda _: cancelled.set(), cancelled=cancelled)
    assert contents(archive) == before


def test_parity_that_is_there_and_right_is_not_written_again(archive: Archive) -> None:
    before = {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()}
    found = write_parity(archive.set(), archive.folder, 2, progress=lambda _: None, cancelled=Event())
    assert [item.name for item in found] == ["a-p01.parity", "a-p02.parity"]
    assert {name: (archive.path / name).stat().st_mtime_ns for name in archive.names()} == before


@pytest.mark.parametrize("what", ["flip", "gone", "no sum"])
def test_parity_that_is_not_right_is_written_again(archive: Archive, what: str) -> None:
    before = contents(archive)
    if what == "flip":
        flip(archive.path / "a-p02.parity", 7)
    else:
        (archive.path / ("a-p02.parity" if what == "gone" else "a-p02.sum.json")).unlink()
    write_parity(archive.set(), archive.folder, 2, progress=lambda _: None, cancelled=Event())
    assert contents(archive) == before


def test_parity_needs_all_volumes(archive: Archive) -> None:
    archive.file(3).unlink()
    (archive.path / "a-p01.parity").unlink()
    with pytest.raises(ContentError, match="needs all volumes"):
        write_parity(archive.set(), archive.folder, 2, progress=lambda _: None, cancelled=Event())


def test_parity_is_a_function_of_the_volumes_and_of_how_many_there_are(pristine: Archive, tmp_path: Path) -> None:
    more = made(tmp_path / "more", parity=4)
    for number in (1, 2):
        name = f"a-p{number:02}.parity"
        assert (more.path / name).read_bytes() == (pristine.path / name).read_bytes()
    lost = list(itertools.islice(itertools.combinations(range(1, 13), 4), 0, None, 99))
    for numbers in lost:
        for number in numbers:
            more.file(number).unlink()
        mend(more.set(), parity=4)
        assert all(more.file(number).read_bytes() == more.bytes_of(number) for number in numbers)


def test_what_was_repaired_into_another_folder_is_what_is_read(archive: Archive, tmp_path: Path) -> None:
    flip(archive.file(2), 5000)
    other = Folder(tmp_path / "writable")
    other.make()
    volumes = archive.set(other)
    assert mend(volumes, other) == [archive.file(2).name]
    assert volumes.path(archive.volumes[1]) == other.path / archive.file(2).name
    assert [archive.read(number, volumes) for number in range(len(archive.members))] == archive.contents

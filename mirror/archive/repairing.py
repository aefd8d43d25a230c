"""Parity volumes of an archive: written beside its volumes, and used to give lost ones back (ADR 4)."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bundlectl.errors import ContentError
from mirror.archive.checking import check_blob, check_file, check_parity, check_volumes
from mirror.archive.output import PARTIAL_SUFFIX
from mirror.archive.parity import encode_parity, rebuild, shortfall
from mirror.archive.sums import VolumeSum, parity_name, sum_name, volume_name
from mirror.filesystem import mapped_errors, write_all
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from threading import Event

    from mirror.archive.folder import Folder
    from mirror.archive.parity import ReadAt
    from mirror.archive.plan import Volume
    from mirror.archive.reading import VolumeSet

__all__ = ["lacking", "repair", "write_parity"]


class _Sink:
    """Takes the bytes of a file, and gives the file its name once it is whole and on the medium."""

    def __init__(self, folder: Folder, name: str, stack: ExitStack) -> None:
        self.name = name
        self.size = 0
        self._folder = folder
        self._hasher = hashlib.sha256()
        self.path = folder.path / f"{name.rpartition('.')[0]}{PARTIAL_SUFFIX}"
        with mapped_errors(self.path, action="write"):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        stack.callback(self._close)

    def write(self, data: bytes) -> None:
        write_all(self._descriptor, data)
        self._hasher.update(data)
        self.size += len(data)

    def finish(self, archive: str, number: int) -> VolumeSum:
        with mapped_errors(self.path, action="write"):
            os.fsync(self._descriptor)
        sha256 = Digest("sha256", self._hasher.hexdigest())
        return VolumeSum(archive=archive, volume=number, name=self.name, size=self.size, sha256=sha256)

    def name_it(self, found: VolumeSum) -> None:
        self._folder.give_name(self.path, found)

    def _close(self) -> None:
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)


def write_parity(
    volumes: VolumeSet, folder: Folder, count: int, *, progress: Callable[[int], object], cancelled: Event
) -> list[VolumeSum]:
    """Write the parity volumes of an archive whose volumes are all there, unless those are there as well.

    Args:
        volumes: of the archive.
        folder: where to.
        count: how many.
        progress: told of bytes of parity that were written.
        cancelled: ends the work when set.

    Raises:
        ContentError, StoreError: a volume cannot be read, or the folder cannot be written.
        InterruptError: cancelled.
    """
    names = [parity_name(volumes.name, number) for number in range(1, count + 1)]
    right = check_parity(volumes, count, progress=lambda _: None, cancelled=cancelled)
    there = [folder.read_sum(sum_name(names[number - 1])) for number in right]
    if len(there) == count:
        return [found for found in there if found is not None]
    with ExitStack() as stack:
        readers = {index: _open(path, stack) for index, path in _paths(volumes, {}).items()}
        if len(readers) != len(volumes.plan.volumes):
            raise ContentError("parity needs all volumes, and some are gone", artifact=volumes.name)
        sinks = [_Sink(folder, name, stack) for name in names]
        encode_parity(
            [readers[index] for index in range(len(readers))],
            [volume.size for volume in volumes.plan.volumes],
            [sink.write for sink in sinks],
            progress=progress,
            cancelled=cancelled,
        )
        found = [sink.finish(volumes.archive, number) for number, sink in enumerate(sinks, start=1)]
        for sink, one in zip(sinks, found, strict=True):
            sink.name_it(one)
    return found


def lacking(volumes: VolumeSet, count: int, parity: int) -> int:
    """How many more volumes must be found before all can be repaired; 0 when they can.

    Args:
        volumes: of the archive, looked at or checked.
        count: parity volumes that there should be.
        parity: of them, those that are there and right.
    """
    k = len(volumes.plan.volumes)
    lost = [problem.number - 1 for problem in volumes.problems()]
    return shortfall(k, count, [*lost, *range(k + parity, k + count)])


def repair(
    volumes: VolumeSet, count: int, folder: Folder, *, progress: Callable[[int], object], cancelled: Event
) -> list[str]:
    """Write lost and damaged volumes again, bit by bit as they were. All others are read and checked first.

    Args:
        volumes: of the archive; then reads from the repaired ones.
        count: parity volumes that the archive was made with.
        folder: where repaired volumes go, in place of damaged ones.
        progress: told of bytes that were read or written.
        cancelled: ends the work when set.

    Returns:
        The names of the repaired volumes.

    Raises:
        MissingError: too many are lost; it says how many more are needed.
        ContentError: what was rebuilt is not what the inventory says.
        StoreError: the folder cannot be written.
        InterruptError: cancelled.
    """
    check_volumes(volumes, progress=progress, cancelled=cancelled)
    k = len(volumes.plan.volumes)
    lost: Sequence[Volume] = [volumes.plan.volumes[problem.number - 1] for problem in volumes.problems()]
    if not lost:
        return []
    parity = check_parity(volumes, count, progress=progress, cancelled=cancelled)
    with ExitStack() as stack:
        paths = _paths(volumes, {k - 1 + number: path for number, path in parity.items()})
        available: dict[int, ReadAt] = {index: _open(path, stack) for index, path in paths.items()}
        sinks = {volume.number: _Sink(folder, volume_name(volumes.name, volume.number), stack) for volume in lost}
        rebuild(
            available,
            [volume.size for volume in volumes.plan.volumes],
            count,
            {number - 1: sink.write for number, sink in sinks.items()},
            progress=progress,
            cancelled=cancelled,
        )
        found = {volume: sinks[volume.number].finish(volumes.archive, volume.number) for volume in lost}
        for volume, stated in found.items():
            # Before it takes the place of a damaged one, of which much may be right.
            _refuse_wrong(volumes, volume, sinks[volume.number].path, stated.sha256, progress, cancelled)
        for volume, stated in found.items():
            sink = sinks[volume.number]
            sink.name_it(
                VolumeSum.of(volumes.plan, volume, archive=volumes.archive, name=sink.name, sha256=stated.sha256)
            )
    for volume in lost:
        # A medium that cannot be written still has the damaged one, which looks no worse.
        volumes.look(volume, first=folder)
        for member in volumes.plan.cut(volume):
            check_blob(volumes, member.digest, cancelled=cancelled, damaged=set())
    if left := volumes.problems():
        raise _alien(left[0].name, left[0].message)
    return [volume_name(volumes.name, volume.number) for volume in lost]


def _refuse_wrong(
    volumes: VolumeSet,
    volume: Volume,
    path: Path,
    sha256: Digest,
    progress: Callable[[int], object],
    cancelled: Event,
) -> None:
    name = volume_name(volumes.name, volume.number)
    wrong, _ = check_file(volumes.plan, volume, path, progress=progress, cancelled=cancelled)
    sums = [folder.read_sum(sum_name(name)) for folder in volumes.folders]
    stated = {item.sha256 for item in sums if item and (item.archive, item.volume) == (volumes.archive, volume.number)}
    if not wrong and stated and sha256 not in stated and volumes.plan.cut(volume):
        wrong = f"is not what {sum_name(name)} says"
    if wrong:
        raise _alien(name, wrong)


def _alien(name: str, message: str) -> ContentError:
    return ContentError(
        f"was rebuilt, and {message}",
        artifact=name,
        hint="the parity volumes do not belong to these volumes: bring the lost ones themselves",
    )


def _paths(volumes: VolumeSet, parity: dict[int, Path]) -> dict[int, Path]:
    whole = [volume for volume in volumes.plan.volumes if volumes.problem(volume) is None]
    return {volume.number - 1: path for volume in whole if (path := volumes.path(volume)) is not None} | parity


def _open(path: Path, stack: ExitStack) -> ReadAt:
    with mapped_errors(path, action="read"):
        file = stack.enter_context(path.open("rb", buffering=0))

    def read_at(offset: int, size: int) -> bytes:
        data = os.pread(file.fileno(), size, offset)
        while data and len(data) < size:
            more = os.pread(file.fileno(), size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    return read_at

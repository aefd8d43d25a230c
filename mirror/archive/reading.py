"""Reading an archive anywhere, without unpacking it and without parsing the tar (ADR 4)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.archive.plan import BLOCK
from mirror.archive.plan import Literal as Stated
from mirror.archive.sums import sum_name, volume_name
from mirror.filesystem import mapped_errors, open_regular
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.archive.folder import Folder
    from mirror.archive.plan import ArchivePlan, Volume
    from mirror.archive.sums import VolumeSum
    from mirror.oci.digest import Digest

__all__ = ["StretchReader", "VolumeProblem", "VolumeSet"]

_READ: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class VolumeProblem:
    """A volume that cannot be read as it should: its file's name, and why."""

    number: int
    name: str
    kind: Literal["missing", "damaged"]
    message: str


class VolumeSet:
    """The volumes of an archive, wherever they lie. Thread-safe.

    Args:
        plan: of the archive.
        folders: where volumes are looked for, in this order.
        name: of the archive.
        archive: what sum files name it by.
    """

    def __init__(self, plan: ArchivePlan, folders: Sequence[Folder], *, name: str, archive: str) -> None:
        self.plan = plan
        self.name = name
        self.archive = archive
        self.folders = tuple(folders)
        self._lock = Lock()
        self._paths: dict[int, tuple[Path, int]] = {}
        self._problems: dict[int, VolumeProblem] = {}
        for volume in plan.volumes:
            self.look(volume)

    def problems(self) -> list[VolumeProblem]:
        """The volumes that are missing, cut or of another archive, and those that turned out to be damaged."""
        with self._lock:
            return [self._problems[number] for number in sorted(self._problems)]

    def path(self, volume: Volume) -> Path | None:
        """The file of a volume, whole or not; None when it cannot be read at all."""
        with self._lock:
            return self._paths.get(volume.number, (None, 0))[0]

    def problem(self, volume: Volume) -> VolumeProblem | None:
        """What is the matter with a volume, as far as it was looked at."""
        with self._lock:
            return self._problems.get(volume.number)

    def look(self, volume: Volume, *, first: Folder | None = None) -> VolumeProblem | None:
        """Look for a volume (again): whether it is there, has its size, and begins as it must.

        Args:
            volume: which.
            first: of the folders, where to look before the others.

        Returns:
            What is the matter with it, if anything.
        """
        name = volume_name(self.name, volume.number)
        found: tuple[Path, int] | None = None
        problem: VolumeProblem | None = VolumeProblem(volume.number, name, "missing", "is not there")
        for folder in sorted(self.folders, key=lambda item: item is not first):
            try:
                size = folder.size(name)
                if size is None:
                    continue
                seen, is_ours = self._judge(volume, folder, size)
            except (ContentError, MissingError, StoreError) as error:
                seen, is_ours, size = VolumeProblem(volume.number, name, "damaged", error.message), False, 0
            if seen is None or found is None:
                problem = seen
                found = (folder.path / name, size) if is_ours else None
            if seen is None:
                break
        with self._lock:
            self._paths.pop(volume.number, None)
            self._problems.pop(volume.number, None)
            if found is not None:
                self._paths[volume.number] = found
            if problem is not None:
                self._problems[volume.number] = problem
        return problem

    def _judge(self, volume: Volume, folder: Folder, size: int) -> tuple[VolumeProblem | None, bool]:
        """What can be told of a file of the right name without reading it, and whether anything of it is of use."""
        name = volume_name(self.name, volume.number)
        stated = folder.read_sum(sum_name(name))
        if stated is not None and stated.archive != self.archive:
            return VolumeProblem(volume.number, name, "damaged", "belongs to another export"), False
        first = next(iter(self.plan.pieces(volume.start, volume.end)), None)
        if isinstance(first, Stated):
            descriptor, _ = open_regular(folder.path / name, artifact=name)
            try:
                with mapped_errors(folder.path / name, action="read"):
                    begins = os.read(descriptor, min(len(first.data), BLOCK))
            finally:
                os.close(descriptor)
            if begins != first.data[:BLOCK]:
                told = VolumeProblem(volume.number, name, "damaged", "does not begin as it should")
                return told, stated is not None
        if size != volume.size:
            told = VolumeProblem(volume.number, name, "damaged", f"has {size:,} of {volume.size:,} bytes")
            return told, True
        return None, True

    def stated(self, volume: Volume) -> VolumeSum | None:
        """What the sum file beside a volume says of it; None where there is none of this archive."""
        path = self.path(volume)
        folder = next((item for item in self.folders if path is not None and item.path == path.parent), None)
        found = folder.read_sum(sum_name(volume_name(self.name, volume.number))) if folder else None
        return found if found is not None and (found.archive, found.volume) == (self.archive, volume.number) else None

    def condemn(self, volume: Volume, message: str) -> VolumeProblem:
        """Enter that a volume turned out to be damaged. What of it is right can be read all the same."""
        problem = VolumeProblem(volume.number, volume_name(self.name, volume.number), "damaged", message)
        with self._lock:
            self._problems[volume.number] = problem
        return problem

    def missing(self, offset: int, size: int) -> list[VolumeProblem]:
        """Why a stretch of the tar cannot be read: the volumes that are not there, or end before it does."""
        found = []
        with self._lock:
            for volume in self.plan.volumes_of(offset, size):
                _, there = self._paths.get(volume.number, (None, 0))
                if min(offset + size, volume.end) > volume.start + there or not there:
                    found.append(self._problems[volume.number])
        return found

    def open(self, offset: int, size: int, *, artifact: str) -> StretchReader:
        """Read a stretch of the tar.

        Args:
            offset: where it begins in the tar.
            size: bytes.
            artifact: what it is, for messages.

        Raises:
            MissingError: a volume of it is missing or damaged.
        """
        lost = self.missing(offset, size)
        if lost:
            raise MissingError(
                f"lies in {', '.join(item.name for item in lost)}, which {lost[0].message}",
                artifact=artifact,
                hint="bring that volume, and run the same command again",
            )
        return StretchReader(self, offset, size, artifact=artifact)

    def locate(self, digest: Digest) -> tuple[int, int] | None:
        """Where a blob lies in the tar, and its bytes; None when it is not in the archive."""
        return self.plan.locate(digest)


class StretchReader(Closing):
    """A `BlobReader` over a stretch of the tar, over as many volumes as it lies in; `FileBacked` while in one."""

    def __init__(self, volumes: VolumeSet, offset: int, size: int, *, artifact: str) -> None:
        self._volumes = volumes
        self._position = offset
        self._end = offset + size
        self._artifact = artifact
        self._volume: Volume | None = None
        self._descriptor = -1
        self._path: Path | None = None

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, all that is left when negative; ``b""`` at the end.

        Raises:
            MissingError: a volume is gone meanwhile.
            ContentError: a volume ends early.
            StoreError: the medium reports an error.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_READ), b""))
        if self._position >= self._end or not size:
            return b""
        volume = self._enter()
        with mapped_errors(self._path or "", action="read"):
            data = os.read(self._descriptor, min(size, self._end - self._position, volume.end - self._position))
        if not data:
            name = volume_name(self._volumes.name, volume.number)
            raise ContentError(f"{name} ends early", artifact=self._artifact, hint="bring a whole copy of that volume")
        self._position += len(data)
        return data

    @property
    def file(self) -> int | None:
        """The open volume, which stands where the reader stands, if it has all that is left; else None."""
        if self._position >= self._end:
            return None
        volume = self._enter()
        return self._descriptor if self._end <= volume.end else None

    def passed(self, count: int) -> None:
        """Take note of what was sent from the volume without being read."""
        self._position += count

    def _enter(self) -> Volume:
        volume = self._volume
        if volume is not None and volume.start <= self._position < volume.end:
            return volume
        self.close()
        (volume,) = self._volumes.plan.volumes_of(self._position, 1)
        path = self._volumes.path(volume)
        if path is None:
            raise MissingError("its volume is gone", artifact=self._artifact, hint="run the same command again")
        self._descriptor, _ = open_regular(path, artifact=path.name)
        self._volume, self._path = volume, path
        with mapped_errors(path, action="read"):
            os.lseek(self._descriptor, self._position - volume.start, os.SEEK_SET)
        return volume

    def close(self) -> None:
        """Close the volume; harmless when repeated."""
        descriptor, self._descriptor, self._volume = self._descriptor, -1, None
        if descriptor >= 0:
            os.close(descriptor)

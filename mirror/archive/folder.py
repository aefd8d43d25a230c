"""A folder with (a part of) an archive: small files, read without trust and written whole."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.archive.sums import VolumeSum, sum_name
from mirror.filesystem import fsync_directory, mapped_errors, read_small, regular_size, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SUM_LIMIT", "TOOL_FOLDER", "Folder"]

TOOL_FOLDER: Final = "tool"
"""Where bundlectl itself lies."""

SUM_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of a sum file; a volume of 100,000 members has one of 18 MB."""


_TEMPORARY: Final = re.compile(r"(?:SHA256SUMS|.+\.json)\.[0-9a-f]{16}")
"""What `write_atomically` calls what it has not finished."""


class Folder:
    """A folder on a medium.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            StoreError: it cannot be made.
        """
        with mapped_errors(self.path, action="make"):
            self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other exports out of the folder.

        Raises:
            StoreError: another one is at it, or there is no such folder.
        """
        with mapped_errors(self.path, action="open"):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    "another export writes into it", artifact=str(self.path), hint="let that one finish first"
                ) from error
            except OSError:
                pass  # a file system without locks: its user has to see to it
            yield
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """Names of all regular files in it, sorted.

        Raises:
            StoreError: it cannot be read.
        """
        with mapped_errors(self.path, action="read"):
            entries = list(os.scandir(self.path)) if self.path.is_dir() else []
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))

    def taken(self) -> list[str]:
        """Paths of what somebody who follows the manual unpacks with the volumes or installs as the tool, sorted.

        Not what is hidden: no pattern of a shell takes it, and computers of Apple leave such files everywhere.

        Raises:
            StoreError: it cannot be read.
        """
        tool = self.path / TOOL_FOLDER
        with mapped_errors(self.path, action="read"):
            found = [*self.path.glob("*.tar*"), *(tool.iterdir() if tool.is_dir() else ())]
        return sorted(path.relative_to(self.path).as_posix() for path in found if not path.name.startswith("."))

    def size(self, name: str) -> int | None:
        """Bytes of a file; None when there is none.

        Raises:
            StoreError: the medium does not allow to look.
        """
        return regular_size(self.path / name)

    def read(self, name: str, *, limit: int) -> bytes:
        """Read a small file.

        Raises:
            MissingError: there is none.
            ContentError: no regular file, or larger than ``limit`` bytes.
            StoreError: the medium does not give it.
        """
        if self.size(name) is None:
            raise MissingError("is not there", artifact=str(self.path / name), hint="copy the whole folder")
        return read_small(self.path / name, limit=limit, artifact=str(self.path / name))

    def write(self, name: str, data: bytes | Iterator[bytes]) -> None:
        """Write a file, whole or not at all.

        Raises:
            StoreError: it cannot be written.
            BundlectlError: what ``data`` raises.
        """
        write_atomically(self.path / name, data, scratch=self.path)

    def sweep(self) -> None:
        """Remove what a run that was killed left of small files that it wrote; nobody else may write meanwhile.

        Raises:
            StoreError: the folder cannot be read, or something cannot be removed.
        """
        for name in self.names():
            if _TEMPORARY.fullmatch(name):
                self.remove(name)

    def read_sum(self, name: str) -> VolumeSum | None:
        """What a sum file says; None when there is none that can be read."""
        try:
            return VolumeSum.from_bytes(self.read(name, limit=SUM_LIMIT), origin=name)
        except (ContentError, MissingError, StoreError):
            return None

    def give_name(self, written: Path, found: VolumeSum) -> None:
        """Give a volume that is on the medium its name, and write its sum file.

        What lay there before goes first, and the name comes last: a sum file never vouches for other bytes.

        Args:
            written: the volume, in this folder.
            found: what is to be said of it.

        Raises:
            StoreError: the medium is full, or refuses.
        """
        self.remove(found.name)
        self.write(sum_name(found.name), found.to_bytes())
        with mapped_errors(written, action="rename"):
            written.rename(self.path / found.name)
            fsync_directory(self.path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            StoreError: it cannot be removed.
        """
        with mapped_errors(self.path / name, action="remove"):
            (self.path / name).unlink(missing_ok=True)

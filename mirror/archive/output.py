"""A volume that is being written, under a name that no reader takes for a volume."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from mirror.archive.plan import Literal
from mirror.archive.sums import VolumeSum
from mirror.filesystem import mapped_errors, write_all
from mirror.oci.closing import Closing
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash

    from mirror.archive.folder import Folder
    from mirror.archive.plan import ArchivePlan, Piece, Volume

__all__ = ["PARTIAL_SUFFIX", "PartialVolume"]

PARTIAL_SUFFIX: Final = ".partial"
_CHUNK: Final = 1024 * 1024
_FLUSH: Final = 64 * 1024 * 1024
"""Bytes after which what is written is sent to the medium, so that its end need not wait for all of it."""


class PartialVolume(Closing):
    """Takes the bytes of a volume from its beginning to its end.

    Args:
        plan: of the archive.
        volume: which.
        folder: where.
        name: the file that it will be.
        archive: names the archive in the sum file.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, plan: ArchivePlan, volume: Volume, folder: Folder, *, name: str, archive: str) -> None:
        self.volume = volume
        self.position = volume.start
        """Where in the tar the next byte goes."""
        self._plan = plan
        self._folder = folder
        self._name = name
        self._archive = archive
        self._hasher: _Hash = hashlib.sha256()
        self._unflushed = 0
        self._path = folder.path / f"{name.rpartition('.')[0]}{PARTIAL_SUFFIX}"
        with mapped_errors(self._path, action="write"):
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def resume(self, check: Callable[[], None]) -> int:
        """Find out how much of what an earlier run left is right, by reading it; the rest is cut off.

        Args:
            check: called now and then, to raise when the work should end.

        Returns:
            Where in the tar to go on.

        Raises:
            StoreError: the file cannot be read or cut.
        """
        with mapped_errors(self._path, action="read"):
            held = min(os.fstat(self._descriptor).st_size, self.volume.size)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            for piece in self._plan.pieces(self.volume.start, self.volume.start + held):
                hasher = self._hasher.copy()
                size = self._matching(piece, hasher, check)
                if size is None:
                    break
                self._hasher = hasher
                self.position = piece.offset + size
            os.ftruncate(self._descriptor, self.position - self.volume.start)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        return self.position

    def _matching(self, piece: Piece, hasher: _Hash, check: Callable[[], None]) -> int | None:
        """The bytes of a piece if they are all here and right; None when they are not, or that cannot be told."""
        if isinstance(piece, Literal):
            data = os.read(self._descriptor, len(piece.data))
            hasher.update(data)
            return len(data) if data == piece.data else None
        if piece.size != piece.member.size:
            return None
        own, left = piece.member.digest.hasher(), piece.size
        while left and (data := os.read(self._descriptor, min(left, _CHUNK))):
            check()
            own.update(data)
            hasher.update(data)
            left -= len(data)
        return piece.size if own.hexdigest() == piece.member.digest.encoded else None

    def add(self, chunk: bytes) -> None:
        """Write what comes next.

        Raises:
            StoreError: the medium is full, or refuses.
        """
        with mapped_errors(self._path, action="write"):
            write_all(self._descriptor, chunk)
            self._unflushed += len(chunk)
            if self._unflushed >= _FLUSH:
                os.fdatasync(self._descriptor)
                self._unflushed = 0
        self._hasher.update(chunk)
        self.position += len(chunk)

    def sync(self) -> None:
        """Bring all of it to the medium, and close the file.

        Raises:
            StoreError: the medium is full, or refuses.
        """
        with mapped_errors(self._path, action="write"):
            os.ftruncate(self._descriptor, self.volume.size)
            os.fsync(self._descriptor)
        self.close()

    def finish(self) -> VolumeSum:
        """Write the sum file of a volume that is on the medium, and give it its name.

        Raises:
            StoreError: the medium is full, or refuses.
        """
        found = VolumeSum.of(
            self._plan,
            self.volume,
            archive=self._archive,
            name=self._name,
            sha256=Digest("sha256", self._hasher.hexdigest()),
        )
        self._folder.give_name(self._path, found)
        return found

    def abandon(self) -> None:
        """Remove what was written.

        Raises:
            StoreError: it cannot be removed.
        """
        self.close()
        with mapped_errors(self._path, action="remove"):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is written stays for the next run."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

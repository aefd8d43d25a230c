"""A folder that files are written into: each whole or not at all, and never outside of it.

No link below the folder is followed, whoever put it there. What is being written has a name of its own in
``.bundlectl-partial``, which is emptied when the folder is opened and gone when all is done.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import ExitStack, contextmanager, suppress
from threading import Condition
from typing import TYPE_CHECKING, Final

from bundlectl.errors import StoreError, UsageError
from mirror.filesystem import BLOCK, FileReader, store_error, write_all
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mirror.oci.repository import BlobReader

__all__ = ["FileTree"]

_SCRATCH: Final = ".bundlectl-partial"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IN_THE_WAY: Final = frozenset({errno.EEXIST, errno.ELOOP, errno.ENOTDIR})
_PATIENCE: Final = 10.0
"""Seconds that threads of a run that was stopped get to notice it."""


class FileTree(Closing):
    """Writes files below a folder, which is made where it is not there. Safe to share between threads.

    Raises:
        UsageError: the folder is a store, or another run is writing there.
        StoreError: it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._root = self._scratch = -1
        self._writing = 0
        self._settled = Condition()
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise

    def _open(self) -> None:
        with self._mapped():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self._directory, _FOLDER)
            self._stack.callback(os.close, self._root)
            try:
                fcntl.flock(self._root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    "another run is writing there", artifact=str(self._directory), hint="wait until it has ended"
                ) from error
            except OSError:
                # Some network file systems lock no folders; the names of two runs differ all the same.
                pass
        marker = self.open(("oci-layout",))
        if marker is not None:
            marker.close()
            raise UsageError(
                "is a store, which files are not written into",
                artifact=str(self._directory),
                hint="give another folder with --to",
            )
        with self._mapped(_SCRATCH):
            self._scratch = _descend(self._root, _SCRATCH, make=True)
            self._stack.callback(os.close, self._scratch)
            self._empty()

    def open(self, place: Sequence[str]) -> FileReader | None:
        """Open a file below the folder; None where there is none, or something else by that name."""
        *folders, name = place
        try:
            with self._folder(folders) as folder:
                # Without O_NONBLOCK opening a FIFO would wait for a writer.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=folder)
        except OSError:
            return None  # writing will say what is wrong
        found = os.fstat(descriptor)
        reader = FileReader(descriptor, found.st_size, self._directory.joinpath(*place))
        if stat.S_ISREG(found.st_mode):
            return reader
        reader.close()
        return None

    def write(self, place: Sequence[str], source: BlobReader) -> None:
        """Write a file, replacing what has its name, a link among the rest.

        Args:
            place: folders below the folder, and the name; each checked (``bundles.file_places``).
            source: read to its end; what it raises leaves everything as it was.

        Raises:
            StoreError: the disk is full, or refuses; or a link or a file is where a folder should be.
        """
        with self._settled:
            self._writing += 1
        try:
            self._write(place, source)
        finally:
            with self._settled:
                self._writing -= 1
                self._settled.notify_all()

    def _write(self, place: Sequence[str], source: BlobReader) -> None:
        *folders, name = place
        temporary = secrets.token_hex(16)
        shown = "/".join(place)
        with self._mapped(shown):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o644, dir_fd=self._scratch)
        try:
            try:
                while block := source.read(BLOCK):
                    with self._mapped(shown):
                        write_all(descriptor, block)
                with self._mapped(shown):
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            with self._mapped(shown), self._folder(folders, make=True) as folder:
                os.rename(temporary, name, src_dir_fd=self._scratch, dst_dir_fd=folder)
                _sync(folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=self._scratch)
            raise

    def remove(self, place: Sequence[str]) -> None:
        """Remove a file (or link) below the folder, if it is there.

        Raises:
            StoreError: the disk refuses.
        """
        *folders, name = place
        with self._mapped("/".join(place)), suppress(FileNotFoundError), self._folder(folders) as folder:
            os.unlink(name, dir_fd=folder)
            _sync(folder)

    def close(self) -> None:
        """Let go of the folder; harmless when repeated."""
        with self._settled:
            # A thread that is still writing must not find its descriptors to be those of something else.
            if self._root < 0 or not self._settled.wait_for(lambda: not self._writing, _PATIENCE):
                return
        root, self._root = self._root, -1
        with suppress(OSError):
            os.rmdir(_SCRATCH, dir_fd=root)
        self._stack.close()

    @contextmanager
    def _folder(self, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
        """Open a folder below the folder; ``make`` it where it is not there."""
        with ExitStack() as stack:
            at = self._root
            for name in names:
                at = _descend(at, name, make=make)
                stack.callback(os.close, at)
            yield at

    def _empty(self) -> None:
        for name in os.listdir(self._scratch):  # noqa: PTH208 -- of an open folder
            os.unlink(name, dir_fd=self._scratch)

    @contextmanager
    def _mapped(self, below: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = f"{self._directory}/{below}" if below else str(self._directory)
            if error.errno in _IN_THE_WAY:
                raise StoreError(
                    "a link, or a file, is in the way of a folder",
                    artifact=path,
                    hint="remove it, or use a fresh folder",
                ) from error
            raise store_error(error, path, action="write") from error


def _descend(at: int, name: str, *, make: bool) -> int:
    """Open a folder in an open one, never through a link."""
    if make:
        try:
            os.mkdir(name, 0o755, dir_fd=at)
        except FileExistsError:
            pass
        else:
            _sync(at)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=at)


def _sync(folder: int) -> None:
    try:
        os.fsync(folder)
    except OSError as error:
        # Some file systems (FUSE, vfat on old kernels) cannot sync a folder, and say so.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise

"""Files, written so that a power cut leaves either the old one or the new one, and read without trust.

Errors of the operating system become `StoreError` here, with what to do about them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "BLOCK",
    "FileReader",
    "fsync_directory",
    "locked",
    "mapped_errors",
    "open_regular",
    "read_small",
    "regular_size",
    "store_error",
    "write_all",
    "write_atomically",
]

BLOCK: Final = 1024 * 1024
"""Bytes read or written at once: large enough that system calls cost nothing beside the hashing."""

_HINTS: Final = {
    errno.ENOSPC: "free some space and run the same command again: it resumes",
    errno.EDQUOT: "free some space within the quota and run the same command again: it resumes",
    errno.EROFS: "the file system is mounted read-only: remount it, or use another disk",
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EIO: "the disk reports errors: check it (dmesg, smartctl), then run `bundlectl store verify`",
    errno.EFBIG: "the file system or a limit (ulimit -f) does not allow files of this size: use another disk",
    errno.EMFILE: "raise the limit of open files (ulimit -n) or lower --jobs",
    errno.ENFILE: "the machine has too many files open: close programs or raise fs.file-max",
    errno.EAGAIN: "another run is at it: let that one finish, and run the same command again",
    errno.ENOLCK: "this file system has no locks: mount it with locking, or use a local disk",
    errno.EXDEV: "all of it must lie in one file system",
    errno.ESTALE: "the network file system lost the file: remount it and run the same command again",
}


def store_error(error: OSError, path: Path | str, *, action: str = "use") -> StoreError:
    """Tell an error of the operating system as an error of the store.

    Args:
        error: what the operating system said.
        path: what it said it about.
        action: the verb of the sentence ("read", "write").
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StoreError(
        f"cannot {action} it: {reason}",
        artifact=str(path),
        hint=_HINTS.get(error.errno or 0, "check the disk and the rights"),
    )


@contextmanager
def mapped_errors(path: Path | str, *, action: str = "use") -> Iterator[None]:
    """Map every `OSError` of the block to a `StoreError` about ``path``."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path, action=action) from error


def fsync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut.

    Raises:
        OSError: the directory could not be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems (FUSE, vfat on old kernels) cannot sync a directory, and say so with EINVAL.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data`` at the file's position.

    Raises:
        OSError: the write failed; part of the data may be written.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_atomically(path: Path, data: bytes | Iterator[bytes], *, scratch: Path) -> None:
    """Put ``data`` at ``path``: temporary name in ``scratch``, fsync, rename, fsync of the directory.

    Raises:
        StoreError: the disk is full, or refuses; ``path`` is as it was.
        BundlectlError: what ``data`` raises; ``path`` is as it was.
    """
    temporary = scratch / f"{path.name[:100]}.{secrets.token_hex(8)}"
    with mapped_errors(path, action="write"):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        try:
            try:
                for block in (data,) if isinstance(data, bytes) else data:
                    write_all(descriptor, block)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(path.parent)


def regular_size(path: Path) -> int | None:
    """The size in bytes of a regular file; None when there is none, or something else by that name.

    Raises:
        StoreError: the disk or the rights do not allow to look.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise store_error(error, path, action="read") from error
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def open_regular(path: Path, *, artifact: str) -> tuple[int, int]:
    """Open a regular file for reading without following a link.

    Returns:
        The file descriptor, which the caller closes, and the size in bytes.

    Raises:
        MissingError: there is no such file.
        ContentError: it is a link, a directory, a device.
        StoreError: the disk or the rights do not allow to read it.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO that was put there would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(
            "is not in the store", artifact=artifact, hint="run the download that brings it again"
        ) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _not_regular(path, artifact) from error
        raise store_error(error, path, action="read") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise _not_regular(path, artifact)
    return descriptor, found.st_size


def read_small(path: Path, *, limit: int, artifact: str) -> bytes:
    """Read a whole regular file of at most ``limit`` bytes.

    Raises:
        MissingError, ContentError, StoreError: see `open_regular`; ContentError also when it is larger.
    """
    descriptor, size = open_regular(path, artifact=artifact)
    data = b""
    with FileReader(descriptor, size, path) as reader:
        while len(data) <= limit and (block := reader.read(limit + 1 - len(data))):
            data += block
    if len(data) > limit:
        raise ContentError(f"has more than the {limit} bytes that are read", artifact=artifact)
    return data


def _not_regular(path: Path, artifact: str) -> ContentError:
    return ContentError(
        f"{path} is not a regular file", artifact=artifact, hint="remove it and run the download that brings it again"
    )


class FileReader(Closing):
    """A `BlobReader` over an open file; ``fileno`` and ``size`` (of the whole file) serve sendfile."""

    def __init__(self, descriptor: int, size: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.size = size

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, all that is left when negative; ``b""`` at the end.

        Raises:
            StoreError: the disk reports an error.
        """
        with mapped_errors(self._path, action="read"):
            if size >= 0:
                return os.read(self._descriptor, size)
            blocks = []
            while block := os.read(self._descriptor, BLOCK):
                blocks.append(block)
            return b"".join(blocks)

    @property
    def file(self) -> int | None:
        """The file descriptor, for sendfile from where the reader stands (``FileBacked``); None once closed."""
        return self._descriptor if self._descriptor >= 0 else None

    def passed(self, count: int) -> None:
        """Nothing: the file's position is the reader's."""

    def fileno(self) -> int:
        """The file descriptor, for sendfile; the reader keeps owning it."""
        return self._descriptor

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[int]:
    """Hold the ``flock`` of a file, created when absent; yields its open descriptor.

    Args:
        path: the file.
        shared: others may hold it as well, who say the same.
        wait: for whoever holds it; else that is an error.

    The file is opened anew each time: a lock belongs to an open file, and one that a forked child
    inherited would not keep it out.

    Raises:
        StoreError: the file cannot be opened, or the file system has no locks.
    """
    with mapped_errors(path, action="lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        with mapped_errors(path, action="lock"):
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)

"""Leases: how a run that fetches for hours keeps `gc` from what it has fetched and not named yet (ADR 1)."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lease", "oldest_lease"]


class Lease:
    """A locked file that says since when its process has been fetching. Thread-safe.

    The kernel frees the lock when the process dies; `oldest_lease` removes such files.

    Args:
        directory: ``bundlectl/fetching``.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._guard = threading.Lock()
        self._path: Path | None = None
        self._held = -1

    def take(self) -> None:
        """Make the file, if this is the first time.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._guard:
            while self._path is None:
                path = self._directory / secrets.token_hex(16)
                with mapped_errors(path, action="write"):
                    held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
                    fcntl.flock(held, fcntl.LOCK_EX)
                    # Between the two a `gc` may have taken it for one that a dead process left.
                    if path.exists():
                        self._path, self._held = path, held
                    else:
                        os.close(held)

    def release(self) -> None:
        """Remove the file; harmless when there is none."""
        with self._guard:
            path, self._path = self._path, None
            held, self._held = self._held, -1
        if path is not None:
            with suppress(OSError):  # the next `gc` removes it
                path.unlink()
            os.close(held)


def oldest_lease(directory: Path) -> float | None:
    """When the oldest of the leases that are held began, by the clock of the file system; None without any.

    Raises:
        StoreError: the directory cannot be read.
    """
    oldest = None
    with mapped_errors(directory, action="read"):
        paths = list(directory.iterdir()) if directory.is_dir() else []
    for path in paths:
        try:
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # let go since it was listed
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            began = os.fstat(held).st_mtime
            oldest = began if oldest is None else min(oldest, began)
        else:
            with suppress(OSError):
                path.unlink()
        finally:
            os.close(held)
    return oldest

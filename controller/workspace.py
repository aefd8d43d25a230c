"""The folder that a controller works in: nobody else's, and deleted when it ends, or by the next if it was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["workspace"]

_PREFIX: Final = "bundlectl-controller-"
_UNTOUCHED: Final = 60.0
"""Seconds for which a folder is left that nobody holds: it may have been made this moment."""


@contextmanager
def workspace(parent: Path | None = None) -> Iterator[Path]:
    """A folder of mode 0700, as long as this is open. What killed processes of this user left beside it is deleted.

    Args:
        parent: where it is made, the system's folder for temporary files by default.

    Raises:
        StoreError: it cannot be made.
    """
    parent = parent or Path(tempfile.gettempdir())
    with mapped_errors(parent, action="use"):
        for left in parent.glob(f"{_PREFIX}*"):
            _delete_if_left(left)
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
        held = os.open(made.name, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with made:
            yield Path(made.name)
    finally:
        os.close(held)


def _delete_if_left(folder: Path) -> None:
    """Kubeconfigs of other clusters may be in it, and charts: a process that is killed takes nothing with it."""
    with suppress(OSError):  # another user's, or held
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(held)
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _UNTOUCHED:
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(held)

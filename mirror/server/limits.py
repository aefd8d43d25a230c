"""What a client may not exceed, and whether the store can be served at all.

The bounds of single requests (headers, chunks, manifests, pace) are where they are read. These are
about the disk, which all clients share.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.server.message import RefusedError

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.server.message import Request

__all__ = ["Limits", "StoreGuard"]

_GIB: Final = 1024**3
_OPEN_WITHIN: Final = 3600.0
_RETRY: Final = ("Retry-After", "60")
_HEALTH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on uploads.

    Args:
        upload_bytes: the largest blob.
        sessions: uploads open at once; one that got nothing for an hour does not count.
        spare_bytes: what uploads leave free on the disk.
    """

    upload_bytes: int = 256 * _GIB
    sessions: int = 4096
    spare_bytes: int = _GIB // 4


class StoreGuard:
    """Watches the disk under a store.

    Args:
        store: its directory.
        limits: see there.
    """

    def __init__(self, store: Path, limits: Limits) -> None:
        self._store = store
        self._uploads = store / "bundlectl" / "uploads"
        self._limits = limits
        self._lock = threading.Lock()
        self._health: tuple[float, str | None] = (float("-inf"), None)

    def sessions(self) -> int:
        """How many uploads are open."""
        oldest = time.time() - _OPEN_WITHIN
        count = 0
        try:
            with os.scandir(self._uploads) as entries:
                for entry in entries:
                    try:
                        count += entry.stat(follow_symlinks=False).st_mtime > oldest
                    except FileNotFoundError:
                        continue
        except OSError:
            return 0
        return count

    def free_bytes(self) -> int | None:
        """What the disk has left; None when it does not tell."""
        try:
            found = os.statvfs(self._store)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    def admit_upload(self, request: Request, *, opens: bool, arrived: int) -> None:
        """Bound the body of a request that uploads.

        Args:
            request: whose body was not read yet.
            opens: whether it makes another session.
            arrived: bytes that its session has.

        Raises:
            RefusedError: 413, the blob is too large; 429, too many uploads; 507, the disk is full.
        """
        announced = request.header("Content-Length")
        wanted = int(announced) if announced.isdigit() else 0
        self._check_size(arrived + wanted)
        if opens and self.sessions() >= self._limits.sessions:
            raise RefusedError(429, "TOOMANYREQUESTS", "too many uploads are open", headers=[_RETRY])
        if request.parameter("mount") is None:
            self._spare(wanted)

        def watch(received: int) -> None:
            self._check_size(arrived + received)
            self._spare(0)

        request.watch = watch

    def _check_size(self, size: int) -> None:
        if size > self._limits.upload_bytes:
            limit = self._limits.upload_bytes
            raise RefusedError(413, "SIZE_INVALID", f"a blob has at most {limit} bytes in this registry")

    def _spare(self, wanted: int) -> None:
        free = self.free_bytes()
        if free is not None and free - wanted < self._limits.spare_bytes:
            raise RefusedError(507, "UNKNOWN", "the disk of this registry is full", headers=[_RETRY])

    def ailment(self, *, writable: bool) -> str | None:
        """Why the store cannot be served, in a few words; None when it can. Looked at once a second."""
        with self._lock:
            looked, found = self._health
            if time.monotonic() - looked > _HEALTH_SECONDS:
                found = self._look(writable=writable)
                self._health = (time.monotonic(), found)
            return found

    def _look(self, *, writable: bool) -> str | None:
        try:
            os.close(os.open(self._store / "bundlectl" / "refs.log", os.O_RDONLY | os.O_NOFOLLOW))
            if writable:
                probe = self._store / "bundlectl" / "tmp" / f"health-{os.getpid()}"
                file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
                try:
                    os.write(file, b"+")
                finally:
                    os.close(file)
                    probe.unlink()
        except OSError as error:
            return f"the store cannot be {'written' if writable else 'read'}: {os.strerror(error.errno or 0)}"
        return None

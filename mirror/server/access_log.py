"""The access log: one line of JSON for each answered request."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ConfigError
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.server.app import AccessRecord

__all__ = ["AccessLog"]

_LOOK: Final = 1.0
"""Seconds between two looks whether the file was moved away (``logrotate``)."""

_PATH_MAX: Final = 2048
_STDERR: Final = 2


class AccessLog(Closing):
    """Appends to a file, or to standard error. Thread-safe, and safe between processes; a context manager.

    A line is one write, so lines of several processes do not mix. Everything that a client chose is
    JSON text in ASCII: no line break, no escape sequence of a terminal. Credentials are never in it:
    neither headers nor the query are written.

    Args:
        path: of the file, None for standard error.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._looked = 0.0
        self._file = self._open(path) if path else _STDERR

    @staticmethod
    def _open(path: Path) -> int:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise ConfigError(f"cannot write the access log: {error.strerror}", artifact=str(path)) from error

    def __call__(self, record: AccessRecord) -> None:
        """Write a line. A full disk loses it: no request fails because of its log."""
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "id": record.request_id,
                "client": record.client,
                "user": record.user,
                "method": record.method[:20],
                "path": record.path[:_PATH_MAX],
                "status": record.status,
                "received": record.received,
                "sent": record.sent,
                "seconds": round(record.seconds, 6),
            },
            separators=(",", ":"),
        )
        with self._lock, suppress(OSError):
            self._follow()
            os.write(self._file, line.encode() + b"\n")

    def _follow(self) -> None:
        """Open the file anew if it was moved away or removed."""
        now = time.monotonic()
        if self._path is None or now - self._looked < _LOOK:
            return
        self._looked = now
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file), self._path.stat()):
                return
        with suppress(ConfigError):
            fresh = self._open(self._path)
            os.close(self._file)
            self._file = fresh

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._path is not None and self._file >= 0:
                os.close(self._file)
                self._file = -1

"""The time that the made-up Harbor goes by: real time, and as much more as a test says."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

__all__ = ["Clock", "stamp"]


class Clock:
    """Unix seconds. ``advance`` stands for waiting: tokens expire, projects age, blobs become collectable."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` have passed."""
        with self._lock:
            self._ahead += seconds


def stamp(seconds: float) -> str:
    """A time as Harbor's REST API writes it (RFC 3339, milliseconds, UTC)."""
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat(timespec='milliseconds')[:-6]}Z"

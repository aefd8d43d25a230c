"""What every transfer of a client shares: the stop signal and the rate limit."""

from __future__ import annotations

import threading
import time

from bundlectl.errors import InterruptError

__all__ = ["Flow", "RateLimit"]


class Flow:
    """The stop signal of a client. Whoever waits or moves bytes asks it."""

    def __init__(self, limit_rate: int | None = None) -> None:
        self._stopped = threading.Event()
        self.down = RateLimit(limit_rate, self)
        self.up = RateLimit(limit_rate, self)

    @property
    def stopped(self) -> bool:
        """Whether everything is to end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Make every wait and every transfer end with ``InterruptError``."""
        self._stopped.set()

    def check(self) -> None:
        """Raise ``InterruptError`` when everything is to end."""
        if self._stopped.is_set():
            raise InterruptError("stopped")

    def wait(self, seconds: float) -> None:
        """Wait, or raise ``InterruptError`` as soon as everything is to end."""
        if seconds > 0 and self._stopped.wait(seconds):
            raise InterruptError("stopped")


class RateLimit:
    """Bytes a second over all threads, in one direction. Each block pays for the one before it."""

    def __init__(self, rate: int | None, flow: Flow) -> None:
        self._rate = rate
        self._flow = flow
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may pass."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self._rate
        self._flow.wait(start - now)

"""A queue of keys: each is in it once, is worked on by one worker at a time, and may be due later."""

from __future__ import annotations

import heapq
import random
import threading
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["KeyedQueue"]

K = TypeVar("K", bound="Hashable")
_FIRST: Final = 1.0
_LONGEST: Final = 300.0
_DOUBLINGS: Final = 10


class KeyedQueue(Generic[K]):
    """Thread-safe.

    A key that is put while it is worked on comes again when that has ended. The earliest time that was asked for
    counts.

    Args:
        clock: seconds, never going back.
        spread: of the back-off: multiplies it by up to 1 plus this.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, spread: float = 0.25) -> None:
        self._clock = clock
        self._spread = spread
        self._changed = threading.Condition()
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._working: set[K] = set()
        self._failures: dict[K, int] = {}
        self._serial = 0
        self._closed = False

    def put(self, key: K, after: float = 0.0) -> None:
        """Have a key worked on, now or after some seconds."""
        with self._changed:
            due = self._clock() + after
            if key in self._due and self._due[key] <= due:
                return
            self._due[key] = due
            self._serial += 1
            heapq.heappush(self._heap, (due, self._serial, key))
            self._changed.notify()

    def retry(self, key: K) -> float:
        """Have a key worked on after a back-off that grows with its failures; returns the seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = min(failures + 1, _DOUBLINGS)
        # Spread, so that what failed together does not come back together.
        after: float = min(_FIRST * 2**failures, _LONGEST) * (1 + random.random() * self._spread)  # noqa: S311 -- no secret
        self.put(key, after)
        return after

    def forgive(self, key: K) -> None:
        """Forget the failures of a key."""
        with self._changed:
            self._failures.pop(key, None)

    def take(self, timeout: float | None = None) -> K | None:
        """Wait for a key that is due, and hold it until `done`; None after ``timeout`` seconds, or when closed."""
        end = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._closed:
                key, wait = self._next()
                if key is not None:
                    self._working.add(key)
                    del self._due[key]
                    return key
                left = None if end is None else end - self._clock()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(min((each for each in (wait, left) if each is not None), default=None))
            return None

    def done(self, key: K) -> None:
        """Let go of a key that was taken."""
        with self._changed:
            self._working.discard(key)
            self._changed.notify()

    def close(self) -> None:
        """Have everyone who waits go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """Keys that are due, and not worked on."""
        with self._changed:
            now = self._clock()
            return sum(1 for due in self._due.values() if due <= now)

    def _next(self) -> tuple[K | None, float | None]:
        """A key that is due and nobody works on, else the seconds until one will be."""
        now = self._clock()
        busy = []
        found: K | None = None
        wait: float | None = None
        while self._heap:
            due, _, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)  # an earlier time took its place, or it was taken
            elif due > now:
                wait = due - now
                break
            elif key in self._working:
                busy.append(heapq.heappop(self._heap))
            else:
                heapq.heappop(self._heap)
                found = key
                break
        for entry in busy:
            heapq.heappush(self._heap, entry)
        return found, wait

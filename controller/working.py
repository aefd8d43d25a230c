"""Workers: take keys out of the queue, reconcile them, and put them back for when they are due again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from bundlectl.errors import BundlectlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.logs import Log
    from controller.metrics import Metrics
    from controller.packages import Outcome
    from controller.queue import KeyedQueue

__all__ = ["Key", "Reconciler", "Workers"]

Key = tuple[str, str]
"""A kind, and ``NAMESPACE/NAME``."""
_LOOK: Final = 0.5


class Reconciler(Protocol):
    """What works on the keys of one kind."""

    def reconcile(self, key: str, /) -> Outcome:
        """Do what can be done at the moment."""
        ...


class Workers:
    """Some threads.

    Args:
        queue: of keys.
        reconcilers: by kind.
        count: of threads.
        may_write: whether this replica leads at this moment; no key is taken while it does not.
        metrics: counts.
        log: is told of failures.
    """

    def __init__(
        self,
        queue: KeyedQueue[Key],
        reconcilers: Mapping[str, Reconciler],
        count: int,
        *,
        may_write: Callable[[], bool],
        metrics: Metrics,
        log: Log,
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._may_write = may_write
        self._metrics = metrics
        self._log = log
        self._stopped = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True) for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self.threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        """End after the keys that are worked on; wait for that, but no longer than ``timeout`` seconds."""
        self._stopped.set()
        self._queue.close()
        end = time.monotonic() + timeout
        for thread in self.threads:
            if thread.is_alive():  # some may never have been started
                thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self._may_write():
                self._stopped.wait(_LOOK)
                continue
            key = self._queue.take(_LOOK)
            if key is None:
                continue
            try:
                self._work(key)
            finally:
                self._queue.done(key)

    def _work(self, key: Key) -> None:
        kind, name = key
        began = time.monotonic()
        result = "settled"
        try:
            outcome = self._reconcilers[kind].reconcile(name)
        except BundlectlError as error:
            result = "failed"
            self._log("warning", "a pass failed", kind=kind, object=name, error=str(error))
            self._queue.retry(key)
        except Exception as error:  # noqa: BLE001 -- a fault of ours with one object must not end the others
            result = "broken"
            self._log("error", "a pass broke", kind=kind, object=name, error=f"{type(error).__name__}: {error}")
            self._queue.retry(key)
        else:
            if outcome.untried:
                self._queue.put(key, outcome.again_after or 0.0)
                return
            if outcome.retry:
                result = "retried"
                self._queue.retry(key)
            else:
                self._queue.forgive(key)
                if outcome.again_after is not None:
                    self._queue.put(key, outcome.again_after)
        self._metrics.count("reconciles_total", kind=kind, result=result)
        self._metrics.took(time.monotonic() - began)

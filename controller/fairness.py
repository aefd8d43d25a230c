"""No workload cluster holds up the others: those that are slow, or mean to be, leave workers to the rest."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from controller.packages import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from controller.working import Reconciler

__all__ = ["Fair"]

_LATER: Final = 1.0
"""Seconds until a Package is looked at again for which no worker is free."""


class Fair:
    """Reconciles Packages as another one does, not too many of workload clusters at a time. Thread-safe.

    Args:
        reconciler: does it.
        own: namespaces of the cluster that the controller runs in, which may have all workers.
        workers: that there are. Workload clusters together get all but one, each of them all but two.
    """

    def __init__(self, reconciler: Reconciler, own: Collection[str], workers: int) -> None:
        self._reconciler = reconciler
        self._own = frozenset(own)
        self._workers = workers
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()

    def reconcile(self, key: str) -> Outcome:
        """Do what can be done at the moment.

        Raises:
            BundlectlError: as the other does.
        """
        namespace = key.partition("/")[0]
        if namespace in self._own:
            return self._reconciler.reconcile(key)
        with self._lock:
            if self._busy[namespace] >= self._workers - 2 or self._busy.total() >= self._workers - 1:
                return Outcome(again_after=_LATER, untried=True)
            self._busy[namespace] += 1
        try:
            return self._reconciler.reconcile(key)
        finally:
            with self._lock:
                self._busy[namespace] -= 1
                self._busy += Counter()  # forgets those that are not worked on

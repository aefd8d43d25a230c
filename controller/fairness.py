"""No cluster holds up the others: those that are slow, or mean to be, leave workers to the rest."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.packages import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.working import Reconciler

__all__ = ["Fair", "Turns"]

_LATER: Final = 1.0
"""Seconds until something is looked at again for which no worker is free."""


class Turns:
    """Counts the workers that each cluster has. Thread-safe.

    Args:
        own: the cluster that the controller runs in.
        workers: that there are. Workload clusters together get all but one, each of them all but two; the own cluster
            gets all but one, too, once there are others.
    """

    def __init__(self, own: str, workers: int) -> None:
        self._own = own
        self._workers = workers
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._alone = True

    def take(self, cluster: str) -> bool:
        """Take a worker for a cluster, until `give_back`; False when it is not its turn."""
        with self._lock:
            own = self._busy[self._own]
            if cluster == self._own:
                is_free = own < self._workers - (not self._alone)
            else:
                self._alone = False
                others = self._busy.total() - own
                is_free = self._busy[cluster] < self._workers - 2 and others < self._workers - 1
            self._busy[cluster] += is_free
            return is_free

    def give_back(self, cluster: str) -> None:
        """Let go of a worker."""
        with self._lock:
            self._busy[cluster] -= 1
            self._busy += Counter()  # forgets those that are not worked on


@dataclass(frozen=True, slots=True)
class Fair:
    """Reconciles objects of one kind as another one does, those of each cluster when it is its turn. Thread-safe.

    Attributes:
        reconciler: does it.
        cluster_of: the cluster that is waited for, by the key of an object.
        turns: of all kinds alike.
    """

    reconciler: Reconciler
    cluster_of: Callable[[str], str]
    turns: Turns

    def reconcile(self, key: str) -> Outcome:
        """Do what can be done at the moment.

        Raises:
            BundlectlError: as the other does.
        """
        cluster = self.cluster_of(key)
        if not self.turns.take(cluster):
            return Outcome(again_after=_LATER, untried=True)
        try:
            return self.reconciler.reconcile(key)
        finally:
            self.turns.give_back(cluster)

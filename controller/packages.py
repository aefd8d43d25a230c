"""One pass over one Package: observe, say, do, and again, until there is nothing to do at the moment."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import BundlectlError
from controller.api import ClusterError
from controller.facts import Dismiss, Fault, Install, LookUp
from controller.observing import Looked
from controller.reconcile import decide
from controller.status import dated, merge_patch

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.acting import Actor
    from controller.api import Api
    from controller.events import Events
    from controller.facts import Action, Decision, Observed
    from controller.logs import Log
    from controller.metrics import Metrics
    from controller.observing import Memories, Observer
    from controller.values import Package, PackageStatus

__all__ = ["Outcome", "PackageReconciler"]

_STEPS: Final = 40
"""Of one pass: far more than any Package takes, so that one that never settles leaves room for the others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """When to look again: in seconds, with back-off, or (neither) when something changes.

    ``untried`` says that it was not looked at, for it was not its turn: what failed before counts as before.
    """

    again_after: float | None = None
    retry: bool = False
    untried: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageReconciler:
    """Reconciles Packages. Thread-safe, for different Packages at a time.

    Attributes:
        api: of the own cluster.
        observer: observes.
        actor: acts.
        memories: of Packages.
        events: tells people.
        metrics: counts.
        log: is told of steps and failures.
        may_write: whether this replica leads at this moment.
    """

    api: Api
    observer: Observer
    actor: Actor
    memories: Memories
    events: Events
    metrics: Metrics
    log: Log
    may_write: Callable[[], bool]

    def reconcile(self, key: str) -> Outcome:
        """Do what can be done at the moment.

        Raises:
            BundlectlError: the status could not be written.
        """
        memory = self.memories.of(key)
        looked = Looked()
        for _ in range(_STEPS):
            observed = self.observer.observe(key, looked, memory)
            if observed is None:
                self.memories.forget(key)
                return Outcome()
            decision = decide(observed)
            if not self.may_write() or not self._say(observed, decision):
                return Outcome()
            if decision.action is None:
                return Outcome(decision.again_after, decision.retry)
            after = self._do(observed, decision.action, looked)
            if after is None:
                return Outcome(retry=True)
            if isinstance(decision.action, Dismiss) and after.trouble is None:
                return Outcome()
            looked = replace(after, aim=observed.wanted)
        return Outcome(retry=True)

    def _do(self, observed: Observed, action: Action, looked: Looked) -> Looked | None:
        """Carry out a step; None when somebody changed the object meanwhile: the watch tells of it."""
        name = type(action).__name__
        key = observed.package.metadata.key
        memory = self.memories.of(key)
        # What was looked up for something else than what is wanted now is not known any more.
        known = replace(looked, aim=observed.wanted, chart=observed.chart, images=observed.images)
        try:
            after = self.actor.carry_out(action, observed, known, memory)
        except BundlectlError as error:
            self.metrics.count("actions_total", action=name, result="failed")
            if isinstance(error, ClusterError) and error.conflict:
                return None
            if isinstance(action, Install):
                # Its namespace or the pull secret may be what is not there any more.
                memory.prepared = ""
            self.log("warning", "a step failed", object=key, action=name, error=str(error))
            # The API server's words name what they are about; a path before them would only be longer.
            told = error.message if isinstance(error, ClusterError) else str(error)
            return replace(known, trouble=Fault(f"{name}Failed", told))
        self.metrics.count("actions_total", action=name, result="done")
        if not isinstance(action, LookUp):
            self.log("info", "a step was done", object=key, action=name)
        return after

    def _say(self, observed: Observed, decision: Decision) -> bool:
        """Write the status where it differs from what is stored; whether the Package is still there."""
        package = observed.package
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = replace(decision.status, conditions=dated(decision.status.conditions, now))
        if status == package.status:
            return True
        changes = merge_patch(package.status.to_json(), status.to_json())
        stored = self.observer.packages.get(package.metadata.key)
        if changes is None or stored is None:
            return stored is not None
        if not stored.get("status"):
            changes = status.to_json()
        path = self.observer.packages.path(package.metadata.key, "status")
        try:
            answer = self.api.patch(path, {"status": changes})
        except ClusterError as error:
            if error.missing:
                self.observer.packages.forget(package.metadata.key)
                return False
            raise
        self.observer.packages.put(answer)
        self.metrics.count("writes_total", kind="Package")
        self._tell(package, status)
        return True

    def _tell(self, package: Package, status: PackageStatus) -> None:
        """Write an Event where something began or ended, not for every detail."""
        before, after = package.status.condition("Ready"), status.condition("Ready")
        known = (package.status.state, before.reason if before else "")
        if after is None or known == (status.state, after.reason):
            return
        level: Literal["Normal", "Warning"] = "Normal"
        if after.status != "True" and after.reason not in _EXPECTED:
            level = "Warning"
        self.events.tell("Package", package.metadata, level, after.reason, after.message or status.state)
        self.metrics.count("events_total", reason=after.reason)


_EXPECTED: Final = frozenset({"Installing", "Updating", "Waiting", "WaitingForDependencies", "Uninstalling"})

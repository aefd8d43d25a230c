"""Which replica leads: a Lease in the cluster, its times measured by the own clock."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from controller.api import ClusterError, path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api

__all__ = ["DURATION", "Leadership"]

DURATION: Final = 15.0
"""Seconds that a leader may be silent before another takes over."""
_RENEWED: Final = 3.0
_GIVES_UP: Final = 10.0
"""Seconds without renewal after which a leader stops writing: before another may begin."""
_AGAIN: Final = 0.5
"""Seconds after a renewal that failed: there is time for more than one before a leader gives up."""
_LOOKS: Final = 2.0
_GUARDS: Final = 0.5
_BOOT: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_TRANSITIONS: Final = 2**31 - 1
"""The most that the API takes."""
_GROUP: Final = "coordination.k8s.io/v1"


def _passed() -> float:
    """Seconds, never going back, that go on while a machine sleeps: others take the lead meanwhile."""
    return time.clock_gettime(_BOOT)


class Leadership(threading.Thread):
    """Takes part in the election until `resign`.

    Args:
        api: of the own cluster; it should give up on an answer soon, or one connection that hangs loses the lead.
        lease: its ``NAMESPACE/NAME``.
        identity: of this process, new with each start.
        gained: called before this replica begins to lead.
        lost: called when it does not lead any more; by then `holds` says so. Never at the same time as ``gained``.
        failed: told why the Lease can be neither read nor written, once for the same reason.
        clock: seconds, never going back, not even while a machine sleeps.
    """

    def __init__(
        self,
        api: Api,
        lease: str,
        identity: str,
        *,
        gained: Callable[[], None],
        lost: Callable[[], None],
        failed: Callable[[str], None] = lambda trouble: None,  # noqa: ARG005 -- nobody to tell
        clock: Callable[[], float] = _passed,
    ) -> None:
        super().__init__(name="leadership", daemon=True)
        self._api = api
        namespace, _, self._lease = lease.partition("/")
        self._collection = path_of(_GROUP, "leases", namespace=namespace)
        self._path = path_of(_GROUP, "leases", namespace=namespace, name=self._lease)
        self.identity = identity
        self._gained = gained
        self._lost = lost
        self._failed = failed
        self._clock = clock
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._renewed: float | None = None
        self._written: dict[str, Any] | None = None
        """The Lease as this replica wrote it last, as long as nothing says that it is another by now."""
        self._leads = False
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = 0.0
        self.trouble = ""
        """Why the last look failed, if it did."""

    @property
    def holds(self) -> bool:
        """Whether this replica leads, and may write."""
        return self._leads and self._is_fresh()

    def run(self) -> None:
        """Take part."""
        threading.Thread(target=self._guard, name="leadership-guard", daemon=True).start()
        while not self._leaving.is_set():
            self._leaving.wait(self.step())
        if self._leads:
            self._turn(leads=False)
            self._give_up()

    def step(self) -> float:
        """Look at the Lease once: renew it, take it, or wait.

        Returns:
            Seconds after which to look again.
        """
        began = self._clock()
        try:
            held = self._try()
        except BundlectlError as error:
            # It stays this replica's until the time is up, and the API server may come back before.
            held = False
            before, self.trouble = self.trouble, str(error)
            if self.trouble != before:
                self._failed(self.trouble)
        else:
            self.trouble = ""
            if not held:
                self._turn(leads=False)
        if held and self._clock() - began < _GIVES_UP:
            if not self.holds:
                # Unseen so far: what was left off since is begun anew, as by any other who gains the lead.
                self._turn(leads=False)
            self._renewed = began
            self._turn(leads=True)
        elif not self.holds:
            self._turn(leads=False)
        if not self._leads:
            return _LOOKS
        return max(_AGAIN, _RENEWED - (self._clock() - began)) if held else _AGAIN

    def resign(self) -> None:
        """Leave the election, so that another may lead at once."""
        self._leaving.set()
        if self.is_alive():
            self.join(timeout=5)

    def _guard(self) -> None:
        """Stop in time even though a renewal hangs."""
        while not self._leaving.wait(_GUARDS):
            if not self.holds:
                self._turn(leads=False)

    def _turn(self, *, leads: bool) -> None:
        """Begin or stop to lead, and tell of it before anything else happens."""
        with self._lock:
            if self._leads == leads or (leads and not self._is_fresh()):
                return
            if leads:
                self._gained()
                self._leads = True
            else:
                self._leads = False
                self._renewed = None
                self._lost()

    def _is_fresh(self) -> bool:
        renewed = self._renewed
        return renewed is not None and self._clock() - renewed < _GIVES_UP

    def _try(self) -> bool:
        written, self._written = self._written, None
        if written is not None and self._leads:
            # Without looking first: an API server that takes its time is asked once, and tells when it is another.
            return self._write(lambda: self._api.replace(self._path, {**written, "spec": self._spec(written["spec"])}))
        lease = self._api.find(self._path)
        if lease is None:
            if self._seen[0] not in ("", self.identity) and self._clock() - self._seen_at < DURATION:
                # Somebody deleted it, which its holder cannot know yet.
                return False
            body = {"apiVersion": _GROUP, "kind": "Lease", "metadata": {"name": self._lease}, "spec": self._spec({})}
            return self._write(lambda: self._api.create(self._collection, body))
        spec = lease.get("spec") or {}
        holder, version = str(spec.get("holderIdentity") or ""), str(lease["metadata"].get("resourceVersion"))
        if (holder, version) != self._seen:
            self._seen, self._seen_at = (holder, version), self._clock()
        if holder not in ("", self.identity):
            # By the own clock: that of another machine may stand anywhere.
            patience = max(float(spec.get("leaseDurationSeconds") or 0), DURATION)
            if self._clock() - self._seen_at < patience:
                return False
        return self._write(lambda: self._api.replace(self._path, {**lease, "spec": self._spec(spec)}))

    def _write(self, write: Callable[[], dict[str, Any]]) -> bool:
        try:
            written = write()
        except ClusterError as error:
            if error.conflict and not self._leads:
                return False
            # A leader that is in conflict looks again: somebody else may have done no more than label the Lease.
            raise
        self._written = written
        self._seen = (self.identity, str(written["metadata"].get("resourceVersion")))
        self._seen_at = self._clock()
        return True

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": min(int(before.get("leaseTransitions") or 0) + (0 if mine else 1), _TRANSITIONS),
        }

    def _give_up(self) -> None:
        try:
            lease = self._api.find(self._path)
            if lease and (lease.get("spec") or {}).get("holderIdentity") == self.identity:
                self._api.replace(self._path, {**lease, "spec": {**lease["spec"], "holderIdentity": ""}})
        except BundlectlError:
            return  # it expires by itself

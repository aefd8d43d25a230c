"""Events of Kubernetes, for people who ask ``kubectl describe``. One that is not taken is lost, and no matter."""

from __future__ import annotations

import datetime as dt
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import BundlectlError
from controller.api import path_of
from controller.values import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api
    from controller.logs import Log
    from controller.values import Metadata

__all__ = ["COMPONENT", "Events"]

COMPONENT: Final = "bundlectl-controller"
_MESSAGE_LIMIT: Final = 1000
_REASON_LIMIT: Final = 120
_BURST: Final = 25.0
_REFILLED: Final = 300.0
"""Events that one object may have at once, and seconds until it may have another: as Kubernetes' own clients do."""
_KEPT: Final = 4096


class Events:
    """Writes Events. Thread-safe.

    Args:
        api: of the own cluster.
        holder: this process.
        log: is told what was not taken.
        clock: seconds, never going back.
    """

    def __init__(self, api: Api, holder: str, log: Log, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._holder = holder
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._budgets: dict[str, tuple[float, float]] = {}

    def tell(
        self, kind: str, metadata: Metadata, level: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """Write an Event about an object, unless it had very many lately."""
        if not self._spent(metadata.uid):
            return
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata.name[:200].rstrip('-.')}.{secrets.token_hex(8)}",
                "namespace": metadata.namespace,
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": kind,
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
                "resourceVersion": metadata.resource_version,
            },
            "type": level,
            "reason": reason[:_REASON_LIMIT],
            "message": (message or reason)[:_MESSAGE_LIMIT],
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._holder,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._api.create(path_of("v1", "events", namespace=metadata.namespace), body)
        except BundlectlError as error:
            self._log("debug", "an Event was not taken", object=metadata.key, error=str(error))

    def _spent(self, uid: str) -> bool:
        """Take one from what an object may have; False when nothing is left."""
        now = self._clock()
        with self._lock:
            left, at = self._budgets.pop(uid, (_BURST, now))
            left = min(_BURST, left + (now - at) / _REFILLED)
            is_allowed = left >= 1
            self._budgets[uid] = left - is_allowed, now
            while len(self._budgets) > _KEPT:
                del self._budgets[next(iter(self._budgets))]
        return is_allowed

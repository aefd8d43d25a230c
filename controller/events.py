"""Events of Kubernetes, for people who ask ``kubectl describe``. One that is not taken is lost, and no matter."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import BundlectlError
from controller.api import path_of
from controller.values import API_VERSION

if TYPE_CHECKING:
    from controller.api import Api
    from controller.logs import Log
    from controller.values import Metadata

__all__ = ["COMPONENT", "Events"]

COMPONENT: Final = "bundlectl-controller"
_MESSAGE_LIMIT: Final = 1000
_REASON_LIMIT: Final = 120


class Events:
    """Writes Events. Thread-safe.

    Args:
        api: of the own cluster.
        holder: this process.
        log: is told what was not taken.
    """

    def __init__(self, api: Api, holder: str, log: Log) -> None:
        self._api = api
        self._holder = holder
        self._log = log

    def tell(
        self, kind: str, metadata: Metadata, level: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """Write an Event about an object."""
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata.name[:200]}.{secrets.token_hex(8)}",
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

"""helm's own records of a release, read from the cluster: what is installed, since which revision, and whose it is.

helm keeps each revision in a Secret (``sh.helm.release.v1.NAME.vN``) whose labels say its state; what is read most
often, labels, costs one request and no process. The formats of helm 3 and 4 are the same.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from controller.api import path_of
from controller.records import read_record

if TYPE_CHECKING:
    from controller.api import Api

__all__ = [
    "BUNDLE",
    "DESCRIPTION",
    "FINGERPRINT",
    "HOLDER",
    "NO_LABEL",
    "OWNER",
    "READY",
    "Release",
    "Revision",
    "mark_ready",
    "read_manifest",
    "read_release",
]

HOLDER: Final = "bundlectl.dev/holder"
"""Label of a revision: which process made it."""
OWNER: Final = "bundlectl.dev/package"
"""Label: the uid of the Package that it belongs to."""
FINGERPRINT: Final = "bundlectl.dev/wanted"
"""Label: what was wanted, chart and values, as one short hash. A rollback has that of the revision it goes back to."""
READY: Final = "bundlectl.dev/ready"
"""Label: all of it has been ready."""
BUNDLE: Final = "bundlectl.dev/bundle"
"""Label: the bundle that it was installed from without a controller."""
NO_LABEL: Final = "null"
"""The value that has helm take a label away, for it hands them down."""
DESCRIPTION: Final = "installed by bundlectl"
"""How descriptions of our own revisions begin: labels alone would not tell, for helm hands them down."""
_ROLLBACK: Final = "Rollback to "
_PENDING: Final = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision, as its labels say; ``status`` is helm's: ``deployed``, ``superseded``, ``failed`` and others.

    ``began`` is when it was recorded, in seconds since 1970 of the API server's clock; 0 where that is not known.
    """

    number: int
    status: str
    fingerprint: str = ""
    holder: str = ""
    owner: str = ""
    bundle: str = ""
    ready: bool = False
    began: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release: its revisions, the oldest first and at least one, and what the last of them says of itself.

    ``chart`` is the name of its chart.
    """

    revisions: tuple[Revision, ...]
    description: str = ""
    chart: str = ""

    @property
    def last(self) -> Revision:
        """The newest revision."""
        return self.revisions[-1]

    @property
    def owner(self) -> str:
        """The uid of the Package that took it up last, empty where none did; a rollback has the labels of before."""
        return next((one.owner for one in reversed(self.revisions) if one.owner), "")

    @property
    def pending(self) -> bool:
        """Whether helm is at it, or was killed while it was."""
        return self.last.status in _PENDING

    @property
    def is_rollback(self) -> bool:
        """Whether the newest revision is an older one again."""
        return self.description.startswith(_ROLLBACK)

    def holds(self, fingerprint: str) -> bool:
        """Whether the newest revision is deployed and is what is wanted; not where somebody else upgraded it."""
        ours = self.description.startswith((DESCRIPTION, _ROLLBACK))
        return self.last.status == "deployed" and self.last.fingerprint == fingerprint and ours

    def was_rolled_back(self, fingerprint: str) -> bool:
        """Whether what is wanted was tried, and left again: a revision whose making was cut short was not tried."""
        if not self.is_rollback or self.last.status != "deployed" or len(self.revisions) < 2:  # noqa: PLR2004
            return False
        before = self.revisions[-2]
        return before.fingerprint == fingerprint and before.status in ("superseded", "failed")

    @property
    def last_good(self) -> Revision | None:
        """What to go back to: the newest earlier revision that was ready, else the newest that was deployed.

        What is deployed still goes first: a rollback that fails has helm call superseded what failed before it.
        """
        earlier = [one for one in reversed(self.revisions[:-1]) if one.status in ("deployed", "superseded")]
        earlier.sort(key=lambda one: (one.ready, one.status == "deployed"), reverse=True)
        return next(iter(earlier), None)


def read_release(api: Api, namespace: str, name: str, *, as_user: str) -> Release | None:
    """Read the records of a release; None when there are none.

    Raises:
        ClusterError: refused, or no answer.
        ContentError: a record is not one.
    """
    selector = f"owner=helm,name={name}"
    listed = api.list_metadata(path_of("v1", "secrets", namespace=namespace), as_user=as_user, labelSelector=selector)
    revisions = sorted(filter(None, map(_revision, listed)), key=lambda one: one.number)
    if not revisions:
        return None
    record = api.find(_path(namespace, name, revisions[-1].number), as_user=as_user)
    if record is None:
        return None
    found = read_record(record, name)
    return Release(revisions=tuple(revisions), description=found.description, chart=found.chart)


def read_manifest(api: Api, namespace: str, name: str, revision: int, *, as_user: str) -> str:
    """The documents of a revision, as YAML.

    Raises:
        ClusterError: refused, no answer, or no such revision.
        ContentError: the record is not one.
    """
    return read_record(api.get(_path(namespace, name, revision), as_user=as_user), name).manifest


def mark_ready(api: Api, namespace: str, name: str, revision: int, *, as_user: str) -> None:
    """Note on a revision that all of it has been ready; it is what an upgrade that fails goes back to.

    Raises:
        ClusterError: refused, or no answer.
    """
    api.patch(_path(namespace, name, revision), {"metadata": {"labels": {READY: "true"}}}, as_user=as_user)


def _revision(document: dict[str, Any]) -> Revision | None:
    labels = document.get("metadata", {}).get("labels") or {}
    try:
        number = int(labels.get("version", ""))
    except ValueError:
        return None
    # What takes a label away from an upgrade stays as it is in a first installation.
    own = {name: str(value) for name, value in labels.items() if value != NO_LABEL}
    return Revision(
        number=number,
        status=str(labels.get("status", "")),
        fingerprint=own.get(FINGERPRINT, ""),
        holder=own.get(HOLDER, ""),
        owner=own.get(OWNER, ""),
        bundle=own.get(BUNDLE, ""),
        ready=own.get(READY) == "true",
        began=_seconds(document["metadata"].get("creationTimestamp")),
    )


def _seconds(stamp: object) -> float:
    try:
        return dt.datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return 0.0


def _path(namespace: str, name: str, revision: int) -> str:
    return path_of("v1", "secrets", namespace=namespace, name=f"sh.helm.release.v1.{name}.v{revision}")

"""Carries out what was decided about a Package, one step at a time; each is harmless when repeated."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError
from bundles.helm.archive import read_chart_file
from controller.api import APPLY, JSON_PATCH, ClusterError, path_of
from controller.charts import default_namespace, missing_images
from controller.clusters import installer_of
from controller.configuration import PULL_SECRET
from controller.drift import find_drift
from controller.facts import (
    AddOwner,
    ChartFile,
    CreateDependency,
    Dismiss,
    Enlist,
    Fault,
    Install,
    LookUp,
    MarkReady,
    Readiness,
    Rollback,
    Uninstall,
)
from controller.helm import HelmTarget
from controller.objects import Places, read_objects
from controller.observing import LOCATION, Looked
from controller.readiness import waited_for
from controller.reconcile import FINALIZER
from controller.releases import (
    BUNDLE,
    DESCRIPTION,
    FINGERPRINT,
    HOLDER,
    NO_LABEL,
    OWNER,
    READY,
    Release,
    mark_ready,
    read_manifest,
    read_release,
)
from controller.values import API_VERSION, cluster_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from controller.api import Api
    from controller.clusters import Cluster
    from controller.facts import Action, Observed, Unknown
    from controller.helm import Helm
    from controller.observing import Memory, Observer

__all__ = ["Actor"]

_DOUBLED: Final = 5
"""How often the time between two looks for drift is doubled, at most: 3 minutes become 96."""


@dataclass(frozen=True, slots=True)
class _Site:
    """Where one Package is installed, and in whose name."""

    cluster: Cluster
    namespace: str
    release: str
    user: str

    @property
    def target(self) -> HelmTarget:
        return HelmTarget(kubeconfig=self.cluster.kubeconfig, namespace=self.namespace, as_user=self.user)


class Actor:
    """Acts. Thread-safe.

    Args:
        api: of the own cluster.
        observer: whose objects and connections are used.
        helm: the program.
        clock: seconds, never going back.
    """

    def __init__(
        self, api: Api, observer: Observer, helm: Helm, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._observer = observer
        self._helm = helm
        self._clock = clock
        self._places: dict[str, tuple[Api, Places]] = {}

    def carry_out(self, action: Action, observed: Observed, looked: Looked, memory: Memory) -> Looked:
        """Do one thing; returns what is known after it.

        Raises:
            BundlectlError: it failed; nothing is half done that the next pass would not see.
        """
        match action:
            case LookUp():
                return self._look(action, observed, looked, memory)
            case Enlist():
                self._enlist(observed, action.namespace)
                return looked
            case Dismiss():
                self._dismiss(observed)
            case CreateDependency():
                self._create_dependency(observed, action.package)
                return looked
            case AddOwner():
                self._add_owner(observed, action.name)
                return looked
            case _:
                self._release(action, observed)
                if isinstance(action, Install):
                    memory.drifted = 0
                    memory.drift_at = self._clock() + self._observer.drift_interval
        # What the chart and the mirror are does not change by what we do; all else does.
        return Looked(chart=looked.chart, images=looked.images, prepared=looked.prepared)

    def _release(self, action: Action, observed: Observed) -> None:
        site = self._site(observed)
        match action:
            case Install():
                self._install(observed, site)
            case Rollback():
                self._helm.rollback(site.target, site.release, action.revision)
            case Uninstall():
                self._helm.uninstall(site.target, site.release)
            case MarkReady():
                mark_ready(site.cluster.api, site.namespace, site.release, action.revision, as_user=site.user)

    def _install(self, observed: Observed, site: _Site) -> None:
        wanted = observed.wanted
        if wanted is None:
            return
        chart = self._observer.mirrors.get(site.cluster.name).charts.fetch(wanted.repository, wanted.source.digest)
        _refuse_foreign(observed.release, observed.package.metadata.uid, chart, site)
        labels = {
            # Another one each time: a helm of somebody else hands labels on.
            HOLDER: f"{observed.holder}-{secrets.token_hex(3)}",
            OWNER: observed.package.metadata.uid,
            FINGERPRINT: wanted.fingerprint,
            # Which the revision before may have.
            READY: NO_LABEL,
            BUNDLE: NO_LABEL,
        }
        description = f"{DESCRIPTION}: {wanted.source.version} {wanted.source.digest}"
        self._helm.install(site.target, site.release, chart, wanted.values, labels=labels, description=description)

    def _look(self, action: LookUp, observed: Observed, looked: Looked, memory: Memory) -> Looked:
        match action.what:
            case "release":
                return replace(looked, release=self._recorded(observed))
            case "chart":
                return replace(looked, chart=self._chart(observed))
            case "images":
                return replace(looked, images=self._images(observed))
            case "place":
                self._prepare(observed, memory)
                return replace(looked, prepared=True)
            case "readiness":
                return replace(looked, readiness=self._readiness(observed))
            case "drift":
                found_drift = self._drift(observed)
                # Who changes it each time may be another controller: not to fight it for ever, it is looked less often.
                memory.drifted = memory.drifted + 1 if found_drift else 0
                pause = 2 ** min(max(memory.drifted - 1, 0), _DOUBLED)
                memory.drift_at = self._clock() + self._observer.drift_interval * pause
                return replace(looked, drift=found_drift)

    def _recorded(self, observed: Observed) -> Release | None:
        """The release; none where it goes together with its namespace, and the installer's rights went before."""
        site = self._site(observed)
        try:
            return read_release(site.cluster.api, site.namespace, site.release, as_user=site.user)
        except ClusterError as error:
            if not (error.forbidden and observed.package.metadata.deleting):
                raise
            namespace = site.cluster.api.find(path_of("v1", "namespaces", name=site.namespace))
            if namespace is not None and not namespace["metadata"].get("deletionTimestamp"):
                raise
            return None

    def _chart(self, observed: Observed) -> ChartFile | Fault:
        wanted = observed.wanted
        if wanted is None:
            return Fault("ChartMissing", "nothing is wanted")
        try:
            charts = self._observer.mirrors.get(self._cluster_name(observed)).charts
            return ChartFile(default_namespace(charts.fetch(wanted.repository, wanted.source.digest)))
        except MissingError as error:
            return Fault("ChartMissing", str(error))
        except ContentError as error:
            return Fault("ChartNotVerified", str(error))

    def _images(self, observed: Observed) -> tuple[str, ...] | Fault:
        wanted = observed.wanted
        if wanted is None:
            return Fault("ImagesMissing", "nothing is wanted")
        session = self._observer.mirrors.get(self._cluster_name(observed)).session
        try:
            return missing_images(session, wanted.image_registry, wanted.version)
        except ContentError as error:
            return Fault("ImagesNotVerified", str(error))

    def _prepare(self, observed: Observed, memory: Memory) -> None:
        """Make sure of the target namespace and its pull secret."""
        site = self._site(observed)
        api, user = site.cluster.api, site.user
        mirror = self._observer.mirrors.get(site.cluster.name)
        data = mirror.settings.pull_secret()
        namespace = path_of("v1", "namespaces", name=site.namespace)
        creates = observed.wanted is not None and observed.wanted.create_namespace
        if creates and self._is_absent(api, namespace):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace}}
            api.create("/api/v1/namespaces", body, as_user=user)
        if data is not None:
            path = path_of("v1", "secrets", namespace=site.namespace, name=PULL_SECRET)
            there = api.find(path, as_user=user)
            held = (there or {}).get("data") or {}
            if any(held.get(name) != value for name, value in data.items()):
                secret = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": PULL_SECRET, "namespace": site.namespace},
                    "type": "kubernetes.io/dockerconfigjson",
                    "data": data,
                }
                api.patch(path, secret, APPLY, as_user=user, fieldManager="bundlectl", force="true")
        memory.prepared = f"{mirror.settings.fingerprint} {site.namespace}"
        memory.prepared_until = self._clock() + self._observer.drift_interval

    def _is_absent(self, api: Api, namespace: str) -> bool:
        """By the controller's own right to see namespaces: the installer may have none."""
        return api.find(namespace) is None

    def _readiness(self, observed: Observed) -> Readiness:
        site = self._site(observed)
        places = self._places_of(site.cluster)

        def find(document: dict[str, Any]) -> dict[str, Any] | None:
            return site.cluster.api.find(places.path(document, site.namespace), as_user=site.user)

        missing = waited_for(self._objects(observed, site), find)
        return Readiness(not missing, f"waiting for {', '.join(missing[:5])}" if missing else "")

    def _drift(self, observed: Observed) -> tuple[str, ...]:
        site = self._site(observed)
        objects = self._objects(observed, site)
        return find_drift(site.cluster.api, self._places_of(site.cluster), objects, site.namespace, as_user=site.user)

    def _objects(self, observed: Observed, site: _Site) -> list[dict[str, Any]]:
        release = observed.release
        number = release.last.number if isinstance(release, Release) else 0
        manifest = read_manifest(site.cluster.api, site.namespace, site.release, number, as_user=site.user)
        return read_objects(manifest, origin=site.release)

    def _enlist(self, observed: Observed, namespace: str) -> None:
        metadata = observed.package.metadata
        changes = {
            "metadata": {
                "resourceVersion": metadata.resource_version,
                "finalizers": [*(name for name in metadata.finalizers if name != FINALIZER), FINALIZER],
                "annotations": {LOCATION: namespace},
            }
        }
        self._observer.packages.put(self._api.patch(self._observer.packages.path(metadata.key), changes))

    def _dismiss(self, observed: Observed) -> None:
        metadata = observed.package.metadata
        kept = [name for name in metadata.finalizers if name != FINALIZER]
        changes = {"metadata": {"resourceVersion": metadata.resource_version, "finalizers": kept}}
        # The answer may be the last that is heard of it: the watch tells what remains.
        self._api.patch(self._observer.packages.path(metadata.key), changes)

    def _create_dependency(self, observed: Observed, name: str) -> None:
        package = observed.package
        body = {
            "apiVersion": API_VERSION,
            "kind": "Package",
            "metadata": {
                "name": name.lower(),
                "namespace": package.metadata.namespace,
                "ownerReferences": [_owner_reference(observed)],
            },
            "spec": {"packageName": name},
        }
        collection = self._observer.packages.path(package.metadata.key).rpartition("/")[0]
        self._observer.packages.put(self._api.create(collection, body))

    def _add_owner(self, observed: Observed, name: str) -> None:
        key = f"{observed.package.metadata.namespace}/{name}"
        changes = [{"op": "add", "path": "/metadata/ownerReferences/-", "value": _owner_reference(observed)}]
        self._observer.packages.put(self._api.patch(self._observer.packages.path(key), changes, JSON_PATCH))

    def _site(self, observed: Observed) -> _Site:
        metadata = observed.package.metadata
        cluster = self._observer.clusters.get(self._cluster_name(observed))
        # The namespace without a cluster's name is for the own one, and has no account.
        return _Site(cluster, observed.location, metadata.name, installer_of(namespace_of(cluster.name)))

    def _cluster_name(self, observed: Observed) -> str:
        return cluster_of(observed.package.metadata.namespace, self._observer.clusters.own) or ""

    def _places_of(self, cluster: Cluster) -> Places:
        found = self._places.get(cluster.name)
        if found is None or found[0] is not cluster.api:  # another kubeconfig may be another cluster
            found = self._places[cluster.name] = (cluster.api, Places(cluster.api))
        return found[1]


def _refuse_foreign(release: Release | Unknown | None, uid: str, chart: Path, site: _Site) -> None:
    """Leave alone what somebody else gave the same name; AWS's releases are of the same chart, and are taken over.

    So is what a Package of this name left that was deleted without it.
    """
    if not isinstance(release, Release) or release.owner == uid:
        return
    if release.chart not in ("", read_chart_file(chart).name):
        raise ContentError(
            f"a release of this name is there already, of the chart {release.chart}",
            artifact=f"{site.namespace}/{site.release}",
            hint="name the Package otherwise, or take that release away",
        )


def _owner_reference(observed: Observed) -> dict[str, Any]:
    metadata = observed.package.metadata
    return {"apiVersion": API_VERSION, "kind": "Package", "name": metadata.name, "uid": metadata.uid}

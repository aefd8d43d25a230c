"""Carries out what was decided about a Package, one step at a time; each is harmless when repeated."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bundlectl.errors import ContentError, MissingError
from controller.api import APPLY, JSON_PATCH, path_of
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
from controller.readiness import judged_kinds, waited_for
from controller.reconcile import FINALIZER
from controller.releases import (
    DESCRIPTION,
    FINGERPRINT,
    HOLDER,
    OWNER,
    READY,
    Release,
    mark_ready,
    read_manifest,
    read_release,
)
from controller.values import API_VERSION, cluster_of, find_package, find_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api
    from controller.clusters import Cluster
    from controller.facts import Action, Observed
    from controller.helm import Helm
    from controller.observing import Memory, Observer

__all__ = ["Actor"]


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
        self._places: dict[str, Places] = {}

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
        labels = {
            HOLDER: observed.holder,
            OWNER: observed.package.metadata.uid,
            FINGERPRINT: wanted.fingerprint,
            READY: "null",  # which the revision before may have
        }
        description = f"{DESCRIPTION}: {wanted.source.version} {wanted.source.digest}"
        self._helm.install(site.target, site.release, chart, wanted.values, labels=labels, description=description)

    def _look(self, action: LookUp, observed: Observed, looked: Looked, memory: Memory) -> Looked:
        match action.what:
            case "release":
                site = self._site(observed)
                found = read_release(site.cluster.api, site.namespace, site.release, as_user=site.user)
                return replace(looked, release=found)
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
                memory.drift_at = self._clock() + self._observer.drift_interval
                return replace(looked, drift=found_drift)

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
        cluster = self._cluster_name(observed)
        active = self._observer.active(cluster)
        bundled = find_package(active.model, observed.package.spec.package_name)
        version = find_version(bundled, observed.package.spec.package_version) if bundled else None
        if version is None:
            return Fault("VersionMissing", "the version is not in the bundle any more")
        session = self._observer.mirrors.get(cluster).session
        try:
            return missing_images(session, active.controller.default_image_registry, version)
        except ContentError as error:
            return Fault("ImagesNotVerified", str(error))

    def _prepare(self, observed: Observed, memory: Memory) -> None:
        """Make sure of the target namespace and its pull secret."""
        site = self._site(observed)
        api, user = site.cluster.api, site.user
        mirror = self._observer.mirrors.get(site.cluster.name)
        data = mirror.settings.pull_secret()
        namespace = path_of("v1", "namespaces", name=site.namespace)
        if self._observer.active(site.cluster.name).controller.create_namespace and self._is_absent(api, namespace):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace}}
            api.create("/api/v1/namespaces", body, as_user=user)
        if data is not None:
            path = path_of("v1", "secrets", namespace=site.namespace, name=PULL_SECRET)
            there = api.find(path, as_user=user)
            if there is None or (there.get("data") or {}) != data:
                secret = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": PULL_SECRET, "namespace": site.namespace},
                    "type": "kubernetes.io/dockerconfigjson",
                    "data": data,
                }
                api.patch(path, secret, APPLY, as_user=user, fieldManager="bundlectl", force="true")
        memory.prepared = f"{mirror.settings.fingerprint} {site.namespace}"

    def _is_absent(self, api: Api, namespace: str) -> bool:
        """By the controller's own right to see namespaces: the installer may have none."""
        return api.find(namespace) is None

    def _readiness(self, observed: Observed) -> Readiness:
        site = self._site(observed)
        places = self._places_of(site.cluster)
        objects = [item for item in self._objects(observed, site) if item["kind"] in judged_kinds()]

        def find(document: dict[str, Any]) -> dict[str, Any] | None:
            return site.cluster.api.find(places.path(document, site.namespace), as_user=site.user)

        missing = waited_for(objects, find)
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
        return _Site(cluster, observed.location, metadata.name, installer_of(metadata.namespace))

    def _cluster_name(self, observed: Observed) -> str:
        return cluster_of(observed.package.metadata.namespace, self._observer.clusters.own) or ""

    def _places_of(self, cluster: Cluster) -> Places:
        found = self._places.get(cluster.name)
        if found is None:
            found = self._places[cluster.name] = Places(cluster.api)
        return found


def _owner_reference(observed: Observed) -> dict[str, Any]:
    metadata = observed.package.metadata
    return {"apiVersion": API_VERSION, "kind": "Package", "name": metadata.name, "uid": metadata.uid}

"""What is known of a Package: put together from the objects watched, and from what was looked up in this pass."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ContentError
from controller.configuration import check_config, read_config, values_for
from controller.facts import UNKNOWN, Dependency, Fault, Observed, Readiness, Refusal, Unknown, Wanted
from controller.values import (
    HOME_NAMESPACE,
    LATEST,
    Package,
    PackageBundleController,
    PackageSource,
    cluster_of,
    find_package,
    find_version,
    is_namespace,
)
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundles.schema.package_bundle import BundledPackage, PackageVersion
    from bundles.schema.package_bundle import PackageBundle as BundleModel
    from controller.clusters import Clusters
    from controller.facts import ChartFile
    from controller.mirrors import Mirrors
    from controller.releases import Release
    from controller.trust import Judge
    from controller.watching import Objects

__all__ = ["LOCATION", "RETRY", "Active", "Looked", "Memories", "Memory", "Observer"]

LOCATION: Final = "bundlectl.dev/namespace"
"""Annotation of a Package: where its release is."""
RETRY: Final = "bundlectl.dev/retry"
"""Annotation: another value has what failed tried again."""
_DEEPEST: Final = 50
"""Packages that need each other one after the other."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked up since the last change; ``chart`` and ``images`` for ``aim``, which may be wanted no more."""

    aim: Wanted | None = None
    release: Release | Unknown | None = UNKNOWN
    chart: ChartFile | Fault | Unknown = UNKNOWN
    images: tuple[str, ...] | Fault | Unknown = UNKNOWN
    readiness: Readiness | Unknown = UNKNOWN
    drift: tuple[str, ...] | Unknown = UNKNOWN
    prepared: bool = False
    trouble: Fault | None = None


@dataclass(slots=True)
class Memory:
    """What this process remembers of a Package: times of its own clock, nothing that could not be found out again."""

    drift_at: float
    drifted: int = 0
    """How many looks for drift, one after the other, found some."""
    prepared: str = ""
    """How the mirror was reached when the target namespace was last prepared."""
    prepared_until: float = 0.0
    stale: tuple[str, int, str] = ("", 0, "")
    stale_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Active:
    """The active bundle of a cluster, which was judged good."""

    controller: PackageBundleController
    name: str
    model: BundleModel
    kube_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Observes. Thread-safe.

    Attributes:
        packages: all Packages.
        bundles: all PackageBundles.
        controllers: all PackageBundleControllers.
        clusters: where packages go to.
        mirrors: where charts come from.
        judge: of bundles.
        holder: this process.
        ready_within: seconds that a package may take to become ready before it is rolled back.
        drift_interval: seconds between two looks for drift.
        clock: seconds, never going back.
    """

    packages: Objects
    bundles: Objects
    controllers: Objects
    clusters: Clusters
    mirrors: Mirrors
    judge: Judge
    holder: str
    ready_within: float
    drift_interval: float
    clock: Callable[[], float] = time.monotonic

    def observe(self, key: str, looked: Looked, memory: Memory) -> Observed | None:
        """What is known of a Package; None when there is none.

        Args:
            key: ``NAMESPACE/NAME``.
            looked: what was looked up in this pass.
            memory: of this Package; the time since a revision is seen is kept in it.
        """
        document = self.packages.get(key)
        if document is None:
            return None
        package = Package.from_json(document)
        location = package.metadata.annotation(LOCATION)
        observed = Observed(
            package=package,
            holder=self.holder,
            location=location if is_namespace(location) else "",
            release=looked.release,
            chart=looked.chart,
            images=looked.images,
            readiness=looked.readiness,
            drift=looked.drift,
            drift_due=self.clock() >= memory.drift_at,
            drift_interval=self.drift_interval,
            stale_for=self._stale_for(package, looked, memory),
            ready_within=self.ready_within,
            trouble=looked.trouble,
            owner=self._owner(package, looked.release),
        )
        if package.metadata.deleting:
            return observed
        try:
            return self._aimed(observed, memory, looked)
        except _RefusedError as error:
            return replace(observed, refusal=error.refusal)
        except BundlectlError as error:
            # The cluster or the mirror may answer later.
            fault = Fault("NotReachable", str(error))
            return replace(observed, refusal=Refusal(fault.reason, fault.message), trouble=fault)

    def active(self, cluster: str) -> Active:
        """The active bundle of a cluster.

        Raises:
            _RefusedError: there is none that may be used.
            BundlectlError: the cluster cannot be asked for its version.
        """
        key = f"{HOME_NAMESPACE}/{cluster}"
        document = self.controllers.get(key)
        if document is None:
            raise _refused("NoController", f"getting PackageBundleController: {key} is not there")
        controller = PackageBundleController.from_json(document)
        if not controller.active_bundle:
            raise _refused("NoActiveBundle", "no activeBundle set in PackageBundleController")
        stored = self.bundles.get(f"{HOME_NAMESPACE}/{controller.active_bundle}")
        if stored is None:
            raise _refused("BundleMissing", f"the active bundle {controller.active_bundle} is not in the cluster")
        judged = self.judge.judge_stored(stored)
        if judged.fault is not None or judged.model is None or judged.name is None:
            fault = judged.fault or Fault("BundleName", "it has no name")
            raise _refused(fault.reason, fault.message, verified=False)
        version = self.clusters.get(cluster).version
        if judged.name.kube_version != version:
            told = (
                f"the active bundle {judged.name.text} is for Kubernetes {judged.name.kube_version}, not for {version}"
            )
            raise _refused("OtherKubernetes", told)
        return Active(controller, judged.name.text, judged.model, version)

    def find_active(self, cluster: str) -> tuple[Active | None, Refusal | None]:
        """The active bundle of a cluster, or why there is none that may be used.

        Raises:
            BundlectlError: the cluster cannot be asked for its version.
        """
        try:
            return self.active(cluster), None
        except _RefusedError as error:
            return None, error.refusal

    def _aimed(self, observed: Observed, memory: Memory, looked: Looked) -> Observed:
        package = observed.package
        spec = package.spec
        cluster = cluster_of(package.metadata.namespace, self.clusters.own)
        if cluster is None:
            raise _refused("Namespace", "Packages namespaces must start with: eksa-packages", state="unknown")
        active = self.active(cluster)
        bundled, version = _resolve(active, spec.package_name, spec.package_version)
        if bundled.workloadonly and cluster == self.clusters.own:
            raise _refused("WorkloadOnly", f"package {bundled.name} should only be installed on a workload cluster")
        if observed.location and spec.target_namespace not in ("", observed.location):
            told = (
                f"package {package.metadata.name} targetNamespace is immutable: its release is in {observed.location}"
            )
            raise _refused("Immutable", told)
        if spec.target_namespace and not is_namespace(spec.target_namespace):
            told = f"targetNamespace {spec.target_namespace[:100]!r} is not the name of a namespace"
            raise _refused("Namespace", told)
        mirror = self.mirrors.get(cluster)
        registry = active.controller.default_image_registry
        try:
            config = read_config(spec.config, origin=package.metadata.name)
            check_config(config, version.schema, origin=package.metadata.name)
            has_login = mirror.settings.pull_secret() is not None
            choices = [values_for(config, image_registry=registry, pull_secret=has_login)]
            if not has_login and isinstance(config.get("imagePullSecrets") or [], list):
                choices.append(values_for(config, image_registry=registry, pull_secret=True))
        except ContentError as error:
            raise _refused("ConfigRefused", error.message) from error
        source = PackageSource(
            registry=bundled.source.registry,
            repository=bundled.source.repository,
            version=version.name,
            digest=version.digest,
        )
        values, fingerprint = _chosen(observed, version.digest, choices)
        prepared = f"{mirror.settings.fingerprint} {observed.location}"
        wanted = Wanted(
            source=source,
            target_version=spec.package_version or f"{version.name} ({LATEST})",
            # The bundle's own registry is in no signature: who altered it would choose whom we talk to.
            repository=f"{active.controller.default_registry}/{bundled.source.repository}",
            values=values,
            fingerprint=fingerprint,
            namespace=spec.target_namespace,
            version=version,
            image_registry=registry,
            create_namespace=active.controller.create_namespace,
        )
        is_known = looked.aim == wanted
        return replace(
            observed,
            wanted=wanted,
            cycle=_cycle(active.model, bundled, version),
            dependencies=tuple(self._dependency(package, active, name) for name in version.dependencies if name),
            chart=observed.chart if is_known else UNKNOWN,
            images=observed.images if is_known else UNKNOWN,
            prepared=looked.prepared or (memory.prepared == prepared and self.clock() < memory.prepared_until),
        )

    def _dependency(self, package: Package, active: Active, name: str) -> Dependency:
        bundled, _ = _resolve(active, name, "", invalid=True)
        candidates = []
        for document in self.packages.all(package.metadata.namespace):
            found = Package.from_json(document)
            if found.spec.package_name.lower() != bundled.name.lower() or found.metadata.deleting:
                continue
            wanted = find_version(bundled, found.spec.package_version)
            source = found.status.source
            current = wanted is not None and source is not None and source.digest == wanted.digest
            state = found.status.state if current or found.status.state != "installed" else "updating"
            owners = found.metadata.owners
            needs_owner = bool(owners) and package.metadata.uid not in owners
            candidates.append(Dependency(package=name, name=found.metadata.name, state=state, needs_owner=needs_owner))
        if candidates:
            return next((each for each in candidates if each.state == "installed"), candidates[0])
        there = self.packages.get(f"{package.metadata.namespace}/{name.lower()}")
        if there is None:
            return Dependency(package=name)
        taken = Package.from_json(there)
        if taken.metadata.deleting:
            return Dependency(package=name, name=taken.metadata.name, state="uninstalling")
        return Dependency(package=name, name=taken.metadata.name, taken_by=taken.spec.package_name)

    def _owner(self, package: Package, release: Release | Unknown | None) -> str:
        """The Package that a release belongs to, if that is another one which exists."""
        if release is None or isinstance(release, Unknown) or release.owner in ("", package.metadata.uid):
            return ""
        for document in self.packages.all():
            metadata = document["metadata"]
            if metadata.get("uid") == release.owner:
                return f"{metadata['namespace']}/{metadata['name']}"
        return ""

    def _stale_for(self, package: Package, looked: Looked, memory: Memory) -> float:
        release, readiness = looked.release, looked.readiness
        if release is None or isinstance(release, Unknown):
            return 0.0
        seen = (package.metadata.uid, release.last.number, release.last.status)
        if memory.stale != seen or (isinstance(readiness, Readiness) and readiness.ready):
            memory.stale, memory.stale_at = seen, self.clock()
        return self.clock() - memory.stale_at


class Memories:
    """The `Memory` of each Package. Thread-safe.

    Args:
        drift_interval: seconds between two looks for drift.
        clock: seconds, never going back.
    """

    def __init__(self, drift_interval: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = drift_interval
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Memory] = {}

    def of(self, key: str) -> Memory:
        """The memory of a Package, a new one at first: its first look for drift is spread over the interval."""
        with self._lock:
            if key not in self._known:
                first = random.uniform(0.2, 1.0) * self._interval  # noqa: S311 -- no secret
                self._known[key] = Memory(self._clock() + first)
            return self._known[key]

    def forget(self, key: str) -> None:
        """Forget a Package that is gone."""
        with self._lock:
            self._known.pop(key, None)

    def forget_all(self) -> None:
        """Forget everything: another replica led meanwhile."""
        with self._lock:
            self._known.clear()


class _RefusedError(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _refused(reason: str, message: str, *, verified: bool = True, state: str = "") -> _RefusedError:
    return _RefusedError(Refusal(reason, message, verified, state))


def _resolve(
    active: Active, name: str, version: str, *, invalid: bool = False
) -> tuple[BundledPackage, PackageVersion]:
    bundled = find_package(active.model, name)
    if bundled is None:
        told = f"Package {name} is not in the active bundle ({active.name})."
        if invalid:
            told = f"invalid package bundle. ({name} is needed, bundle: {active.name})"
        raise _refused("PackageMissing", told)
    found = find_version(bundled, version)
    if found is None:
        told = f"Package {name}@{version} is not in the active bundle ({active.name})."
        raise _refused("VersionMissing", told)
    return bundled, found


def _cycle(model: BundleModel, bundled: BundledPackage, version: PackageVersion) -> tuple[str, ...]:
    """The way from a package over its dependencies into a circle; empty when there is none."""
    finished: set[str] = set()

    def walk(name: str, dependencies: tuple[str, ...], way: tuple[str, ...]) -> tuple[str, ...]:
        if name.lower() in (item.lower() for item in way):
            return (*way, name)
        if len(way) > _DEEPEST:
            raise _refused(
                "DependencyDepth", f"dependencies are more than {_DEEPEST} deep: {' needs '.join(way[:5])} …"
            )
        if name.lower() in finished:
            return ()
        for needed in dependencies:
            further = find_package(model, needed)
            first = find_version(further) if further else None
            if further and first and (found := walk(further.name, first.dependencies, (*way, name))):
                return found
        finished.add(name.lower())
        return ()

    return walk(bundled.name, version.dependencies, ())


def _chosen(observed: Observed, digest: str, choices: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The values that the release was made of last, or else the first to choose from, and what is wanted then.

    The login to the mirror may be gone for a moment only: what names it would be restarted, and find no images.
    """
    retry = observed.package.metadata.annotation(RETRY)
    release = observed.release
    revisions = () if release is None or isinstance(release, Unknown) else release.revisions[-2:]
    found = {_fingerprint(digest, values, retry): values for values in choices}
    made = (one.fingerprint for one in reversed(revisions) if one.fingerprint in found)
    fingerprint = next(made, next(iter(found)))
    return found[fingerprint], fingerprint


def _fingerprint(digest: str, values: dict[str, Any], retry: str) -> str:
    whole = canonical_json({"chart": digest, "values": values, "retry": retry})
    return hashlib.sha256(whole).hexdigest()[:40]

"""Packages without a controller: checked as it checks them, and handed to helm right away."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from bundlectl.errors import ContentError, MissingError, VerificationError
from bundlectl.operations.packages import choose_version
from bundles.helm.archive import read_chart_file
from bundles.package_bundle import BundleName, check_dependencies
from controller.api import path_of
from controller.charts import default_namespace, missing_images
from controller.configuration import PULL_SECRET, check_config, values_for
from controller.helm import HelmError, HelmTarget
from controller.objects import read_objects
from controller.readiness import waited_for
from controller.releases import BUNDLE, NO_LABEL, READY
from controller.values import is_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundlectl.operations.packages import FoundBundle
    from bundlectl.operations.session import Session
    from bundles.schema.package_bundle import BundledPackage, PackageVersion
    from controller.charts import ChartFetcher
    from controller.helm import Helm
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait
    from controller.releases import Release, Revision
    from mirror.remote import Credential

__all__ = ["LocalRelease", "LocalRequest", "install_locally", "prepare", "uninstall_locally"]

_SHOWN: Final = 5
_PATIENCE: Final = 300.0
"""Seconds that a helm gets to end what it began, as with the controller: so long do its operations take at most."""
_RELEASE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,52}")
_MANAGEMENT: Final = "/apis/anywhere.eks.amazonaws.com"
"""What an API server has that manages other clusters of EKS Anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequest:
    """Which package is wanted, how and where; empty texts leave the choice to bundle and chart.

    ``credential`` is what pods pull images with; None leaves what the namespace has. ``allow_rollback`` lets the
    bundle be older than the one that is installed from.
    """

    package: str
    release: str
    version: str = ""
    namespace: str = ""
    create_namespace: bool = False
    values: Mapping[str, Any] = field(repr=False)
    credential: Credential | None = None
    allow_rollback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRelease:
    """A chart that passed all checks, and the release that it becomes."""

    name: str
    package: str
    version: str
    digest: str
    bundle: str
    namespace: str
    chart: Path
    values: Mapping[str, Any] = field(repr=False)
    is_dependency: bool = False
    allow_rollback: bool = False

    def to_json(self, outcome: Literal["installed", "up to date"]) -> dict[str, Any]:
        """Render as the command shows it."""
        return {
            "name": self.name,
            "package": self.package,
            "version": self.version,
            "digest": self.digest,
            "namespace": self.namespace,
            "outcome": outcome,
        }


def prepare(
    request: LocalRequest, found: FoundBundle, *, session: Session, fetcher: ChartFetcher, access: ClusterAccess
) -> list[LocalRelease]:
    """Check a package and all that it needs, and fetch their charts; nothing is changed in the cluster.

    Args:
        request: what is wanted.
        found: the bundle, out of a registry, its signature checked.
        session: to reach the registry.
        fetcher: fetches charts by their signed digests.
        access: the cluster.

    Returns:
        The releases in the order in which they are installed; those of dependencies have the names of
        their packages, and no configuration.

    Raises:
        MissingError: package, version, chart, image or namespace are not there.
        ContentError: the bundle is for another Kubernetes; packages need each other, or are for workload clusters
            alone and this one manages others; the configuration is not what its schema allows; a chart is not the
            one that was signed; a name is none.
        TransportError, RegistryError, ClusterError: registry or cluster do not answer, or refuse.
    """
    if found.place is None:
        raise ContentError("charts are installed from a registry", artifact=found.origin)
    runs = access.kube_version()
    if found.kube_version not in ("", runs):
        raise ContentError(
            f"is for Kubernetes {found.kube_version}, and the cluster runs {runs}",
            artifact=found.name,
            hint="mirror the bundle for that version, and name it with --kube-version",
        )
    check_dependencies(found.bundle.spec.packages, origin=found.name)
    chosen = _in_order(found, request.package, request.version)
    prepared: list[LocalRelease] = []
    for package, version in chosen:
        wanted = package is chosen[-1][0]
        values = request.values if wanted else {}
        where = f"{package.name} {version.name}"
        if package.workloadonly and access.get(_MANAGEMENT) is not None:
            raise ContentError(
                "should only be installed on a workload cluster; this one manages others", artifact=where
            )
        check_config(values, version.schema, origin=where)
        absent = missing_images(session, found.place.images, version)
        if absent:
            raise MissingError(
                f"{len(absent)} of its images are not in {found.place.images}: {', '.join(absent[:_SHOWN])}",
                artifact=where,
                hint="mirror the bundle again: bundlectl mirror packages:… --to …",
            )
        chart = fetcher.fetch(f"{found.place.charts}/{package.source.repository}", version.digest)
        name = request.release if wanted else package.name.lower()
        namespace = (request.namespace if wanted else "") or default_namespace(chart)
        _check_names(name, namespace, where)
        if not request.create_namespace and access.get(path_of("v1", "namespaces", name=namespace)) is None:
            raise MissingError(
                f"the cluster has no namespace {namespace}",
                artifact=where,
                hint="make it, or say --create-namespace; --target-namespace names another",
            )
        path = path_of("v1", "secrets", namespace=namespace, name=PULL_SECRET)
        secret = request.credential is not None or access.get(path) is not None
        prepared.append(
            LocalRelease(
                name=name,
                package=package.name,
                version=version.name,
                digest=version.digest,
                bundle=found.name,
                namespace=namespace,
                chart=chart,
                values=values_for(values, image_registry=found.place.images, pull_secret=secret),
                is_dependency=not wanted,
                allow_rollback=request.allow_rollback,
            )
        )
    return prepared


def _check_names(release: str, namespace: str, where: str) -> None:
    """These become arguments of helm and paths of the API; bundle and chart may say anything."""
    if not (_RELEASE.fullmatch(release) and is_namespace(namespace)):
        raise ContentError(
            f"a release cannot be called {release[:100]!r}, or a namespace {namespace[:100]!r}",
            artifact=where,
            hint="name them with --package-name and --target-namespace",
        )


def _in_order(found: FoundBundle, package: str, version: str) -> list[tuple[BundledPackage, PackageVersion]]:
    """A package after all that it needs, each once; that there is no circle was checked."""
    ordered: dict[str, tuple[BundledPackage, PackageVersion]] = {}
    waiting = [(package, version, False)]
    while waiting:
        name, asked, has_all = waiting.pop()
        known, chosen = choose_version(found.bundle, name, asked)
        if known.name in ordered:
            continue
        if has_all:
            ordered[known.name] = known, chosen
        else:
            waiting += [(name, asked, True), *((needed, "", False) for needed in reversed(chosen.dependencies))]
    return list(ordered.values())


def install_locally(
    releases: list[LocalRelease],
    *,
    helm: Helm,
    access: ClusterAccess,
    wait: Wait | None,
    pull_secret: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Install or upgrade releases one after the other; one that fails is rolled back, and none follows it.

    What others need and is there already stays as it is, for it may have a configuration.

    Args:
        releases: what `prepare` gave.
        helm: the program.
        access: the cluster.
        wait: until what was installed is ready; None does not wait.
        pull_secret: is put beside what is installed, where there is one.

    Raises:
        ContentError: a release of that name is another chart's, or a controller's; or it did not get ready, and the
            one before it runs again.
        VerificationError: what is installed is of a newer bundle.
        HelmError: helm failed, or works at a release already.
        InterruptError: cancelled while waiting.
        ClusterError: the API server does not answer, or refuses.
    """
    for release in releases:
        _refuse_what_is_there(release, access)
    done = []
    for release in releases:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.namespace}}
        if access.get(path_of("v1", "namespaces", name=release.namespace)) is None:
            access.create(namespace)
        if pull_secret is not None:
            metadata = {**pull_secret["metadata"], "namespace": release.namespace}
            access.apply({**pull_secret, "metadata": metadata})
        done.append(_install(release, helm, access, wait))
    return done


def _refuse_what_is_there(release: LocalRelease, access: ClusterAccess) -> None:
    """Leave alone what somebody else gave the same name or works at, and what is of a newer bundle."""
    there = access.release(release.namespace, release.name)
    if there is None:
        return
    artifact = f"{release.namespace}/{release.name}"
    if there.owner:
        raise ContentError(
            "is there already, and a package controller keeps it as its Package says",
            artifact=artifact,
            hint="change the Package: bundlectl packages install --cluster NAME; or choose another --package-name. "
            "Where the Package is gone, take the release away with helm uninstall",
        )
    if there.chart not in ("", read_chart_file(release.chart).name):
        raise ContentError(
            f"is there already, of the chart {there.chart}",
            artifact=artifact,
            hint="choose another --package-name or --target-namespace",
        )
    since = time.time() - there.last.began
    if there.pending and since < _PATIENCE:
        raise HelmError(
            f"a helm works at it since {max(0.0, since):.0f} s ({there.last.status})",
            artifact=artifact,
            hint=f"wait; if it was killed, the same command undoes it {_PATIENCE / 60:g} minutes after it began",
        )
    _refuse_older(release, there, artifact)


def _refuse_older(release: LocalRelease, there: Release, artifact: str) -> None:
    """A mirror may offer what was signed long ago."""
    deployed = _deployed(there)
    before = BundleName.read(deployed.bundle) if deployed else None
    wanted = BundleName.read(release.bundle)
    if release.is_dependency or release.allow_rollback or before is None or wanted is None:
        return
    if before.channel == wanted.channel and wanted.age < before.age:
        raise VerificationError(
            f"{wanted.text} is older than {before.text}, which it is installed from",
            artifact=artifact,
            hint="the package would go back; if that is meant, say --allow-rollback",
        )


def _install(release: LocalRelease, helm: Helm, access: ClusterAccess, wait: Wait | None) -> dict[str, Any]:
    target = HelmTarget(kubeconfig=access.kubeconfig, namespace=release.namespace)
    there = access.release(release.namespace, release.name)
    if release.is_dependency and _deployed(there):
        return release.to_json("up to date")
    good = _last_good(there)
    if there is not None and there.pending:
        # An earlier run was stopped in the middle of it: helm would not touch the release any more.
        if good is None or there.last.status == "uninstalling":
            helm.uninstall(target, release.name)
            good = None
        else:
            helm.rollback(target, release.name, good)
    description = f"{release.package} {release.version} {release.digest}"
    labels = {BUNDLE: release.bundle, READY: NO_LABEL}  # which helm would hand down
    try:
        helm.install(target, release.name, release.chart, release.values, labels=labels, description=description)
        if wait is not None:
            _await_ready(release, helm, access, target, wait)
    except (HelmError, ContentError) as error:
        if good is None:
            error.hint = error.hint or "it stays as far as it came; correct it, and say the same again"
            raise
        _go_back(release, helm, target, good, error)
    return release.to_json("installed")


def _go_back(
    release: LocalRelease, helm: Helm, target: HelmTarget, good: int, error: HelmError | ContentError
) -> NoReturn:
    artifact = f"{release.namespace}/{release.name}"
    try:
        helm.rollback(target, release.name, good)
    except HelmError as second:
        told = f"{error.message}; going back to revision {good} failed, too: {second.message}"
        raise HelmError(
            told, artifact=artifact, hint=f"look with helm history, then helm rollback to {good}"
        ) from error
    raise ContentError(
        f"was rolled back to revision {good}: {error.message}",
        artifact=artifact,
        hint="what ran before runs again; correct the configuration, or choose another version",
    ) from error


def _last_good(there: Release | None) -> int | None:
    """The revision to go back to: the last that was seen ready, else the one deployed; None where there is neither."""
    kept = [one for one in there.revisions if one.status in ("deployed", "superseded")] if there else []
    seen_ready = next((one for one in reversed(kept) if one.ready), None)
    good = seen_ready or _deployed(there)
    return good.number if good else None


def _deployed(there: Release | None) -> Revision | None:
    return next((one for one in reversed(there.revisions) if one.status == "deployed"), None) if there else None


def _await_ready(release: LocalRelease, helm: Helm, access: ClusterAccess, target: HelmTarget, wait: Wait) -> None:
    objects = read_objects(helm.manifest(target, release.name), origin=release.name)
    told: list[str] = []

    def look() -> bool:
        missing = waited_for(objects, lambda item: access.find(item, release.namespace))
        if missing and missing != told:
            wait.tell(f"{release.name}: waiting for {', '.join(missing[:_SHOWN])}")
        told[:] = missing
        return not missing

    if not wait.until(look):
        raise ContentError(
            f"not ready within {wait.seconds:g} s: {', '.join(told[:_SHOWN])}",
            artifact=f"{release.namespace}/{release.name}",
        )
    there = access.release(release.namespace, release.name)
    if there is not None:
        access.mark_ready(release.namespace, release.name, there.last.number)
    wait.tell(f"{release.name}: ready")


def uninstall_locally(names: tuple[str, ...], namespace: str, *, helm: Helm, access: ClusterAccess) -> dict[str, bool]:
    """Take releases away; by name whether there was one.

    Raises:
        ContentError: one was not installed by `install_locally`; then none is taken away.
        HelmError: helm failed.
        ClusterError: the API server does not answer, or refuses.
    """
    there = {name: access.release(namespace, name) for name in names}
    for name, found in there.items():
        if found is not None and (found.owner or not found.last.bundle):
            raise ContentError(
                "was not installed by packages install --from",
                artifact=f"{namespace}/{name}",
                hint="a Package is deleted with --cluster NAME, what helm alone installed with helm uninstall",
            )
    target = HelmTarget(kubeconfig=access.kubeconfig, namespace=namespace)
    for name, found in there.items():
        if found is not None:
            helm.uninstall(target, name)
    return {name: found is not None for name, found in there.items()}

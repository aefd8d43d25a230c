"""Packages without a controller: checked as it checks them, and handed to helm right away."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from bundlectl.errors import ContentError, MissingError, UsageError
from bundlectl.operations.package_objects import object_name
from bundlectl.operations.packages import check_digests, choose_version
from bundles.package_bundle import check_dependencies
from controller.api import ClusterError, path_of
from controller.charts import default_namespace, missing_images
from controller.configuration import PULL_SECRET, check_config, values_for
from controller.helm import HelmError, HelmTarget
from controller.local_releases import deployed, last_good, made_by, refuse_what_is_there
from controller.objects import read_objects
from controller.readiness import waited_for
from controller.releases import BUNDLE, HOLDER, NO_LABEL, READY
from controller.values import is_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bundlectl.operations.packages import FoundBundle
    from bundlectl.operations.session import Session
    from bundles.schema.package_bundle import BundledPackage, PackageVersion
    from controller.charts import ChartFetcher
    from controller.helm import Helm
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait
    from mirror.remote import Credential

__all__ = ["LocalRelease", "LocalRequest", "install_locally", "prepare", "uninstall_locally"]

_SHOWN: Final = 5
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
    """A chart that passed all checks, and the release that it becomes.

    ``is_there`` says that others need it, and it is installed: it stays as it is, so neither images nor values were
    looked at.
    """

    name: str
    package: str
    version: str
    digest: str
    bundle: str
    namespace: str
    chart: Path
    values: Mapping[str, Any] = field(repr=False)
    is_dependency: bool = False
    is_there: bool = False
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
        UsageError: no release or namespace can be called as the request says.
        VerificationError: the signature of the bundle leaves out what would be installed.
        MissingError: package, version, chart, image or namespace are not there.
        ContentError: the bundle is for another Kubernetes; packages need each other, or are for workload clusters
            alone and this one manages others; the configuration is not what its schema allows; a chart is not the
            one that was signed; a name is none.
        TransportError, RegistryError, ClusterError: registry or cluster do not answer, or refuse.
    """
    if found.place is None:
        raise ContentError("charts are installed from a registry", artifact=found.origin)
    check_digests(found.trust, name=found.name)
    _check_release(request.release)
    if request.namespace:
        object_name(request.namespace, "namespace")
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
        where = f"{package.name} {version.name}"
        if package.workloadonly and access.get(_MANAGEMENT) is not None:
            raise ContentError(
                "should only be installed on a workload cluster; this one manages others", artifact=where
            )
        chart = fetcher.fetch(f"{found.place.charts}/{package.source.repository}", version.digest)
        name = request.release if wanted else package.name.lower()
        namespace = (request.namespace if wanted else "") or default_namespace(chart)
        _check_names(name, namespace, where)
        is_there = not wanted and deployed(access.release(namespace, name)) is not None
        values = request.values if wanted else {}
        if not is_there:
            _check_values(values, version, where, needed=not wanted)
            _check_images(session, found.place.images, version, where)
            if not request.create_namespace:
                _check_namespace(namespace, access, where, needed=not wanted)
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
                is_there=is_there,
                allow_rollback=request.allow_rollback,
            )
        )
    return prepared


def _check_values(values: Mapping[str, Any], version: PackageVersion, where: str, *, needed: bool) -> None:
    try:
        check_config(values, version.schema, origin=where)
    except ContentError as error:
        if needed:
            error.hint = "it needs values of its own: install it first, as a package by itself"
        raise


def _check_images(session: Session, registry: str, version: PackageVersion, where: str) -> None:
    absent = missing_images(session, registry, version)
    if absent:
        raise MissingError(
            f"{len(absent)} of its images are not in {registry}: {', '.join(absent[:_SHOWN])}",
            artifact=where,
            hint="mirror the bundle again: bundlectl mirror packages:… --to …",
        )


def _check_namespace(namespace: str, access: ClusterAccess, where: str, *, needed: bool) -> None:
    if access.get(path_of("v1", "namespaces", name=namespace)) is None:
        another = "" if needed else "; --target-namespace names another"
        raise MissingError(
            f"the cluster has no namespace {namespace}",
            artifact=where,
            hint=f"make it, or say --create-namespace{another}",
        )


def _check_release(text: str) -> None:
    """Refuse what the user says, and helm calls no release."""
    if not _RELEASE.fullmatch(text):
        raise UsageError(
            f"{text[:100]!r} cannot be the name of a release",
            hint="it has lower-case letters, digits and - inside; nothing was changed",
        )


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
    pull_secret: Callable[[Mapping[str, Any] | None], dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Install or upgrade releases one after the other; one that fails is rolled back, and none follows it.

    What others need and is there already stays as it is, for it may have a configuration.

    Args:
        releases: what `prepare` gave.
        helm: the program.
        access: the cluster.
        wait: until what was installed is ready; None does not wait.
        pull_secret: makes what is put beside what is installed of what is there under its name; None leaves that.

    Raises:
        ContentError: a release of that name is another chart's, a controller's or another tool's; or it did not get
            ready, and the one before it runs again.
        MissingError: what others need went away meanwhile.
        VerificationError: what is installed is of a newer bundle.
        HelmError: helm failed, or works at a release already.
        InterruptError: cancelled while waiting.
        ClusterError: the API server does not answer, or refuses.
    """
    for release in releases:
        refuse_what_is_there(release, access.release(release.namespace, release.name))
    done = []
    for release in releases:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.namespace}}
        if access.get(path_of("v1", "namespaces", name=release.namespace)) is None:
            access.create(namespace)
        if pull_secret is not None:
            held = access.get(path_of("v1", "secrets", namespace=release.namespace, name=PULL_SECRET))
            secret = pull_secret(held)
            access.apply({**secret, "metadata": {**secret["metadata"], "namespace": release.namespace}})
        done.append(_install(release, helm, access, wait))
    return done


def _install(release: LocalRelease, helm: Helm, access: ClusterAccess, wait: Wait | None) -> dict[str, Any]:
    target = HelmTarget(kubeconfig=access.kubeconfig, namespace=release.namespace)
    there = access.release(release.namespace, release.name)
    # Again: others were waited for since, and somebody else may have begun meanwhile.
    refuse_what_is_there(release, there)
    if release.is_dependency and deployed(there):
        return release.to_json("up to date")
    if release.is_there:
        raise MissingError(
            "was there, and went away meanwhile",
            artifact=f"{release.namespace}/{release.name}",
            hint="the same command again installs it, too",
        )
    good = last_good(there)
    if there is not None and there.pending:
        # An earlier run was stopped in the middle of it: helm would not touch the release any more.
        if good is None or there.last.status == "uninstalling":
            helm.uninstall(target, release.name)
            good = None
        else:
            helm.rollback(target, release.name, good)
    description = f"{release.package} {release.version} {release.digest}"
    run = f"local-{secrets.token_hex(6)}"
    labels = {BUNDLE: release.bundle, HOLDER: run, READY: NO_LABEL}  # which helm would hand down
    try:
        helm.install(target, release.name, release.chart, release.values, labels=labels, description=description)
        if wait is not None:
            _await_ready(release, helm, access, target, wait, run)
    except (HelmError, ContentError) as error:
        if good is None or not _is_last(release, access, run):
            error.hint = error.hint or "what is there stays as it is; correct it, and say the same again"
            raise
        _go_back(release, helm, target, good, error)
    return release.to_json("installed")


def _is_last(release: LocalRelease, access: ClusterAccess, run: str) -> bool:
    """Whether what this run made is still the newest: there may be nothing of it, or what somebody else made since.

    Where nobody can look it is not taken for that.
    """
    try:
        there = access.release(release.namespace, release.name)
    except (ClusterError, ContentError):
        return False
    return there is not None and there.last.number == made_by(there, run)


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


def _await_ready(
    release: LocalRelease, helm: Helm, access: ClusterAccess, target: HelmTarget, wait: Wait, run: str
) -> None:
    number = made_by(access.release(release.namespace, release.name), run)
    objects = read_objects(helm.manifest(target, release.name, revision=number), origin=release.name)
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
    # What runs is of the newest revision: of one that somebody followed with another it says nothing.
    if number is not None and _is_last(release, access, run):
        access.mark_ready(release.namespace, release.name, number)
    wait.tell(f"{release.name}: ready")


def uninstall_locally(names: tuple[str, ...], namespace: str, *, helm: Helm, access: ClusterAccess) -> dict[str, bool]:
    """Take releases away; by name whether there was one.

    Raises:
        UsageError: no release or namespace can be called so.
        ContentError: one was not installed by `install_locally`; then none is taken away.
        HelmError: helm failed.
        ClusterError: the API server does not answer, or refuses.
    """
    object_name(namespace, "namespace")
    for name in names:
        _check_release(name)
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

"""What a cluster says of its packages, and waiting until it is what was asked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, ContentError, InterruptError, MissingError
from bundles.verify import accept
from controller.api import path_of
from controller.packages_cluster import package_path
from controller.values import LATEST, Package, PackageBundle, PackageBundleController, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from threading import Event

    from bundlectl.events import Listener
    from bundles.belief import Belief
    from bundles.schema.package_bundle import PackageVersion
    from controller.packages_cluster import ClusterAccess

__all__ = [
    "ActiveBundle",
    "Wait",
    "active_bundle",
    "ask_for",
    "controller_object",
    "delete_packages",
    "describe_objects",
    "held_bundle",
    "package_rows",
    "packages_of",
    "wait_until_gone",
    "wait_until_installed",
]

_LOOK: Final = 0.5
"""Seconds between two looks while something is waited for."""
_EVENTS: Final = 10
_UNTRUE: Final = frozenset(
    {"BundleNotVerified", "ChartNotVerified", "ConfigRefused", "DependencyCycle", "ImagesNotVerified"}
)
"""Reasons of our controller for which waiting longer is no use: something is not what it should be."""
_SETTLED: Final = 5.0
"""Seconds for which such a refusal, told while it is waited for, must stand to be taken as the last word."""


@dataclass(frozen=True, slots=True)
class ActiveBundle:
    """How a cluster gets its packages, and the bundle it gets them from, whose signature ``verified_by`` held."""

    controller: PackageBundleController
    bundle: PackageBundle
    verified_by: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """How long something is waited for, and who hears what becomes of it.

    ``tell`` gets one line whenever there is something new; ``cancelled`` ends the wait.
    """

    seconds: float
    tell: Callable[[str], None]
    cancelled: Event

    def until(self, look: Callable[[], bool]) -> bool:
        """Look until it is so; False when the time is over.

        Raises:
            InterruptError: cancelled.
        """
        deadline = time.monotonic() + self.seconds
        while not look():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self.cancelled.wait(min(_LOOK, left)):
                raise InterruptError("interrupted", hint="the cluster goes on with it; the same command waits again")
        return True


def controller_object(access: ClusterAccess, cluster: str) -> PackageBundleController:
    """The PackageBundleController of a cluster.

    Raises:
        ConfigError: there is none.
        ClusterError: the API server does not answer, or refuses.
    """
    found = access.get(package_path("PackageBundleController", cluster))
    if found is None:
        raise ConfigError(
            f"no PackageBundleController {cluster} is in this cluster",
            artifact=str(access.kubeconfig),
            hint="make one: bundlectl controller feed --registry HOST[/PREFIX] --cluster NAME",
        )
    return PackageBundleController.from_json(found)


def held_bundle(
    access: ClusterAccess, name: str, *, belief: Belief, listener: Listener
) -> tuple[PackageBundle, str | None] | None:
    """A bundle that the cluster has, and whose signature held; None where it has none of that name.

    Raises:
        VerificationError: it is not signed as it must be.
        ContentError: it is malformed.
        ClusterError: the API server does not answer, or refuses.
    """
    found = access.get(package_path("PackageBundle", name))
    if found is None:
        return None
    bundle = PackageBundle.from_json(found)
    verified = accept(bundle.document, bundle.model, belief=belief, listener=listener)
    return bundle, verified.verified_by


def active_bundle(access: ClusterAccess, cluster: str, *, belief: Belief, listener: Listener) -> ActiveBundle:
    """The bundle that a cluster's packages come from.

    Raises:
        ConfigError: the cluster has no PackageBundleController, or that no active bundle.
        MissingError: the active bundle is not in the cluster.
        VerificationError, ContentError: it is not signed as it must be, or malformed.
        ClusterError: the API server does not answer, or refuses.
    """
    pointing = controller_object(access, cluster)
    if not pointing.active_bundle:
        raise ConfigError(
            "no activeBundle set in PackageBundleController",
            artifact=cluster,
            hint="activate one: bundlectl packages upgrade --bundle-version NAME --cluster NAME",
        )
    found = held_bundle(access, pointing.active_bundle, belief=belief, listener=listener)
    if found is None:
        raise MissingError(
            "the active bundle is not in the cluster",
            artifact=pointing.active_bundle,
            hint="bring it there: bundlectl controller feed --registry HOST[/PREFIX] --cluster NAME",
        )
    return ActiveBundle(pointing, *found)


def packages_of(access: ClusterAccess, cluster: str) -> list[Package]:
    """The Packages of a cluster, by name."""
    found = access.items(package_path("Package", namespace=namespace_of(cluster)))
    return sorted((Package.from_json(item) for item in found), key=lambda package: package.metadata.name)


def package_rows(packages: Iterable[Package]) -> list[dict[str, Any]]:
    """Packages as ``packages list`` shows them."""
    return [
        {
            "name": package.metadata.name,
            "package": package.spec.package_name,
            "state": package.status.state,
            "currentVersion": package.status.current_version,
            "targetVersion": package.status.target_version,
            "targetNamespace": package.spec.target_namespace,
            "detail": package.status.detail,
        }
        for package in packages
    ]


def describe_objects(access: ClusterAccess, cluster: str, names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Packages of a cluster with all that is known of them, and their last Events.

    Raises:
        MissingError: there is none of a name.
        ClusterError: the API server does not answer, or refuses.
    """
    wanted = list(names)
    packages = {package.metadata.name: package for package in packages_of(access, cluster)}
    absent = [name for name in wanted if name not in packages]
    if absent:
        raise MissingError(
            f"there is no Package {', '.join(absent)}",
            artifact=namespace_of(cluster),
            hint=f"there are {', '.join(packages) or 'none'}",
        )
    events = access.items(path_of("v1", "events", namespace=namespace_of(cluster)))
    return [
        {
            **row,
            "config": package.spec.config,
            "source": package.status.source.to_json() if package.status.source else None,
            "conditions": [
                {"type": item.type, "status": item.status, "reason": item.reason, "message": item.message}
                for item in package.status.conditions
            ],
            "events": _events(events, package),
        }
        for name, package in packages.items()
        if not wanted or name in wanted
        for row in package_rows([package])
    ]


def _events(events: Iterable[dict[str, Any]], package: Package) -> list[dict[str, str]]:
    own = [item for item in events if (item.get("involvedObject") or {}).get("uid") == package.metadata.uid]
    told = [
        {
            "time": str(item.get("lastTimestamp") or item.get("eventTime") or ""),
            "type": str(item.get("type", "")),
            "reason": str(item.get("reason", "")),
            "message": str(item.get("message", "")),
        }
        for item in own
    ]
    return sorted(told, key=lambda item: item["time"])[-_EVENTS:]


def ask_for(access: ClusterAccess, document: dict[str, Any]) -> None:
    """Write a Package, or change the one that is there.

    Args:
        access: the cluster.
        document: the Package.

    Raises:
        ContentError: one of that name is there for another package; or admission refuses it.
        ClusterError: the API server does not answer, or refuses.
    """
    wanted = Package.from_json(document)
    held = access.find(document)
    there = Package.from_json(held).spec.package_name if held else ""
    if there and there.lower() != wanted.spec.package_name.lower():
        raise ContentError(
            f"is there already, for the package {there}",
            artifact=wanted.metadata.key,
            hint="choose another --package-name, or delete it first",
        )
    access.apply(document)


def wait_until_installed(
    access: ClusterAccess, cluster: str, versions: Mapping[str, PackageVersion], wait: Wait
) -> None:
    """Wait until Packages are installed in a version, as their spec says.

    Args:
        access: the cluster.
        cluster: its name.
        versions: of the bundle, by the name of the Package that shall have it.
        wait: how long.

    Raises:
        ContentError: a Package was rolled back, or is refused for what it is. A refusal that was told before
            this wait began may be about an earlier bundle, so that one ends the wait only when the time is over.
        MissingError: one is not there yet when the time is over.
        InterruptError: cancelled.
        ClusterError: the API server does not answer, or refuses.
    """
    told: dict[str, str] = {}
    since: dict[str, float] = {}
    refused: set[str] = set()
    waiting = dict(versions)

    def look() -> bool:
        for package in packages_of(access, cluster):
            name = package.metadata.name
            if name not in waiting:
                continue
            line = _progress(package)
            if told.get(name) != line:
                if name in told:
                    since[name] = time.monotonic()
                told[name] = line
                wait.tell(line)
            _refuse_rolled_back(package, waiting[name])
            refused.discard(name)
            if _is_refused(package):
                refused.add(name)
                if time.monotonic() - since.get(name, math.inf) >= _SETTLED:
                    raise ContentError(f"refused: {line}", hint=_look_there(cluster))
            if _is_installed(package, waiting[name]):
                del waiting[name]
        return not waiting

    if not wait.until(look):
        shown = "; ".join(told.get(name, f"{name}: not there") for name in sorted(waiting))
        raise (ContentError if refused.intersection(waiting) else MissingError)(
            f"not installed within {wait.seconds:g} s: {shown}", hint=_look_there(cluster)
        )


def _progress(package: Package) -> str:
    status = package.status
    version = status.current_version if status.state == "installed" else status.target_version
    parts = (f"{package.metadata.name}: {status.state or 'not seen by a controller yet'}", version)
    return " ".join(part for part in parts if part) + (f", {status.detail}" if status.detail else "")


def _look_there(cluster: str) -> str:
    return f"the controller goes on; look with bundlectl packages describe --cluster {cluster}"


def _is_refused(package: Package) -> bool:
    """Whether it is refused for what it is, and as its spec is now."""
    ready = package.status.condition("Ready")
    if ready is None or ready.status != "False" or ready.reason not in _UNTRUE:
        return False
    return ready.observed_generation >= package.metadata.generation


def _is_installed(package: Package, version: PackageVersion) -> bool:
    status = package.status
    seen = not status.observed_generation or status.observed_generation >= package.metadata.generation
    # Of AWS's controller, which counts no generations, the spec that it last acted upon tells.
    same = status.spec is None or status.spec == package.spec
    # Two bundles may have different charts of one version.
    chart = status.source.digest if status.source else ""
    return (
        status.state == "installed"
        and seen
        and same
        and status.current_version == version.name
        and chart in ("", version.digest)
    )


def _refuse_rolled_back(package: Package, version: PackageVersion) -> None:
    ready, status = package.status.condition("Ready"), package.status
    # What was rolled back may be what an earlier bundle had, as long as the controller has not seen this one.
    aimed = status.target_version in (package.spec.package_version or LATEST, f"{version.name} ({LATEST})")
    if aimed and ready and ready.reason == "RolledBack" and ready.observed_generation >= package.metadata.generation:
        raise ContentError(
            f"was rolled back: {ready.message or status.detail}",
            artifact=package.metadata.name,
            hint="the earlier version runs; correct the configuration, or activate another bundle",
        )


def delete_packages(access: ClusterAccess, cluster: str, names: Iterable[str]) -> dict[str, bool]:
    """Ask for Packages to be deleted; by name whether there was one.

    Raises:
        ClusterError: the API server does not answer, or refuses.
    """
    namespace = namespace_of(cluster)
    return {name: access.delete(package_path("Package", name, namespace)) for name in names}


def wait_until_gone(access: ClusterAccess, cluster: str, names: Iterable[str], wait: Wait) -> None:
    """Wait until Packages, and with them their charts, are gone.

    Raises:
        MissingError: one is still there when the time is over.
        InterruptError: cancelled.
        ClusterError: the API server does not answer, or refuses.
    """
    waiting = set(names)
    told: dict[str, str] = {}

    def look() -> bool:
        left = {item.metadata.name: item for item in packages_of(access, cluster) if item.metadata.name in waiting}
        for name, package in left.items():
            line = _progress(package)
            if told.get(name) != line:
                told[name] = line
                wait.tell(line)
        for name in waiting - set(left):
            wait.tell(f"{name}: gone")
        waiting.intersection_update(left)
        return not waiting

    if not wait.until(look):
        raise MissingError(
            f"not gone within {wait.seconds:g} s: {'; '.join(told[name] for name in sorted(waiting))}",
            hint=_look_there(cluster),
        )

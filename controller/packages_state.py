"""What a cluster says of its packages, and waiting until it is what was asked for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, ContentError, InterruptError, MissingError, UsageError, VerificationError
from bundlectl.operations.package_objects import cluster_name, package_namespace
from bundlectl.operations.packages import NAME_THE_KEY, check_digests, trust_of_digests
from bundles.verify import accept
from controller.api import ClusterError, path_of
from controller.packages_cluster import package_path
from controller.values import Package, PackageBundle, PackageBundleController, is_object_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Event

    from bundlectl.events import Listener
    from bundles.belief import Belief
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
]

_LOOK: Final = 0.5
"""Seconds between two looks while something is waited for."""
_EVENTS: Final = 10


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
        """Look until it is so; False when the time is over. An API server that is away for a while is waited for, too.

        Raises:
            InterruptError: cancelled.
            ClusterError: the API server refuses, or does not answer when the time is over.
        """
        deadline = time.monotonic() + self.seconds
        failed: ClusterError | None = None
        while True:
            try:
                if look():
                    return True
                failed = None
            except ClusterError as error:
                if not error.retryable:
                    raise
                if failed is None:
                    self.tell(str(error))
                failed = error
            left = deadline - time.monotonic()
            if left <= 0:
                if failed is not None:
                    raise failed
                return False
            if self.cancelled.wait(min(_LOOK, left)):
                raise InterruptError("interrupted", hint="the cluster goes on with it; the same command waits again")


def controller_object(access: ClusterAccess, cluster: str) -> PackageBundleController:
    """The PackageBundleController of a cluster.

    Raises:
        UsageError: no cluster can be called so.
        ConfigError: there is none.
        ClusterError: the API server does not answer, or refuses.
    """
    found = access.get(package_path("PackageBundleController", cluster_name(cluster)))
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
    try:
        verified = accept(bundle.document, bundle.model, belief=belief, listener=listener)
    except VerificationError as error:
        if belief.mode == "aws":
            error.hint = NAME_THE_KEY
        raise
    check_digests(trust_of_digests(verified.trust, bundle.document), name=name)
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
    """The Packages of a cluster, by name.

    Raises:
        UsageError: no cluster can be called so.
        ClusterError: the API server does not answer, or refuses.
    """
    found = access.items(package_path("Package", namespace=package_namespace(cluster)))
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
        UsageError: no cluster can be called so.
        MissingError: there is none of a name.
        ClusterError: the API server does not answer, or refuses.
    """
    wanted = list(names)
    packages = {package.metadata.name: package for package in packages_of(access, cluster)}
    absent = [name for name in wanted if name not in packages]
    if absent:
        raise MissingError(
            f"there is no Package {', '.join(absent)}",
            artifact=package_namespace(cluster),
            hint=f"there are {', '.join(packages) or 'none'}",
        )
    events = access.items(path_of("v1", "events", namespace=package_namespace(cluster)))
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
        MissingError: the one of that name is being deleted: what it is told now goes with it.
        ContentError: one of that name is there for another package; or admission refuses it.
        ClusterError: the API server does not answer, or refuses.
    """
    wanted = Package.from_json(document)
    held = access.find(document)
    found = Package.from_json(held) if held else wanted
    if found.metadata.deleting:
        raise MissingError(
            "is being deleted", artifact=wanted.metadata.key, hint="once it is gone the same command asks for it anew"
        )
    there = found.spec.package_name
    if there and there.lower() != wanted.spec.package_name.lower():
        raise ContentError(
            f"is there already, for the package {there}",
            artifact=wanted.metadata.key,
            hint="choose another --package-name, or delete it first",
        )
    access.apply(document)


def delete_packages(access: ClusterAccess, cluster: str, names: Iterable[str]) -> dict[str, bool]:
    """Ask for Packages to be deleted; by name whether there was one.

    Raises:
        UsageError: no cluster, or no Package, can be called so; then none is deleted.
        ClusterError: the API server does not answer, or refuses.
    """
    namespace = package_namespace(cluster)
    wanted = tuple(names)
    for name in wanted:
        if not is_object_name(name):
            raise UsageError(f"{name[:100]!r} cannot be the name of a package", hint="nothing was deleted")
    return {name: access.delete(package_path("Package", name, namespace)) for name in wanted}

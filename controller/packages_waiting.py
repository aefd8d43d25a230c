"""Waiting until a cluster's Packages are what was asked for, and what is said meanwhile."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError
from bundlectl.operations.package_objects import package_namespace
from controller.packages_state import packages_of
from controller.values import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bundles.schema.package_bundle import PackageVersion
    from controller.packages_cluster import ClusterAccess
    from controller.packages_state import Wait
    from controller.values import Package

__all__ = ["wait_until_gone", "wait_until_installed"]

_UNTRUE: Final = frozenset(
    {
        "BundleName",
        "BundleNotVerified",
        "ChartNotVerified",
        "ConfigRefused",
        "DependencyCycle",
        "DependencyDepth",
        "ImagesNotVerified",
        "Immutable",
        "NameTaken",
        "Namespace",
        "OtherKubernetes",
        "UpgradeNeeded",
        "WorkloadOnly",
    }
)
"""Reasons of our controller for which waiting longer is no use: something is not what it should be."""
_SETTLED: Final = 5.0
"""Seconds for which such a refusal, told while it is waited for, must stand to be taken as the last word."""


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
        MissingError: one is not installed yet when the time is over, or was deleted meanwhile.
        InterruptError: cancelled.
        ClusterError: the API server does not answer, or refuses.
    """
    waits = _Installation(cluster, wait.tell, dict(versions))
    if not wait.until(lambda: waits.look(packages_of(access, cluster))):
        raise waits.late(wait.seconds)
    if waits.deleted:
        raise MissingError(
            f"deleted by somebody meanwhile: {', '.join(waits.deleted)}",
            artifact=package_namespace(cluster),
            hint="ask for it anew where it is still wanted",
        )


@dataclass(slots=True)
class _Installation:
    """What is still waited for, by the version that it shall have, and what became of it so far."""

    cluster: str
    tell: Callable[[str], None]
    waiting: dict[str, PackageVersion]
    told: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)

    def look(self, packages: Iterable[Package]) -> bool:
        """Go through what there is now; whether nothing is waited for any more."""
        there = {item.metadata.name: item for item in packages if not item.metadata.deleting}
        for name in sorted(self.waiting):
            if name in there:
                self._follow(name, there[name])
            else:
                del self.waiting[name]
                self.deleted.append(name)
                self.tell(f"{name}: deleted")
        return not self.waiting

    def _follow(self, name: str, package: Package) -> None:
        line = _progress(package)
        if self.told.get(name) != line:
            if name in self.told:
                self.since[name] = time.monotonic()
            self.told[name] = line
            self.tell(line)
        _refuse_rolled_back(package, self.waiting[name])
        self.refused.discard(name)
        if _is_refused(package):
            self.refused.add(name)
            if time.monotonic() - self.since.get(name, math.inf) >= _SETTLED:
                raise ContentError(f"refused: {line}", hint=_look_there(self.cluster))
        if _is_installed(package, self.waiting[name]):
            del self.waiting[name]

    def late(self, seconds: float) -> ContentError | MissingError:
        """What to say once the time is over."""
        shown = "; ".join(self.told.get(name, name) for name in sorted(self.waiting))
        kind = ContentError if self.refused.intersection(self.waiting) else MissingError
        return kind(f"not installed within {seconds:g} s: {shown}", hint=_look_there(self.cluster))


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

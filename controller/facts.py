"""What is known of one Package at one moment, and what can be done about it: values without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.schema.package_bundle import PackageVersion
    from controller.releases import Release
    from controller.values import Package, PackageSource, PackageStatus

__all__ = [
    "UNKNOWN",
    "Action",
    "AddOwner",
    "ChartFile",
    "CreateDependency",
    "Decision",
    "Dependency",
    "Dismiss",
    "Enlist",
    "Fault",
    "Install",
    "LookUp",
    "MarkReady",
    "Observed",
    "Readiness",
    "Refusal",
    "Rollback",
    "Uninstall",
    "Unknown",
    "Wanted",
]


class Unknown(Enum):
    """The type of what was not looked up yet."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Fault:
    """What was looked up or done, and went wrong; ``reason`` is one word, of conditions and Events."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Refusal(Fault):
    """Why nothing can be done before something changes. ``verified`` says whether trust is the matter."""

    verified: bool = True
    state: str = ""
    """What the state becomes; unchanged when empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the bundle and the Package come to: one chart and its values.

    ``repository`` is where the chart is in the mirror, ``fingerprint`` a short hash of all that is wanted, and
    ``version`` is as the bundle has it, with the images, which are in ``image_registry``.
    """

    source: PackageSource
    target_version: str
    repository: str
    values: Mapping[str, Any] = field(repr=False)
    fingerprint: str
    namespace: str
    """Asked for; empty where the chart decides."""
    version: PackageVersion = field(repr=False)
    image_registry: str
    create_namespace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """A package that must be installed before. ``name`` is of its object, empty where there is none.

    ``taken_by`` is the package of the object that has the name which this one would get.
    """

    package: str
    name: str = ""
    state: str = ""
    needs_owner: bool = False
    """It was made for other Packages, and would go with them."""
    taken_by: str = ""


@dataclass(frozen=True, slots=True)
class ChartFile:
    """The chart was fetched, and is the signed one; the namespace that it wants to be in."""

    default_namespace: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether all objects of the release are ready, else what is waited for."""

    ready: bool
    waiting_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that is known. What was not looked up is `UNKNOWN`; seconds are of the own clock.

    ``location`` is the namespace of the release, empty as long as the Package was not taken up. ``holder`` is the
    process that observes. ``stale_for`` says for how long the newest revision has been pending or not ready.
    """

    package: Package
    holder: str
    refusal: Refusal | None = None
    wanted: Wanted | None = None
    location: str = ""
    dependencies: tuple[Dependency, ...] = ()
    cycle: tuple[str, ...] = ()
    owner: str = ""
    """Another Package that the release belongs to, ``NAMESPACE/NAME``."""
    release: Release | Unknown | None = UNKNOWN
    chart: ChartFile | Fault | Unknown = UNKNOWN
    images: tuple[str, ...] | Fault | Unknown = UNKNOWN
    """Those that the mirror does not have."""
    prepared: bool = False
    """The target namespace is there, with its pull secret."""
    readiness: Readiness | Unknown = UNKNOWN
    drift: tuple[str, ...] | Unknown = UNKNOWN
    """Objects that are not as the release has them."""
    drift_due: bool = False
    drift_interval: float = 180.0
    stale_for: float = 0.0
    ready_within: float = 300.0
    trouble: Fault | None = None
    """What the last step came to, when it failed."""


@dataclass(frozen=True, slots=True)
class Enlist:
    """Take the Package up: finalizer, and where its release will be."""

    namespace: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Let the Package go: drop the finalizer."""


@dataclass(frozen=True, slots=True)
class CreateDependency:
    """Create the Package of a dependency."""

    package: str


@dataclass(frozen=True, slots=True)
class AddOwner:
    """Have the Package of a dependency stay as long as this one."""

    name: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Find out what is not known."""

    what: Literal["release", "chart", "images", "readiness", "drift", "place"]


@dataclass(frozen=True, slots=True)
class Install:
    """Install or upgrade to what is wanted, or apply it again."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Go back to a revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class Uninstall:
    """Take the release away."""


@dataclass(frozen=True, slots=True)
class MarkReady:
    """Note that a revision was ready."""

    revision: int


Action: TypeAlias = Enlist | Dismiss | CreateDependency | AddOwner | LookUp | Install | Rollback | Uninstall | MarkReady


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to say, what to do, and when to look again.

    ``again_after`` is in seconds, None for when something changes; ``retry`` backs off instead.
    """

    status: PackageStatus
    action: Action | None = None
    again_after: float | None = None
    retry: bool = False

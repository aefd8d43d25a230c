"""Which of the artifacts of a release are wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bundlectl.errors import UsageError
from bundles.artifact import Artifact, Excluded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.oci.platform import Platform

__all__ = ["Selection"]

T = TypeVar("T")

_KUBE_VERSION: Final = re.compile(r"[1-9][0-9]*\.[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The selection flags of ``cli.md``; empty means everything."""

    kube_versions: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    platforms: tuple[Platform, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    referrers: bool = True
    files: bool = True
    render_charts: bool = False

    def __post_init__(self) -> None:
        """Refuse what no release could ever match.

        Raises:
            UsageError: a Kubernetes version is not of the form ``1.33``.
        """
        wrong = next((version for version in self.kube_versions if not _KUBE_VERSION.fullmatch(version)), None)
        if wrong is not None:
            raise UsageError(
                f"{wrong[:100]!r} is not a minor version of Kubernetes",
                hint="write --kube-version 1.33, without a patch",
            )

    def within(self, outer: Selection) -> Selection:
        """What both this selection and ``outer`` want: a Collection is narrowed by flags, never widened.

        Where both name versions, providers, platforms or patterns to include, those named by both count.

        Raises:
            UsageError: they have nothing in common.
        """
        return Selection(
            kube_versions=_both("--kube-version", self.kube_versions, outer.kube_versions),
            providers=_both("--provider", self.providers, outer.providers),
            platforms=_both("--platform", self.platforms, outer.platforms),
            include=_both("--include", self.include, outer.include),
            exclude=(*outer.exclude, *(glob for glob in self.exclude if glob not in outer.exclude)),
            referrers=self.referrers and outer.referrers,
            files=self.files and outer.files,
            render_charts=self.render_charts or outer.render_charts,
        )

    def part(self, artifacts: Iterable[Artifact]) -> tuple[list[Artifact], list[Excluded]]:
        """Part artifacts into the wanted ones and the others, each with its reason."""
        wanted: list[Artifact] = []
        excluded: list[Excluded] = []
        for artifact in artifacts:
            reason = self._reason(artifact)
            if reason is None:
                wanted.append(artifact)
            else:
                excluded.append(Excluded(artifact.reference, reason, ", ".join(sorted(artifact.found_in)[:1])))
        return wanted, excluded

    def _reason(self, artifact: Artifact) -> str | None:
        checks = (
            (not self.files and artifact.type == "file", "files are not wanted (--no-files)"),
            (self._other_version(artifact), f"only Kubernetes {', '.join(self.kube_versions)} is wanted"),
            (self._other_provider(artifact), f"only needed by provider {', '.join(sorted(artifact.providers))}"),
            (self._other_platform(artifact), "for another platform"),
            (bool(self.include) and not _named(artifact, self.include), "not included (--include)"),
            (_named(artifact, self.exclude), "excluded (--exclude)"),
        )
        return next((reason for applies, reason in checks if applies), None)

    def _other_version(self, artifact: Artifact) -> bool:
        if not self.kube_versions or not artifact.kube_versions or artifact.management:
            return False
        return artifact.kube_versions.isdisjoint(self.kube_versions)

    def _other_provider(self, artifact: Artifact) -> bool:
        wanted = {provider.lower() for provider in self.providers}
        needed = {provider.lower() for provider in artifact.providers}
        return bool(wanted and needed and wanted.isdisjoint(needed))

    def _other_platform(self, artifact: Artifact) -> bool:
        if artifact.type != "file" or not self.platforms or not artifact.platforms:
            return False
        return not any(has.matches(wanted) for has in artifact.platforms for wanted in self.platforms)

    def to_json(self) -> dict[str, Any]:
        """Render as the ``selection`` of a lock."""
        return {
            "kubeVersions": sorted(self.kube_versions),
            "providers": sorted(self.providers),
            "platforms": sorted(str(platform) for platform in self.platforms),
            "include": sorted(self.include),
            "exclude": sorted(self.exclude),
            "referrers": self.referrers,
            "files": self.files,
            "renderCharts": self.render_charts,
        }


def _both(flag: str, inner: tuple[T, ...], outer: tuple[T, ...]) -> tuple[T, ...]:
    if not inner or not outer:
        return inner or outer
    common = tuple(item for item in inner if item in outer)
    if not common:
        raise UsageError(
            f"{flag} {', '.join(str(item) for item in inner)} is not among what the Collection selects",
            hint=f"it selects {', '.join(str(item) for item in outer)}",
        )
    return common


def _named(artifact: Artifact, globs: Iterable[str]) -> bool:
    names = {artifact.reference, artifact.name, *artifact.components}
    return any(fnmatchcase(name, glob) for glob in globs for name in names)

"""What a release names: images, charts and files, and what was left out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from bundlectl.errors import ContentError
from signing.trust import TrustLevel, better_trust

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.oci.digest import Digest
    from mirror.oci.platform import Platform

__all__ = ["Artifact", "ArtifactType", "Excluded", "TrustLevel", "better_trust", "merge_artifacts"]

ArtifactType: TypeAlias = Literal["image", "chart", "file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One image, chart or file of a release.

    ``reference`` is the upstream reference as the document writes it: ``registry/repository:tag``,
    or ``registry/repository@digest`` where there is no tag, or the URL of a file. A chart of a
    classic repository is ``chart:``-less: ``host/path/name:version`` with ``chart_url`` set.

    ``digest`` is that of the manifest for an image or chart, and that of the file's own bytes
    (sha256) for a file. ``sha512`` is what the document states beside it. ``size`` is the bytes
    of a file, or of everything an image needs; None while unknown.
    """

    type: ArtifactType
    name: str
    reference: str
    digest: Digest | None = None
    size: int | None = None
    media_type: str | None = None
    sha512: str | None = None
    platforms: tuple[Platform, ...] = ()
    components: frozenset[str] = frozenset()
    kube_versions: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    """Providers that alone need it; empty when every cluster may."""
    found_in: frozenset[str] = frozenset()
    """Where it is named: ``ORIGIN#path.of.fields``, or ``CHART#values.yaml:line``."""
    trust: TrustLevel = "off"
    management: bool = False
    """Whether it is a management component, kept whatever ``--kube-version`` says."""
    document: bool = False
    """Whether the file is itself a release document that can be followed."""
    followed: bool = False
    chart_url: str | None = field(default=None)
    """The ``.tgz`` of a chart in a classic repository."""
    image_registry: str = ""
    """Of a curated package's chart: where the user said its images are, as the package controller would."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two artifacts the same: type, reference, digest."""
        return (self.type, self.reference, str(self.digest or ""))


@dataclass(frozen=True, slots=True, order=True)
class Excluded:
    """Something a document names that is not an artifact, or was not selected, and why."""

    reference: str
    reason: str
    found_in: str = ""


def merge_artifacts(artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """Join artifacts of one identity, sorted by type and reference.

    An artifact named with a digest absorbs the same one named without. The trust kept is the
    best that any of its namings has: what was believed once on good grounds stays believed.

    Raises:
        ContentError: one reference has two digests.
    """
    joined: dict[tuple[str, str], Artifact] = {}
    for artifact in artifacts:
        key = (artifact.type, artifact.reference)
        known = joined.get(key)
        joined[key] = artifact if known is None else _join(known, artifact)
    return tuple(joined[key] for key in sorted(joined))


def _join(first: Artifact, second: Artifact) -> Artifact:
    if first.digest and second.digest and first.digest != second.digest:
        places = sorted(first.found_in | second.found_in)
        raise ContentError(
            f"named with two digests, {first.digest} and {second.digest}",
            artifact=first.reference,
            hint=f"one of the documents is wrong or older; see {', '.join(places[:4])}",
        )
    best = first if better_trust(first.trust, second.trust) == first.trust else second
    pinned = first if first.digest or not second.digest else second
    return Artifact(
        type=first.type,
        name=first.name or second.name,
        reference=first.reference,
        digest=pinned.digest,
        size=first.size if first.size is not None else second.size,
        media_type=first.media_type or second.media_type,
        sha512=first.sha512 or second.sha512,
        platforms=first.platforms or second.platforms,
        components=first.components | second.components,
        kube_versions=first.kube_versions | second.kube_versions,
        providers=first.providers | second.providers if first.providers and second.providers else frozenset(),
        found_in=first.found_in | second.found_in,
        trust=best.trust if pinned is best or first.digest == second.digest else pinned.trust,
        management=first.management or second.management,
        document=first.document or second.document,
        followed=first.followed or second.followed,
        chart_url=first.chart_url or second.chart_url,
        image_registry=first.image_registry or second.image_registry,
    )

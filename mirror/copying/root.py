"""What is to be copied: pure intent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.platform import Platform
    from mirror.oci.repository import ReadRepository, Repository

__all__ = ["Referrer", "Root"]


@dataclass(frozen=True, slots=True)
class Referrer:
    """A signature, SBOM or attestation of a root; ``tag`` where cosign's tag scheme names it.

    Without a tag its own ``subject`` must name the root, a manifest below it, or another referrer.
    """

    descriptor: Descriptor
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """One artifact on its way from a source repository to a target repository.

    ``label`` is how it is called in reports. ``tags`` (at least one) are written last.
    ``manifests`` are the digests of every manifest it needs, where a lock knows them: an index
    that is at the target is then taken as whole only when these are there too. ``is_intact`` is
    given where looking costs nothing: a store whose disk lost some content, or that does not know
    yet how far the artifact is trusted, is mended though its tag is right. ``is_chart`` where it was
    judged as a Helm chart (True) or as an image (False).
    """

    label: str
    source: ReadRepository
    target: Repository
    descriptor: Descriptor
    tags: tuple[str, ...]
    platforms: tuple[Platform, ...] = ()
    referrers: tuple[Referrer, ...] = ()
    manifests: tuple[Digest, ...] = ()
    is_intact: Callable[[], bool] | None = None
    is_chart: bool | None = None

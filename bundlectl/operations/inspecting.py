"""``inspect``: what sources hold, from documents alone, or with what registries say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bundlectl.events import PhaseStarted
from bundlectl.operations.gathering import gather
from bundles.artifact import Artifact, merge_artifacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import Excluded
    from bundles.lock import LockedArtifact, LockedSource
    from mirror.copying import Failure
    from signing.policy import Policy

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the sources hold. ``bytes`` is None unless every size is known."""

    sources: tuple[LockedSource, ...]
    artifacts: tuple[Artifact, ...]
    excluded: tuple[Excluded, ...]
    bytes: int | None = None
    failed: tuple[Failure, ...] = ()

    def count(self, kind: str) -> int:
        """How many artifacts are of a type."""
        return sum(1 for item in self.artifacts if item.type == kind)

    def to_json(self) -> dict[str, Any]:
        """Render as ``cli.md`` says."""
        return {
            "sources": [{"kind": item.kind, "name": item.name, "number": item.number} for item in self.sources],
            "artifacts": [_artifact(item) for item in self.artifacts],
            "excluded": [
                {"reference": item.reference, "reason": item.reason, "foundIn": item.found_in} for item in self.excluded
            ],
            "failed": [item.to_json() for item in self.failed],
            "totals": {
                "images": self.count("image"),
                "charts": self.count("chart"),
                "files": self.count("file"),
                "bytes": self.bytes,
            },
        }


def inspect(request: SourceRequest, *, session: Session, resolve: bool = False, charts: bool = False) -> Inspection:
    """List what the sources hold.

    Args:
        request: what to look at.
        session: connections; without ``resolve`` and ``charts`` only documents are fetched.
        resolve: ask registries and file servers for digests and sizes.
        charts: read the charts, and list the images that they name too.

    Raises:
        UsageError, ContentError, VerificationError, TransportError: from reading the sources.
    """
    gathered = gather(request, session, follow=False)
    policies: tuple[Policy, ...] = ()
    if request.policies or gathered.policies:
        from bundlectl.operations.admitting import admit, load_policies  # noqa: PLC0415 -- only with a policy

        policies = load_policies(request, gathered, session)
        gathered = admit(policies, gathered, request, session)
    artifacts: Iterable[Artifact] = gathered.artifacts
    excluded = set(gathered.excluded)
    failed: tuple[Failure, ...] = ()
    total: int | None = None
    locked = [(known, item) for pinned in gathered.locks for known in (pinned.lock,) for item in known.artifacts]
    if resolve or charts:
        from bundlectl.operations.resolving import Resolver  # noqa: PLC0415 -- documents alone need no registry

        session.listener(PhaseStarted("resolving", len(gathered.artifacts)))
        wanted = [item for item in gathered.artifacts if resolve or item.type == "chart"]
        resolver = Resolver(session, selection=replace(gathered.selection, referrers=False))
        pinned = resolver.resolve(wanted, charts=charts)
        asked = {(item.type, item.reference): item for item in gathered.artifacts}
        named = [_resolved(asked.get((item.type, item.reference)), item) for item in pinned.artifacts]
        pinned_names = {(item.type, item.reference) for item in named}
        artifacts = [*named, *(item for key, item in asked.items() if key not in pinned_names)]
        excluded.update(pinned.excluded)
        failed = tuple(pinned.failed)
        if resolve and not failed and not locked:
            total = sum(pinned.sizes.values())
    if locked and not gathered.artifacts:
        total = sum({digest: known.blobs[digest] for known, item in locked for digest in item.all_digests()}.values())
    everything = merge_artifacts([*artifacts, *(_resolved(None, item) for _, item in locked)])
    for known, *_ in gathered.locks:
        excluded.update(known.excluded)
    if policies:
        from bundlectl.operations.judging import judge_named  # noqa: PLC0415 -- only with a policy

        # Whose signatures an image has is not looked at here: what they could still decide is listed.
        everything, left_out = judge_named(policies, everything)
        excluded.update(left_out)
    return Inspection(gathered.sources, everything, tuple(sorted(excluded)), total, failed)


def _resolved(asked: Artifact | None, item: LockedArtifact) -> Artifact:
    base = asked or Artifact(
        type=item.type,
        name=item.name,
        reference=item.reference,
        components=frozenset(item.components),
        kube_versions=frozenset(item.kube_versions),
    )
    return replace(
        base,
        type=item.type,
        digest=item.digest,
        size=item.size,
        media_type=item.media_type,
        platforms=item.platforms or base.platforms,
        found_in=frozenset(item.found_in) | base.found_in,
        trust=item.trust,
    )


def _artifact(item: Artifact) -> dict[str, Any]:
    return {
        "type": item.type,
        "name": item.name,
        "reference": item.reference,
        "digest": str(item.digest) if item.digest else None,
        "size": item.size,
        "mediaType": item.media_type,
        "platforms": [str(platform) for platform in sorted(item.platforms)],
        "components": sorted(item.components),
        "kubeVersions": sorted(item.kube_versions),
        "foundIn": sorted(item.found_in),
        "trust": item.trust,
        "followed": item.followed if item.document else None,
    }

"""From SOURCEs to artifacts: read every document, join what they name, select."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from bundlectl.errors import UsageError, VerificationError
from bundlectl.events import PhaseStarted
from bundles.artifact import Artifact, Excluded, merge_artifacts
from bundles.lock import Lock, LockedManifest, LockedSource
from bundles.sources import read_source
from mirror.oci.number import read_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.archive import CarriedArchive
    from bundles.collection import CollectionTarget
    from bundles.lock_signature import SignedLock
    from bundles.policy_file import CollectionPolicy
    from bundles.selection import Selection
    from bundles.sources.context import Loaded, SourceDocument

__all__ = ["Gathered", "PinnedSource", "gather"]


class PinnedSource(NamedTuple):
    """A lock among the sources, with its signature.

    ``store`` says where its content lies: the path of a store, the name of ``archive``, or nothing.
    """

    lock: Lock
    store: str
    signed: SignedLock | None
    archive: CarriedArchive | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all sources of a request name together.

    ``selection`` is what was asked for, narrowed by a Collection; ``target`` is the Collection's.
    ``artifacts`` are still to be resolved; ``locks`` are already pinned and stay as they are.
    ``raw`` holds the bytes of every release document by digest text, to be stored or pushed as
    they were received.
    """

    sources: tuple[LockedSource, ...]
    selection: Selection
    artifacts: tuple[Artifact, ...]
    manifests: tuple[LockedManifest, ...]
    excluded: tuple[Excluded, ...]
    raw: dict[str, bytes] = field(default_factory=dict, repr=False)
    locks: tuple[PinnedSource, ...] = ()
    target: CollectionTarget | None = None
    documents: tuple[SourceDocument, ...] = ()
    """Every release document that was read."""
    weakened: tuple[str, ...] = ()
    """What of the request decides what is trusted, in words."""
    policies: tuple[CollectionPolicy, ...] = ()
    """Of all Collections among the sources, those inside of others too."""
    asked: tuple[str, ...] = ()
    """Every source as it is written, those that Collections name too."""
    releases: tuple[tuple[str, bool], ...] = ()
    """The versions of EKS-A releases that sources named, each with whether its Bundles are signed."""


def gather(request: SourceRequest, session: Session, *, follow: bool) -> Gathered:
    """Read all sources of a request and select from what they name.

    Args:
        request: sources, selection, and how documents are believed.
        session: connections.
        follow: whether this command follows documents that others name; ``request.follow`` wins.

    Raises:
        UsageError: a source is of no known form.
        ContentError: a document is malformed, or one reference has two digests.
        VerificationError: a document cannot be believed.
        TransportError: a document cannot be fetched.
    """
    if not request.sources:
        raise UsageError("no source given", hint="name a release, a manifest, an image, a chart or a store")
    context = session.context(request, follow=follow)
    session.listener(PhaseStarted("reading", len(request.sources)))
    loaded = [read_source(text, context) for text in dict.fromkeys(request.sources)]
    policies = tuple(_policies(loaded))
    if _names_signers(request) and not (policies or request.policies):
        _refuse_unsignable(loaded)
    selection = request.selection
    excluded: set[Excluded] = set()
    found: list[Artifact] = []
    for item in loaded:
        chosen = selection if item.collection is None else selection.within(item.collection.selection)
        kept, left = chosen.part(item.contents.artifacts)
        found += kept
        excluded.update(item.contents.excluded, left)
    wanted = merge_artifacts(found)
    _refuse_unknown_versions(selection, loaded)
    raw = {
        str(document.verified.document.digest): document.verified.document.raw
        for item in loaded
        for document in item.documents
    }
    return Gathered(
        sources=tuple(LockedSource(item.source, item.kind, item.name, _number(item.number)) for item in loaded),
        selection=_effective(selection, loaded),
        artifacts=wanted,
        manifests=tuple(_unique(_locked_manifests(loaded))),
        excluded=tuple(sorted(excluded)),
        raw=raw,
        locks=tuple(_locks(loaded)),
        target=next((item.collection.target for item in loaded if item.collection), None),
        documents=tuple(
            entry for item in loaded for entry in item.documents if entry.verified.document.kind != "Collection"
        ),
        weakened=request.weakened,
        policies=policies,
        asked=tuple(_asked(loaded)),
        releases=tuple(_releases(loaded)),
    )


def _releases(loaded: Iterable[Loaded]) -> Iterable[tuple[str, bool]]:
    for item in loaded:
        if item.kind == "Release" and item.source.startswith("eks-a:"):
            trusts = {entry.verified.trust for entry in item.documents if entry.kind == "Bundles"}
            yield item.name, trusts == {"signed"}
        yield from _releases(item.parts)


def _asked(loaded: Iterable[Loaded]) -> Iterable[str]:
    for item in loaded:
        yield item.source
        yield from _asked(item.parts)


def _names_signers(request: SourceRequest) -> bool:
    return request.belief.mode == "key" or request.belief.anchors is not None


def _refuse_unsignable(loaded: Iterable[Loaded]) -> None:
    """Refuse what carries no signature of the kind that was asked for: nobody should think that it was checked.

    Raises:
        VerificationError: a source is an image, a chart, a file or a registry as it is.
    """
    for item in loaded:
        if item.collection is None and item.lock is None and not item.documents:
            raise VerificationError(
                f"a source of the kind {item.kind} is no manifest and no lock, and whose signature it has is not "
                "looked at",
                artifact=item.source,
                hint="lock it, and sign the lock (bundlectl lock --key); or say in a policy who must have signed it",
            )
        _refuse_unsignable(item.parts)


def _policies(loaded: Iterable[Loaded]) -> Iterable[CollectionPolicy]:
    for item in loaded:
        if item.collection is not None and item.collection.policy is not None:
            yield item.collection.policy
        yield from _policies(item.parts)


def _refuse_unknown_versions(selection: Selection, loaded: Iterable[Loaded]) -> None:
    """A Kubernetes version that nothing is for would leave out almost everything, and look like success.

    Raises:
        UsageError: a source that tells versions apart has none of those asked for.
    """
    known: set[str] = set()
    for item in loaded:
        pinned = item.lock.artifacts if item.lock else ()
        known.update(version for artifact in item.contents.artifacts for version in artifact.kube_versions)
        known.update(version for artifact in pinned for version in artifact.kube_versions)
    for version in selection.kube_versions:
        if known and version not in known:
            raise UsageError(
                f"nothing is for Kubernetes {version}",
                hint=f"the sources have {', '.join(sorted(known, key=_version_order))}",
            )


def _version_order(version: str) -> tuple[int, ...]:
    return tuple(read_number(part) or 0 for part in version.split("."))


def _effective(selection: Selection, loaded: Iterable[Loaded]) -> Selection:
    """The selection that holds for everything: platforms and referrers are chosen once a run.

    Raises:
        UsageError: two Collections want different platforms.
    """
    collections = [item.collection for item in loaded if item.collection is not None]
    for collection in collections:
        if collection.platforms != collections[0].platforms or collection.referrers != collections[0].referrers:
            raise UsageError(
                "two Collections select different platforms or referrers",
                artifact=collection.name,
                hint="run them one after the other",
            )
        selection = selection.within(collection.selection)
    return selection


def _locks(loaded: Iterable[Loaded]) -> Iterable[PinnedSource]:
    for item in loaded:
        if item.lock is not None:
            yield PinnedSource(item.lock, item.store, item.signed, item.archive)
        yield from _locks(item.parts)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _unique(manifests: Iterable[LockedManifest]) -> Iterable[LockedManifest]:
    return {(item.kind, item.name, item.digest): item for item in manifests}.values()


def _locked_manifests(loaded: Iterable[Loaded]) -> Iterable[LockedManifest]:
    for item in loaded:
        for entry in item.documents:
            document = entry.verified.document
            if document.kind == "Collection":
                continue
            yield LockedManifest(
                kind=entry.kind,
                name=entry.name,
                url=entry.url,
                digest=document.digest,
                size=len(document.raw),
                trust=entry.verified.trust,
                verified_by=entry.verified.verified_by,
                oci_digest=entry.oci_digest,
                tags=entry.tags,
            )

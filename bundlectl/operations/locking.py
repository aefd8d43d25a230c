"""``lock``: resolve sources to digests and sizes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundlectl.errors import ContentError, MissingError, UsageError
from bundlectl.events import PhaseStarted
from bundlectl.operations.gathering import Gathered, gather
from bundlectl.operations.rollback import newest
from bundles.artifact import Artifact, Excluded
from bundles.lock import Lock, LockedArtifact
from bundles.plan import Naming
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.resolving import Pinned
    from bundlectl.operations.session import Session
    from bundles.archive import CarriedArchive
    from bundles.lock_signature import SignedLock
    from bundles.selection import Selection
    from mirror.copying import Failure
    from mirror.layout import Store
    from mirror.oci.digest import Digest
    from signing.policy import Policy

__all__ = ["Locked", "lock", "lock_sources", "refuse_failed"]

_EXPLAINED = 5
"""Failures that are told with their reasons; of any further ones the references alone."""


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock, and what else a run from it needs.

    ``raw`` are release documents by digest; ``stores`` says for each artifact's identity which
    store holds its content, where it is not read from upstream; ``failed`` are artifacts that
    could not be pinned; ``platforms`` are those that everything was pinned for, ``target`` the
    one that a Collection names. ``signed`` is the lock that this one still is, with its signature.
    ``archives`` are those among the stores that are archives, by what ``stores`` calls them.
    """

    lock: Lock
    raw: dict[str, bytes] = field(default_factory=dict, repr=False)
    stores: dict[tuple[str, str, str], str] = field(default_factory=dict)
    failed: tuple[Failure, ...] = ()
    platforms: tuple[Platform, ...] = ()
    target: Naming | None = None
    signed: SignedLock | None = None
    archives: dict[str, CarriedArchive] = field(default_factory=dict)


def lock(request: SourceRequest, *, session: Session) -> Lock:
    """Resolve all sources to digests and sizes.

    Raises:
        ContentError: something is not what a document says; all such artifacts are named.
        MissingError: something is not there; all such artifacts are named.
        UsageError, VerificationError, TransportError: from reading the sources.
    """
    locked = lock_sources(request, session=session)
    refuse_failed(locked)
    return locked.lock


def refuse_failed(locked: Locked) -> None:
    """Raise what kept artifacts from being pinned, for who can do nothing with a part.

    Raises:
        ContentError: something is not what a document says; all such artifacts are named.
        MissingError: something is not there; all such artifacts are named.
    """
    if locked.failed:
        raise _summary(locked.failed)


def lock_sources(request: SourceRequest, *, session: Session, store: Store | None = None) -> Locked:
    """Resolve all sources, going on past artifacts that cannot be pinned.

    Args:
        request: what to lock.
        session: connections.
        store: keeps files that must be read to learn their digest.

    Raises:
        ContentError: two sources pin one reference to two digests.
        UsageError, VerificationError, TransportError: from reading the sources.
    """
    gathered = gather(request, session, follow=True)
    fresh = newest(gathered, store, allowed=request.allow_rollback) if store is not None else {}
    policies: tuple[Policy, ...] = request.policies
    if policies or gathered.policies:
        from bundlectl.operations.admitting import admit, load_policies  # noqa: PLC0415 -- only with a policy

        policies = load_policies(request, gathered, session)
        gathered = admit(policies, gathered, request, session)
    if store is not None and fresh:
        store.remember(fresh)
    session.listener(PhaseStarted("resolving", len(gathered.artifacts)))
    pinned = None
    if gathered.artifacts:
        # Where a policy may still refuse, nothing is kept of what is read to be pinned.
        pinned = _resolve(gathered, session, None if policies else store)
    locked = _join(gathered, pinned, session)
    if not policies:
        return locked
    from bundlectl.operations.admitting import judge_pinned  # noqa: PLC0415 -- only with a policy

    return judge_pinned(policies, locked, gathered, request, session)


def _resolve(gathered: Gathered, session: Session, store: Store | None) -> Pinned:
    from bundlectl.operations.resolving import Resolver  # noqa: PLC0415 -- 30 ms that a run from a lock saves
    from bundles.helm.rendering import Rendering  # noqa: PLC0415 -- see above

    resolver = Resolver(
        session,
        selection=gathered.selection,
        store=store,
        rendering=Rendering(helm=_helm(), cancel=session.cancelled) if gathered.selection.render_charts else None,
    )
    return resolver.resolve(gathered.artifacts)


def _helm() -> Path | None:
    found = shutil.which("helm")
    return Path(found) if found else None


def _join(gathered: Gathered, pinned: Pinned | None, session: Session) -> Locked:
    artifacts = {(item.type, item.reference): item for item in (pinned.artifacts if pinned else ())}
    sizes = dict(pinned.sizes) if pinned else {}
    manifests = {(item.kind, item.name, item.digest): item for item in gathered.manifests}
    excluded: set[Excluded] = {*gathered.excluded, *(pinned.excluded if pinned else ())}
    stores: dict[tuple[str, str, str], str] = {}
    archives: dict[str, CarriedArchive] = {}
    weakened = {*session.connection.weakened, *gathered.weakened}
    _refuse_mixed_platforms(gathered)
    for known, path, _, archive in gathered.locks:
        if archive is not None:
            archives[path] = archive
        chosen, left = _select(known, gathered.selection)
        for item in chosen:
            sizes.update((digest, known.blobs[digest]) for digest in item.all_digests())
            earlier = artifacts.get((item.type, item.reference))
            if earlier and earlier.digest != item.digest:
                raise ContentError(f"is locked to {earlier.digest} and to {item.digest}", artifact=item.reference)
            artifacts[item.type, item.reference] = earlier.joined(item, sizes) if earlier else item
            if path:
                stores[item.identity] = path
        manifests.update(((item.kind, item.name, item.digest), item) for item in known.manifests)
        if path:
            stores.update((("manifest", item.kind, str(item.digest)), path) for item in known.manifests)
        excluded.update(known.excluded, left)
        weakened.update(known.weakened)
    result = Lock(
        sources=gathered.sources,
        selection=_selection(gathered),
        manifests=tuple(manifests.values()),
        artifacts=tuple(artifacts[key] for key in sorted(artifacts)),
        blobs=_needed(artifacts.values(), sizes),
        excluded=tuple(sorted(excluded)),
        weakened=tuple(sorted(weakened)),
    )
    platforms = tuple(Platform.parse(text) for text in result.selection["platforms"])
    target = None
    if gathered.target:
        rules = [f"{source}={namespace}" for source, namespace in gathered.target.map.items()]
        target = Naming.parse(gathered.target.registry, rules)
    return Locked(
        result,
        gathered.raw,
        stores,
        tuple(pinned.failed if pinned else ()),
        platforms,
        target,
        _still_signed(gathered, result),
        archives,
    )


def _still_signed(gathered: Gathered, result: Lock) -> SignedLock | None:
    """The signed lock among the sources, where the result is that lock and nothing more or less."""
    if len(gathered.locks) != 1 or gathered.artifacts or gathered.manifests:
        return None
    known, _, signed, _ = gathered.locks[0]
    same = sorted(known.artifacts, key=_identity) == sorted(result.artifacts, key=_identity)
    return signed if same and result.selection == known.selection else None


def _identity(item: LockedArtifact) -> tuple[str, str, str]:
    return item.identity


def _refuse_mixed_platforms(gathered: Gathered) -> None:
    """Platforms are chosen once a run: the copy must walk each index as it was walked when it was locked."""
    made_for = {tuple(pinned.lock.selection["platforms"]) for pinned in gathered.locks}
    if gathered.artifacts:
        made_for.add(tuple(gathered.selection.to_json()["platforms"]))
    if len(made_for) > 1:
        shown = "; ".join(", ".join(platforms) or "all" for platforms in sorted(made_for))
        raise UsageError(f"the sources are for different platforms ({shown})", hint="run them one after the other")


def _needed(artifacts: Iterable[LockedArtifact], sizes: dict[Digest, int]) -> dict[Digest, int]:
    return {digest: sizes[digest] for item in artifacts for digest in item.all_digests()}


def _selection(gathered: Gathered) -> dict[str, object]:
    """The selection to record: what a lock was made with stays, what narrows it further is added."""
    own = gathered.selection.to_json()
    made = [pinned.lock.selection for pinned in gathered.locks]
    if not made:
        return own
    # All are for the same platforms (``_refuse_mixed_platforms``), and what one lock left out is not here.
    kept = {key: own[key] and all(each[key] for each in made) for key in ("referrers", "files")}
    if len(made) > 1 or gathered.artifacts:
        return {**own, **kept, "platforms": made[0]["platforms"]}
    return {**made[0], **{key: value for key, value in own.items() if isinstance(value, list) and value}, **kept}


def _select(known: Lock, selection: Selection) -> tuple[list[LockedArtifact], list[Excluded]]:
    asked = selection.to_json()
    for key, option in (("platforms", "--platform"), ("providers", "--provider")):
        # A lock does not say which artifact is for which provider, nor what other platforms need.
        if asked[key] and asked[key] != known.selection.get(key):
            raise UsageError(
                f"a lock's {key} cannot be chosen again",
                artifact=known.name,
                hint=f"give {option} to the command that makes the lock",
            )
    wanted, left = selection.part(_as_artifact(item) for item in known.artifacts)
    kept = {(item.type, item.reference) for item in wanted}
    chosen = [item for item in known.artifacts if (item.type, item.reference) in kept]
    return chosen if selection.referrers else [replace(item, referrers=()) for item in chosen], left


def _as_artifact(item: LockedArtifact) -> Artifact:
    return Artifact(
        type=item.type,
        name=item.name,
        reference=item.reference,
        digest=item.digest,
        size=item.size,
        components=frozenset(item.components),
        kube_versions=frozenset(item.kube_versions),
        found_in=frozenset(item.found_in),
        trust=item.trust,
    )


def _summary(failed: tuple[Failure, ...]) -> ContentError | MissingError:
    failed = tuple(sorted(failed, key=lambda failure: failure.reference))
    shown = "; ".join(failure.error for failure in failed[:_EXPLAINED])
    rest = failed[_EXPLAINED:]
    more = f"; and {', '.join(failure.reference for failure in rest)}" if rest else ""
    wrong = any(failure.exit_code == 3 for failure in failed)  # noqa: PLR2004 -- cli.md
    kind = ContentError if wrong else MissingError
    return kind(
        f"{len(failed)} artifact{'s' if len(failed) > 1 else ''} could not be resolved: {shown}{more}",
        hint=failed[0].hint or "leave them out with --exclude, or try again",
    )

"""``report``: what crosses the gap, for whoever must approve it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, InterruptError, RegistryError, TransportError, VerificationError
from bundlectl.events import PhaseStarted
from bundlectl.operations.comparing import Side, difference
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.rooting import Rooting
from bundlectl.operations.taking_stock import load_inventory
from bundles.canonical import kind_of_root
from bundles.coverage import gaps
from bundles.document import parse_document
from bundles.inventory import INVENTORY_LIMIT
from bundles.lock import Lock
from bundles.lock_signature import SIGNATURE_LIMIT, as_unsigned
from bundles.reporting.attached import identity_name, left_out, read_attached, unread
from bundles.reporting.carried import look_at, state
from bundles.reporting.changes import Differing, compare
from bundles.reporting.placing import place_all
from bundles.reporting.report import Report, ReportedArtifact, ReportedDocument, Unpinned, Vouching
from bundles.schema import parse_model
from bundles.sources import form_of
from bundles.sources.local import read_local
from bundles.sources.store import split_store
from mirror.copying.working import Workers, check_cancelled
from mirror.layout import Store
from mirror.markup import visible
from mirror.oci.digest import Digest
from signing.identity import TrustAnchors
from signing.stated import signer_of_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bundlectl.operations.locking import Locked
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.artifact import TrustLevel
    from bundles.lock import LockedArtifact, LockedManifest, LockedSource
    from bundles.reporting.attached import Attached
    from bundles.reporting.carried import Carried
    from bundles.reporting.changes import Change, Since, Statement

__all__ = ["make_report"]

_LOCK_LIMIT: Final = 64 * 1024 * 1024
_WHOLE_CHECKED: Final = (
    "The signature of the whole was checked by this run. Who verified each release document is what the lock says: "
    "that was checked when the lock was made."
)
_DOCUMENTS_CHECKED: Final = (
    "This run made the lock. It checked the signatures of release documents that it read itself, where they carry "
    "one; what came from locks and stores has the trust level that is recorded there."
)
_RECORDED: Final = (
    "No signature of the whole was checked by this run. Trust levels, and who verified what, are the word of whoever "
    "wrote the lock or the store."
)
_JOBS: Final = 8
"""Attached documents read at a time: each may be 16 MiB."""


def make_report(
    request: SourceRequest, *, session: Session, since: Path | None = None, since_anchors: TrustAnchors | None = None
) -> Report:
    """Gather everything that a report says.

    Artifacts that cannot be pinned are in it as that. What is attached to artifacts, and release documents, are read
    where their content lies; what cannot be read is in it as that, too.

    Args:
        request: sources, and how they are believed.
        session: connections.
        since: a file with the inventory of what the site has.
        since_anchors: who must have signed that; None to tell whether those did whom ``request`` names.

    Raises:
        UsageError, VerificationError, ContentError, MissingError, TransportError: from reading the sources, or
            the inventory.
        InterruptError: cancelled.
    """
    statement = _statement(since, since_anchors, request.belief.anchors) if since else None
    locked = _as_written(lock_sources(request, session=session))
    archives = tuple(look_at(f"archive:{archive.name}", archive) for text, archive in sorted(locked.archives.items()))
    raw = _given_lock(request, locked)
    recorded = Lock.from_bytes(raw, origin="lock") if raw is not None else locked.lock
    compared = _compared(locked.lock, statement) if statement else None
    with Rooting(locked, session) as rooting:
        attached = _attached(locked, rooting, session, _anchors(request))
        documents = tuple(
            _document(item, rooting, _level(recorded, item), compared.documents[number] if compared else None)
            for number, item in enumerate(locked.lock.manifests)
        )
    levels = {item.identity: item.trust for item in recorded.artifacts}
    changes = dict(zip(map(_identity, locked.lock.artifacts), compared.artifacts, strict=True)) if compared else {}
    return Report(
        lock=locked.lock,
        sources=tuple(_shown(item) for item in locked.lock.sources),
        made_from=tuple(_shown(item) for item in recorded.sources) if raw is not None else (),
        vouching=_vouching(request, locked, raw, archives),
        documents=documents,
        artifacts=tuple(
            ReportedArtifact(
                artifact=item.artifact,
                recorded=levels.get(item.artifact.identity, item.artifact.trust),
                release=item.release,
                component=item.component,
                package=item.package,
                attached=attached.get(item.artifact.identity, ()),
                change=changes.get(item.artifact.identity),
                volumes=_volumes(item.artifact, archives),
            )
            for item in place_all(locked.lock)
        ),
        unpinned=tuple(
            Unpinned(reference=item.reference, code=item.code, error=visible(item.error), exit_code=item.exit_code)
            for item in locked.failed
        ),
        since=compared,
        archives=archives,
    )


def _as_written(locked: Locked) -> Locked:
    """The same, in the order in which a lock is written: whether it was just made makes no difference."""
    return replace(locked, lock=Lock.from_bytes(locked.lock.to_bytes(), origin="the lock of this run"))


def _anchors(request: SourceRequest) -> TrustAnchors | None:
    """Whose signatures of artifacts count: of those whom options name, and of those whom policies do."""
    named = [
        *((request.belief.anchors,) if request.belief.anchors else ()),
        *(item.anchors() for item in request.policies),
    ]
    keys = dict.fromkeys(key for each in named for key in each.keys)
    certificates = dict.fromkeys(who for each in named for who in each.certificates)
    found = TrustAnchors(keys=tuple(keys), certificates=tuple(certificates), trusted_root=request.belief.trusted_root)
    return found if found.keys or found.certificates else None


def _shown(source: LockedSource) -> str:
    """A source without the folder that it lies in: two who have the same medium have the same report."""
    form, _ = form_of(source.source)
    if form in ("store", "archive"):
        return f"{form}:{source.name}"
    return source.source if form or "://" in source.source else PurePath(source.source).name


def _statement(path: Path, required: TrustAnchors | None, anchors: TrustAnchors | None) -> Statement:
    """What the site is said to have. A signature that nobody required is told where it fails, and not refused."""
    anchors = required or anchors
    unverified = None if anchors else "was not checked"
    try:
        inventory, proof, _ = load_inventory(path, anchors)
    except VerificationError as error:
        if required:
            raise
        inventory, proof, _ = load_inventory(path, None)
        unverified = visible(error.message)
    return replace(state(read_local(path, limit=INVENTORY_LIMIT), inventory, proof), unverified=unverified)


def _compared(lock: Lock, statement: Statement) -> Since:
    found = difference(Side.of_inventory(statement.inventory), Side.of_lock(lock))
    return compare(
        lock,
        statement,
        Differing(added=found.added, removed=found.removed, changed=found.changed, size=found.bytes or 0),
    )


def _given_lock(request: SourceRequest, locked: Locked) -> bytes | None:
    """The bytes of the one lock that is the source; None where this run made one."""
    if locked.signed is not None:
        return locked.signed.raw
    if len(request.sources) != 1:
        return None
    form, rest = form_of(request.sources[0])
    try:
        if form == "store":
            path, name = split_store(rest)
            with Store.open(path, read_only=True) as store:
                raw = store.collections().get(name)
        elif form == "archive":
            raw = locked.archives[request.sources[0]].lock.to_bytes()
        else:
            raw = read_local(Path(rest), limit=_LOCK_LIMIT) if not form else None
        if raw is None or not Lock.is_lock(raw):
            return None
        known = Lock.from_bytes(raw, origin=request.sources[0])
    except InterruptError:
        raise
    except BundlectlError:
        return None
    # It may have been narrowed by a selection, or have been replaced meanwhile.
    same = as_unsigned(known).artifacts == as_unsigned(locked.lock).artifacts
    return raw if same else None


def _vouching(request: SourceRequest, locked: Locked, raw: bytes | None, archives: Sequence[Carried]) -> Vouching:
    signed = locked.signed
    proof = signed.proof if signed else None
    says = signer_of_bundle(signed.signature, limit=SIGNATURE_LIMIT) if signed else None
    inventory = archives[0].statement if archives and raw is not None else None
    verified_by = identity_name(proof.identity) if proof else inventory.verified_by if inventory else None
    if request.belief.mode == "off":
        checked = "Nothing was checked by this run: verification was switched off."
    elif verified_by is not None:
        checked = _WHOLE_CHECKED
    else:
        checked = _DOCUMENTS_CHECKED if raw is None else _RECORDED
    return Vouching(
        digest=Digest.of(locked.lock.to_bytes() if raw is None else raw),
        made_here=raw is None,
        says=visible(says) if says else ("nobody that could be read" if signed else None),
        verified_by=verified_by,
        checked=checked,
    )


def _attached(
    locked: Locked, rooting: Rooting, session: Session, anchors: TrustAnchors | None
) -> Mapping[tuple[str, str, str], tuple[Attached, ...]]:
    wanted = [item for item in locked.lock.artifacts if item.referrers]
    absent = {text: frozenset(archive.contents.present) for text, archive in locked.archives.items()}
    session.listener(PhaseStarted("reading", len(wanted)))

    def read(item: LockedArtifact) -> tuple[Attached, ...]:
        repository = rooting.source(item)
        found: list[Attached] = []
        for referrer in item.referrers:
            check_cancelled(session.cancelled)
            if referrer.digest in absent.get(locked.stores.get(item.identity, ""), ()):
                found.append(left_out(referrer))
                continue
            try:
                several = session.persist(partial(read_attached, repository, item, referrer, anchors))
            except (TransportError, RegistryError) as error:
                several = (unread(referrer, error),)
            # The same may be attached by a referrer and by cosign's tag.
            found += [one for one in several if one not in found]
        return tuple(found)

    with Workers(min(_JOBS, session.jobs), session.cancelled) as workers:
        return dict(zip(map(_identity, wanted), workers.map(read, wanted), strict=True))


def _identity(item: LockedArtifact) -> tuple[str, str, str]:
    return item.identity


def _document(item: LockedManifest, rooting: Rooting, recorded: TrustLevel, change: Change | None) -> ReportedDocument:
    made = partial(ReportedDocument, document=item, recorded=recorded, change=change)
    try:
        document = parse_document(rooting.document(item), origin=item.url)
        if document.type == "EksaRelease":
            return made(problem="a release index carries no signature at all")
        unknown = parse_model(document).unknown
        return made(gaps=gaps(kind_of_root(document.root), document.root, unknown))
    except InterruptError:
        raise
    except BundlectlError as error:
        return made(problem=visible(f"what its signature covers is not known: {error.message}"))


def _level(recorded: Lock, item: LockedManifest) -> TrustLevel:
    key = (item.kind, item.name, item.digest)
    known = (found.trust for found in recorded.manifests if (found.kind, found.name, found.digest) == key)
    return next(known, item.trust)


def _volumes(item: LockedArtifact, archives: Sequence[Carried]) -> tuple[int, ...]:
    if len(archives) != 1:
        return ()
    plan = archives[0].plan
    places = (plan.locate(digest) for digest in item.all_digests())
    return tuple(sorted({volume.number for place in places if place for volume in plan.volumes_of(*place)}))

"""Whether release documents and locks meet the policies: before anything that they name is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, VerificationError
from bundlectl.events import Notice
from bundles.aws_keys import aws_key
from bundles.canonical import kind_of_root
from bundles.document import parse_document
from bundles.lock_signature import as_signed, as_unsigned, verify_lock
from bundles.signatures import SignedManifest, check_signature
from bundles.sources.following import LOCKED_KINDS
from mirror.oci.digest import Digest
from signing.identity import Evidence, NamedKey, Proof
from signing.policy import AwsKey, Subject, anchors_of, demand, needed_by_any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundlectl.operations.gathering import Gathered, PinnedSource
    from bundlectl.operations.session import Session
    from bundles.document import DocumentType
    from bundles.lock import Lock, LockedManifest
    from bundles.lock_signature import SignedLock
    from bundles.sources.context import SourceDocument
    from signing.policy import Policy, PolicyIdentity
    from signing.trust import TrustLevel

__all__ = ["document_evidence", "judge_documents", "judge_locked_document", "lock_evidence"]


def judge_documents(
    policies: Sequence[Policy], gathered: Gathered, *, session: Session, trusted_root: bytes | None = None
) -> Gathered:
    """Hold every release document and lock against the policies.

    Args:
        policies: met together; without any everything is accepted.
        gathered: what the sources came to.
        session: who hears warnings.
        trusted_root: sigstore's JSON, for identities that are certificates.

    Returns:
        The same, where a lock whose signature a policy asked for and found counts as signed.

    Raises:
        VerificationError: a document or lock is refused.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    if not policies:
        return gathered
    for entry in gathered.documents:
        _judge_document(policies, entry, session)
    locks = tuple(_judge_lock(policies, pinned, session, trusted_root) for pinned in gathered.locks)
    return replace(gathered, locks=locks)


def _judge_document(policies: Sequence[Policy], entry: SourceDocument, session: Session) -> None:
    document = entry.verified.document
    subject = Subject("document", f"{entry.kind}/{entry.name}", document.digest, entry.verified.trust)
    needed = needed_by_any(policies, subject)
    evidence = document_evidence(entry.verified.signatures, document.type, needed)
    judgement = demand(policies, subject, evidence)
    if judgement.decision == "warn":
        _warn(session, judgement.reason, judgement.rule, document.origin)


def judge_locked_document(
    policies: Sequence[Policy], manifest: LockedManifest, load: Callable[[], bytes], session: Session
) -> None:
    """Hold a release document that a lock pins against the policies.

    Args:
        policies: met together.
        manifest: as pinned; its name and kind are the lock's word.
        load: gives the document's bytes; called only where its signature matters.
        session: who hears warnings.

    Raises:
        VerificationError: it is refused, or is not the document that the lock calls it.
        ContentError, MissingError, TransportError: it cannot be read.
    """
    subject = Subject("document", f"{manifest.kind}/{manifest.name}", manifest.digest, manifest.trust)
    needed = needed_by_any(policies, subject)
    evidence = _locked_evidence(manifest, load(), needed) if needed else Evidence()
    judgement = demand(policies, subject, evidence)
    if judgement.decision == "warn":
        _warn(session, judgement.reason, judgement.rule, manifest.url)


def _locked_evidence(manifest: LockedManifest, raw: bytes, needed: Sequence[PolicyIdentity]) -> Evidence:
    document = parse_document(raw, origin=manifest.url)
    if LOCKED_KINDS.get(document.type) != manifest.kind or (document.name and document.name != manifest.name):
        raise VerificationError(
            f"the lock calls it {manifest.kind}/{manifest.name}, but it is {document.kind}/{document.name}",
            artifact=manifest.url,
            hint="make the lock anew",
        )
    kind = kind_of_root(document.root)
    found = SignedManifest.of(document.root, kind, origin=manifest.url)
    return document_evidence((found,) if found.signature else (), document.type, needed)


def document_evidence(
    signatures: Sequence[SignedManifest], kind: DocumentType | None, needed: Sequence[PolicyIdentity]
) -> Evidence:
    """Which of the keys that matter made one of a document's signatures, whatever ``--verify`` asked for."""
    proofs: list[Proof] = []
    rejected: list[str] = []
    for identity in needed:
        key = (aws_key(kind) if kind else None) if isinstance(identity, AwsKey) else identity
        if not isinstance(key, NamedKey):
            continue
        for manifest in signatures:
            try:
                check_signature(manifest, (key,))
            except BundlectlError as error:
                if error.exit_code != VerificationError.exit_code:
                    raise
                rejected.append(error.message)
            else:
                proofs.append(Proof(key, "annotation", manifest.place))
    return Evidence(tuple(proofs), tuple(rejected))


def _judge_lock(
    policies: Sequence[Policy], pinned: PinnedSource, session: Session, trusted_root: bytes | None
) -> PinnedSource:
    if pinned.signed is None:
        subject = Subject("lock", f"Lock/{pinned.lock.name}", None, "declared")
        judgement = demand(policies, subject, Evidence())
        signed = None
    else:
        subject = Subject("lock", f"Lock/{pinned.lock.name}", Digest.of(pinned.signed.raw), _level(pinned.signed))
        evidence = lock_evidence(pinned.signed, pinned.lock, needed_by_any(policies, subject), trusted_root)
        judgement = demand(policies, subject, evidence)
        signed = replace(pinned.signed, proof=evidence.proofs[0]) if judgement.signed_by else pinned.signed
    if judgement.decision == "warn":
        _warn(session, judgement.reason, judgement.rule, subject.reference)
    if judgement.signed_by:
        return pinned._replace(lock=as_signed(pinned.lock), signed=signed)
    if signed is not None and signed.proof is not None:
        return pinned._replace(signed=signed)
    # Levels matter under a policy, and whoever had the file or folder could write what they like.
    believed = as_unsigned(pinned.lock)
    if believed != pinned.lock:
        told = "nobody vouches for what it calls signed, which counts as declared; name who signed it with --verify KEY"
        session.listener(Notice("warning", told, pinned.store or pinned.lock.name))
    return pinned._replace(lock=believed, signed=signed)


def lock_evidence(
    signed: SignedLock, lock: Lock, needed: Sequence[PolicyIdentity], trusted_root: bytes | None
) -> Evidence:
    """Whether one of the identities that matter signed a lock, whatever ``--verify`` asked for."""
    try:
        anchors = anchors_of(needed, trusted_root)
        return Evidence((verify_lock(signed.raw, lock, signed.signature, anchors, origin=lock.name),))
    except VerificationError as error:
        return Evidence((), (error.message,))


def _level(signed: SignedLock) -> TrustLevel:
    return "signed" if signed.proof else "declared"


def _warn(session: Session, reason: str, rule: str, artifact: str) -> None:
    session.listener(Notice("warning", f"does not meet the policy: {reason} ({rule})", artifact))

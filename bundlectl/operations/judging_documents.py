"""Whether release documents and locks meet the policies: before anything that they name is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, VerificationError
from bundlectl.events import Notice
from bundles.aws_keys import aws_key
from bundles.lock_signature import as_signed, verify_lock
from bundles.signatures import check_signature
from mirror.oci.digest import Digest
from signing.identity import Evidence, NamedKey, Proof
from signing.policy import AwsKey, Subject, anchors_of, demand, needed_by_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundlectl.operations.gathering import Gathered, PinnedSource
    from bundlectl.operations.session import Session
    from bundles.document import DocumentType
    from bundles.lock import Lock
    from bundles.lock_signature import SignedLock
    from bundles.signatures import SignedManifest
    from bundles.sources.context import SourceDocument
    from signing.policy import Policy, PolicyIdentity
    from signing.trust import TrustLevel

__all__ = ["document_evidence", "judge_documents", "lock_evidence"]


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
    lock = as_signed(pinned.lock) if judgement.signed_by else pinned.lock
    return pinned._replace(lock=lock, signed=signed)


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

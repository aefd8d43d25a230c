"""``verify`` of release documents, other Kubernetes objects, and locks: whose signature is over what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import BundlectlError, UsageError, VerificationError
from bundlectl.operations.judging_documents import document_evidence, lock_evidence
from bundlectl.operations.policed import under_policies
from bundlectl.operations.signatures import gather_evidence
from bundlectl.operations.signing_images import verify_reference
from bundlectl.operations.verdict import Verdict
from bundles.canonical import kind_of_root
from bundles.document import Document, document_of
from bundles.lock import Lock
from bundles.lock_signature import SIGNATURE_SUFFIX, SignedLock, verify_lock
from bundles.schema import parse_model
from bundles.signatures import SignedManifest, check_signature, keys_for
from bundles.sources import read_source
from bundles.sources.document import read_document, read_signature
from bundles.sources.following import LOCKED_KINDS
from bundles.sources.packages import PACKAGE_BUNDLES, check_package_bundle, pull_package_bundle
from bundles.tree import parse_tree
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from signing.identity import Evidence, TrustAnchors
from signing.policy import Subject, anchors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.belief import Belief
    from bundles.document import DocumentType
    from bundles.signatures import CheckedSignature
    from bundles.sources.context import Loaded, SourceDocument
    from mirror.oci.reference import Reference
    from mirror.oci.repository import ReadRepository
    from signing.identity import Proof
    from signing.policy import PolicyIdentity

__all__ = ["document_verdict", "verify_image", "verify_manifest", "verify_source"]

_UNSIGNED_BY_DESIGN: Final = frozenset({"Release", "Collection"})
"""A release index is a directory, held against what it leads to; a Collection says what is wanted."""


def verify_manifest(location: str, request: SourceRequest, *, session: Session) -> Verdict:
    """Say whether the document at a path or URL is signed by someone who counts.

    A lock's signature is the file beside it, any other document's stands in its annotations.

    Args:
        location: a path, ``https://…`` or ``s3://…``.
        request: its ``belief`` says who counts.
        session: connections.

    Raises:
        UsageError: no such file.
        ContentError: no document, or one that is ambiguous.
        MissingError, TransportError: it cannot be fetched.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    context = session.context(request, follow=False)
    raw = read_document(location, context)
    if Lock.is_lock(raw):
        return _lock_verdict(raw, read_signature(location, context), location, request)
    return document_verdict(raw, location, request)


def verify_source(text: str, request: SourceRequest, *, session: Session) -> list[Verdict]:
    """Say of each document that a SOURCE leads to whether it is signed by someone who counts.

    Args:
        text: ``eks-a:…``, ``eks-d:…``, ``packages:…``, or a collection of a store.
        request: its ``belief`` says who counts.
        session: connections.

    Raises:
        UsageError: of no known form, or it has no signature of its own.
        ContentError: a document is malformed, or is not the one that was meant.
        MissingError, TransportError: something cannot be fetched.
    """
    try:
        loaded = read_source(text, session.context(request, follow=True))
    except VerificationError as error:
        return [Verdict(target=text, kind="source", name=error.artifact or text, verified=False, reason=error.message)]
    verdicts = list(_verdicts(text, loaded, request))
    if not verdicts:
        raise UsageError(
            "has no signature of its own that could be checked",
            artifact=text,
            hint="an image is named as HOST/PATH:TAG, a registry with --against LOCK",
        )
    return verdicts


def _verdicts(text: str, loaded: Loaded, request: SourceRequest) -> Iterator[Verdict]:
    if loaded.signed is not None and loaded.signed.proof is not None:
        yield _signed_lock(text, loaded.name, loaded.signed.raw, loaded.signed.proof)
    for entry in loaded.documents:
        if entry.kind not in _UNSIGNED_BY_DESIGN:
            yield _policed_entry(text, entry, request)


def _policed_entry(text: str, entry: SourceDocument, request: SourceRequest) -> Verdict:
    document = entry.verified.document
    subject = Subject("document", f"{entry.kind}/{entry.name}", document.digest, entry.verified.trust)

    def gather(needed: Sequence[PolicyIdentity]) -> Evidence:
        return document_evidence(entry.verified.signatures, document.type, needed)

    verdict = _entry_verdict(text, entry, request.belief)
    return under_policies(verdict, request.policies, subject, gather, named=True)


def _entry_verdict(text: str, entry: SourceDocument, belief: Belief) -> Verdict:
    checked = entry.verified.signature
    document = entry.verified.document
    target = f"{text} ({document.origin})"
    if checked is None:
        reason = "nothing was checked: --verify off" if entry.verified.trust == "off" else "carries no signature"
        return Verdict(target=target, kind=document.kind, name=entry.name, verified=False, reason=reason)
    if belief.key is not None and checked.key.key != belief.key.key:
        return Verdict(
            target=target,
            kind=document.kind,
            name=entry.name,
            verified=False,
            reason=f"is signed by {checked.key}, and not by {belief.key}",
        )
    return _held(target, document.kind, entry.name, checked)


def verify_image(reference: Reference, request: SourceRequest, *, session: Session, as_image: bool = False) -> Verdict:
    """Say whether what a reference names is signed by someone who counts.

    A package bundle is checked as the document that it holds, everything else as cosign does.

    Args:
        reference: with a tag, a digest or both.
        request: its ``belief`` says who counts.
        session: connections.
        as_image: check a package bundle as an image, too.

    Raises:
        UsageError: neither tag nor digest, or nobody is named who could have signed an image.
        MissingError: there is no such image.
        RegistryError, TransportError: the registry refuses or cannot be reached.
    """
    if not as_image and reference.repository.rpartition("/")[2] == PACKAGE_BUNDLES:
        repository = session.repository(reference.name)
        raw = session.persist(lambda: pull_package_bundle(repository, _root(repository, reference), str(reference)))
        check_package_bundle(raw, reference)
        return document_verdict(raw, str(reference), request)
    anchors = request.belief.anchors
    if anchors is None and not request.policies:
        raise UsageError(
            "nobody is named who should have signed it",
            artifact=str(reference),
            hint="say who: --key KEY, or --certificate-identity with --certificate-oidc-issuer; AWS signs its "
            "images with Notation, which is not checked here",
        )
    verdict = verify_reference(reference, anchors or TrustAnchors(), session=session)
    if verdict.digest is None or not request.policies:
        return verdict
    digest = verdict.digest
    kind: Literal["image", "chart"] = "chart" if verdict.kind == "chart" else "image"
    repository = session.repository(reference.name)

    def gather(needed: Sequence[PolicyIdentity]) -> Evidence:
        wanted = anchors_of(needed, request.belief.trusted_root)
        return session.persist(lambda: gather_evidence(repository, digest, wanted))

    subject = Subject(kind, str(reference), digest, "declared" if reference.digest else "resolved")
    return under_policies(verdict, request.policies, subject, gather, named=anchors is not None)


def _root(repository: ReadRepository, reference: Reference) -> Descriptor:
    if reference.digest is not None:
        return Descriptor("", reference.digest, 0)
    if reference.tag is None:
        raise UsageError("names neither a tag nor a digest", artifact=str(reference))
    return repository.resolve(reference.tag)


def document_verdict(raw: bytes, location: str, request: SourceRequest) -> Verdict:
    """Say whether a document is signed, in its annotations, by someone who counts, and meets the policies.

    Raises:
        ContentError: no document, or one that is ambiguous.
    """
    tree = parse_tree(raw, origin=location)
    root = tree.root
    kind = kind_of_root(root)
    metadata = root.map("metadata")
    name = metadata.text("name") if metadata else ""
    shown = root.text("kind") or "document"
    document: Document | None = None
    unknown: tuple[str, ...] = ()
    if kind != "object":
        document = document_of(raw, tree, origin=location)
        unknown = parse_model(document).unknown
    manifest = SignedManifest.of(root, kind, origin=location, unknown=unknown)
    document_type = document.type if document else None
    verdict = _annotation_verdict(manifest, document_type, request.belief, shown=shown, name=name)
    subject = Subject(
        "document",
        f"{LOCKED_KINDS.get(document_type, shown) if document_type else shown}/{name}",
        Digest.of(raw),
        "signed" if verdict.verified else "resolved",
    )

    def gather(needed: Sequence[PolicyIdentity]) -> Evidence:
        return document_evidence((manifest,) if manifest.signature else (), document_type, needed)

    return under_policies(verdict, request.policies, subject, gather, named=True)


def _annotation_verdict(
    manifest: SignedManifest, document_type: DocumentType | None, belief: Belief, *, shown: str, name: str
) -> Verdict:
    failed = Verdict(target=manifest.origin, kind=shown, name=name, verified=False)
    if belief.mode == "off":
        return replace(failed, reason="nothing was checked: --verify off")
    try:
        checked = check_signature(manifest, keys_for(document_type, belief, origin=manifest.origin))
    except BundlectlError as error:
        if error.exit_code != VerificationError.exit_code:
            raise
        return replace(failed, reason=error.message)
    return _held(manifest.origin, shown, name, checked)


def _held(target: str, kind: str, name: str, checked: CheckedSignature) -> Verdict:
    return Verdict(
        target=target,
        kind=kind,
        name=name,
        verified=True,
        digest=checked.digest,
        signed_by=(checked.key,),
        uncovered=tuple(gap.path for gap in checked.gaps),
        explained=tuple(gap.allows for gap in checked.gaps),
        canonical=checked.canonical,
    )


def _lock_verdict(raw: bytes, signature: bytes | None, location: str, request: SourceRequest) -> Verdict:
    lock = Lock.from_bytes(raw, origin=location)
    verdict = _lock_signature(raw, lock, signature, location, request.belief)
    subject = Subject("lock", f"Lock/{lock.name}", Digest.of(raw), "signed" if verdict.verified else "declared")

    def gather(needed: Sequence[PolicyIdentity]) -> Evidence:
        if signature is None:
            return Evidence((), ("it is not signed",))
        return lock_evidence(SignedLock(raw, signature), lock, needed, request.belief.trusted_root)

    named = request.belief.anchors is not None or request.belief.mode == "off"
    return under_policies(verdict, request.policies, subject, gather, named=named)


def _lock_signature(raw: bytes, lock: Lock, signature: bytes | None, location: str, belief: Belief) -> Verdict:
    failed = Verdict(target=location, kind="Lock", name=lock.name, verified=False, digest=Digest.of(raw))
    if belief.anchors is None:
        why = "--verify off" if belief.mode == "off" else "no key for this kind: AWS signs no locks"
        return replace(failed, reason=f"{why}; name who signed it with --key")
    if signature is None:
        return replace(failed, reason=f"is not signed: there is no {location}{SIGNATURE_SUFFIX}")
    try:
        proof = verify_lock(raw, lock, signature, belief.anchors, origin=location)
    except VerificationError as error:
        return replace(failed, reason=error.message)
    return _signed_lock(location, lock.name, raw, proof)


def _signed_lock(target: str, name: str, raw: bytes, proof: Proof) -> Verdict:
    return Verdict(
        target=target, kind="Lock", name=name, verified=True, digest=Digest.of(raw), signed_by=(proof.identity,)
    )

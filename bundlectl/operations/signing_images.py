"""Signing images and charts in a registry as cosign does, and saying whether one is signed."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import ContentError, MissingError, RegistryError, UsageError
from bundlectl.events import Notice
from bundlectl.operations.signatures import PREDICATE_ANNOTATION, gather_evidence, has_bundles
from bundlectl.operations.verdict import Verdict
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, EMPTY, OCI_CONFIG, OCI_MANIFEST
from signing.cosign import SIGN_PREDICATE, SIGNATURE_ANNOTATION, signature_tag, simple_signing
from signing.envelope import BUNDLE_TYPE, IN_TOTO_TYPE, sign_dsse, statement
from signing.identity import NamedKey, TrustAnchors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundlectl.operations.session import Session
    from mirror.oci.reference import Reference
    from mirror.oci.repository import ReadRepository, Repository
    from signing.identity import Evidence, SignatureFormat
    from signing.signature import PublicKey, Signer

__all__ = ["ImageSignatureFormat", "SignedImage", "StoredSignature", "sign_reference", "verify_reference"]

ImageSignatureFormat: TypeAlias = Literal["tag", "bundle", "both"]
"""Cosign's tag scheme, which every verifier reads; a sigstore bundle, which cosign 3 writes; both.

Where there is a bundle, cosign 2.6 and 3 heed nothing else, and 2.6 wants a trusted root for it even of a key.
"""

_TRIES: Final = 4
_MOST_LAYERS: Final = 100
"""More signatures under one tag make cosign refuse all of them."""
_MOST_REASONS: Final = 5


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """A signature in a repository: ``digest`` of the manifest that carries it, ``tag`` if it has one."""

    format: SignatureFormat
    digest: Digest
    tag: str | None
    written: bool
    """False when the same key had signed before: nothing was added."""


@dataclass(frozen=True, slots=True)
class SignedImage:
    """What ``sign`` did to an image or chart; ``reference`` has the digest that was signed."""

    reference: Reference
    key: PublicKey
    signatures: tuple[StoredSignature, ...]

    def to_json(self) -> dict[str, Any]:
        """Render as the command shows it."""
        return {
            "target": str(self.reference),
            "kind": "image",
            "digest": str(self.reference.digest),
            "key": {"fingerprint": self.key.fingerprint},
            "out": None,
            "signatures": [
                {"format": item.format, "digest": str(item.digest), "tag": item.tag, "written": item.written}
                for item in self.signatures
            ],
        }


def sign_reference(
    reference: Reference, signer: Signer, *, session: Session, form: ImageSignatureFormat | None = None
) -> SignedImage:
    """Sign what a reference names, and put the signature beside it.

    The tag is resolved first, and the digest is what is signed. Signatures of others are kept; of
    a key that has signed already, in a form, nothing is added. No transparency log is asked.

    Args:
        reference: with a tag, a digest or both, of which the digest then counts.
        signer: the key.
        session: to reach the registry, which is a target: no origin applies.
        form: how it is written. None: the tag, which every verifier can check without a network;
            and a bundle too where there are bundles, for then cosign heeds only those.

    Raises:
        UsageError: neither tag nor digest, or a sha512 digest in the tag scheme.
        MissingError: there is no such image.
        RegistryError, TransportError: the registry refuses or cannot be reached.
        ContentError: the signature's tag is taken by something else.
        KeyProviderError: the key cannot be used now.
    """
    repository = session.target(reference.registry).repository(reference.repository)
    subject = session.persist(lambda: _subject(repository, reference))
    form = _choose(form, repository, subject.digest, session)
    if reference.digest is None:
        session.listener(
            Notice("warning", f"signing {subject.digest}, which the tag stands for now; tags move", str(reference))
        )
    own = TrustAnchors(keys=(NamedKey("the signing key", signer.public_key),))
    evidence = session.persist(lambda: gather_evidence(repository, subject.digest, own))
    stored: list[StoredSignature] = []
    if form in ("bundle", "both"):
        stored.append(_existing(evidence, "bundle") or _attach_bundle(repository, subject, signer, session))
    if form in ("tag", "both"):
        tag = signature_tag(subject.digest)
        stored.append(_existing(evidence, "tag", tag) or _append_to_tag(repository, subject.digest, signer, session))
    return SignedImage(reference.pinned(subject.digest), signer.public_key, tuple(stored))


def verify_reference(reference: Reference, anchors: TrustAnchors, *, session: Session) -> Verdict:
    """Say whether what a reference names is signed by someone who counts.

    Args:
        reference: with a tag, a digest or both, of which the digest then counts.
        anchors: whose signatures count.
        session: to reach the registry, where ``--origin`` says.

    Raises:
        UsageError: neither tag nor digest.
        MissingError: there is no such image.
        RegistryError, TransportError: the registry refuses or cannot be reached.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    repository = session.repository(reference.name)
    subject = session.persist(lambda: _subject(repository, reference))
    manifest = session.persist(lambda: repository.manifest(subject))
    evidence = session.persist(lambda: gather_evidence(repository, subject.digest, anchors))
    return Verdict(
        target=str(reference),
        kind="chart" if manifest.is_chart else "image",
        name=reference.name,
        verified=bool(evidence.proofs),
        digest=subject.digest,
        signed_by=tuple(dict.fromkeys(proof.identity for proof in evidence.proofs)),
        reason=None if evidence.proofs else _reason(evidence),
    )


def _choose(
    form: ImageSignatureFormat | None, repository: ReadRepository, subject: Digest, session: Session
) -> ImageSignatureFormat:
    """Settle the form, and warn where cosign would overlook what is written."""
    if subject.algorithm != "sha256":
        if form not in (None, "bundle"):
            raise UsageError(
                "cosign's tag scheme knows sha256 digests only",
                artifact=f"{repository.name}@{subject}",
                hint="--signature-format bundle",
            )
        return "bundle"
    if form not in (None, "tag"):
        return form
    bundled = session.persist(lambda: has_bundles(repository, subject))
    if bundled and form == "tag":
        session.listener(
            Notice(
                "warning",
                "there are bundles beside it, and then cosign overlooks the tag; --signature-format both would help",
                f"{repository.name}@{subject}",
            )
        )
    return "both" if bundled and form is None else "tag"


def _subject(repository: ReadRepository, reference: Reference) -> Descriptor:
    """Media type, digest and size of what is named."""
    if reference.digest is not None:
        return repository.manifest(Descriptor("", reference.digest, 0)).descriptor
    if reference.tag is None:
        raise UsageError("has neither tag nor digest", artifact=str(reference), hint="add :TAG or @sha256:…")
    return repository.resolve(reference.tag)


def _reason(evidence: Evidence) -> str:
    if not evidence.rejected:
        return "has no signature"
    told = "; ".join(evidence.rejected[:_MOST_REASONS])
    more = len(evidence.rejected) - _MOST_REASONS
    return f"no signature counts: {told}" + (f"; and {more} more" if more > 0 else "")


def _existing(evidence: Evidence, form: SignatureFormat, tag: str | None = None) -> StoredSignature | None:
    found = next((proof for proof in evidence.proofs if proof.format == form), None)
    return StoredSignature(form, Digest.parse(found.where), tag, written=False) if found else None


def _attach_bundle(repository: Repository, subject: Descriptor, signer: Signer, session: Session) -> StoredSignature:
    """Add a referrer with a sigstore bundle; where the registry lists none, the client keeps the list."""
    payload = statement([("", subject.digest)], SIGN_PREDICATE, {})
    layer = _push(repository, sign_dsse(payload, IN_TOTO_TYPE, signer), BUNDLE_TYPE, session)
    manifest = Manifest.render(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE_TYPE,
            "config": _push(repository, b"{}", EMPTY, session).to_json(),
            "layers": [layer.to_json()],
            "subject": Descriptor(subject.media_type, subject.digest, subject.size).to_json(),
            "annotations": {
                "org.opencontainers.image.created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "dev.sigstore.bundle.content": "dsse-envelope",
                PREDICATE_ANNOTATION: SIGN_PREDICATE,
            },
        }
    )
    session.persist(lambda: repository.put_manifest(manifest))
    return StoredSignature("bundle", manifest.descriptor.digest, None, written=True)


def _append_to_tag(repository: Repository, subject: Digest, signer: Signer, session: Session) -> StoredSignature:
    """Add a layer to the manifest under the signature's tag, keeping those of others.

    The tag is read, extended, written and read again: two who sign at once cannot lock it.
    """
    tag = signature_tag(subject)
    payload = simple_signing(repository.name, subject)
    layer = _push(repository, payload, COSIGN_SIMPLE_SIGNING, session).to_json()
    value = signer.sign_digest(Digest.of(payload)).value
    layer["annotations"] = {SIGNATURE_ANNOTATION: base64.b64encode(value).decode()}
    for _ in range(_TRIES):
        current = session.persist(lambda: _signatures_under(repository, tag))
        layers = current.document["layers"] if current else []
        if current and layer in layers:
            return StoredSignature("tag", current.descriptor.digest, tag, written=True)
        if len(layers) >= _MOST_LAYERS:
            raise ContentError(
                f"holds {len(layers)} signatures; with more cosign would accept none",
                artifact=f"{repository.name}:{tag}",
                hint="delete the tag and sign again, or use --signature-format bundle",
            )
        extended = _with_layers(repository, current, [*layers, layer], session)
        session.persist(lambda extended=extended: repository.put_manifest(extended, tag=tag))  # type: ignore[misc]
    raise RegistryError(
        "others keep overwriting the signatures",
        status=409,
        artifact=f"{repository.name}:{tag}",
        hint="sign again when they are done",
        retryable=True,
    )


def _signatures_under(repository: Repository, tag: str) -> Manifest | None:
    try:
        manifest = repository.manifest(repository.resolve(tag))
    except MissingError:
        return None
    if manifest.is_index or not isinstance(manifest.document.get("layers"), list):
        raise ContentError(
            "holds something else, though its name is reserved for signatures", artifact=f"{repository.name}:{tag}"
        )
    return manifest


def _with_layers(
    repository: Repository, current: Manifest | None, layers: Sequence[dict[str, Any]], session: Session
) -> Manifest:
    """Make the manifest of signatures: an image whose config names its layers, as cosign's is."""
    config = {
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "os": "",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [item["digest"] for item in layers]},
    }
    document = dict(current.document) if current else {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    before = document.get("config")
    media_type = before["mediaType"] if isinstance(before, dict) else OCI_CONFIG
    document["config"] = _push(repository, canonical_json(config), media_type, session).to_json()
    document["layers"] = list(layers)
    return Manifest.render(document)


def _push(repository: Repository, data: bytes, media_type: str, session: Session) -> Descriptor:
    descriptor = Descriptor(media_type, Digest.of(data), len(data))

    def attempt() -> None:
        upload = repository.begin_blob(descriptor)
        if not isinstance(upload, str):
            upload.write(lambda: io.BytesIO(data[upload.offset() :]))

    session.persist(attempt)
    return descriptor

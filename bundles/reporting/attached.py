"""What is attached to an artifact: signatures, attestations, SBOMs, vulnerability reports.

Two things are kept apart: whom something *names* as its signer, which anybody can write, and what was *checked*
here with the keys that were given.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import (
    BundlectlError,
    ConfigError,
    ContentError,
    MissingError,
    RegistryError,
    StoreError,
    TransportError,
    VerificationError,
)
from bundles.reporting.summaries import BillOfMaterials, Vulnerabilities, summarise
from bundles.sources.layers import read_layer
from mirror.markup import visible
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING
from mirror.oci.reference import attached_to
from signing.cosign import CERTIFICATE_ANNOTATION, LAYER_LIMIT, SIGN_PREDICATE, open_layer
from signing.envelope import BUNDLE_TYPES, IN_TOTO_TYPE, decode_base64, open_dsse, parse_object
from signing.identity import NamedKey
from signing.stated import signer_of_bundle, signer_of_certificate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.lock import LockedArtifact, LockedReferrer
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository
    from signing.identity import Identity, TrustAnchors

__all__ = ["DOCUMENT_LIMIT", "Attached", "AttachedKind", "identity_name", "left_out", "read_attached", "unread"]

DOCUMENT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes read of one attached document."""

AttachedKind: TypeAlias = Literal["signature", "attestation", "sbom", "vulnerabilities", "other", "left-out"]
"""``left-out``: not in the archive, as the site has it."""

_PARSING: Final = Lock()
"""Held while a document is parsed: JSON that was made for it takes forty times its bytes then."""
_LAYERS: Final = 50
_SHOWN: Final = 200
_NOTATION: Final = "application/vnd.cncf.notary.signature"
_DSSE: Final = "application/vnd.dsse.envelope.v1+json"
_SBOM_WORDS: Final = ("spdx", "cyclonedx", "sbom", "syft")
_REPORT_WORDS: Final = ("vuln", "sarif", "trivy", "grype")
_PREDICATES: Final[Mapping[str, str]] = {
    SIGN_PREDICATE: "cosign signature (sigstore bundle)",
    "https://spdx.dev/document": "SPDX attestation",
    "https://cyclonedx.org/bom": "CycloneDX attestation",
    "https://cosign.sigstore.dev/attestation/vuln/v1": "vulnerability attestation (cosign)",
    "https://slsa.dev/provenance/v0.2": "provenance (SLSA 0.2)",
    "https://slsa.dev/provenance/v1": "provenance (SLSA 1)",
}
_FAULTS: Final = (ContentError, MissingError, VerificationError, ConfigError, TransportError, RegistryError, StoreError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """One thing that is attached, and pinned with its artifact.

    ``digest`` is that of the manifest that carries it, ``subject`` what it is attached to. ``says`` is the signer
    that it names itself; ``verified_by`` who signed it, checked here; ``unverified`` why a check did not succeed.
    ``problem`` is why it was not read.
    """

    digest: Digest
    subject: Digest | None = None
    kind: AttachedKind
    what: str
    says: str | None = None
    verified_by: str | None = None
    unverified: str | None = None
    problem: str | None = None
    summaries: tuple[BillOfMaterials | Vulnerabilities, ...] = field(default=())

    @property
    def bills(self) -> tuple[BillOfMaterials, ...]:
        """What of it lists packages."""
        return tuple(item for item in self.summaries if isinstance(item, BillOfMaterials))

    @property
    def scans(self) -> tuple[Vulnerabilities, ...]:
        """What of it lists vulnerabilities."""
        return tuple(item for item in self.summaries if isinstance(item, Vulnerabilities))

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "digest": str(self.digest),
            "subject": str(self.subject) if self.subject else None,
            "kind": self.kind,
            "what": self.what,
            "says": self.says,
            "verifiedBy": self.verified_by,
            "unverified": self.unverified,
            "problem": self.problem,
            "packages": [item.to_json() for item in self.bills],
            "vulnerabilities": [item.to_json() for item in self.scans],
        }


def read_attached(
    repository: ReadRepository, artifact: LockedArtifact, referrer: LockedReferrer, anchors: TrustAnchors | None
) -> tuple[Attached, ...]:
    """Look into what is pinned with an artifact. What cannot be read is told as that.

    Args:
        repository: holds the artifact, and what is attached to it.
        artifact: as locked.
        referrer: one of its referrers.
        anchors: whose signatures count; None to check none.

    Raises:
        TransportError, RegistryError: the same may succeed a moment later.
    """
    try:
        manifest = repository.manifest(Descriptor("", referrer.digest, 0))
        reading = _Reading(repository, artifact, referrer, manifest, anchors)
        return reading.all()
    except _FAULTS as error:
        if error.retryable:
            raise
        return (unread(referrer, error),)


def unread(referrer: LockedReferrer, error: BundlectlError) -> Attached:
    """What is known of something that cannot be read."""
    return Attached(digest=referrer.digest, kind="other", what=_called(referrer), problem=_told(error))


def left_out(referrer: LockedReferrer) -> Attached:
    """What is known of something that is not in the archive, as the site has it."""
    told = "not in the archive, as the site has it"
    return Attached(digest=referrer.digest, kind="left-out", what=_called(referrer), unverified=told)


def identity_name(identity: Identity) -> str:
    """Who signed, whatever the file is called that the key was in."""
    return f"key {identity.key.fingerprint}" if isinstance(identity, NamedKey) else str(identity)


class _Reading:
    def __init__(
        self,
        repository: ReadRepository,
        artifact: LockedArtifact,
        referrer: LockedReferrer,
        manifest: Manifest,
        anchors: TrustAnchors | None,
    ) -> None:
        stated = manifest.subject
        self._subject = attached_to(referrer.tag) if referrer.tag else stated.digest if stated else None
        self._subjects = {*artifact.manifests, *(item.digest for item in artifact.referrers)}
        self._repository = repository
        self._manifest = manifest
        self._anchors = anchors
        self._artifact_type = referrer.artifact_type or manifest.artifact_type

    def all(self) -> tuple[Attached, ...]:
        layers = [] if self._manifest.is_index else self._manifest.document.get("layers") or []
        if self._subject not in self._subjects:
            return (self._made("other", _shown(self._artifact_type), problem="is attached to something else"),)
        if self._artifact_type == _NOTATION:
            return (self._made("signature", "Notation signature", unverified="not checked by bundlectl"),)
        if not layers:
            return (self._made("other", _shown(self._artifact_type) or "attached manifest"),)
        found = [self._layer(Descriptor.from_json(item)) for item in layers[:_LAYERS]]
        if len(layers) > _LAYERS:
            found.append(self._made("other", f"and {len(layers) - _LAYERS:,} more", problem="too many to look into"))
        return tuple(found)

    def _made(self, kind: AttachedKind, what: str, **more: Any) -> Attached:  # noqa: ANN401 -- fields of Attached
        # Half of a surrogate pair passes for text until it is written.
        if more.get("says"):
            more["says"] = visible(more["says"])
        return Attached(
            digest=self._manifest.descriptor.digest, subject=self._subject, kind=kind, what=what or "unknown", **more
        )

    def _layer(self, layer: Descriptor) -> Attached:
        kind, what = _kind(layer.media_type, self._artifact_type)
        try:
            if layer.media_type == COSIGN_SIMPLE_SIGNING:
                return self._cosign(layer)
            if kind == "other" and "json" not in layer.media_type:
                return self._made(kind, what)
            raw = self._read(layer)
            with _PARSING:
                if layer.media_type in BUNDLE_TYPES:
                    return self._bundle(raw)
                if layer.media_type in (_DSSE, IN_TOTO_TYPE):
                    return self._attestation(layer, parse_object(raw, "the attestation"))
                return self._plain(raw, kind, what)
        except _FAULTS as error:
            if error.retryable:
                raise
            return self._made(kind, what, problem=_told(error))

    def _read(self, layer: Descriptor) -> bytes:
        place = str(layer.digest)
        limit = LAYER_LIMIT if layer.media_type == COSIGN_SIMPLE_SIGNING else DOCUMENT_LIMIT
        if layer.size > limit:
            raise ContentError(f"larger than {limit:,} bytes", artifact=place)
        return read_layer(self._repository, layer, limit=limit, place=place)

    def _cosign(self, layer: Descriptor) -> Attached:
        certificate = layer.annotations.get(CERTIFICATE_ANNOTATION)
        says = signer_of_certificate(certificate) if certificate else None
        made = self._made("signature", "cosign signature", says=says)
        if self._anchors is None or self._subject is None:
            return made
        payload = self._read(layer)
        try:
            proof = open_layer(payload, layer.annotations, subject=self._subject, anchors=self._anchors)
        except (VerificationError, ConfigError) as error:
            return replace(made, unverified=visible(error.message))
        return replace(made, verified_by=identity_name(proof.identity))

    def _bundle(self, raw: bytes) -> Attached:
        envelope = parse_object(raw, "the bundle").get("dsseEnvelope")
        says = signer_of_bundle(raw, limit=DOCUMENT_LIMIT)
        if not isinstance(envelope, dict):
            return self._made("signature", "sigstore bundle", says=says)
        if self._anchors is None:
            return self._stated(_statement(envelope), says=says)
        try:
            opened = open_dsse(raw, self._anchors, limit=DOCUMENT_LIMIT)
        except (VerificationError, ConfigError) as error:
            return self._stated(_statement(envelope), says=says, unverified=visible(error.message))
        statement = parse_object(opened.payload, "the statement")
        if opened.payload_type != IN_TOTO_TYPE or str(self._subject) not in _digests(statement):
            return self._stated(statement, says=says, unverified="its signature holds, but is over another artifact")
        return self._stated(statement, says=says, verified_by=identity_name(opened.proof.identity))

    def _attestation(self, layer: Descriptor, document: dict[str, Any]) -> Attached:
        """An envelope as under cosign's tag, with its certificate beside it where there is one; or a bare statement."""
        if layer.media_type == IN_TOTO_TYPE:
            return self._stated(document, unverified="is not signed")
        certificate = layer.annotations.get(CERTIFICATE_ANNOTATION)
        says = signer_of_certificate(certificate) if certificate else None
        return self._stated(
            _statement(document), says=says, unverified="attestations in cosign's older form are not checked"
        )

    def _stated(self, statement: Mapping[str, Any], **more: Any) -> Attached:  # noqa: ANN401 -- fields of Attached
        predicate_type = statement.get("predicateType")
        name = _shown(predicate_type if isinstance(predicate_type, str) else "")
        what = next((text for start, text in _PREDICATES.items() if name.lower().startswith(start)), name)
        if str(self._subject) not in _digests(statement):
            kind: AttachedKind = "signature" if name == SIGN_PREDICATE else "attestation"
            return self._made(kind, what, problem="is a statement about something else", **more)
        if name == SIGN_PREDICATE:
            return self._made("signature", what, **more)
        summaries = summarise(_predicate(statement))
        return self._made(_of(summaries, "attestation"), what, summaries=summaries, **more)

    def _plain(self, raw: bytes, kind: AttachedKind, what: str) -> Attached:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return self._made(kind, what, problem="is not JSON")
        summaries = summarise(document)
        return self._made(_of(summaries, kind), what, summaries=summaries, unverified="is not signed")


def _statement(envelope: Mapping[str, Any]) -> dict[str, Any]:
    return parse_object(decode_base64(envelope.get("payload"), "the payload"), "the statement")


def _digests(statement: Mapping[str, Any]) -> set[str]:
    """What a statement is about. Of in-toto 0.1, too, which cosign still writes."""
    subjects = statement.get("subject")
    digests = [item.get("digest") for item in subjects if isinstance(item, dict)] if isinstance(subjects, list) else []
    return {f"{name}:{value}" for found in digests if isinstance(found, dict) for name, value in found.items()}


def _predicate(statement: Mapping[str, Any]) -> object:
    """The predicate. Older versions of cosign wrap it, as a text."""
    predicate = statement.get("predicate")
    wrapped = predicate.get("Data") if isinstance(predicate, dict) else None
    if not isinstance(wrapped, str):
        return predicate
    try:
        return json.loads(wrapped)
    except (ValueError, RecursionError):
        return None


def _of(summaries: tuple[BillOfMaterials | Vulnerabilities, ...], otherwise: AttachedKind) -> AttachedKind:
    if any(isinstance(item, BillOfMaterials) for item in summaries):
        return "sbom"
    return "vulnerabilities" if summaries else otherwise


def _kind(*types: str) -> tuple[AttachedKind, str]:
    named = next(filter(None, types), "")
    words = " ".join(types).lower()
    if any(word in words for word in _SBOM_WORDS):
        return "sbom", _shown(named)
    if any(word in words for word in _REPORT_WORDS):
        return "vulnerabilities", _shown(named)
    return "other", _shown(named)


def _called(referrer: LockedReferrer) -> str:
    return _shown(referrer.artifact_type) or "attached manifest"


def _told(error: BundlectlError) -> str:
    return visible(f"not read: {error.message}")


def _shown(text: str) -> str:
    return visible(text[:_SHOWN])

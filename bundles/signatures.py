"""Whether the signature in a release document's annotations holds, and what it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import VerificationError
from bundles.canonical import canonical_bytes
from bundles.coverage import Gap, gaps, signature_annotation
from mirror.oci.digest import Digest
from signing.manifest import decode_signature

if TYPE_CHECKING:
    from bundles.belief import Belief
    from bundles.canonical import CanonicalKind
    from bundles.document import DocumentType
    from bundles.tree import MapNode
    from signing.identity import NamedKey

__all__ = ["CheckedSignature", "SignedManifest", "check_signature", "keys_for"]

_P256: Final = "ecdsa-p256"
_NOT_USED: Final = "nothing of the document was used; --verify off goes on without its signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedManifest:
    """A document and the signature that is said to be over it.

    ``signature`` is the text of the annotation, empty where there is none; ``place`` names the
    annotation for messages.
    """

    root: MapNode = field(repr=False)
    kind: CanonicalKind
    origin: str
    signature: str
    place: str
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, root: MapNode, kind: CanonicalKind, *, origin: str, unknown: tuple[str, ...] = ()) -> SignedManifest:
        """A document with the signature in its own annotations."""
        place = signature_annotation(kind)
        metadata = root.map("metadata")
        annotations = metadata.map("annotations") if metadata else None
        signature = annotations.text(place) if annotations else ""
        return cls(root=root, kind=kind, origin=origin, signature=signature, place=place, unknown=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedSignature:
    """A signature that holds. ``digest`` is the sha256 of ``canonical``, the bytes that it is over."""

    canonical: bytes = field(repr=False)
    digest: Digest
    key: NamedKey
    gaps: tuple[Gap, ...]


def keys_for(kind: DocumentType | None, belief: Belief, *, origin: str) -> tuple[NamedKey, ...]:
    """The keys by which a document may be signed.

    Args:
        kind: of the document; None for kinds that are not AWS's.
        belief: what was asked for.
        origin: of the document, for messages.

    Raises:
        VerificationError: AWS publishes no key for this kind.
    """
    if belief.mode == "key" and belief.key is not None:
        return (belief.key,)
    if kind == "PackageBundle" and belief.package_key is not None:
        return (belief.package_key,)
    from bundles.aws_keys import aws_key  # noqa: PLC0415 -- cryptography takes 17 ms, and is not always needed

    found = aws_key(kind) if kind else None
    if found is None:
        raise VerificationError(
            "no key for this kind: AWS publishes none", artifact=origin, hint="name the key with --key or --verify KEY"
        )
    return (found,)


def check_signature(manifest: SignedManifest, keys: tuple[NamedKey, ...]) -> CheckedSignature:
    """Check that one of ``keys`` made the signature of a document.

    Raises:
        VerificationError: there is no signature, it is malformed, or none of the keys made it.
        ContentError: the document has no canonical form.
    """
    if not manifest.signature:
        raise VerificationError(
            f"is not signed: there is no annotation {manifest.place}", artifact=manifest.origin, hint=_NOT_USED
        )
    for key in keys:
        if key.key.algorithm != _P256:
            raise VerificationError(
                f"the key {key} cannot have signed it: these signatures are ECDSA on P-256",
                artifact=manifest.origin,
                hint="name another key",
            )
    try:
        signature = decode_signature(manifest.signature)
    except VerificationError as error:
        error.artifact = manifest.origin
        raise
    canonical = canonical_bytes(manifest.root, manifest.kind, origin=manifest.origin)
    for key in keys:
        if key.key.verifies(canonical, signature):
            return CheckedSignature(
                canonical=canonical,
                digest=Digest.of(canonical),
                key=key,
                gaps=gaps(manifest.kind, manifest.root, manifest.unknown),
            )
    raise VerificationError(
        f"the signature in {manifest.place} does not hold: {_tried(keys)} did not sign what the document now says",
        artifact=manifest.origin,
        hint="it was altered after it was signed, or another key signed it; " + _NOT_USED,
    )


def _tried(keys: tuple[NamedKey, ...]) -> str:
    return " and ".join(str(key) for key in keys)

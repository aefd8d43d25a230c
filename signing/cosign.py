"""What cosign wrote before sigstore bundles: simple signing payloads, and signature files of blobs.

Pure bytes. Source: cosign's signature specification (``SIGNATURE_SPEC.md``).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import VerificationError
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING
from signing.envelope import decode_base64, parse_object
from signing.identity import Proof

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.oci.digest import Digest
    from signing.identity import SignatureFormat, TrustAnchors

__all__ = [
    "CERTIFICATE_ANNOTATION",
    "LAYER_LIMIT",
    "SIGNATURE_ANNOTATION",
    "SIGNATURE_ARTIFACT",
    "SIGN_PREDICATE",
    "open_detached",
    "open_layer",
    "signature_tag",
    "simple_signing",
]

SIGN_PREDICATE: Final = "https://sigstore.dev/cosign/sign/v1"
"""The predicateType that makes a bundle a signature of an image; all others are attestations."""
SIGNATURE_ARTIFACT: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
"""The artifact type of a referrer whose layers are those of the tag scheme."""
SIGNATURE_ANNOTATION: Final = "dev.cosignproject.cosign/signature"
CERTIFICATE_ANNOTATION: Final = "dev.sigstore.cosign/certificate"
LAYER_LIMIT: Final = 1024 * 1024
"""Bytes of a simple signing payload; they have some hundreds."""

_TYPE: Final = "cosign container image signature"
_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")


def signature_tag(digest: Digest) -> str:
    """The tag that holds the signatures of a manifest: ``sha256-<hex>.sig``."""
    return f"{digest.algorithm}-{digest.encoded}.sig"


def simple_signing(name: str, digest: Digest) -> bytes:
    """Render the payload that is signed for an image, byte for byte as cosign does.

    Args:
        name: ``registry/repository``, without a tag.
        digest: of the image's manifest.
    """
    critical = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": str(digest)},
        "type": _TYPE,
    }
    text = json.dumps({"critical": critical, "optional": None}, separators=(",", ":"), ensure_ascii=False)
    # Go's encoder writes these five so that JSON can stand inside HTML and JavaScript.
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def open_layer(
    payload: bytes,
    annotations: Mapping[str, str],
    *,
    media_type: str = COSIGN_SIMPLE_SIGNING,
    subject: Digest,
    anchors: TrustAnchors,
    kind: SignatureFormat = "tag",
    where: str = "",
) -> Proof:
    """Check one layer of the tag scheme.

    The docker-reference in it is not compared: a copy in another registry keeps its signature.

    Args:
        payload: the layer's bytes, which are what is signed.
        annotations: of the layer; they carry the signature.
        media_type: of the layer.
        subject: the digest that must have been signed.
        anchors: whose signature counts.
        kind: the form the layer was found in, for the proof.
        where: what carries it, for the proof.

    Raises:
        VerificationError: malformed, of another image, or signed by nobody who counts; it says why.
    """
    if media_type != COSIGN_SIMPLE_SIGNING:
        raise VerificationError(f"a layer of type {media_type[:100]!r} is no signature")
    signature = decode_base64(annotations.get(SIGNATURE_ANNOTATION), "the signature")
    signer = next((named for named in anchors.keys if named.key.verifies(payload, signature)), None)
    if signer is None:
        raise _unsigned(anchors, certified=CERTIFICATE_ANNOTATION in annotations)
    document = parse_object(payload, "the signed payload")
    critical = document.get("critical")
    image = critical.get("image") if isinstance(critical, dict) else None
    if not isinstance(critical, dict) or not isinstance(image, dict) or critical.get("type") != _TYPE:
        raise VerificationError("what is signed is not a signature of an image")
    signed = image.get("docker-manifest-digest")
    if signed != str(subject):
        raise VerificationError(f"signs another image: {str(signed)[:100]!r}")
    return Proof(signer, kind, where)


def open_detached(raw: bytes, *, digest: Digest, anchors: TrustAnchors, where: str = "") -> Proof:
    """Check a signature of a file as cosign 2 writes it: base64, or JSON with ``base64Signature``.

    Args:
        raw: the signature file.
        digest: sha256 of the signed bytes.
        anchors: whose signature counts.
        where: what carries it, for the proof.

    Raises:
        VerificationError: malformed, or signed by nobody who counts; it says why.
    """
    certified = False
    if raw.lstrip().startswith(b"{"):
        document = parse_object(raw, "the signature file")
        certified = bool(document.get("cert"))
        signature = decode_base64(document.get("base64Signature"), "the signature")
    else:
        signature = decode_base64(raw.decode("ascii", "replace").strip(), "the signature file")
    signer = next((named for named in anchors.keys if named.key.verifies_digest(digest, signature)), None)
    if signer is None:
        # A key leaves itself in ``cert``, so that alone says nothing about who signed.
        raise _unsigned(anchors, certified=certified and not anchors.keys)
    return Proof(signer, "detached", where)


def _unsigned(anchors: TrustAnchors, *, certified: bool) -> VerificationError:
    if certified:
        return VerificationError(
            "is signed by a certificate in cosign's old form, which lacks what is needed to check it offline; "
            "cosign 3 signs in the new form"
        )
    if not anchors.keys:
        return VerificationError("is signed with a key, and no key was given to check it with")
    return VerificationError("is signed with none of the given keys, or was altered")

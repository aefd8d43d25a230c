"""DSSE envelopes, in-toto statements, and the sigstore bundles that carry them.

Written: bundle v0.3 with a public key's hint, no transparency log. Read: versions 0.1 to 0.3, of
keys and of certificates. A signature is checked before anything of what it signs is parsed.
Sources: DSSE protocol v1.0.0, in-toto Statement v1, sigstore's ``sigstore_bundle.proto``.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bundlectl.errors import ContentError, VerificationError
from mirror.oci.digest import Digest
from signing.identity import NamedKey, Proof

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from signing.identity import TrustAnchors
    from signing.signature import Signer

__all__ = [
    "BUNDLE_LIMIT",
    "BUNDLE_TYPE",
    "BUNDLE_TYPES",
    "IN_TOTO_TYPE",
    "OpenedEnvelope",
    "Statement",
    "decode_base64",
    "open_dsse",
    "open_message",
    "parse_object",
    "parse_statement",
    "sign_dsse",
    "sign_message",
    "statement",
]

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_TYPES: Final = frozenset(
    {BUNDLE_TYPE, *(f"application/vnd.dev.sigstore.bundle+json;version=0.{minor}" for minor in (1, 2, 3))}
)
"""What the bundle's own ``mediaType``, an artifact type or a layer may say."""

IN_TOTO_TYPE: Final = "application/vnd.in-toto+json"
BUNDLE_LIMIT: Final = 4 * 1024 * 1024
"""Bytes of a bundle, unless the caller expects more."""

_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_MESSAGE_DIGEST: Final = {"sha256": "SHA2_256", "sha512": "SHA2_512"}
_MATERIALS: Final = ("publicKey", "certificate", "x509CertificateChain")
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Statement:
    """An in-toto statement: what is said of which digests. A subject without a name has ``""``."""

    subjects: tuple[tuple[str, Digest], ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(repr=False)


class OpenedEnvelope(NamedTuple):
    """What an envelope held, and who vouches for it."""

    proof: Proof
    payload_type: str
    payload: bytes


def statement(subjects: Sequence[tuple[str, Digest]], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Render an in-toto Statement v1: compact, sorted, the same bytes for the same arguments.

    Args:
        subjects: name (left out when empty) and digest of each.
        predicate_type: a URI.
        predicate: what JSON can say.
    """
    listed = [
        {**({"name": name} if name else {}), "digest": {digest.algorithm: digest.encoded}} for name, digest in subjects
    ]
    return _render(
        {"_type": _STATEMENT_TYPE, "subject": listed, "predicateType": predicate_type, "predicate": dict(predicate)}
    )


def parse_statement(payload: bytes) -> Statement:
    """Read an in-toto Statement v1. Digests of other algorithms than sha256 and sha512 are left out.

    Raises:
        VerificationError: not one.
    """
    document = parse_object(payload, "the in-toto statement")
    if document.get("_type") != _STATEMENT_TYPE:
        raise VerificationError(f"{str(document.get('_type'))[:_SHOWN]!r} is not a type of statement read here")
    predicate_type, predicate = document.get("predicateType"), document.get("predicate", {})
    listed = document.get("subject")
    if not isinstance(predicate_type, str) or not isinstance(predicate, dict) or not isinstance(listed, list):
        raise VerificationError("the in-toto statement lacks its subject, predicateType or predicate")
    subjects = tuple(pair for item in listed for pair in _subject(item))
    return Statement(subjects, predicate_type, predicate)


def sign_dsse(payload: bytes, payload_type: str, signer: Signer) -> bytes:
    """Sign ``payload`` in a DSSE envelope; return a sigstore bundle v0.3.

    Raises:
        KeyProviderError: the key cannot be used now.
    """
    signature = signer.sign_digest(Digest.of(_pre_authentication(payload_type, payload)))
    envelope = {
        "payload": _base64(payload),
        "payloadType": payload_type,
        "signatures": [{"sig": _base64(signature.value)}],
    }
    return _bundle(signature.key.hint, {"dsseEnvelope": envelope})


def sign_message(digest: Digest, signer: Signer) -> bytes:
    """Sign bytes of the sha256 ``digest``; return a sigstore bundle v0.3 with a message signature.

    Raises:
        KeyProviderError: the key cannot be used now, or ``digest`` is not sha256.
    """
    signature = signer.sign_digest(digest)
    message = {
        "messageDigest": {
            "algorithm": _MESSAGE_DIGEST[digest.algorithm],
            "digest": _base64(bytes.fromhex(digest.encoded)),
        },
        "signature": _base64(signature.value),
    }
    return _bundle(signature.key.hint, {"messageSignature": message})


def open_dsse(raw: bytes, anchors: TrustAnchors, *, where: str = "", limit: int = BUNDLE_LIMIT) -> OpenedEnvelope:
    """Check a bundle with a DSSE envelope, and hand out what was signed.

    Args:
        raw: the bundle.
        anchors: whose signature counts.
        where: what carries it, for the proof.
        limit: bytes that the bundle may have.

    Raises:
        VerificationError: malformed, or signed by nobody who counts; it says why.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    content, hint = _open_bundle(raw, limit)
    envelope = content.get("dsseEnvelope")
    if not isinstance(envelope, dict):
        raise VerificationError("the bundle signs a file, where a DSSE envelope is expected")
    payload_type, signatures = envelope.get("payloadType"), envelope.get("signatures")
    if not isinstance(payload_type, str) or not payload_type.isascii():
        raise VerificationError("the DSSE envelope has no payloadType")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        # sigstore_bundle.proto: a bundle holds material for one signature, so others must be refused.
        raise VerificationError("a DSSE envelope in a bundle has exactly one signature, this has not")
    payload = decode_base64(envelope.get("payload"), "the payload")
    signature = decode_base64(signatures[0].get("sig"), "the signature")
    if hint is None:
        from signing.keyless import verify_envelope  # noqa: PLC0415 -- only where a certificate signs

        certified = verify_envelope(raw, anchors)
        return OpenedEnvelope(Proof(certified.identity, "bundle", where), certified.payload_type, certified.payload)
    signed = _pre_authentication(payload_type, payload)
    for candidate in _candidates(anchors, hint):
        if candidate.key.verifies(signed, signature):
            return OpenedEnvelope(Proof(candidate, "bundle", where), payload_type, payload)
    raise VerificationError(_unverified(anchors, hint))


def open_message(
    raw: bytes, *, digest: Digest, anchors: TrustAnchors, where: str = "", limit: int = BUNDLE_LIMIT
) -> Proof:
    """Check a bundle with a message signature.

    Args:
        raw: the bundle.
        digest: sha256 of the bytes that should be signed.
        anchors: whose signature counts.
        where: what carries it, for the proof.
        limit: bytes that the bundle may have.

    Raises:
        VerificationError: malformed, of other bytes, or signed by nobody who counts; it says why.
        ConfigError: a certificate is to be checked, and the package for that is absent.
    """
    content, hint = _open_bundle(raw, limit)
    message = content.get("messageSignature")
    if not isinstance(message, dict):
        raise VerificationError("the bundle holds an attestation (a DSSE envelope), not a signature of a file")
    signature = decode_base64(message.get("signature"), "the signature")
    _check_message_digest(message.get("messageDigest"), digest)
    if hint is None:
        from signing.keyless import verify_artifact  # noqa: PLC0415 -- only where a certificate signs

        return Proof(verify_artifact(raw, digest, anchors), "bundle", where)
    for candidate in _candidates(anchors, hint):
        if candidate.key.verifies_digest(digest, signature):
            return Proof(candidate, "bundle", where)
    named = next((named for named in anchors.keys if named.key.hint == hint), None)
    if named and named.key.algorithm not in ("ecdsa-p256", "rsa"):
        raise VerificationError(f"is signed by a key of {named.key.algorithm}; files are checked with P-256 and RSA")
    raise VerificationError(_unverified(anchors, hint))


def decode_base64(value: object, what: str) -> bytes:
    """Read standard base64, strictly: one text for one value.

    Raises:
        VerificationError: not that, or empty.
    """
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError) as error:
        raise VerificationError(f"{what} is not base64") from error
    if not data:
        raise VerificationError(f"{what} is missing")
    if _base64(data) != value:
        raise VerificationError(f"{what} is not base64 as it is written by rule")
    return data


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object in which no key occurs twice.

    Raises:
        VerificationError: not one.
    """
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is not JSON of the plain kind that is read here") from error
    if not isinstance(document, dict):
        raise VerificationError(f"{what} is not a JSON object")
    return document


def _open_bundle(raw: bytes, limit: int) -> tuple[dict[str, Any], str | None]:
    """The bundle, and the hint of the key that signed it; None when a certificate did."""
    if len(raw) > limit:
        raise VerificationError(f"the bundle is larger than {limit:,} bytes")
    bundle = parse_object(raw, "the bundle")
    media_type = str(bundle.get("mediaType"))
    if media_type not in BUNDLE_TYPES:
        raise VerificationError(f"{media_type[:_SHOWN]!r} is not the type of a sigstore bundle of 0.1, 0.2 or 0.3")
    if ("dsseEnvelope" in bundle) == ("messageSignature" in bundle):
        raise VerificationError("a bundle holds either a DSSE envelope or a message signature")
    material = bundle.get("verificationMaterial")
    present = [name for name in _MATERIALS if isinstance(material, dict) and name in material]
    if not isinstance(material, dict) or len(present) != 1:
        raise VerificationError("a bundle names either a public key or a certificate, this does not")
    if present != ["publicKey"]:
        return bundle, None
    key = material["publicKey"]
    hint = key.get("hint", "") if isinstance(key, dict) else None
    if not isinstance(hint, str):
        raise VerificationError("the bundle's publicKey has no hint")
    return bundle, hint


def _candidates(anchors: TrustAnchors, hint: str) -> list[NamedKey]:
    """All keys, the one that the bundle hints at first: a hint can be wrong, or another tool's own."""
    return sorted(anchors.keys, key=lambda named: named.key.hint != hint)


def _unverified(anchors: TrustAnchors, hint: str) -> str:
    if not anchors.keys:
        return "is signed with a key, and no key was given to check it with"
    if any(named.key.hint == hint for named in anchors.keys):
        return "names a given key, but its signature does not hold"
    return f"is signed with none of the given keys (it hints at {hint[:_SHOWN]!r})"


def _check_message_digest(stated: object, digest: Digest) -> None:
    """Compare a stated digest, where there is one, so that other bytes are told from another key."""
    if stated is None:
        return
    if not isinstance(stated, dict) or stated.get("algorithm") not in _MESSAGE_DIGEST.values():
        raise VerificationError("the bundle's messageDigest is of a kind not read here")
    value = decode_base64(stated.get("digest"), "the messageDigest")
    if stated["algorithm"] == _MESSAGE_DIGEST.get(digest.algorithm) and value.hex() != digest.encoded:
        raise VerificationError(f"signs other bytes: {digest.algorithm}:{value.hex()[:_SHOWN]}, not {digest}")


def _subject(item: object) -> list[tuple[str, Digest]]:
    name = item.get("name", "") if isinstance(item, dict) else None
    digests = item.get("digest") if isinstance(item, dict) else None
    if not isinstance(name, str) or not isinstance(digests, dict):
        raise VerificationError("a subject of the in-toto statement has no digest")
    try:
        return [
            (name, Digest.parse(f"{algorithm}:{digests[algorithm]}"))
            for algorithm in _MESSAGE_DIGEST
            if algorithm in digests
        ]
    except ContentError as error:
        raise VerificationError(f"a subject of the in-toto statement is malformed: {error.message}") from error


def _pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What a DSSE signature signs (DSSE protocol, "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _bundle(hint: str, content: dict[str, Any]) -> bytes:
    return _render({"mediaType": BUNDLE_TYPE, "verificationMaterial": {"publicKey": {"hint": hint}}, **content})


def _render(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")

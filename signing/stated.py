"""Whom a signature names as its signer, unchecked: for people to read, never to decide by."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import VerificationError
from signing.envelope import BUNDLE_LIMIT, parse_object

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["signer_of_bundle", "signer_of_certificate"]

_SHOWN: Final = 200
_ISSUERS: Final = ("1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1")
"""Fulcio's extensions that name the identity provider, the newer one first (sigstore, fulcio/docs/oid-info.md)."""


def signer_of_bundle(raw: bytes, *, limit: int = BUNDLE_LIMIT) -> str | None:
    """What a sigstore bundle says of its signer: a hint at a key, or the identity in a certificate.

    Args:
        raw: the bundle.
        limit: bytes; nothing is read of a larger one.

    Returns:
        Text in the signer's own words, None where there is none to be read.
    """
    if len(raw) > limit:
        return None
    try:
        material = parse_object(raw, "the bundle").get("verificationMaterial")
    except VerificationError:
        return None
    if not isinstance(material, dict):
        return None
    key = material.get("publicKey")
    if isinstance(key, dict):
        hint = key.get("hint")
        return f"key {hint[:_SHOWN]}" if isinstance(hint, str) and hint else "a key"
    return _leaf(material)


def signer_of_certificate(text: str) -> str | None:
    """The identity in a PEM certificate, as cosign keeps it beside a signature; None where there is none."""
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 -- only where one is met

    try:
        return _identity(load_pem_x509_certificate(text.encode()))
    except ValueError:
        return None


def _leaf(material: dict[str, Any]) -> str | None:
    chain = material.get("x509CertificateChain")
    listed = chain.get("certificates") if isinstance(chain, dict) else None
    found = listed[0] if isinstance(listed, list) and listed else material.get("certificate")
    encoded = found.get("rawBytes") if isinstance(found, dict) else None
    if not isinstance(encoded, str):
        return None
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415 -- only where one is met

    try:
        return _identity(load_der_x509_certificate(base64.b64decode(encoded, validate=True)))
    except (binascii.Error, ValueError):
        return None


def _identity(certificate: Certificate) -> str | None:
    from cryptography import x509  # noqa: PLC0415 -- only where one is met

    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
    stated = [
        *names.get_values_for_type(x509.RFC822Name),
        *names.get_values_for_type(x509.UniformResourceIdentifier),
    ]
    if not stated:
        return None
    issuer = next((text for oid in _ISSUERS if (text := _text(extensions, oid))), "")
    return f"{stated[0][:_SHOWN]} by {issuer[:_SHOWN]}" if issuer else stated[0][:_SHOWN]


def _text(extensions: Any, oid: str) -> str:  # noqa: ANN401 -- cryptography's Extensions, imported lazily
    from cryptography import x509  # noqa: PLC0415 -- only where one is met

    for extension in extensions:
        if extension.oid.dotted_string == oid and isinstance(extension.value, x509.UnrecognizedExtension):
            raw = extension.value.value
            # The newer one is a DER UTF8String, the older one bare text.
            if raw[:1] == b"\x0c" and len(raw) > 1 and raw[1] == len(raw) - 2:
                raw = raw[2:]
            return raw.decode("utf-8", "replace")
    return ""

"""Keys and certificates in PEM files, unencrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import KeyProviderError

if TYPE_CHECKING:
    from signing.keys import KeyAccess
    from signing.keys.keyfile import KeyFile
    from signing.signature import PublicKey, Signer

__all__ = ["LABELS", "load_public_key", "open_signer"]

LABELS: Final = ("CERTIFICATE", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PRIVATE KEY", "PUBLIC KEY")
_ENCRYPTED: Final = "ENCRYPTED PRIVATE KEY"
_PUBLIC: Final = {"CERTIFICATE": "a certificate", "PUBLIC KEY": "a public key"}


def open_signer(key: KeyFile, access: KeyAccess) -> Signer:
    """Open a private key.

    Raises:
        KeyProviderError: it is a public one, encrypted, damaged, readable by others, or not on P-256.
    """
    del access  # nothing here is secret but the file
    from signing.keys.local import LocalSigner, load_private_key  # noqa: PLC0415 -- imports cryptography

    if key.label in _PUBLIC:
        raise KeyProviderError(f"{_PUBLIC[key.label]} cannot sign", hint="name the private key that belongs to it")
    _check_private(key)
    return LocalSigner(load_private_key(key.body))


def load_public_key(key: KeyFile, access: KeyAccess) -> PublicKey:
    """Read a public key, that of a certificate, or derive that of a private key.

    Nothing else of a certificate counts: who names it as a KEY has decided to trust its key.

    Raises:
        KeyProviderError: damaged, encrypted, of a kind that is not used, or private and readable by others.
    """
    del access
    from signing.keys.local import load_private_key, public_half  # noqa: PLC0415 -- imports cryptography
    from signing.signature import PublicKey  # noqa: PLC0415 -- imports cryptography

    if key.label == "PUBLIC KEY":
        return PublicKey.from_der(key.body)
    if key.label == "CERTIFICATE":
        return certificate_key(key.body)
    _check_private(key)
    return public_half(load_private_key(key.body))


def certificate_key(der: bytes) -> PublicKey:
    """Read the public key of an X.509 certificate.

    Raises:
        KeyProviderError: not one, or with a key of a kind that is not used here.
    """
    from cryptography import x509  # noqa: PLC0415 -- only for certificates
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    from signing.signature import PublicKey  # noqa: PLC0415

    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise KeyProviderError(
            f"not a certificate that can be read: {error}", hint="`openssl x509 -in FILE -noout -text` says more"
        ) from error
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey.from_der(key.public_bytes(serialization.Encoding.DER, form))


def _check_private(key: KeyFile) -> None:
    key.require_private()
    if key.label == _ENCRYPTED:
        raise KeyProviderError(
            "is an encrypted PKCS#8 key, which is not used here",
            hint="decrypt it with `openssl pkey`, and make a cosign key of it with `cosign import-key-pair`",
        )

"""Keys whose bytes are in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from bundlectl.errors import KeyProviderError
from signing.signature import PublicKey, Signature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from mirror.oci.digest import Digest

__all__ = ["LocalSigner", "load_private_key", "public_half"]


class LocalSigner:
    """Signs with a key of the ``cryptography`` library.

    Args:
        key: of any kind.

    Raises:
        KeyProviderError: not ECDSA on P-256.
    """

    def __init__(self, key: PrivateKeyTypes) -> None:
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise KeyProviderError(
                "signing needs an ECDSA key on P-256, this is another kind",
                hint="make one with `bundlectl keys generate PATH`",
            )
        self._key = key
        self._public = public_half(key)

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what is signed."""
        return self._public

    def sign_digest(self, digest: Digest) -> Signature:
        """Sign a sha256 digest."""
        value = self._key.sign(bytes.fromhex(digest.encoded), ec.ECDSA(Prehashed(hashes.SHA256())))
        return Signature(value, self._public)


def load_private_key(der: bytes) -> PrivateKeyTypes:
    """Read an unencrypted private key: PKCS#8 or SEC1.

    Raises:
        KeyProviderError: neither.
    """
    try:
        return serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The cause is left out: nobody promises that it does not quote the key.
        raise KeyProviderError(
            "the private key is damaged, or of a kind that is not used here",
            hint="`openssl pkey -in FILE -noout -check` says more",
        ) from None


def public_half(key: PrivateKeyTypes) -> PublicKey:
    """Derive the public key.

    Raises:
        KeyProviderError: of a kind that is not used here.
    """
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return PublicKey.from_der(key.public_key().public_bytes(serialization.Encoding.DER, form))

"""Public keys, and who signs: the two things that everything which signs or verifies is handed."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from bundlectl.errors import KeyProviderError

if TYPE_CHECKING:
    from mirror.oci.digest import Digest

__all__ = ["KeyAlgorithm", "PublicKey", "Signature", "Signer"]

KeyAlgorithm: TypeAlias = Literal["ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa", "ed25519"]
"""What a key is. AWS's manifests know ``ecdsa-p256`` alone, and so does everything that signs here."""

_CURVES: Final[dict[str, tuple[KeyAlgorithm, hashes.HashAlgorithm]]] = {
    "secp256r1": ("ecdsa-p256", hashes.SHA256()),
    "secp384r1": ("ecdsa-p384", hashes.SHA384()),
    "secp521r1": ("ecdsa-p521", hashes.SHA512()),
}
_RSA_SMALLEST: Final = 2048
_RSA_LARGEST: Final = 16384
_DER_LIMIT: Final = 16 * 1024
_HINT: Final = "an X.509 public key is meant, as `openssl pkey -pubout` writes it"

_Key: TypeAlias = "ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: equal to another when its DER is.

    ``der`` is the SubjectPublicKeyInfo. Made with ``from_der``, ``from_base64`` and ``of``.
    """

    der: bytes = field(repr=False)
    algorithm: KeyAlgorithm
    _key: _Key = field(repr=False, compare=False)

    @classmethod
    def from_der(cls, der: bytes) -> PublicKey:
        """Read a SubjectPublicKeyInfo.

        Raises:
            KeyProviderError: not one, or of a kind that is not used here.
        """
        if len(der) > _DER_LIMIT:
            raise KeyProviderError(f"a public key is shorter than {_DER_LIMIT} bytes, this is not", hint=_HINT)
        try:
            key = serialization.load_der_public_key(der)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyProviderError(
                f"not a public key in DER form (SubjectPublicKeyInfo): {error}", hint=_HINT
            ) from error
        if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
            raise _unusable(type(key).__name__)
        return cls.of(key)

    @classmethod
    def of(cls, key: _Key) -> PublicKey:
        """Wrap a key of the ``cryptography`` library.

        Raises:
            KeyProviderError: a curve or a length that is not used here.
        """
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if isinstance(key, ec.EllipticCurvePublicKey):
            if key.curve.name not in _CURVES:
                raise _unusable(f"the curve {key.curve.name}")
            return cls(der, _CURVES[key.curve.name][0], key)
        if isinstance(key, rsa.RSAPublicKey):
            if not _RSA_SMALLEST <= key.key_size <= _RSA_LARGEST:
                raise _unusable(f"RSA of {key.key_size} bits")
            return cls(der, "rsa", key)
        return cls(der, "ed25519", key)

    @classmethod
    def from_base64(cls, text: str) -> PublicKey:
        """Read base64 of a SubjectPublicKeyInfo, as AWS writes its keys.

        Raises:
            KeyProviderError: not base64, or not a key.
        """
        try:
            der = base64.b64decode(text.encode("ascii"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise KeyProviderError(f"the public key is not base64: {error}", hint=_HINT) from error
        return cls.from_der(der)

    @property
    def fingerprint(self) -> str:
        """``sha256:`` and the hexadecimal digest of ``der``: what people compare."""
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    @property
    def hint(self) -> str:
        """Base64 of the sha256 of ``der``: cosign's ``publicKey.hint`` in a sigstore bundle."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode()

    def pem(self) -> str:
        """Render as PEM."""
        return self._key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def base64(self) -> str:
        """Render as base64 DER, as AWS writes it (``EKSA_PUBLIC_KEY``)."""
        return base64.b64encode(self.der).decode()

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is one over ``message`` by this key.

        ECDSA signatures are ASN.1 DER, over the hash that fits the curve; RSA is PKCS #1 v1.5
        with SHA-256; Ed25519 signs the message itself. These are what cosign verifies with.
        """
        try:
            match self._key:
                case ec.EllipticCurvePublicKey():
                    self._key.verify(signature, message, ec.ECDSA(_CURVES[self._key.curve.name][1]))
                case rsa.RSAPublicKey():
                    self._key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
                case _:
                    self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def verifies_digest(self, digest: Digest, signature: bytes) -> bool:
        """Whether ``signature`` is one over the message of sha256 ``digest``, for keys that sign by sha256.

        The others (P-384, P-521, Ed25519) need the message itself: never true for them.
        """
        if digest.algorithm != "sha256":
            return False
        value, prehashed = bytes.fromhex(digest.encoded), Prehashed(hashes.SHA256())
        try:
            match self._key:
                case ec.EllipticCurvePublicKey() if self.algorithm == "ecdsa-p256":
                    self._key.verify(signature, value, ec.ECDSA(prehashed))
                case rsa.RSAPublicKey():
                    self._key.verify(signature, value, padding.PKCS1v15(), prehashed)
                case _:
                    return False
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature and the key that checks it. ``value`` is ASN.1 DER."""

    value: bytes = field(repr=False)
    key: PublicKey


class Signer(Protocol):
    """Signs with ECDSA on P-256 and SHA-256, whatever holds the key. A provider never prompts."""

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what is signed."""

    def sign_digest(self, digest: Digest) -> Signature:
        """Sign the sha256 digest of a message.

        Raises:
            KeyProviderError: the key cannot be used now, or ``digest`` is not sha256.
        """


def _unusable(what: str) -> KeyProviderError:
    return KeyProviderError(
        f"{what} is not used here", hint="keys are ECDSA on P-256, P-384 or P-521, RSA of 2048 bits or more, or Ed25519"
    )

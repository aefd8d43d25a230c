"""Keys to try providers with: files made by `cryptography`, a real cosign key, moto, SoftHSM2."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from signing.keys import KeyAccess
from signing.signature import PublicKey

if TYPE_CHECKING:
    from pathlib import Path

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8 = serialization.PrivateFormat.PKCS8
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PLAIN = serialization.NoEncryption()

COSIGN_PASSWORD = "correct horse"
COSIGN_KEY = """\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJ6WUo5TWZybnhsZWRER0M5RjJ1UzZUMjVaV1dNSG84
SlgrQ1lwT3dSTEFJPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJFQWtpQ042SFFIK0pXNXBZWm9KSzRSS0FVTGRBSkhrSiJ9LCJj
aXBoZXJ0ZXh0IjoiOUluc2ZMVFBpYmZBS3VqL1lmYlNDK3gwQ25EWWwvT21lMzZt
YUMwWXBJNmVIRXRTcFFpRkJlK1FZOWNEUFR6a2Zwc1ZLZUdXOHNNNFVxN1NzYUEw
TzU2aGNjSTI5QzZ4YncveEYyTTV6dE83dlRKWVg4T01kQnF6VUwvQi81SHZ2RVBp
T2o3YmN3WVMyVWszYVFmdVZxZURoRng5U0grNlBjakNBdTNLR2dReUs2T0JkMmI1
ajBvdGNPWGl0QURwa1ZQNnVTUXJ6cnpVM1E9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
"""Made by cosign 2.6.5 for this test, with the password above; it protects nothing."""
COSIGN_PUBLIC = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpO6ynUfX1Uz5kXLSWo0j6qvgDaaZ
62NiDDQUKDN2CxCY4rXLYCLgeoMzP6ZduFdEjkOt0h94Q3wKsvBGASBp8w==
-----END PUBLIC KEY-----
"""


class Secret:
    """Hands out one secret, and counts how often it is asked."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.asked: list[tuple[str, str]] = []

    def __call__(self, kind: str, key: str, /) -> bytes:
        self.asked.append((kind, key))
        return self.value.encode()


@dataclass(frozen=True)
class Sample:
    """A KEY of a provider, and what is known of it otherwise."""

    key: str
    public: PublicKey
    access: KeyAccess = field(default_factory=KeyAccess)
    secret: Secret | None = None
    signs: bool = True

    def without_secret(self) -> KeyAccess:
        return KeyAccess(pkcs11_module=self.access.pkcs11_module)

    def with_secret(self, value: str) -> KeyAccess:
        return replace(self.access, secret=Secret(value))


def write(path: Path, content: bytes | str, mode: int = 0o600) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


def private_pem(key: Any, form: serialization.PrivateFormat = PKCS8) -> bytes:
    pem: bytes = key.private_bytes(PEM, form, PLAIN)
    return pem


def certificate(key: Any, encoding: serialization.Encoding = PEM) -> bytes:
    """Self-signed, and expired long ago: only its key counts."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "release")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    dated = builder.not_valid_before(start).not_valid_after(start + timedelta(days=1))
    return dated.sign(key, hashes.SHA256()).public_bytes(encoding)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_of(key: Any) -> PublicKey:
    return PublicKey.from_der(key.public_key().public_bytes(DER, SPKI))

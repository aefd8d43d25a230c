"""A certificate for ``serve --tls-self-signed``."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ConfigError
from mirror.server.serving import TlsFiles

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["self_signed"]

_VALID_DAYS: Final = 397
_RENEW_DAYS: Final = 30
_SIZE_MAX: Final = 64 * 1024
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 -- compared with, not bound


def self_signed(directory: Path, host: str) -> TlsFiles:
    """Return a self-signed certificate for this machine, made when there is none that will do.

    ECDSA P-256, for ``localhost``, the loopback addresses, the machine's name and ``host``; not a
    CA, so that a client that trusts it trusts this one server. It is kept: clients that were told
    to trust it need not be told again at each start.

    Args:
        directory: made private (0700) when absent; the key in it is 0600.
        host: the listen address.

    Raises:
        ConfigError: the directory cannot be used.
    """
    files = TlsFiles(directory / "tls.crt", directory / "tls.key")
    names = _names(host)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _will_do(files, names):
            certificate, key = _make(names)
            _write(files.key, key)
            _write(files.certificate, certificate)
    except OSError as error:
        raise ConfigError(f"cannot keep a certificate here: {error.strerror}", artifact=str(directory)) from error
    return files


def _names(host: str) -> list[str]:
    names = ["localhost", "127.0.0.1", "::1"]
    candidates = [socket.gethostname(), "" if host in _EVERYWHERE else host.strip("[]")]
    names += [name for name in candidates if name and name.isascii() and name not in names]
    return list(dict.fromkeys(names))


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509  # noqa: PLC0415 -- heavy, only for this flag

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _will_do(files: TlsFiles, names: list[str]) -> bool:
    """Whether the certificate that is there is private, ours, valid for a while, and for these names."""
    from cryptography import x509  # noqa: PLC0415 -- heavy, only for this flag
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    try:
        if files.key.stat().st_mode & 0o077:
            return False
        certificate = x509.load_pem_x509_certificate(_read(files.certificate))
        key = serialization.load_pem_private_key(_read(files.key), password=None)
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    until = certificate.not_valid_after_utc - dt.timedelta(days=_RENEW_DAYS)
    same_key = certificate.public_key() == key.public_key()
    return same_key and until > dt.datetime.now(dt.UTC) and all(_general_name(n) in found for n in names)


def _make(names: list[str]) -> tuple[bytes, bytes]:
    from cryptography import x509  # noqa: PLC0415 -- heavy, only for this flag
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bundlectl serve")])
    now = dt.datetime.now(dt.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks at a site disagree
        .not_valid_after(now + dt.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SIZE_MAX)


def _write(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

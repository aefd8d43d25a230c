from __future__ import annotations

import socket
import ssl
import stat
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bundlectl.errors import ConfigError
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from pathlib import Path


def test_the_certificate_names_this_machine_and_the_listen_address(tmp_path: Path) -> None:
    files = self_signed(tmp_path / "tls", "192.0.2.7")
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    assert {"localhost", socket.gethostname()} <= set(dns)
    assert addresses == ["127.0.0.1", "::1", "192.0.2.7"]
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_is_private(tmp_path: Path) -> None:
    files = self_signed(tmp_path / "tls", "127.0.0.1")
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700


def test_the_certificate_is_kept_as_long_as_it_will_do(tmp_path: Path) -> None:
    first = self_signed(tmp_path, "127.0.0.1").certificate.read_bytes()
    assert self_signed(tmp_path, "::").certificate.read_bytes() == first
    assert self_signed(tmp_path, "registry.example").certificate.read_bytes() != first


@pytest.mark.parametrize("damage", ["mode", "content", "absent"])
def test_a_certificate_that_will_not_do_is_made_anew(tmp_path: Path, damage: str) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    first = files.key.read_bytes()
    if damage == "mode":
        files.key.chmod(0o644)
    elif damage == "content":
        files.key.write_bytes(b"nonsense")
    else:
        files.key.unlink()
    assert self_signed(tmp_path, "127.0.0.1").key.read_bytes() != first
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600


def test_a_client_that_trusts_it_strictly_accepts_it(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    client = ssl.create_default_context(cafile=str(files.certificate))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = files.context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    there = server.wrap_bio(outgoing, incoming, server_side=True)
    for _ in range(5):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.getpeercert()
    assert here.version() in ("TLSv1.2", "TLSv1.3")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        self_signed(tmp_path / "file" / "tls", "127.0.0.1")

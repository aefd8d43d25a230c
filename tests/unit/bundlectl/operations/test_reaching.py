"""The certificate of a registry, judged as pulls and as EKS Anywhere judge it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bundlectl.operations.reaching import Reach
from mirror.http import HostTransport, Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundlectl.operations.reaching import Check
    from registry_fixtures.registry import ServedRegistry

NOW = dt.datetime.now(dt.UTC)


@dataclass
class Authority:
    """Makes certificates."""

    folder: Path
    title: str = "site authority"

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.title)])
        self.ca = self.folder / "ca.pem"
        self.ca.write_bytes(self.sign(self.name, self.key, ca=True))

    def sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        names: tuple[x509.GeneralName, ...] = (),
        days: int = 90,
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=400))
            .not_valid_after(NOW + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server(self, *names: x509.GeneralName, days: int = 90) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        chain, private = self.folder / "server.pem", self.folder / "server.key"
        chain.write_bytes(self.sign(subject, key, names=names, days=days))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, private


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def look(served: ServedRegistry, **host: object) -> dict[str, Check]:
    transport = Transport(hosts={served.host: HostTransport(**host)})  # type: ignore[arg-type]
    return {check.name: check for check in Reach(served.host, "https", transport).checks()}


def test_a_private_authority_that_is_named_is_good_for_all(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    found = look(registry_factory(tls=authority.server(LOOPBACK)), ca_file=authority.ca)
    assert (found["tls"].outcome, found["tls-eks-anywhere"].outcome) == ("ok", "ok")
    assert "site authority" in found["tls"].message
    assert "caCertContent" in found["tls-eks-anywhere"].message


def test_an_unknown_authority_says_which_flag_and_which_field_name_it(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    served = registry_factory(tls=authority.server(LOOPBACK))
    found = look(served)
    assert found["tls"].outcome == "failed"
    assert f"--ca-file {served.host}=FILE" in (found["tls"].fix or "")
    assert found["tls-eks-anywhere"].outcome == "warning"
    assert "EKSA_REGISTRY_MIRROR_CA" in (found["tls-eks-anywhere"].fix or "")


def test_a_certificate_without_the_name_needs_another_one(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    served = registry_factory(tls=authority.server(x509.DNSName("other.example")))
    found = look(served, ca_file=authority.ca)
    assert found["tls"].outcome == "failed"
    assert "subject alternative names" in (found["tls"].fix or "")


def test_a_name_that_stands_in_the_subject_alone_does_not_count(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    found = look(registry_factory(tls=authority.server()), ca_file=authority.ca)
    assert found["tls"].outcome == "failed"


def test_a_certificate_that_has_expired_or_will_soon_is_to_be_renewed(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    past = look(registry_factory(tls=authority.server(LOOPBACK, days=-1)), ca_file=authority.ca)
    assert (past["tls"].outcome, "renew" in (past["tls"].fix or "")) == ("failed", True)
    soon = look(registry_factory(tls=authority.server(LOOPBACK, days=5)), ca_file=authority.ca)
    assert (soon["tls"].outcome, "renew" in (soon["tls"].fix or "")) == ("warning", True)


def test_eks_anywhere_reads_the_first_certificate_of_a_file_only(
    registry_factory: Callable[..., ServedRegistry], authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = Authority(tmp_path / "elsewhere", "another authority")
    both = tmp_path / "both.pem"
    both.write_bytes(other.ca.read_bytes() + authority.ca.read_bytes())
    found = look(registry_factory(tls=authority.server(LOOPBACK)), ca_file=both)
    assert found["tls"].outcome == "ok"
    assert found["tls-eks-anywhere"].outcome == "warning"
    assert "first" in (found["tls-eks-anywhere"].fix or "")


def test_a_certificate_that_is_not_checked_is_a_warning_and_bottlerocket_is_named(
    registry_factory: Callable[..., ServedRegistry], authority: Authority
) -> None:
    found = look(registry_factory(tls=authority.server(LOOPBACK)), skip_verify=True)
    assert found["tls"].outcome == "warning"
    assert "Bottlerocket" in found["tls-eks-anywhere"].message


def test_a_port_without_tls_is_told_so(registry: ServedRegistry) -> None:
    found = look(registry)
    assert found["tls"].outcome == "failed"
    assert f"--plain-http {registry.host}" in (found["tls"].fix or "")


def test_behind_a_proxy_the_proxys_way_is_not_judged() -> None:
    transport = Transport(https_proxy="http://proxy.example:3128")
    (only,) = Reach("registry.example", "https", transport).checks()
    assert (only.name, only.outcome) == ("network", "ok")

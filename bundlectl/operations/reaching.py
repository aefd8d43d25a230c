"""The way to a registry, step by step: its name, its port, its certificate (also as EKS Anywhere sees it)."""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from mirror.http.addresses import origin_of
from mirror.http.proxies import NoProxy, proxy_for

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.http.addresses import Origin
    from mirror.http.transport import HostTransport, Transport

__all__ = ["Check", "Outcome", "Reach"]

Outcome: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

_SECONDS: Final = 10.0
_SOON: Final = dt.timedelta(days=30)
_NAME_MISMATCH: Final = frozenset({62, 64})
_EXPIRED: Final = 10
_CERTIFICATE: Final = re.compile(rb"-----BEGIN [A-Z ]+-----.+?-----END [A-Z ]+-----", re.DOTALL)
_CA_LIMIT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``fix`` says what to do where the outcome is not ok."""

    name: str
    outcome: Outcome
    message: str
    fix: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {"name": self.name, "outcome": self.outcome, "message": self.message, "fix": self.fix}


class Reach:
    """Goes the way to a registry.

    Args:
        registry: ``host[:port]``.
        scheme: ``https`` or ``http``, as it will be spoken to.
        transport: how the user wants it reached.
    """

    def __init__(self, registry: str, scheme: str, transport: Transport) -> None:
        self._registry = registry
        self._origin: Origin = origin_of(f"{scheme}://{registry}")
        self._host: HostTransport = transport.host(self._origin)
        self._proxy = proxy_for(self._origin, transport, NoProxy(transport.no_proxy))

    def checks(self) -> list[Check]:
        """Name, port and certificate, up to the first that fails."""
        if self._proxy:
            return [
                Check("network", "ok", f"{self._registry} is reached through a proxy; what lies behind is its matter")
            ]
        found = [self._name()]
        if found[-1].outcome != "failed":
            found.append(self._port())
        if found[-1].outcome != "failed":
            found += self._certificate()
        return found

    def _name(self) -> Check:
        try:
            answers = socket.getaddrinfo(self._origin.host, self._origin.port, type=socket.SOCK_STREAM)
        except OSError as error:
            return Check(
                "dns",
                "failed",
                f"{self._origin.host} cannot be resolved: {error.strerror or error}",
                "check the name, and the DNS servers of this machine; clusters need to resolve it as well",
            )
        addresses = sorted({str(answer[4][0]) for answer in answers})
        return Check("dns", "ok", f"{self._origin.host} is {', '.join(addresses[:4])}")

    def _port(self) -> Check:
        try:
            socket.create_connection((self._origin.host, self._origin.port), _SECONDS).close()
        except OSError as error:
            return Check(
                "tcp",
                "failed",
                f"port {self._origin.port} cannot be reached: {error.strerror or error}",
                "check the port, firewalls on the way, and whether a proxy is needed (HTTPS_PROXY)",
            )
        return Check("tcp", "ok", f"port {self._origin.port} is open")

    def _certificate(self) -> list[Check]:
        if self._origin.scheme == "http":
            return [
                Check(
                    "tls",
                    "warning",
                    "the registry is reached by plain HTTP: passwords and content can be read on the way",
                    "give it a certificate; EKS Anywhere takes no registry mirror without TLS",
                )
            ]
        problem, certificate = self._shake(_context(self._host.ca_file, None), self._host)
        checks = [self._judged(problem, certificate)]
        if self._host.skip_verify and checks[0].outcome == "failed":
            told = f"{checks[0].message}; it is not checked, for --insecure-skip-tls-verify says so"
            checks = [Check("tls", "warning", told, checks[0].fix)]
        return [*checks, self._seen_by_eks_anywhere()]

    def _judged(self, problem: Exception | None, certificate: dict[str, Any]) -> Check:
        if problem is not None:
            return Check("tls", "failed", _reason(problem), self._fix(problem))
        until = dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), dt.UTC)
        issuer = _common_name(certificate.get("issuer", ()))
        message = f"the certificate is good, issued by {issuer}, valid until {until:%Y-%m-%d}"
        if until - dt.datetime.now(dt.UTC) < _SOON:
            return Check("tls", "warning", message, "renew it: nodes stop pulling on that day")
        return Check("tls", "ok", message)

    def _fix(self, problem: Exception) -> str:
        code = getattr(problem, "verify_code", 0)
        if code in _NAME_MISMATCH:
            return f"have a certificate made whose subject alternative names list {self._origin.host}"
        if code == _EXPIRED:
            return "renew the certificate; and check the clock of this machine"
        if not isinstance(problem, ssl.SSLCertVerificationError):
            return f"check that the port speaks TLS; if it is meant to be plain HTTP: --plain-http {self._registry}"
        return f"give the authority that issued it: --ca-file {self._registry}=FILE"

    def _seen_by_eks_anywhere(self) -> Check:
        """What the preflight of ``eksctl anywhere create cluster`` would say (``domain.md`` 3.6).

        Never a failure: the registry may serve others. With a CA, it looks at the first PEM block
        alone, and at no authority of the machine.
        """
        name = "tls-eks-anywhere"
        if self._host.skip_verify:
            return Check(
                name,
                "warning",
                "EKS Anywhere would skip the check with insecureSkipVerify, which Bottlerocket refuses",
                "give the authority with --ca-file, and caCertContent to the cluster",
            )
        if self._host.ca_file is None:
            problem, _ = self._shake(_context(None, None), None)
            if problem is None:
                return Check(name, "ok", "EKS Anywhere will take the certificate as it is, without caCertContent")
            return Check(
                name,
                "warning",
                f"EKS Anywhere will refuse it: {_reason(problem)}",
                "put the authority into caCertContent (or EKSA_REGISTRY_MIRROR_CA): bundlectl registry config does it",
            )
        first = _first_block(self._host.ca_file)
        if first is None:
            return Check(name, "warning", "EKS Anywhere would find no PEM certificate in the CA file", "use a PEM file")
        problem, _ = self._shake(_context(None, first), None)
        if problem is None:
            return Check(name, "ok", "EKS Anywhere will take it with the CA file as caCertContent")
        return Check(
            name,
            "warning",
            f"EKS Anywhere will refuse it: it looks at the first certificate of caCertContent only, and says: "
            f"{_reason(problem)}",
            "put the authority that issued the registry's certificate first into the CA file",
        )

    def _shake(
        self, context: ssl.SSLContext | None, host: HostTransport | None
    ) -> tuple[Exception | None, dict[str, Any]]:
        """Shake hands; what went wrong, and the certificate."""
        if context is None:
            return ssl.SSLError("the CA file cannot be read"), {}
        try:
            if host and host.client_cert:
                context.load_cert_chain(str(host.client_cert), password=lambda: b"")
            with (
                socket.create_connection((self._origin.host, self._origin.port), _SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=self._origin.host) as secure,
            ):
                return None, dict(secure.getpeercert() or {})
        except (OSError, ValueError) as error:
            return error, {}


def _context(ca_file: Path | None, authority: str | None) -> ssl.SSLContext | None:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None, cadata=authority)
    except (OSError, ValueError):
        return None
    # As Go judges: any certificate that was named is an anchor, and only alternative names count.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.hostname_checks_common_name = False
    return context


def _first_block(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            match = _CERTIFICATE.search(file.read(_CA_LIMIT))
    except OSError:
        return None
    return match[0].decode("ascii", errors="replace") if match else None


def _reason(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {problem.verify_message or problem.reason}"
    text = str(getattr(problem, "reason", "") or getattr(problem, "strerror", "") or problem)
    return f"no TLS handshake: {text.replace('_', ' ').lower()}"


def _common_name(name: Any) -> str:  # noqa: ANN401 -- nested tuples of ssl
    parts = {key: value for group in name for key, value in group}
    return str(parts.get("commonName") or parts.get("organizationName") or "somebody without a name")

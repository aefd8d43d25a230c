"""What the user says about connections, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl import __version__
from mirror.http.addresses import split_host

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.http.addresses import Origin

__all__ = ["HostTransport", "Transport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTransport:
    """How one host is reached.

    Args:
        plain_http: speak HTTP without TLS.
        skip_verify: accept any certificate.
        ca_file: PEM certificates that are trusted for this host, in place of the system's.
        client_cert: PEM file with certificate and unencrypted key, shown to this host only.
    """

    plain_http: bool = False
    skip_verify: bool = False
    ca_file: Path | None = None
    client_cert: Path | None = None


_PLAIN: Final = HostTransport()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How hosts are reached.

    Args:
        hosts: by ``host`` or ``host:port`` as the user wrote it; the one with a port wins.
        http_proxy: URL of the proxy for ``http`` (may lack its scheme, may carry credentials).
        https_proxy: likewise for ``https``.
        no_proxy: hosts reached directly (``wire.md`` 5.6); loopback always is.
        limit_rate: bytes a second over all transfers, in each direction.
        offline_hosts: None allows every host; else only these and loopback are reached.
        user_agent: of every request.
        retries: tries after the first.
        max_wait: seconds; the longest single pause, also where a server asks for more.
        backoff: seconds; the first pause is at most this, the next twice that, and so on.
        connect_timeout: seconds for TCP and TLS.
        read_timeout: seconds without a byte before a connection counts as broken.
        deadline: seconds for the whole of a small document (``HttpClient.fetch``).
    """

    hosts: Mapping[str, HostTransport] = field(default_factory=dict)
    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    limit_rate: int | None = None
    offline_hosts: frozenset[str] | None = None
    user_agent: str = f"bundlectl/{__version__}"
    retries: int = 5
    max_wait: float = 60.0
    backoff: float = 0.2
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    deadline: float = 300.0

    def named(self, origin: Origin) -> HostTransport | None:
        """What the user said about a host, None when they did not mention it."""
        wanted = (origin.host, origin.port)
        found = None
        for name, host in self.hosts.items():
            spoken = split_host(name)
            if spoken == wanted:
                return host
            if spoken == (origin.host, None):
                found = host
        return found

    def host(self, origin: Origin) -> HostTransport:
        """How a host is reached."""
        return self.named(origin) or _PLAIN

    def allows(self, origin: Origin) -> bool:
        """Whether ``offline_hosts`` lets this host be reached."""
        if self.offline_hosts is None or origin.is_loopback:
            return True
        spoken = {split_host(name) for name in self.offline_hosts}
        return (origin.host, origin.port) in spoken or (origin.host, None) in spoken

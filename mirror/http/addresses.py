"""Hosts and URLs: taking them apart, telling them apart, and naming them without secrets."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from bundlectl.errors import UsageError
from mirror.oci.number import read_number

__all__ = ["Origin", "is_private_literal", "literal", "origin_of", "shown", "split_host", "target_of"]

_PORTS: Final = {"http": 80, "https": 443}
_NUMERIC: Final = re.compile(r"[0-9a-fx.]+")
_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f]")

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case, no brackets) and effective port of a URL."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """``host[:port]`` as a URL has it; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"

    @property
    def uses_default_port(self) -> bool:
        """Whether the port is the one its scheme implies."""
        return self.port == _PORTS.get(self.scheme)

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine: ``localhost``, ``*.localhost``, 127.0.0.0/8, ::1."""
        address = literal(self.host)
        if address is not None:
            return address.is_loopback
        name = self.host.rstrip(".")
        return name == "localhost" or name.endswith(".localhost")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@lru_cache(maxsize=1024)
def origin_of(url: str) -> Origin:
    """Take the origin of an ``http`` or ``https`` URL; a user name in it is ignored.

    Raises:
        UsageError: it is not such a URL.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{shown(url)!r} is not a URL") from error
    if parts.scheme not in _PORTS or not host or _UNSAFE.search(host):
        raise UsageError(f"{shown(url)!r} is not an http or https URL")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme])


def target_of(url: str) -> str:
    """What follows the host: path and query, verbatim, without the fragment."""
    rest = url.partition("#")[0].partition("://")[2]
    cut = re.search(r"[/?]", rest)
    if not cut:
        return "/"
    target = rest[cut.start() :]
    return target if target.startswith("/") else f"/{target}"


def split_host(text: str) -> tuple[str, int | None]:
    """Split ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``; the host in lower case, unbracketed."""
    text = text.strip().lower()
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    return host, read_number(port)


@lru_cache(maxsize=1024)
def literal(host: str) -> _Address | None:
    """The address that ``host`` spells out, in every spelling a resolver accepts (``127.1``, ``0x7f000001``)."""
    host = host.rstrip(".")
    try:
        address: _Address = ipaddress.ip_address(host)
    except ValueError:
        if not _NUMERIC.fullmatch(host):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_private_literal(host: str) -> bool:
    """Whether ``host`` is an address inside (or this machine), spelled out rather than looked up."""
    address = literal(host)
    if address is not None:
        return not address.is_global
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def shown(url: str) -> str:
    """A URL for people: no user name, no query (which may be signed), at most 300 characters."""
    base = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = base.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        base = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return _UNSAFE.sub("?", base)[:300]

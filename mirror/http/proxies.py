"""Which proxy, if any, stands before a host (the rules of Go's tools, ``wire.md`` 5.6)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from bundlectl.errors import ConfigError
from mirror.http.addresses import literal, origin_of, shown, split_host

if TYPE_CHECKING:
    from mirror.http.addresses import Origin
    from mirror.http.transport import Transport

__all__ = ["NoProxy", "proxy_for"]


class NoProxy:
    """A parsed ``NO_PROXY``: ``*``, address, CIDR, ``host`` (and below), ``.host`` (below only), each with ``:port``.

    Entries that make no sense match nothing, as everywhere else.
    """

    def __init__(self, text: str) -> None:
        self._all = False
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._names: list[tuple[str, int | None]] = []
        for entry in text.split(","):
            self._add(entry.strip().lower())

    def _add(self, entry: str) -> None:
        if entry == "*":
            self._all = True
            return
        if "/" in entry:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                return
            return
        host, port = split_host(entry)
        host = host.removeprefix("*") if host.startswith("*.") else host
        if host.strip("."):
            self._names.append((host, port))

    def matches(self, host: str, port: int) -> bool:
        """Whether ``host`` (unbracketed) at ``port`` is reached directly."""
        if self._all:
            return True
        host = host.rstrip(".").lower()
        address = literal(host)
        if address is not None and any(address in network for network in self._networks):
            return True
        return any(
            wanted in (None, port) and _name_matches(name, host, is_address=address is not None)
            for name, wanted in self._names
        )


def _name_matches(name: str, host: str, *, is_address: bool) -> bool:
    if is_address:
        wanted = literal(name)
        return wanted is not None and wanted == literal(host)
    if name.startswith("."):
        return host.endswith(name)
    return host == name or host.endswith(f".{name}")


def proxy_for(origin: Origin, transport: Transport, no_proxy: NoProxy) -> str | None:
    """The URL of the proxy for ``origin``, with a scheme; None to connect directly.

    Raises:
        ConfigError: the proxy's URL cannot be used.
    """
    proxy = (transport.https_proxy if origin.scheme == "https" else transport.http_proxy).strip()
    if not proxy or origin.is_loopback or no_proxy.matches(origin.host, origin.port):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not proxy.startswith(("http://", "https://")):
        raise ConfigError(
            f"the proxy {shown(proxy)} is of a kind that bundlectl does not speak",
            hint="HTTP_PROXY and HTTPS_PROXY must be http:// or https:// URLs",
        )
    origin_of(proxy)
    return proxy

"""Where a server may send us, and what may come along (``wire.md`` 2.2, 5.6, 5.7, 6.2).

A registry names other URLs in ``Location``, ``Link`` and the ``realm`` of a challenge. None of
them may turn TLS off, and none may aim us at an address inside the site that the user never
named: such a server would be using us to look around.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

from bundlectl.errors import TransportError, UsageError
from mirror.http.addresses import is_private_literal, origin_of, shown, target_of

if TYPE_CHECKING:
    from mirror.http.addresses import Origin
    from mirror.http.transport import Transport

__all__ = ["check_hop", "follow", "keeps_credentials", "same_origin"]


def follow(base: str, location: str, transport: Transport) -> str:
    """Resolve a ``Location`` or ``Link`` against the URL that answered it, and check it.

    An absolute location is kept as it stands: its query may be signed. A scheme that fell to
    ``http`` on the very same host is put right, since a registry behind a TLS balancer that
    forgot ``X-Forwarded-Proto`` writes such.

    Raises:
        TransportError: the location is not one to go to.
    """
    if "://" in location.partition("?")[0]:
        url = location
    elif location.startswith("//"):
        url = f"{origin_of(base).scheme}:{location}"
    elif location.startswith("/"):
        url = f"{origin_of(base)}{location}"
    else:
        url = urljoin(base, location)
    try:
        source, target = origin_of(base), origin_of(url)
    except UsageError as error:
        raise TransportError(f"sends us to {shown(location)!r}, which is no URL", artifact=shown(base)) from error
    if source.scheme == "https" and target.scheme == "http" and _same_behind_tls(source, target):
        return f"{source}{target_of(url)}"
    check_hop(base, url, transport)
    return url


def check_hop(base: str, url: str, transport: Transport) -> None:
    """Refuse a URL that leaves TLS, or that spells out an inside address of another host.

    A host that the user named in a transport flag is one the user knows, and so is loopback
    when we came from it.

    Raises:
        TransportError: it is refused.
    """
    try:
        source, target = origin_of(base), origin_of(url)
    except UsageError as error:
        raise TransportError(f"sends us to {shown(url)!r}, which is no URL", artifact=shown(base)) from error
    named = transport.named(target)
    if source.scheme == "https" and target.scheme == "http" and not (named and named.plain_http):
        raise TransportError(
            f"sends us from https to {shown(url)}, which is refused",
            artifact=shown(base),
            hint=f"correct the external URL of {source.netloc}, or allow it with --plain-http {target.netloc}",
        )
    if target.host == source.host or named or (source.is_loopback and target.is_loopback):
        return
    if is_private_literal(target.host):
        raise TransportError(
            f"sends us to {shown(url)}, an address inside, which is refused",
            artifact=shown(base),
            hint=f"if that is right, name it in a transport flag, such as --ca-file {target.netloc}=FILE",
        )


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs share scheme, host and port."""
    return origin_of(one) == origin_of(other)


def keeps_credentials(source: str, target: str) -> bool:
    """Whether ``Authorization`` may follow: same origin, or the same host having moved up to TLS."""
    one, other = origin_of(source), origin_of(target)
    return one == other or (other.scheme == "https" and one.scheme == "http" and _same_behind_tls(one, other))


def _same_behind_tls(one: Origin, other: Origin) -> bool:
    return one.host == other.host and (one.port == other.port or (one.uses_default_port and other.uses_default_port))

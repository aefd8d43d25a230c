"""The HTTP client: one for a command, shared by its threads."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from urllib3 import Timeout

from bundlectl.errors import BundlectlError, TransportError
from bundlectl.events import Notice, ignore
from mirror.http import redirects
from mirror.http.addresses import origin_of, shown, target_of
from mirror.http.exchange import exchange, is_plain
from mirror.http.failures import FOREIGN, status_error, transport_error
from mirror.http.flow import Flow
from mirror.http.limits import HostLimits, Kind
from mirror.http.outgoing import OutgoingBody
from mirror.http.pools import Pools
from mirror.http.ranges import range_header, ranged_reader
from mirror.http.response import Response
from mirror.http.retrying import Backoff
from mirror.http.speech import spoken_scheme
from mirror.http.transport import Transport
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundlectl.events import Listener
    from mirror.http.addresses import Origin
    from mirror.http.exchange import Answer
    from mirror.http.response import BodyReader
    from mirror.oci.repository import BlobReader

__all__ = ["HttpClient"]

_HOPS: Final = 10
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_MOVED_WITH_METHOD: Final = frozenset({307, 308})
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_PRELOAD_LIMIT: Final = 32 * 1024 * 1024
_ERROR_LIMIT: Final = 64 * 1024
_COMMIT_FACTOR: Final = 10
"""A registry that moves a large blob into place says nothing for minutes after the last byte."""
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_WARNING_LIMIT: Final = 4096
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_DEFAULT: Final = Transport()


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request to one URL."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | BlobReader | None
    length: int | None

    @property
    def repeatable(self) -> bool:
        return self.body is None or isinstance(self.body, bytes)


class HttpClient(Closing):
    """Requests with redirects, retries, TLS, proxies and limits by the rules of ``wire.md``.

    Thread-safe, a context manager. Cookies are never kept (Harbor takes a session cookie on a
    write for a forged one). The client knows no credentials: callers set ``Authorization``, and
    it never follows a redirect to another host.

    Args:
        transport: how hosts are reached.
        listener: told of every wait.
        pool_size: connections kept open per host.
    """

    def __init__(self, transport: Transport = _DEFAULT, *, listener: Listener = ignore, pool_size: int = 16) -> None:
        self.transport = transport
        self._flow = Flow(transport.limit_rate)
        self._pools = Pools(transport, self._flow, pool_size)
        limits = HostLimits(pool_size, self._flow, listener, by_latency=not transport.limit_rate)
        self._backoff = Backoff(transport, self._flow, listener, limits)
        self._schemes: dict[str, str] = {}
        self._schemes_lock = threading.Lock()
        self._listener = listener
        self._warned: set[str] = set()

    def scheme(self, host: str) -> str:
        """``http`` or ``https`` for a registry host (``host[:port]``).

        Loopback is asked: HTTPS first, then HTTP; the answer is remembered. Others speak HTTPS
        unless the user said plain HTTP.
        """
        found = self._schemes.get(host)
        if found:
            return found
        with self._schemes_lock:
            found = self._schemes.get(host) or self._learn_scheme(host)
            if found:
                self._schemes[host] = found
        return found or "https"

    def _learn_scheme(self, host: str) -> str | None:
        tls, plain = origin_of(f"https://{host}"), origin_of(f"http://{host}")
        if self.transport.host(plain).plain_http or self.transport.host(tls).plain_http:
            return "http"
        return spoken_scheme(tls, plain) if tls.is_loopback else "https"

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | BlobReader | None = None,
        length: int | None = None,
        stream: bool = False,
        retry: bool | None = None,
    ) -> Response:
        """Send a request and return the answer, whatever its status.

        Args:
            method: upper case.
            url: absolute.
            headers: ``Authorization`` among them stays with the origin of ``url``.
            body: a reader is sent once, as it comes; it is neither retried nor redirected.
            length: of a body that is a reader, in bytes.
            stream: leave the body on the wire; the caller closes the response. Else it is read
                (up to 32 MiB), and a body that breaks counts as a failed try.
            retry: None retries what is idempotent; True also others; False nothing.

        Raises:
            TransportError: no answer after all tries, or the host or a redirect is refused.
            ContentError: the body is larger than 32 MiB.
            InterruptError: the client was cancelled.
        """
        hop = _Hop(method, url, dict(headers or {}), body, length)
        return self._travel(hop, limit=None if stream else _PRELOAD_LIMIT, retry=retry)

    def fetch(self, url: str, *, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
        """Get a small document.

        Args:
            url: absolute.
            limit: bytes.
            headers: sent along.

        Raises:
            MissingError: 404 or 410.
            RegistryError: any other status but 200.
            ContentError: it is larger than ``limit``.
            TransportError: it could not be had within ``transport.deadline`` seconds a try.
        """
        response = self._travel(_Hop("GET", url, dict(headers or {}), None, None), limit=limit, retry=None)
        if response.status != 200:  # noqa: PLR2004
            raise status_error(response.status, response.headers, artifact=shown(url))
        return response.read(limit)

    def open(
        self, url: str, *, offset: int = 0, size: int | None = None, headers: Mapping[str, str] | None = None
    ) -> BodyReader:
        """Open a file at ``offset``, for at most ``size`` bytes.

        Raises:
            MissingError: 404 or 410.
            RegistryError: another refusal.
            ContentError: the server sent another range than it was asked for.
            TransportError: no connection.
        """
        wanted = {**(headers or {}), **range_header(offset, size)}
        response = self.request("GET", url, headers=wanted, stream=True)
        reader = ranged_reader(response, offset, size)
        if reader is None:
            response.close()
            raise status_error(response.status, response.headers, artifact=shown(url))
        return reader

    def head(self, url: str) -> int | None:
        """Size of a file in bytes; None when the server does not say.

        Raises:
            MissingError: 404 or 410.
            RegistryError: another refusal.
        """
        response = self.request("HEAD", url)
        if response.status in (405, 501):
            return None
        if response.status != 200:  # noqa: PLR2004
            raise status_error(response.status, response.headers, artifact=shown(url))
        return response.number("Content-Length")

    def resolve(self, base: str, location: str) -> str:
        """Resolve and check a ``Location`` or ``Link`` (see ``mirror.http.redirects.follow``).

        Raises:
            TransportError: it is not one to go to.
        """
        return redirects.follow(base, location, self.transport)

    def check_hop(self, base: str, url: str) -> None:
        """Refuse a URL that ``base`` names, where it leaves TLS or spells out an inside address.

        Raises:
            TransportError: it is refused.
        """
        redirects.check_hop(base, url, self.transport)

    def pause(self, seconds: float) -> None:
        """Wait; ``InterruptError`` as soon as everything is to end."""
        self._flow.wait(seconds)

    def cancel(self) -> None:
        """Make every wait and transfer, in all threads, end with ``InterruptError``; may be called anywhere."""
        self._flow.stop()
        self._pools.cut()

    def close(self) -> None:
        """End everything and close all connections; harmless when repeated."""
        self.cancel()
        self._pools.close()

    def _travel(self, hop: _Hop, *, limit: int | None, retry: bool | None) -> Response:
        hop.headers.setdefault("User-Agent", self.transport.user_agent)
        kind = Kind.READING if limit is None else Kind.ASKING if hop.repeatable else Kind.SENDING
        for _ in range(_HOPS):
            origin = origin_of(hop.url)
            self._admit(origin, hop.url)
            again = hop.repeatable and (hop.method in _IDEMPOTENT if retry is None else retry)
            once = partial(self._exchange, hop, limit)
            response = self._backoff.run(origin.netloc, once, retry=again, kind=kind)
            self._pass_on_warning(origin, response)
            following = self._redirected(hop, response)
            if following is None:
                return response
            response.excerpt()  # to its end, so that the next request finds the connection open
            hop = following
        raise TransportError("redirects without end", artifact=shown(hop.url))

    def _admit(self, origin: Origin, url: str) -> None:
        if not self.transport.allows(origin):
            raise TransportError(
                f"{origin.netloc} is not reached with --offline",
                artifact=shown(url),
                hint="have it in the store beforehand, or leave --offline out",
            )
        if origin.scheme == "http" and not (origin.is_loopback or self.transport.host(origin).plain_http):
            raise TransportError(
                f"{origin.netloc} would be asked without TLS",
                artifact=shown(url),
                hint=f"use https://, or say --plain-http {origin.netloc}: it is recorded as weakening trust",
            )

    def _pass_on_warning(self, origin: Origin, response: Response) -> None:
        """Show what a server wants people to read (``Warning: 299``, ``wire.md`` 2.2), each text once."""
        for text in _WARNING.findall(response.headers.get("Warning", "")[:_WARNING_LIMIT]):
            if text not in self._warned:
                self._warned.add(text)
                readable = _CONTROL.sub(" ", text.replace('\\"', '"'))
                self._listener(Notice("warning", f"{origin.netloc} says: {readable}"))

    def _redirected(self, hop: _Hop, response: Response) -> _Hop | None:
        location = response.headers.get("Location")
        if response.status not in _MOVED or not location or not hop.repeatable:
            return None
        if hop.method not in ("GET", "HEAD") and response.status not in _MOVED_WITH_METHOD:
            return None
        try:
            url = redirects.follow(hop.url, location, self.transport)
        except BundlectlError:
            response.close()
            raise
        headers = hop.headers
        if not redirects.keeps_credentials(hop.url, url):
            if hop.body is not None:
                return None  # a body may be a secret as well: the refresh token of an OAuth2 form
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        return replace(hop, url=url, headers=headers)

    def _exchange(self, hop: _Hop, limit: int | None) -> Response:
        """One try: send, and read the answer's head (its body too, where ``limit`` is given)."""
        origin = origin_of(hop.url)
        pool = self._pools.get(origin)
        target = target_of(hop.url)
        if self._pools.uses_proxy(origin):
            target = f"{origin}{target}"
        headers = hop.headers
        body: Any = hop.body
        patience = self.transport.read_timeout
        if hop.body is not None and not isinstance(hop.body, bytes):
            body = OutgoingBody(hop.body, self._flow, hop.length)
            if hop.length is not None:
                headers = {**headers, "Content-Length": str(hop.length)}
            patience *= _COMMIT_FACTOR
        try:
            raw = self._plain(origin, hop.method, target, headers, body, patience) or pool.urlopen(
                hop.method,
                target,
                body=body,
                headers=headers,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(connect=self.transport.connect_timeout, read=patience),
            )
        except FOREIGN as error:
            self._flow.check()
            raise transport_error(error, hop.url) from error
        response = Response(raw, hop.url, self._flow)
        if limit is not None:
            refused = response.status >= 300  # noqa: PLR2004 -- moved, or refused
            response.preload(_ERROR_LIMIT if refused else limit, deadline=self.transport.deadline, cut=refused)
        return response

    def _plain(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: dict[str, str],
        body: Any,  # noqa: ANN401 -- as urlopen takes it
        patience: float,
    ) -> Answer | None:
        """Ask over a connection that is open already; None where there is none, or the question is an odd one."""
        if not is_plain(method, target, headers):
            return None
        with self._pools.idle(origin) as idle:
            if idle is None:
                return None
            connection, reader, give_back = idle
            return exchange(
                connection,
                reader,
                (method, origin.netloc, target, headers),
                body,
                stall=self.transport.read_timeout,
                patience=patience,
                release=give_back,
            )

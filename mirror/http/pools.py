"""Connections: one pool a host, with that host's TLS and proxy, and a way to cut them all."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import unquote, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import make_headers

from bundlectl.errors import ConfigError
from mirror.http.addresses import origin_of
from mirror.http.exchange import BLOCK
from mirror.http.pace import holds_bytes, paced_reader, pacer
from mirror.http.proxies import NoProxy, proxy_for
from mirror.http.sending import answer_came, send_steadily

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from mirror.http.addresses import Origin
    from mirror.http.flow import Flow
    from mirror.http.transport import HostTransport, Transport

__all__ = ["Pools"]


class _Watch:
    """The open sockets of one client. A response may outlive its connection, so not connections."""

    def __init__(self, flow: Flow, stall: float) -> None:
        self.flow = flow
        self.stall = stall
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def add(self, sock: object) -> None:
        plain = getattr(sock, "socket", sock)  # TLS within TLS, through an https proxy
        if isinstance(plain, socket.socket):
            with self._lock:
                self._open.add(plain)

    def cut(self) -> None:
        """Wake every thread that waits on a socket."""
        with self._lock:
            sockets = list(self._open)
        for sock in sockets:
            with contextlib.suppress(OSError):
                # SSLSocket.shutdown would also drop the TLS state under a reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Reply(http.client.HTTPResponse):
    """An answer whose body has to come at a pace."""

    fp: io.BufferedReader

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- passed through
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = paced_reader(sock)

    def begin(self) -> None:
        super().begin()
        watched = pacer(self.fp) if self.fp else None
        if watched:
            watched.watch(body=True)


class _PlainConnection(HTTPConnection):
    """A connection that can be cut, and that notices an answer which comes before its question ended."""

    watch: ClassVar[_Watch]
    response_class = _Reply
    _in_body = False
    _spoilt = False
    _reader: io.BufferedReader | None = None

    def connect(self) -> None:
        self._in_body = self._spoilt = False
        super().connect()
        self.watch.add(self.sock)
        if self.watch.flow.stopped:
            self.close()
            self.watch.flow.check()

    @property
    def reader(self) -> io.BufferedReader | None:
        """Of the open socket, for questions that are not left to urllib3; None where there is none to read from."""
        if self._reader is None and isinstance(self.sock, socket.socket):
            self._reader = paced_reader(self.sock)
        return self._reader

    def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with contextlib.suppress(OSError):
                reader.close()
        super().close()

    def putrequest(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- passed through
        self._in_body = False
        super().putrequest(*args, **kwargs)

    def endheaders(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- passed through
        super().endheaders(*args, **kwargs)
        self._in_body = True
        if self.sock is not None:
            self.sock.settimeout(self.watch.stall)

    def send(self, data: Any) -> None:  # noqa: ANN401 -- passed through
        # urllib3 takes a broken pipe as "read the answer now".
        if self._in_body and answer_came(self.sock):
            self._spoilt = True
            raise BrokenPipeError
        try:
            if self._in_body and isinstance(data, bytes):
                send_steadily(self.sock, data)
            else:
                super().send(data)
        except ssl.SSLEOFError as error:
            # What a closed connection is called under TLS; the answer may lie there all the same.
            if not self._in_body:
                raise
            self._spoilt = True
            raise BrokenPipeError from error

    @property
    def is_connected(self) -> bool:
        return not self._spoilt and super().is_connected


class _TlsConnection(_PlainConnection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        # Verification is off only where the user said so, and the command line warns of it;
        # urllib3 would warn on every request besides.
        self.is_verified = True


class Pools:
    """Connection pools by origin. Client certificates and CA files stay with their host."""

    def __init__(self, transport: Transport, flow: Flow, pool_size: int) -> None:
        self._transport = transport
        self._no_proxy = NoProxy(transport.no_proxy)
        self._size = pool_size
        self._watch = _Watch(flow, transport.read_timeout)
        self._lock = threading.Lock()
        self._pools: dict[Origin, HTTPConnectionPool] = {}
        self._default_tls: ssl.SSLContext | None = None

    def get(self, origin: Origin) -> HTTPConnectionPool:
        """The pool for an origin.

        Raises:
            ConfigError: a CA file, client certificate or proxy cannot be used.
        """
        pool = self._pools.get(origin)
        if pool is None:
            with self._lock:
                pool = self._pools.get(origin)
                if pool is None:
                    pool = self._pools[origin] = self._make(origin)
        return pool

    @contextlib.contextmanager
    def idle(self, origin: Origin) -> Iterator[tuple[HTTPConnection, io.BufferedReader, Callable[[bool], None]] | None]:
        """A connection to an origin that is open and free; None where there is none, and urllib3 has to open one.

        With it come its reader, and what gives it back: called once, with True when it can be used again.
        Leaving by an exception closes it.

        Raises:
            ConfigError: see `get`.
            urllib3.exceptions.ClosedPoolError: everything was closed.
        """
        pool = self.get(origin)
        connection = pool._get_conn()  # noqa: SLF001 -- urlopen is the only public way, and what it costs is the point

        def give_back(usable: bool) -> None:  # noqa: FBT001 -- the one argument there is
            # What follows an answer unasked would be taken for the next one.
            if usable and not (reader and holds_bytes(reader)):
                pool._put_conn(connection)  # noqa: SLF001
            else:
                connection.close()

        reader = connection.reader if isinstance(connection, _PlainConnection) and not connection.is_closed else None
        if reader is None or not isinstance(connection, HTTPConnection):
            give_back(True)  # noqa: FBT003
            yield None
            return
        try:
            yield connection, reader, give_back
        except BaseException:
            connection.close()
            raise

    def uses_proxy(self, origin: Origin) -> bool:
        """Whether requests to ``origin`` name it in full, for a proxy to forward."""
        return origin.scheme == "http" and proxy_for(origin, self._transport, self._no_proxy) is not None

    def cut(self) -> None:
        """Break every open connection, so that whoever waits on one wakes up."""
        self._watch.cut()

    def close(self) -> None:
        """Close all idle connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def _make(self, origin: Origin) -> HTTPConnectionPool:
        proxy = proxy_for(origin, self._transport, self._no_proxy)
        settings: dict[str, Any] = {
            "maxsize": self._size,
            "timeout": Timeout(connect=self._transport.connect_timeout, read=self._transport.read_timeout),
            "blocksize": BLOCK,
        }
        if origin.scheme == "https":
            settings["ssl_context"] = self._tls(origin, self._transport.host(origin))
        if proxy:
            pool = self._through(proxy, settings).connection_from_host(origin.host, origin.port, origin.scheme)
        elif origin.scheme == "https":
            pool = HTTPSConnectionPool(origin.host, origin.port, **settings)
        else:
            pool = HTTPConnectionPool(origin.host, origin.port, **settings)
        kind = _TlsConnection if isinstance(pool, HTTPSConnectionPool) else _PlainConnection
        watched = type(kind.__name__, (kind,), {"watch": self._watch})
        pool.ConnectionCls = cast(type[HTTPSConnection], watched)
        return pool

    def _through(self, proxy: str, settings: dict[str, Any]) -> ProxyManager:
        origin = origin_of(proxy)
        parts = urlsplit(proxy)
        headers = None
        if parts.username:
            headers = make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")
        tls = self._tls(origin, self._transport.host(origin)) if origin.scheme == "https" else None
        return ProxyManager(str(origin), proxy_headers=headers, proxy_ssl_context=tls, **settings)

    def _tls(self, origin: Origin, host: HostTransport) -> ssl.SSLContext:
        special = host.ca_file or host.client_cert or host.skip_verify
        if not special and self._default_tls is not None:
            return self._default_tls
        context = _context(origin, host)
        if not special:
            self._default_tls = context
        return context


def _context(origin: Origin, host: HostTransport) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(host.ca_file) if host.ca_file else None)
        # As Go's tools judge, on every Python alike: what the site names as its anchor is one, an
        # intermediate or the server's own certificate too, and private CAs need no key identifiers.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "the CA file cannot be read",
            artifact=str(host.ca_file),
            hint=f"--ca-file {origin.netloc}=FILE takes PEM certificates",
        ) from error
    if host.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if host.client_cert:
        try:
            # An encrypted key must fail here: OpenSSL would otherwise ask on the terminal.
            context.load_cert_chain(str(host.client_cert), password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                "the client certificate cannot be used",
                artifact=str(host.client_cert),
                hint=f"--client-cert {origin.netloc}=FILE takes one PEM file with certificate and unencrypted key",
            ) from error
    return context

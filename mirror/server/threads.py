"""cheroot's server: the thread that accepts, the threads that answer, and how many of each client there may be.

An idle connection holds no thread. One that is being answered does, however slow its client is; so
threads are made as they are needed, up to one for each connection that may be open. Waiting for
clients is bounded elsewhere (``streams``): here is seen to it that nobody waits behind them.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cheroot import errors
from cheroot.connections import ConnectionManager
from cheroot.ssl import Adapter
from cheroot.workers.threadpool import ThreadPool
from cheroot.wsgi import Server

from bundlectl.events import Listener, Notice
from mirror.server.connection import Connection, Gateway

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from mirror.server.app import Registry

__all__ = ["LeanServer", "TlsAdapter"]

_HEADERS_MAX: Final = 64 * 1024
_IDLE: Final = 60.0
_FIRST_THREADS: Final = 8
_CONNECTIONS: Final = 128
"""May be open at least, however few threads there are."""

_SPARE: Final = 1.0
"""Seconds after which an idle connection is given up for a new one, when there are too many."""

_TURN: Final = 0.005
"""Seconds that a busier process leaves a new connection to the others at most."""

_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _Threads(ThreadPool):
    """Threads that are made when a connection would have to wait for one.

    Whether one would is counted here: cheroot's ``idle`` takes a thread for free that has just got
    a connection, and who comes then would wait for as long as that one's transfer lasts.
    """

    _threads: list[threading.Thread]
    _spawn_worker: Callable[[], threading.Thread]

    def __init__(self, server: LeanServer, *, first: int, most: int) -> None:
        super().__init__(server, min=first, max=most)
        self._guard = threading.Lock()
        self._free = 0
        """Threads that wait for a connection, less the connections that wait for a thread."""
        self._next = self.get
        self.get = self._take

    def start(self) -> None:
        """Make the first threads, without cheroot's wait for each."""
        self._threads.extend(self._spawn_worker() for _ in range(self.min))

    def put(self, obj: object) -> None:
        """Give a connection to a thread."""
        with self._guard:
            self._free -= 1
            if self._free < 0 and len(self._threads) < self.max:
                self._threads.append(self._spawn_worker())
        super().put(obj)

    def _take(self) -> object:
        """Wait for a connection; called by the threads."""
        with self._guard:
            self._free += 1
        return self._next()


class _Connections(ConnectionManager):
    """cheroot's; it accepts a connection when it is this process's turn."""

    _expire: Callable[[float], None]

    def __init__(self, server: LeanServer) -> None:
        super().__init__(server)
        self._put_off = 0.0

    def _from_server_socket(self, server_socket: socket.socket) -> Connection | None:
        load = self.server.load
        if load and not load.is_least_busy():
            now = time.monotonic()
            self._put_off = self._put_off or now
            if now - self._put_off < _TURN:
                time.sleep(_TURN / 10)
                return None
        self._put_off = 0.0
        found: Connection | None = super()._from_server_socket(server_socket)  # type: ignore[misc]  # not in the stub
        return found


class TlsAdapter(Adapter):
    """TLS for accepted sockets; the handshake waits for a thread, so that no client holds up the others."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(None, None)
        self.context = context

    def bind(self, sock: socket.socket) -> socket.socket:
        """Return the listening socket as it is."""
        return sock

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, Any]]:
        """Wrap an accepted socket."""
        try:
            wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError) as error:
            sock.close()
            raise errors.FatalSSLAlert(*error.args) from error
        return wrapped, {}

    def get_environ(self) -> dict[str, Any]:
        """Nothing for the WSGI environ."""
        return {}

    def makefile(self, sock: socket.socket, mode: str = "r", bufsize: int = -1) -> Any:  # noqa: ANN401 -- cheroot's own
        """Never called: connections make their own."""
        raise NotImplementedError


class LeanServer(Server):
    """The server.

    Args:
        sock: bound and listening.
        app: the WSGI callable.
        threads: the most requests answered at once, and (from 128 on) the most connections open.
        registry: told of connections, and of requests that the server refuses by itself; its metrics tell how many
            connections other processes on this socket have.
        listener: told what goes wrong in the server itself; what clients do wrong is not told.
    """

    ConnectionClass = Connection
    expiration_interval = 0.1  # seconds, also the longest wait of `stop` for the listening thread
    max_request_header_size = _HEADERS_MAX
    keep_alive_conn_limit = sys.maxsize  # `process_conn` bounds all connections, not the idle ones alone

    def __init__(
        self,
        sock: socket.socket,
        app: Callable[..., Any],
        *,
        threads: int,
        registry: Registry | None = None,
        listener: Listener,
    ) -> None:
        super().__init__(
            sock.getsockname()[:2],
            app,
            numthreads=1,
            server_name="bundlectl",
            timeout=_IDLE,  # type: ignore[arg-type]  # the stub says int; sockets take float
        )
        self.gateway = Gateway
        self._threads = threads
        self.requests = _Threads(self, first=min(_FIRST_THREADS, threads), most=threads)
        self.connections: set[Connection] = set()
        self.active: dict[Connection, None] = {}
        self.load = registry.metrics if registry else None
        self._registry = registry
        self._given = sock
        self._listener = listener

    def prepare(self) -> None:
        """Take over the socket; cheroot's own would bind one, or take one that the environment names."""
        self._interrupt = None
        self.socket = self._given
        self.socket.settimeout(0)  # another process may be faster to accept
        self._connections = _Connections(self)
        self.requests.start()
        self.ready = True
        self._start_time = time.time()

    def process_conn(self, conn: Connection) -> None:
        """Give a connection to a thread once it said something; a new one waits with the idle ones."""
        if conn.last_used is not None:
            super().process_conn(conn)
            return
        if self._is_full():
            self._connections._expire(time.time() - _SPARE)  # noqa: SLF001 -- there is no other way to ask
        if self._is_full():
            with suppress(OSError):
                if not conn.channel.encrypted:
                    conn.socket.send(_FULL)
            conn.close()
            self.refused(conn.remote_addr or "", "", "", "503")
        else:
            self.put_conn(conn)

    def opened(self, conn: Connection) -> None:
        """Count a connection."""
        self.connections.add(conn)
        if self.load:
            self.load.connected(1)

    def closed(self, conn: Connection) -> None:
        """Count a connection no more; harmless when repeated."""
        with suppress(KeyError):
            self.connections.remove(conn)
            if self.load:
                self.load.connected(-1)

    def refused(self, client: str, method: str, path: str, status: str) -> None:
        """Tell of a request that was answered before the application saw it."""
        if self._registry:
            self._registry.refused(client, method, path, int(status[:3]))

    def _is_full(self) -> bool:
        # The new connection is counted already.
        return len(self.connections) > max(self._threads, _CONNECTIONS)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:  # noqa: FBT001, FBT002
        """Tell the listener of errors of the server itself; cheroot would write to stderr."""
        if level >= logging.ERROR:
            error = sys.exc_info()[1] if traceback else None
            detail = f" ({type(error).__name__}: {error})" if error else ""
            self._listener(Notice("warning", f"the server had to drop a connection: {msg}{detail}"[:1000]))

    def abort_all(self) -> None:
        """End every transfer."""
        for conn in self.active.copy():
            conn.abort()

"""cheroot's HTTP server with tighter bounds and cheaper connections.

cheroot parses HTTP; nothing here does. What is added refuses what a parser may read in two ways
(repeated or folded length headers, both lengths at once, odd header names), bounds what it would
read into memory (chunk lines, chunks, bodies that nobody reads), keeps the accepting thread from
waiting for anyone, and moves bytes with fewer copies.
"""

from __future__ import annotations

import errno
import io
import logging
import math
import re
import select
import socket
import ssl
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from cheroot import errors
from cheroot.server import ChunkedRFile, HeaderReader, HTTPConnection, HTTPRequest, KnownLengthRFile
from cheroot.ssl import Adapter
from cheroot.wsgi import Gateway_10, Server

from bundlectl.events import Listener, Notice
from mirror.server.app import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LeanServer", "TlsAdapter"]

_CRLF: Final = b"\r\n"
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z_-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r\n")
_SINGLE: Final = frozenset({b"Content-Length", b"Host", b"Authorization", b"Content-Type", b"Content-Range", b"Range"})

_HEADERS_MAX: Final = 64 * 1024
_LINE_MAX: Final = 8 * 1024
_CHUNK_MAX: Final = 16 * 1024 * 1024
_TRAILERS_MAX: Final = 64
_READ_BUFFER: Final = 64 * 1024
_DRAIN_BLOCK: Final = 256 * 1024
_DRAIN_MAX: Final = 4 * 1024 * 1024
_LINGER: Final = 1.0
_IDLE: Final = 60.0
_HANDSHAKE: Final = 10.0
_PROMPT: Final = 10.0
_NEXT_REQUEST_MS: Final = 10
_CONNECTIONS_MAX: Final = 512


class _Headers(dict[bytes, bytes]):
    """Request headers that may not be said twice: two lengths are two readings of one request."""

    def __setitem__(self, key: bytes, value: bytes) -> None:
        if key in _SINGLE and key in self:
            raise ValueError("A header is repeated or folded.")
        super().__setitem__(key, value)


class _HeaderReader(HeaderReader):
    def _transform_key(self, key_name: bytes) -> bytes:
        if not _TOKEN.fullmatch(key_name):
            raise ValueError("Illegal header name.")
        return key_name.title()

    def _allow_header(self, key_name: bytes) -> bool:
        # In a WSGI environ Content_Length and Content-Length are the same variable.
        return b"_" not in key_name


class _ChunkFraming:
    """What cheroot reads a chunked body from: every line and chunk bounded and complete."""

    def __init__(self, rfile: io.BufferedReader) -> None:
        self._rfile = rfile
        self.trailers = False

    def readline(self) -> bytes:
        line = self._rfile.readline(_LINE_MAX)
        if not line.endswith(_CRLF) or not (self.trailers or _CHUNK_LINE.fullmatch(line)):
            raise ValueError("Bad chunked transfer coding.")
        return line

    def read(self, size: int) -> bytes:
        if size > _CHUNK_MAX:
            raise ValueError("A chunk is too large.")
        data = self._rfile.read(size)
        if len(data) < size:
            raise ValueError("A chunk is cut.")
        return data


class _Request(HTTPRequest):
    header_reader = _HeaderReader()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- cheroot's own
        super().__init__(*args, **kwargs)
        self.inheaders = _Headers()
        self.unread = False

    def parse_request(self) -> None:
        with self.conn.rfile.promptly(self.conn.socket):
            super().parse_request()

    def read_request_line(self) -> bool:
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        except ValueError:  # urlsplit's opinion of //[
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False

    def read_request_headers(self) -> bool:
        try:
            if not super().read_request_headers():  # type: ignore[no-untyped-call]
                return False
        except UnboundLocalError:  # the first header line is a continuation of nothing
            self.simple_response("400 Bad Request", "Illegal header line.")
            return False
        length = self.inheaders.get(b"Content-Length")
        coding = self.inheaders.get(b"Transfer-Encoding")
        if length is not None and (coding is not None or not _LENGTH.fullmatch(length)):
            self.simple_response("400 Bad Request", "Ambiguous body length.")
            return False
        if coding is not None and (coding.lower() != b"chunked" or not self.chunked_read):
            self.simple_response("400 Bad Request", "Unsupported transfer coding.")
            return False
        return True

    def respond(self) -> None:
        """Answer through the gateway; cheroot's own, with the bounded framing."""
        if self.chunked_read:
            self.framing = _ChunkFraming(self.conn.rfile)
            self.rfile = ChunkedRFile(self.framing, 0)
        else:
            self.rfile = KnownLengthRFile(self.conn.rfile, int(self.inheaders.get(b"Content-Length", 0)))
        self.server.gateway(self).respond()
        self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        """Finish the body before answering, or give up the connection: the rest is no request."""
        if not self._drained():
            self.close_connection = self.conn.unread = True
        super().send_headers()

    def _drained(self) -> bool:
        """Read what the application left of the body, if it is not much."""
        if not self.chunked_read and not self.rfile.remaining:
            return True
        try:
            with self.conn.rfile.promptly(self.conn.socket):
                return self._drained_chunks() if self.chunked_read else self._drained_length()
        except (OSError, ValueError):
            return False

    def _drained_length(self) -> bool:
        if self.rfile.remaining > _DRAIN_MAX:
            return False
        while self.rfile.remaining:
            if not self.rfile.read(_DRAIN_BLOCK):
                return False
        return True

    def _drained_chunks(self) -> bool:
        left = _DRAIN_MAX
        while left > 0 and not self.rfile.closed:
            left -= len(self.rfile.read(_DRAIN_BLOCK))
        if not self.rfile.closed:
            return False
        self.framing.trailers = True
        return all(count < _TRAILERS_MAX for count, _ in enumerate(self.rfile.read_trailer_lines()))


class _RawReader(socket.SocketIO):
    """A socket that on demand says that it has nothing now, instead of waiting."""

    dry = False
    until = math.inf

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- a buffer, as in the base class
        if self.dry:
            return None
        if time.monotonic() > self.until:
            raise TimeoutError("timed out")
        return super().readinto(buffer)


class _Reader(io.BufferedReader):
    """cheroot's reader in C; it asks ``has_data`` whether a pipelined request was read already."""

    bytes_read = 0

    def __init__(self, sock: socket.socket) -> None:
        self._raw_reader = _RawReader(sock, "r")
        super().__init__(self._raw_reader, _READ_BUFFER)

    @contextmanager
    def promptly(self, sock: socket.socket) -> Iterator[None]:
        """Bound what is read meanwhile by a time in all: who drips bytes would else hold a worker for good."""
        usual = sock.gettimeout()
        sock.settimeout(_PROMPT)
        self._raw_reader.until = time.monotonic() + _PROMPT
        try:
            yield
        finally:
            self._raw_reader.until = math.inf
            sock.settimeout(usual)

    def has_data(self) -> bool:
        self._raw_reader.dry = True
        try:
            return bool(self.peek(1))
        finally:
            self._raw_reader.dry = False


class _Writer:
    """Unbuffered; the socket's time limit holds for each part that is sent, not for all of it."""

    bytes_written = 0

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def write(self, data: bytes) -> int:
        sent = self._sock.send(data)
        if sent < len(data):
            view = memoryview(data)[sent:]
            while view:
                view = view[self._sock.send(view) :]
        return len(data)


class _Connection(HTTPConnection):
    RequestHandlerClass = _Request

    def __init__(self, server: LeanServer, sock: socket.socket, makefile: object = None) -> None:
        super().__init__(server, sock, lambda sock, mode, _: _Reader(sock) if "r" in mode else _Writer(sock))
        del makefile
        self.unread = False
        self._shaken = not isinstance(sock, ssl.SSLSocket)
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def communicate(self) -> bool:
        """Answer requests for as long as the next one comes at once."""
        self.server.active[self] = None
        try:
            if not self._shaken and not self._shake():
                return False
            while super().communicate():  # type: ignore[no-untyped-call]
                if not self._is_next_here():
                    return True
            return False
        finally:
            self.server.active.pop(self, None)

    def _shake(self) -> bool:
        self.socket.settimeout(_HANDSHAKE)
        try:
            self.socket.do_handshake()
        except (OSError, ValueError):
            return False
        self.socket.settimeout(self.server.timeout)
        self._shaken = True
        return True

    def _is_next_here(self) -> bool:
        """Wait a moment for the next request: giving the connection back costs two thread switches."""
        if not self.server.ready:
            return False
        if self.rfile.has_data() or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True
        return not self.server.requests.qsize and bool(self._poll.poll(_NEXT_REQUEST_MS))

    def close(self) -> None:
        """Close, after a client that still sends had its moment to read the answer."""
        if self.unread:
            self._linger()
        with suppress(OSError):
            super().close()

    def _linger(self) -> None:
        """Take and forget bytes for a moment; closing on them would reset the answer away."""
        deadline = time.monotonic() + _LINGER
        with suppress(OSError, ValueError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0 and self.server.ready:
                if self._poll.poll(min(left, 0.1) * 1000) and not socket.socket.recv(self.socket, _DRAIN_BLOCK):
                    return

    def abort(self) -> None:
        """End whatever waits on this connection, from another thread."""
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class _Gateway(Gateway_10):
    def respond(self) -> None:
        """Send the answer, a plain file over a plain socket without copying it through Python."""
        response = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            fileno = response.fileno() if isinstance(response, Sending) else None
            if fileno is not None and response.length and not isinstance(self.req.conn.socket, ssl.SSLSocket):
                self.req.ensure_headers_sent()
                self._send_file(response, fileno)
                return
            for block in response:
                self.write(block)
        finally:
            self.req.ensure_headers_sent()
            close = getattr(response, "close", None)
            if close:
                close()

    def _send_file(self, response: Sending, fileno: int) -> None:
        with io.FileIO(fileno, closefd=False) as file:
            response.sent = self.req.conn.socket.sendfile(file, response.offset, response.length)
        if response.sent < response.length:
            raise ConnectionAbortedError(errno.ECONNABORTED, "the file is shorter than it was a moment ago")


class TlsAdapter(Adapter):
    """TLS for accepted sockets; the handshake waits for a worker, so that no client holds up the others."""

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
        address: host and port, 0 for a free one.
        app: the WSGI callable.
        threads: workers; a blob transfer or a request holds one, an idle connection none.
        listener: told what goes wrong in the server itself; what clients do wrong is not told.
    """

    ConnectionClass = _Connection
    expiration_interval = 0.1  # seconds, also the longest wait of `stop` for the listening thread
    max_request_header_size = _HEADERS_MAX
    keep_alive_conn_limit = _CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], app: Callable[..., Any], *, threads: int, listener: Listener) -> None:
        super().__init__(
            address,
            app,
            numthreads=threads,
            max=threads,
            server_name="bundlectl",
            request_queue_size=128,
            timeout=_IDLE,  # type: ignore[arg-type]  # the stub says int; sockets take float
            shutdown_timeout=5,
        )
        self.gateway = _Gateway
        self.active: dict[_Connection, None] = {}
        self._listener = listener

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002 -- cheroot's name
        """Make the listening socket; a refused one is closed, which cheroot forgets."""
        sock: socket.socket = self.prepare_socket(self.bind_addr, family, type, proto, self.nodelay, self.ssl_adapter)
        try:
            sock.bind(self.bind_addr)
        except OSError:
            sock.close()
            raise
        self.socket = sock
        self.bind_addr = self.resolve_real_bind_addr(sock)  # type: ignore[no-untyped-call]
        return sock

    def process_conn(self, conn: _Connection) -> None:
        """Give a connection to a worker once it said something; a new one waits with the idle ones."""
        if conn.last_used is not None:
            super().process_conn(conn)
        elif self.can_add_keepalive_connection:
            self.put_conn(conn)
        else:
            conn.close()

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

"""Requests and connections of the HTTP server: cheroot's, with tighter bounds and fewer steps.

cheroot parses HTTP; nothing here does. What is added refuses what a parser may read in two ways
(repeated lengths, both lengths at once, folded lines, control characters, odd header names), bounds
what it would read into memory (chunk lines, chunks, bodies that nobody reads), gives up a connection
whose framing is in doubt, and sends an answer in one piece.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cheroot.server import ChunkedRFile, HeaderReader, HTTPConnection, HTTPRequest, KnownLengthRFile, SizeCheckWrapper
from cheroot.wsgi import Gateway_10

from mirror.server.app import Sending
from mirror.server.message import variable_of
from mirror.server.streams import Channel, Reader, Writer

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from mirror.server.threads import LeanServer

__all__ = ["Connection", "Gateway"]

_CRLF: Final = b"\r\n"
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^`|~0-9A-Za-z_-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\r\n]*)?\r\n")
_SINGLE: Final = frozenset({b"Content-Length", b"Host", b"Authorization", b"Content-Type", b"Content-Range", b"Range"})
_LINE_BREAK: Final = re.compile(r"[\r\n\0]")
_TARGET: Final = re.compile(rb"[^\x00-\x20\x7f]+")
_VERSIONS: Final = frozenset({b"HTTP/1.0", b"HTTP/1.1"})

_LINE_MAX: Final = 8 * 1024
_CHUNK_MAX: Final = 16 * 1024 * 1024
_TRAILERS_MAX: Final = 64
_DRAIN_BLOCK: Final = 256 * 1024
_DRAIN_MAX: Final = 4 * 1024 * 1024
_LINGER: Final = 1.0
_HANDSHAKE: Final = 10.0
_PROMPT: Final = 10.0
_NEXT_REQUEST: Final = 0.01
_LARGE: Final = 1024 * 1024
_ONE_PIECE: Final = 64 * 1024
"""Bytes of a blob up to which it is sent together with the headers."""


class _Headers(dict[bytes, bytes]):
    """Request headers that may not be said twice: two lengths are two readings of one request."""

    def __setitem__(self, key: bytes, value: bytes) -> None:
        if key in _SINGLE and key in self:
            raise ValueError("A header is repeated or folded.")
        super().__setitem__(key, value)


@lru_cache(maxsize=256)
def _header_name(name: bytes) -> bytes:
    if not _TOKEN.fullmatch(name):
        raise ValueError("Illegal header name.")
    return name.title()


class _HeaderLines:
    """The lines of a request's head, of which no two programs may make different things (RFC 9112, 2.2 and 5.2)."""

    def __init__(self, rfile: SizeCheckWrapper) -> None:
        self._rfile = rfile

    def readline(self) -> bytes:
        line: bytes = self._rfile.readline()
        if line.startswith((b" ", b"\t")):
            raise ValueError("A header is folded.")
        if b"\r" in line[:-2] or b"\0" in line:
            raise ValueError("A header has a control character.")
        return line


class _HeaderReader(HeaderReader):
    def __call__(self, rfile: SizeCheckWrapper, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = super().__call__(_HeaderLines(rfile), hdict)
        return found

    def _transform_key(self, key_name: bytes) -> bytes:
        return _header_name(key_name)

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


class _Input:
    """A request's body, ``wsgi.input``. After an error nobody knows where it stands, and it is not read again."""

    def __init__(self, rfile: KnownLengthRFile | ChunkedRFile) -> None:
        self._rfile = rfile
        self._broken = False

    def read(self, size: int) -> bytes:
        if self._broken:
            raise ValueError("The body broke before.")
        self._broken = True
        data: bytes = self._rfile.read(size)
        self._broken = False
        return data


class _Request(HTTPRequest):
    header_reader = _HeaderReader()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- cheroot's own
        super().__init__(*args, **kwargs)
        self.inheaders = _Headers()
        self.head = ""
        """Status line and headers of the answer, as the application said them."""
        self.ends = True
        """Whether the client can tell where the answer ends."""

    def parse_request(self) -> None:
        self.conn.channel.restart()
        with self.conn.channel.promptly(_PROMPT):
            super().parse_request()

    def read_request_line(self) -> bool:
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
        except ValueError:  # urlsplit's opinion of //[
            self.simple_response("400 Bad Request", "Malformed Request-URI")
            return False
        # urlsplit drops tabs and line breaks, int() takes +1 for 1: others may not.
        if not _TARGET.fullmatch(self.uri) or self.request_protocol not in _VERSIONS:
            self.simple_response("400 Bad Request", "Malformed Request-Line")
            return False
        return True

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
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

    def simple_response(self, status: str, msg: str = "") -> None:
        """Refuse what never gets to the application; the connection ends with it."""
        self.conn.unread = True
        super().simple_response(status, msg)
        method, path = getattr(self, "method", b""), getattr(self, "path", b"")
        self.server.refused(
            self.conn.remote_addr or "", method.decode("latin-1"), path.decode(errors="replace"), status
        )

    def respond(self) -> None:
        """Answer through the gateway; cheroot's own, with the bounded framing."""
        if self.chunked_read:
            self.framing = _ChunkFraming(self.conn.rfile)
            self.rfile = ChunkedRFile(self.framing, 0)
        else:
            self.rfile = KnownLengthRFile(self.conn.rfile, int(self.inheaders.get(b"Content-Length", 0)))
        self.input = _Input(self.rfile)
        self.server.gateway(self).respond()

    def send_headers(self) -> None:
        """Send the headers by themselves: the body is sent in parts."""
        self.conn.wfile.write(self._head())

    def answer(self, body: bytes) -> None:
        """Send headers and body in one piece: two would be two packets."""
        self.sent_headers = True
        self.conn.wfile.write(self._head() + body)

    def _head(self) -> bytes:
        """Finish the request's body before answering, or give up the connection: the rest is no request."""
        if not self._drained():
            self.close_connection = self.conn.unread = True
        if not self.ends or not self.server.ready:
            self.close_connection = True
        kept = ""
        if self.close_connection:
            kept = "Connection: close\r\n"
        elif self.response_protocol != "HTTP/1.1":
            kept = "Connection: Keep-Alive\r\n"
        return f"HTTP/1.1 {self.head}{kept}{_common_headers(int(time.time()))}\r\n".encode("latin-1")

    def _drained(self) -> bool:
        """Read what the application left of the body, if it is not much."""
        if not self.chunked_read and not self.rfile.remaining:
            return True
        try:
            with self.conn.channel.promptly(_PROMPT):
                return self._drained_chunks() if self.chunked_read else self._drained_length()
        except (OSError, ValueError):
            return False

    def _drained_length(self) -> bool:
        if self.rfile.remaining > _DRAIN_MAX:
            return False
        while self.rfile.remaining:
            if not self.input.read(_DRAIN_BLOCK):
                return False
        return True

    def _drained_chunks(self) -> bool:
        left = _DRAIN_MAX
        while left > 0 and not self.rfile.closed:
            left -= len(self.input.read(_DRAIN_BLOCK))
        if not self.rfile.closed:
            return False
        self.framing.trailers = True
        return all(count < _TRAILERS_MAX for count, _ in enumerate(self.rfile.read_trailer_lines()))


@lru_cache(maxsize=4)
def _common_headers(second: int) -> str:
    return f"Date: {formatdate(second, usegmt=True)}\r\nServer: bundlectl\r\n"


class Connection(HTTPConnection):
    """A connection, of which an idle one holds no thread."""

    RequestHandlerClass = _Request

    def __init__(self, server: LeanServer, sock: socket.socket, makefile: object = None) -> None:
        self.channel = Channel(sock)
        super().__init__(server, sock, lambda _, mode, __: (Reader if "r" in mode else Writer)(self.channel))
        del makefile
        self.unread = False
        self._shaken = not self.channel.encrypted
        server.opened(self)

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
        try:
            with self.channel.promptly(_HANDSHAKE):
                self.channel.shake()
        except (OSError, ValueError):
            return False
        self._shaken = True
        return True

    def _is_next_here(self) -> bool:
        """Wait a moment for the next request: giving the connection back costs two thread switches."""
        if not self.server.ready:
            return False
        if self.rfile.has_data():
            return True
        return self.channel.is_readable(0 if self.server.requests.qsize else _NEXT_REQUEST)

    def close(self) -> None:
        """Close, after a client that still sends had its moment to read the answer."""
        if self.unread:
            self._linger()
        self.server.closed(self)
        with suppress(OSError):
            super().close()

    def _linger(self) -> None:
        """Take and forget bytes for a moment; closing on them would reset the answer away."""
        deadline = time.monotonic() + _LINGER
        with suppress(OSError, ValueError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0 and self.server.ready:
                if self.channel.is_readable(min(left, 0.1)) and not socket.socket.recv(self.socket, _DRAIN_BLOCK):
                    return

    def abort(self) -> None:
        """End whatever waits on this connection, from another thread."""
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class Gateway(Gateway_10):
    """Between a request and the WSGI application."""

    def respond(self) -> None:
        """Send the answer: a small one in one piece, a plain file over a plain socket by the kernel."""
        response = self.req.server.wsgi_app(self.env, self.start_response)
        try:
            if isinstance(response, Sending):
                self._send_blob(response)
            elif isinstance(response, list):
                self.req.answer(b"".join(response))
            else:
                self.req.ensure_headers_sent()
                for block in response:
                    self.req.conn.wfile.write(block)
        finally:
            close = getattr(response, "close", None)
            if close:
                close()

    def _send_blob(self, response: Sending) -> None:
        file = response.fileno()
        if file is not None and response.length <= _ONE_PIECE:
            data = os.pread(file, response.length, response.offset)
            if len(data) == response.length:
                self.req.answer(data)
                response.sent = len(data)
                return
        self.req.ensure_headers_sent()
        if response.length > _LARGE:
            self.req.conn.channel.queue_little()
        if file is not None and not self.req.conn.channel.encrypted:
            response.sent = self.req.conn.wfile.send_file(file, offset=response.offset, length=response.length)
            if response.sent < response.length:
                raise ConnectionAbortedError(errno.ECONNABORTED, "the file is shorter than it was a moment ago")
            return
        for block in response:
            self.req.conn.wfile.write(block)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], None]:
        """Take the status and headers of the answer (PEP 3333).

        Raises:
            ValueError: one has a line break in it: what follows would be read as another header.
        """
        del exc_info
        lines = [status, *(f"{name}: {value}" for name, value in headers)]
        if any(_LINE_BREAK.search(line) for line in lines):
            raise ValueError("a header of the answer has a line break")
        self.req.head = "\r\n".join(lines) + "\r\n"
        self.req.ends = status[:3] in ("204", "304") or any(name.lower() == "content-length" for name, _ in headers)
        return self._unsupported

    @staticmethod
    def _unsupported(_: bytes) -> None:
        raise NotImplementedError("the application returns its body")

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # the stub says None
        """The WSGI environ (PEP 3333); nothing in it comes from this process's environment."""
        req = self.req
        environ = {
            "PATH_INFO": req.path.decode("latin-1"),
            "QUERY_STRING": req.qs.decode("latin-1"),
            "REMOTE_ADDR": req.conn.remote_addr or "",
            "REMOTE_PORT": str(req.conn.remote_port or ""),
            "REQUEST_METHOD": req.method.decode("latin-1"),
            "REQUEST_URI": req.uri.decode("latin-1"),
            "SCRIPT_NAME": "",
            "SERVER_NAME": "bundlectl",
            "SERVER_PORT": str(req.server.bind_addr[1]),
            "SERVER_PROTOCOL": req.request_protocol.decode("latin-1"),
            "wsgi.input": req.input,
            "wsgi.input_terminated": bool(req.chunked_read),
            "wsgi.multithread": True,
            "wsgi.url_scheme": req.scheme.decode("latin-1"),
        }
        for name, value in req.inheaders.items():
            environ[variable_of(name.decode("latin-1"))] = value.decode("latin-1")
        return environ

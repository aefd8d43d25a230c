"""HTTP of the controller: health and metrics in the open, admission over TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Answer", "HttpServer", "parse_listen", "server_context", "text_answer"]

Answer = tuple[int, str, bytes]
"""Status, media type, content."""
_BODY_LIMIT: Final = 4 * 1024 * 1024
"""Of a review: an object and the one before it, each of the 1.5 MiB that etcd keeps at most."""
_SECONDS: Final = 10.0
_THREADS: Final = 32
_DIGITS: Final = len(str(_BODY_LIMIT))
_REVIEWS: Final = 2
"""Judged at a time: what a review takes in memory is many times what it is on the wire."""


def parse_listen(text: str, flag: str) -> tuple[str, int]:
    """Read ``HOST:PORT``.

    Raises:
        UsageError: not that.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 -- the last port
        raise UsageError(f"{flag} {text!r} is not HOST:PORT", hint="such as 0.0.0.0:8080; port 0 picks a free one")
    return host.strip("[]"), int(port)


class HttpServer:
    """Serves some routes on threads of its own.

    Args:
        address: where to listen.
        reads: by path, what GET answers.
        reviews: by path, what POST of JSON answers.
        context: for TLS; None serves in the open.
        broken: is told of a fault of ours with one request.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        reads: Mapping[str, Callable[[], Answer]] | None = None,
        reviews: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] | None = None,
        context: ssl.SSLContext | None = None,
        broken: Callable[[Exception], None] = lambda error: None,  # noqa: ARG005 -- nobody to tell
    ) -> None:
        routes = {"reads": dict(reads or {}), "reviews": dict(reviews or {}), "broken": staticmethod(broken)}
        handler = type("Handler", (_Handler,), {**routes, "judging": threading.BoundedSemaphore(_REVIEWS)})
        try:
            self._server = _Server(address, handler, context)
        except OSError as error:
            raise ConfigError(
                f"cannot listen there: {error.strerror}", artifact=f"{address[0]}:{address[1]}"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="http", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Answer as before, but keep no connection: whoever asks again is to find another server."""
        self._server.drains = True

    def stop(self) -> None:
        """End."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    drains = False

    def __init__(self, address: tuple[str, int], handler: Any, context: ssl.SSLContext | None) -> None:  # noqa: ANN401
        self._context = context
        self._free = threading.BoundedSemaphore(_THREADS)
        self._lock = threading.Lock()
        # By thread: since when it waits for what a client has to say, and on what.
        self._listening: dict[int, tuple[float, socket.socket]] = {}
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def listening(self, request: socket.socket | None) -> None:
        """Note what the calling thread waits for: the words of a client, or (None) nobody's."""
        with self._lock:
            if request is None:
                self._listening.pop(threading.get_ident(), None)
            else:
                self._listening[threading.get_ident()] = time.monotonic(), request

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- the base's types
        if not self._free.acquire(blocking=False):
            self._part_with_slowest()
            if not self._free.acquire(timeout=_SECONDS):
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()  # no thread was started that would
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            request.settimeout(_SECONDS)
            self.listening(request)
            if self._context is not None:
                # Here and not while accepting: a client that never shakes hands holds up nobody else.
                request = self._wrapped(request)
            if request is not None:
                super().process_request_thread(request, client_address)
        finally:
            self.listening(None)
            self._free.release()

    def _part_with_slowest(self) -> None:
        """Make room: who keeps us waiting the longest has had the time to say what it wanted."""
        with self._lock:
            if self._listening:
                _, slowest = min(self._listening.values(), key=lambda one: one[0])
                with contextlib.suppress(OSError):
                    # The plain socket's: TLS would take its leave, and wait.
                    socket.socket.shutdown(slowest, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that goes away is no matter."""

    def _wrapped(self, request: socket.socket) -> ssl.SSLSocket | None:
        if self._context is None:
            return None
        try:
            wrapped = self._context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            self.shutdown_request(request)
            return None
        self.listening(wrapped)
        try:
            wrapped.do_handshake()
        except (OSError, ValueError):
            self.shutdown_request(wrapped)
            return None
        return wrapped


class _Handler(BaseHTTPRequestHandler):
    reads: Mapping[str, Callable[[], Answer]]
    reviews: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]
    broken: Callable[[Exception], None]
    judging: threading.BoundedSemaphore
    server: _Server
    protocol_version = "HTTP/1.1"
    # Else what follows the head of an answer waits for it to be acknowledged, which takes 40 ms.
    disable_nagle_algorithm = True
    server_version = "bundlectl"
    sys_version = ""

    def handle_one_request(self) -> None:
        """Wait for a request, and answer it."""
        self.server.listening(self.connection)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer a question."""
        self.server.listening(None)
        route = self.reads.get(self.path.partition("?")[0])
        self._answer(*(self._routed(route) if route else (404, "text/plain", b"not found\n")))

    def do_POST(self) -> None:
        """Answer a review."""
        route = self.reviews.get(self.path.partition("?")[0])
        length = self.headers.get("Content-Length", "")
        if route is None or not (length.isdecimal() and len(length) <= _DIGITS and int(length) <= _BODY_LIMIT):
            self.close_connection = True
            self._answer(404 if route is None else 413, "text/plain", b"not taken\n")
            return
        # Anew: a connection that was kept and idle is not slow for that.
        self.server.listening(self.connection)
        body = self.rfile.read(int(length))
        self.server.listening(None)
        with self.judging:
            answer = self._routed(lambda: _reviewed(route, body))
        self._answer(*answer)

    def _routed(self, route: Callable[[], Answer]) -> Answer:
        try:
            return route()
        except Exception as error:  # noqa: BLE001 -- a fault of ours is answered as one, too
            self.broken(error)
            return 500, "text/plain", b"broken\n"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 -- the base's signature
        """Requests are counted, not logged."""

    def _answer(self, status: int, media_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        if self.server.drains:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _reviewed(route: Callable[[dict[str, Any]], dict[str, Any]], body: bytes) -> Answer:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return 400, "text/plain", b"not JSON\n"
    return 200, "application/json", json.dumps(route(found)).encode()


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS for a server; a certificate that is loaded into it later is shown to whoever connects then.

    Raises:
        ConfigError: they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the certificate cannot be used: {error}", artifact=str(certificate)) from error
    return context


def text_answer(status: int, content: str, media_type: str = "text/plain; charset=utf-8") -> Answer:
    """An answer in text."""
    return status, media_type, content.encode()

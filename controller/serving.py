"""HTTP of the controller: health and metrics in the open, admission over TLS."""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Answer", "HttpServer", "parse_listen", "server_context", "text_answer"]

Answer = tuple[int, str, bytes]
"""Status, media type, content."""
_BODY_LIMIT: Final = 8 * 1024 * 1024
_SECONDS: Final = 10.0
_THREADS: Final = 32


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
    ) -> None:
        handler = type("Handler", (_Handler,), {"reads": dict(reads or {}), "reviews": dict(reviews or {})})
        try:
            self._server = _Server(address, handler, context)
        except OSError as error:
            raise ConfigError(
                f"cannot listen there: {error.strerror}", artifact=f"{address[0]}:{address[1]}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: Any, context: ssl.SSLContext | None) -> None:  # noqa: ANN401
        self._context = context
        self._free = threading.BoundedSemaphore(_THREADS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 -- the base's types
        if not self._free.acquire(timeout=_SECONDS):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            request.settimeout(_SECONDS)
            if self._context is not None:
                # Here and not while accepting: a client that never shakes hands holds up nobody else.
                request = self._wrapped(request)
            if request is not None:
                super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that goes away is no matter."""

    def _wrapped(self, request: socket.socket) -> ssl.SSLSocket | None:
        if self._context is None:
            return None
        try:
            return self._context.wrap_socket(request, server_side=True)
        except (OSError, ValueError):
            self.shutdown_request(request)
            return None


class _Handler(BaseHTTPRequestHandler):
    reads: Mapping[str, Callable[[], Answer]]
    reviews: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]
    protocol_version = "HTTP/1.1"
    server_version = "bundlectl"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a question."""
        route = self.reads.get(self.path.partition("?")[0])
        self._answer(*(route() if route else (404, "text/plain", b"not found\n")))

    def do_POST(self) -> None:
        """Answer a review."""
        route = self.reviews.get(self.path.partition("?")[0])
        length = self.headers.get("Content-Length", "")
        if route is None or not length.isdecimal() or int(length) > _BODY_LIMIT:
            self.close_connection = True
            self._answer(404 if route is None else 413, "text/plain", b"not taken\n")
            return
        try:
            found = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._answer(400, "text/plain", b"not JSON\n")
            return
        self._answer(200, "application/json", json.dumps(route(found)).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 -- the base's signature
        """Requests are counted, not logged."""

    def _answer(self, status: int, media_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


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

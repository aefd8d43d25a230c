"""Running the registry: a thread that listens, and TLS.

cheroot is imported when a server starts, not before: the command line answers ``--help`` without it.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from bundlectl.errors import ConfigError, UsageError
from bundlectl.events import Listener, ignore
from mirror.server.app import Registry

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from mirror.server.threads import LeanServer

__all__ = ["RegistryServer", "TlsFiles", "address_url", "listen", "parse_listen"]

WsgiApp: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

_THREADS: Final = 256
_GRACE: Final = 0.4  # seconds that transfers have to end by themselves
_AFTER_CUT: Final = 5
_BACKLOG: Final = 512
_PORT_MAX: Final = 65535
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 -- compared with, not bound


def parse_listen(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT`` (every address).

    Raises:
        UsageError: none of these.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host, colon = "", ""
    if not colon or not (port.isascii() and port.isdigit() and int(port[:6]) <= _PORT_MAX):
        raise UsageError(
            f"{text[:200]!r} is not an address to listen on", hint="write HOST:PORT, port 0 for a free one"
        )
    return host or "0.0.0.0", int(port)  # noqa: S104 -- what :PORT says


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """A certificate (with its chain) and its private key, PEM, without a password."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer with this certificate.

        Raises:
            ConfigError: the files cannot be read or do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # The client knows which cipher its processor is fast at; all that are offered are good.
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            # A password that is never asked for: OpenSSL would prompt on the terminal.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except ssl.SSLError as error:
            raise ConfigError(
                f"the TLS certificate and key cannot be used ({error.reason or 'unreadable'})",
                artifact=str(self.certificate),
                hint="both must be PEM, belong together, and the key must have no password",
            ) from None
        except OSError as error:
            raise ConfigError(
                f"cannot read the TLS certificate or key: {error.strerror}", artifact=str(self.certificate)
            ) from error
        return context


def listen(host: str, port: int) -> socket.socket:
    """Make a socket that listens; ``::`` takes IPv4 too.

    Raises:
        ConfigError: the address cannot be bound.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        made = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"cannot listen on this address ({getattr(error, 'strerror', None) or error})",
            artifact=f"{host}:{port}",
            hint="another program may use the port, or the address is not one of this machine's",
        ) from error
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
    return made


class RegistryServer:
    """A WSGI application on a socket, served by threads of this process; a context manager.

    Args:
        app: usually a ``Registry``, which is also told of connections, and of what never gets to it.
        host: the address to bind.
        port: 0 for a free one, known after ``start``.
        tls: None for plain HTTP.
        threads: the most requests answered at once.
        listener: told of failures of the server.
    """

    def __init__(
        self,
        app: WsgiApp,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: TlsFiles | None = None,
        threads: int = _THREADS,
        listener: Listener = ignore,
    ) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._tls = tls
        self._threads = threads
        self._listener = listener
        self._server: LeanServer | None = None
        self._thread: threading.Thread | None = None

    def start(self, sock: socket.socket | None = None) -> None:
        """Serve in the background.

        Args:
            sock: one that listens, and is closed by ``stop``; by default one is made.

        Raises:
            ConfigError: the address cannot be bound, or the certificate cannot be used.
        """
        if self._server is not None:
            return
        context = self._tls.context() if self._tls else None
        from mirror.server.threads import LeanServer, TlsAdapter  # noqa: PLC0415 -- heavy, see the module's docstring

        sock = sock or listen(self._host, self._port)
        registry = self._app if isinstance(self._app, Registry) else None
        server = LeanServer(sock, self._app, threads=self._threads, registry=registry, listener=self._listener)
        if context:
            server.ssl_adapter = TlsAdapter(context)
        server.prepare()
        self._port = server.bind_addr[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve, name="registry", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port, a real one after ``start``."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients reach the server; ``localhost`` stands for every address."""
        return address_url(self._host, self._port, tls=self._tls is not None)

    def stop(self, grace: float = _GRACE) -> None:
        """Stop accepting, let transfers end by themselves, then cut those that did not. Harmless when repeated.

        Args:
            grace: seconds until they are cut.
        """
        server, self._server = self._server, None
        if server is None:
            return
        cut = threading.Timer(grace, server.abort_all)
        cut.start()
        server.shutdown_timeout = math.ceil(grace) + _AFTER_CUT
        try:
            server.stop()
        finally:
            cut.cancel()
            cut.join()
        if self._thread:
            self._thread.join()
        # cheroot registers every server here for good
        getattr(logging, "statistics", {}).pop(f"Cheroot HTTPServer {id(server)}", None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def address_url(host: str, port: int, *, tls: bool) -> str:
    """Where clients reach what listens on an address; ``localhost`` stands for every one."""
    host = "localhost" if host in _EVERYWHERE else host
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{host}:{port}"

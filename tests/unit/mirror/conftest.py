"""Scripted web servers on loopback, with and without TLS, and a CONNECT proxy."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import select
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Asked:
    """One request as a server saw it; ``raw`` is the handler, for answers that break rules."""

    method: str
    path: str
    headers: Any
    raw: Any = field(repr=False)
    _body: bytes | None = None

    @property
    def body(self) -> bytes:
        if self._body is None:
            self._body = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.raw.rfile.readline(), 16):
                    self._body += self.raw.rfile.read(size)
                    self.raw.rfile.readline()
                self.raw.rfile.readline()
            else:
                self._body = self.raw.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self._body


class _WebHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024  # head and body in one packet
    server: _WebServer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        web = self.server.web
        asked = Asked(self.command, self.path, self.headers, self)
        web.asked.append(asked)
        result = web.answer(asked)
        if result is None:
            self.close_connection = True
            return
        status, headers, body = result
        _ = asked.body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        for stream in (self.wfile, self.rfile):
            with contextlib.suppress(OSError):
                stream.close()

    def log_message(self, *args: object) -> None:
        pass


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True
    web: Web
    tls: ssl.SSLContext | None

    def handle_error(self, request: object, client_address: object) -> None:
        pass

    def get_request(self) -> Any:
        plain, address = super().get_request()
        if self.tls is None:
            return plain, address
        plain.settimeout(5)
        return self.tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)
        request.close()


class Web:
    """A web server whose answers a test scripts with ``answer``: a callable of ``Asked``.

    It returns ``(status, headers, body)``, or None when it wrote to ``asked.raw`` itself.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Any] = lambda _asked: (200, {}, b"")
        self._server = _WebServer(("127.0.0.1", 0), _WebHandler)
        self._server.web, self._server.tls = self, tls
        self.port: int = self._server.server_address[1]
        self.scheme = "https" if tls else "http"
        self.host = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://{self.host}{path}"

    @property
    def lines(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Authority:
    """A certificate authority with one server and one client certificate."""

    ca: Path
    server: ssl.SSLContext
    mutual: ssl.SSLContext
    client: Path


class _TunnelHandler(socketserver.StreamRequestHandler):
    server: _TunnelServer

    def handle(self) -> None:
        tunnel = self.server.tunnel
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        text = head.decode()
        tunnel.heads.append(text)
        if tunnel.wanted and f"Proxy-Authorization: {tunnel.wanted}".lower() not in text.lower():
            self.wfile.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        method, target = text.split()[:2]
        if method == "CONNECT":
            port = int(target.rpartition(":")[2])
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.splice(socket.create_connection(("127.0.0.1", port)))
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nforwarded")

    def splice(self, other: socket.socket) -> None:
        ends = {self.connection: other, other: self.connection}
        with other:
            while True:
                for end in select.select(list(ends), [], [], 5)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)


class _TunnelServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    tunnel: Tunnel

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Tunnel:
    """A CONNECT and forwarding proxy; wants the credentials in ``wanted``, when given. All hosts are loopback."""

    def __init__(self) -> None:
        self.wanted: str | None = None
        self.heads: list[str] = []
        self._server = _TunnelServer(("127.0.0.1", 0), _TunnelHandler)
        self._server.tunnel = self
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test authority")])
    ca = _certificate(name, name, key.public_key(), key, ca=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    for who in ("server", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        leaf = _certificate(subject, name, own.public_key(), key, ca=False)
        (folder / f"{who}.pem").write_bytes(
            leaf.public_bytes(serialization.Encoding.PEM)
            + own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    mutual = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mutual.load_cert_chain(folder / "server.pem")
    mutual.load_verify_locations(folder / "ca.pem")
    mutual.verify_mode = ssl.CERT_REQUIRED
    return Authority(folder / "ca.pem", server, mutual, folder / "client.pem")


def _certificate(subject: x509.Name, issuer: x509.Name, public: Any, signer: Any, *, ca: bool) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    names = [
        x509.DNSName("localhost"),
        x509.DNSName("registry.test"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture
def make_web() -> Iterator[Callable[..., Web]]:
    started: list[Web] = []

    def make(tls: ssl.SSLContext | None = None) -> Web:
        started.append(Web(tls))
        return started[-1]

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def web(make_web: Callable[..., Web]) -> Web:
    return make_web()


@pytest.fixture
def tls_web(make_web: Callable[..., Web], authority: Authority) -> Web:
    return make_web(authority.server)


@pytest.fixture
def proxy() -> Iterator[Tunnel]:
    tunnel = Tunnel()
    yield tunnel
    tunnel.stop()

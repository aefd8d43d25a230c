"""The API server, as far as it takes no cluster to see what is made of its answers."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from controller import connecting
from controller.api import Api, ClusterError, path_of
from controller.connecting import connect, connect_with_file
from controller.serving import server_context
from mirror.http.transport import Transport
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("kubernetes")


class Answers(BaseHTTPRequestHandler):
    """Answers by path."""

    asked: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, dict(self.headers.items())))
        path = self.path.partition("?")[0]
        if path in ("/busy", "/overloaded"):
            is_busy = path == "/overloaded" or len(self.asked) < 3
            self.send_response(429 if is_busy else 200)
            self.send_header("Retry-After", "60" if path == "/overloaded" else "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        status, body = {
            "/good": (200, b'{"kind": "Thing"}'),
            "/absent": (404, b'{"kind": "Status", "message": "things \\"x\\" not found"}'),
            "/html": (200, b"<html>"),
            "/broken": (502, b"<html>"),
            "/gone": (200, b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'),
            "/deep": (200, b"[" * 200_000),
            "/events": (200, b'{"type": "ADDED", "object": {"a": 1}}\n{"type": "BOOKMARK", "object": {}}\n'),
        }[path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


def document_for(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "hidden"}}],
    }


@contextmanager
def reached(server: str) -> Iterator[Api]:
    with connect(document_for(server), "field") as api:
        yield api


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.fixture
def asked() -> list[tuple[str, str, dict[str, str]]]:
    return []


@pytest.fixture
def api(asked: list[tuple[str, str, dict[str, str]]]) -> Iterator[Api]:
    handler = type("Handler", (Answers,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with reached(f"http://127.0.0.1:{server.server_port}") as found:
            yield found
        server.shutdown()
        thread.join()


def test_a_request_has_the_token_and_whom_it_is_made_for(api: Api, asked: list[Any]) -> None:
    assert api.get("/good", as_user="installer", limit="5") == {"kind": "Thing"}
    ((method, path, headers),) = asked
    assert (method, path) == ("GET", "/good?limit=5")
    assert (headers["authorization"], headers["Impersonate-User"]) == ("Bearer hidden", "installer")


def test_refusals_have_the_servers_words(api: Api) -> None:
    with pytest.raises(ClusterError) as caught:
        api.get("/absent")
    assert (caught.value.message, caught.value.missing, caught.value.artifact) == (
        'things "x" not found',
        True,
        "field/absent",
    )
    assert api.find("/absent") is None
    api.delete("/absent")
    for path in ("/html", "/deep"):
        with pytest.raises(ClusterError, match="not JSON"):
            api.get(path)
    with pytest.raises(ClusterError) as caught:
        api.get("/broken")
    assert (caught.value.status, caught.value.retryable) == (502, False)


def test_a_server_that_is_busy_is_asked_again_when_it_says_so_soon(api: Api, asked: list[Any]) -> None:
    assert api.get("/busy") == {}
    assert len(asked) == 3
    with pytest.raises(ClusterError) as caught:
        api.get("/overloaded")
    assert (len(asked), caught.value.status, caught.value.retryable) == (4, 429, True)


def test_a_watch_gives_events_and_tells_when_its_version_is_too_old(api: Api) -> None:
    assert [event["type"] for event in api.watch("/events", "1")] == ["ADDED", "BOOKMARK"]
    with pytest.raises(ClusterError, match="too old") as caught:
        list(api.watch("/gone", "1"))
    assert caught.value.gone


def test_a_server_that_does_not_answer_is_told_in_the_same_words_each_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    told = set()
    with reached(f"http://127.0.0.1:{port}") as api:
        for _ in range(3):
            with pytest.raises(ClusterError) as caught:
                api.get("/good")
            told.add(json.dumps([str(caught.value), caught.value.retryable]))
    assert len(told) == 1
    assert "0x" not in next(iter(told))


def test_paths_are_those_of_the_api() -> None:
    assert path_of("v1", "secrets", namespace="a", name="b") == "/api/v1/namespaces/a/secrets/b"
    assert path_of("apps/v1", "deployments", name="b", subresource="status") == "/apis/apps/v1/deployments/b/status"


def test_an_operators_proxy_is_gone_through_unless_it_is_not_for_this_host(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(document_for("https://field.example:6443")))
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://robot:pass%20word@127.0.0.1:{port_of(proxy)}"
        with connect_with_file(kubeconfig, "field", Transport(https_proxy=url, no_proxy="other.example")) as api:
            asking = threading.Thread(target=silently, args=(lambda: api.within(2.0).get("/version"),))
            asking.start()
            connection, _ = proxy.accept()
            with connection:
                told = connection.recv(1000)
            asking.join(10)
        assert told.startswith(b"CONNECT field.example:6443")
        assert b"Basic cm9ib3Q6cGFzcyB3b3Jk" in told
        for no_proxy in ("field.example", "10.0.0.0/8, .example"):
            with connect_with_file(kubeconfig, "field", Transport(https_proxy=url, no_proxy=no_proxy)) as api:
                assert api._client.rest_client.pool_manager.proxy is None


def silently(call: Callable[[], object]) -> None:
    with suppress(ClusterError):
        call()


def test_no_proxy_of_the_environment_is_between_us_and_the_cluster(
    api: Api, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with reached(api.server) as again:
        assert again.get("/good") == {"kind": "Thing"}
    assert len(asked) == 1


def test_who_cannot_wait_gives_an_answer_up_soon() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        reached(f"http://127.0.0.1:{silent.getsockname()[1]}") as api,
    ):
        began = time.monotonic()
        with pytest.raises(ClusterError, match="does not answer"):
            api.within(0.2).get("/good")
    assert time.monotonic() - began < 5


def test_a_server_that_is_gone_without_a_word_is_noticed(api: Api) -> None:
    connection = api._client.rest_client.pool_manager.connection_from_url(api.server)._new_conn()
    connection.connect()
    assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    connection.close()


def test_a_token_that_cannot_be_read_is_an_answer_that_did_not_come(api: Api) -> None:
    from kubernetes.config import ConfigException  # noqa: PLC0415 -- not where the package is absent

    def renew(settings: object) -> None:  # noqa: ARG001 -- the library's signature
        raise ConfigException("Token file exists but empty.")

    api._client.configuration.refresh_api_key_hook = renew
    with pytest.raises(ClusterError, match="Token file") as caught:
        api.get("/good")
    assert caught.value.retryable


def test_a_token_of_a_file_is_read_again(
    api: Api, asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, kubeconfig = tmp_path / "token", tmp_path / "kubeconfig"
    document = document_for(api.server)
    document["users"][0]["user"] = {"tokenFile": str(token)}
    kubeconfig.write_text(json.dumps(document))
    token.write_text("first")
    monkeypatch.setattr(connecting, "_TOKEN_KEPT", 0.0)
    with connect_with_file(kubeconfig, "field") as opened:
        opened.get("/good")
        token.write_text("second")
        opened.get("/good")
        token.unlink()
        with pytest.raises(ClusterError):
            opened.get("/good")
        for half in ("tokenFile: [", "tokenFile", "- tokenFile"):
            kubeconfig.write_text(half)
            with pytest.raises(ClusterError, match="there is no token"):
                opened.get("/good")
    assert [headers["authorization"] for _, _, headers in asked] == ["Bearer first", "Bearer second"]


def drip(listener: socket.socket, context: ssl.SSLContext, head: bytes) -> None:
    """Answer one client, a byte at a time, for as long as it listens."""
    with suppress(OSError):
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as client:
            client.recv(10_000)
            client.sendall(head)
            while True:
                client.sendall(b" ")
                time.sleep(0.02)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Long:", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_workload_cluster_that_drips_its_answer_holds_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connecting, "_LONGEST", 0.5)
    files = self_signed(tmp_path / "tls", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=drip, args=(listener, server_context(files.certificate, files.key), head))
        serving.start()
        document = document_for(f"https://127.0.0.1:{port_of(listener)}")
        authority = base64.b64encode(files.certificate.read_bytes()).decode()
        document["clusters"][0]["cluster"]["certificate-authority-data"] = authority
        began = time.monotonic()
        with connect(document, "field", tmp_path) as api, pytest.raises(ClusterError, match="timed out"):
            api.get("/version")
        assert time.monotonic() - began < 5
        serving.join(5)
        assert not serving.is_alive()

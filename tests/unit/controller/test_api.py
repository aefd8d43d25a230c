"""The API server, as far as it takes no cluster to see what is made of its answers."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from controller.api import Api, ClusterError, connect, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("kubernetes")


class Answers(BaseHTTPRequestHandler):
    """Answers by path."""

    asked: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path, dict(self.headers.items())))
        path = self.path.partition("?")[0]
        status, body = {
            "/good": (200, b'{"kind": "Thing"}'),
            "/absent": (404, b'{"kind": "Status", "message": "things \\"x\\" not found"}'),
            "/html": (200, b"<html>"),
            "/broken": (502, b"<html>"),
            "/gone": (200, b'{"type": "ERROR", "object": {"code": 410, "message": "too old"}}\n'),
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


@contextmanager
def reached(server: str) -> Iterator[Api]:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "hidden"}}],
    }
    with connect(document, "field") as api:
        yield api


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
    with pytest.raises(ClusterError, match="not JSON"):
        api.get("/html")
    with pytest.raises(ClusterError) as caught:
        api.get("/broken")
    assert (caught.value.status, caught.value.retryable) == (502, False)


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

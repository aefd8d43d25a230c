"""Health, metrics and reviews over HTTP and TLS; the certificate that the webhook shows."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ConfigError, UsageError
from controller.api import ClusterError
from controller.certificates import Certificates
from controller.serving import HttpServer, parse_listen, server_context, text_answer
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from controller.api import Api

WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/controller"
SECRET = "/api/v1/namespaces/eksa-packages/secrets/bundlectl-webhook-tls"


@pytest.fixture
def plain() -> Iterator[HttpServer]:
    reads = {"/healthz": lambda: text_answer(200, "ok\n")}
    server = HttpServer(("127.0.0.1", 0), reads=reads, reviews={"/review": lambda asked: {"asked": asked}})
    server.start()
    yield server
    server.stop()


def post(port: int, body: bytes, path: str = "/review") -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=body, timeout=5) as answer:
        return json.loads(answer.read())


def test_questions_and_reviews_are_answered(plain: HttpServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{plain.port}/healthz?x=1", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    assert post(plain.port, b'{"a": 1}') == {"asked": {"a": 1}}


@pytest.mark.parametrize(
    ("body", "path", "status"), [(b"{", "/review", 400), (b"[]", "/review", 400), (b"{}", "/x", 404)]
)
def test_what_is_no_review_is_refused(plain: HttpServer, body: bytes, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(plain.port, body, path)
    with caught.value:
        assert caught.value.code == status


def test_a_client_that_never_shakes_hands_holds_up_nobody(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    context = server_context(files.certificate, files.key)
    server = HttpServer(("127.0.0.1", 0), reviews={"/review": lambda asked: asked}, context=context)
    server.start()
    trusted = ssl.create_default_context(cafile=str(files.certificate))
    with socket.create_connection(("127.0.0.1", server.port)):
        url = f"https://127.0.0.1:{server.port}/review"
        with urllib.request.urlopen(url, data=b"{}", timeout=5, context=trusted) as answer:
            assert answer.read() == b"{}"
    server.stop()


def test_addresses_are_host_and_port() -> None:
    assert parse_listen("[::1]:80", "--listen") == ("::1", 80)
    for wrong in ("80", "a:b", "a:70000"):
        with pytest.raises(UsageError):
            parse_listen(wrong, "--listen")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="cannot listen"):
        HttpServer(("127.0.0.1", taken.getsockname()[1]))


class Cluster:
    """Holds a Secret and a webhook configuration."""

    def __init__(self) -> None:
        hooks = [{"name": "a", "clientConfig": {"url": "x"}}, {"name": "b"}]
        self.objects: dict[str, Any] = {WEBHOOKS: {"metadata": {"name": "controller"}, "webhooks": hooks}}
        self.writes = 0

    def find(self, path: str) -> Any:
        return self.objects.get(path)

    get = find

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        if f"{path}/{body['metadata']['name']}" in self.objects:
            raise ClusterError("exists", artifact=path, status=409)
        return self.replace(f"{path}/{body['metadata']['name']}", body)

    def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        self.writes += 1
        self.objects[path] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.writes)}}
        return self.objects[path]


def certificates(cluster: Cluster, host: str = "controller.svc") -> Certificates:
    return Certificates(cast("Api", cluster), host, "controller")


def test_replicas_share_one_certificate_and_the_api_server_is_told_once() -> None:
    cluster = Cluster()
    first = certificates(cluster).current()
    assert certificates(cluster).current() == first
    assert certificates(cluster).announce(first)
    hooks = cluster.objects[WEBHOOKS]["webhooks"]
    assert {base64.b64decode(hook["clientConfig"]["caBundle"]) for hook in hooks} == {first.certificate}
    assert hooks[0]["clientConfig"]["url"] == "x"
    writes = cluster.writes
    assert certificates(cluster).announce(first)
    assert cluster.writes == writes
    assert b"PRIVATE" not in repr(first).encode()


def test_a_new_certificate_is_trusted_beside_the_one_that_replicas_still_show() -> None:
    cluster = Cluster()
    old = certificates(cluster).current()
    new = certificates(cluster, "other.svc").current()
    assert new.certificate != old.certificate
    assert new.trusted == new.certificate + old.certificate


def test_what_somebody_wrote_into_the_secret_is_replaced() -> None:
    cluster = Cluster()
    cluster.objects[SECRET] = {"metadata": {"name": "x", "resourceVersion": "1"}, "data": {"tls.crt": "%%"}}
    made = certificates(cluster).current()
    assert certificates(cluster).current() == made
    assert not Certificates(cast("Api", cluster), "x", "absent").announce(made)

"""Health, metrics and reviews over HTTP and TLS; the certificate that the webhook shows."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ConfigError, UsageError
from controller.api import ClusterError
from controller.certificates import LOOK_INTERVAL, Certificate, Certificates, Rotation
from controller.serving import HttpServer, parse_listen, server_context, text_answer
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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


def test_clients_that_never_finish_what_they_say_give_way_to_others(plain: HttpServer) -> None:
    with contextlib.ExitStack() as held:
        for number in range(80):
            client = held.enter_context(socket.create_connection(("127.0.0.1", plain.port)))
            client.sendall(b"POST /review HTTP/1.1\r\nContent-Length: 9\r\n\r\n{" if number % 2 else b"GET /healthz")
        began = time.monotonic()
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{plain.port}/healthz", timeout=5) as answer:
                assert answer.read() == b"ok\n"
        assert time.monotonic() - began < 5


def test_a_connection_that_was_kept_is_not_slow_for_having_been_idle(plain: HttpServer) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=5)
    with contextlib.ExitStack() as held:
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b"ok\n"
        for _ in range(31):
            held.enter_context(socket.create_connection(("127.0.0.1", plain.port))).sendall(b"GET /healthz")
        time.sleep(0.2)
        kept.putrequest("POST", "/review")
        kept.putheader("Content-Length", "2")
        kept.endheaders(b"{")
        time.sleep(0.2)
        with urllib.request.urlopen(f"http://127.0.0.1:{plain.port}/healthz", timeout=5) as answer:
            assert answer.read() == b"ok\n"
        kept.send(b"}")
        assert kept.getresponse().status == 200
    kept.close()


def test_threads_that_could_not_be_started_leave_their_places_to_others(
    plain: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start new thread: {thread.name}")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", exhausted)
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", plain.port), timeout=5) as refused:
                assert refused.recv(1) == b""
    with urllib.request.urlopen(f"http://127.0.0.1:{plain.port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"


def test_an_answer_comes_at_once_on_a_connection_that_is_kept(plain: HttpServer) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=5)
    took = []
    for _ in range(21):
        began = time.monotonic()
        kept.request("POST", "/review", body=b"{}")
        kept.getresponse().read()
        took.append(time.monotonic() - began)
    kept.close()
    assert min(took[5:]) < 0.03


def test_a_server_that_leaves_answers_still_but_keeps_no_connection(plain: HttpServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=5)
    for closes in (False, True):
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        assert (answer.read(), answer.will_close) == (b"ok\n", closes)
        plain.drain()
    connection.close()


def test_a_fault_of_ours_is_answered_and_told() -> None:
    told: list[Exception] = []
    reads = {"/healthz": lambda: text_answer(200, str(1 // 0))}
    reviews = {"/review": lambda asked: {"answer": asked["absent"]}}
    server = HttpServer(("127.0.0.1", 0), reads=reads, reviews=reviews, broken=told.append)
    server.start()
    for path, data in (("/healthz", None), ("/review", b"{}")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", data=data, timeout=5)
        with caught.value:
            assert caught.value.code == 500
    server.stop()
    assert [type(error) for error in told] == [ZeroDivisionError, KeyError]


@pytest.mark.parametrize("length", ["4194305", "9" * 5000, "-1", "²", ""])
def test_a_review_that_is_larger_than_any_object_is_not_read(plain: HttpServer, length: str) -> None:
    with socket.create_connection(("127.0.0.1", plain.port), timeout=5) as client:
        client.sendall(f"POST /review HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
        assert client.recv(20).startswith(b"HTTP/1.1 413")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_may_be_of_ip_version_6() -> None:
    try:
        server = HttpServer(("::1", 0), reads={"/healthz": lambda: text_answer(200, "ok\n")})
    except ConfigError:
        pytest.skip("no IPv6 on loopback")
    server.start()
    with urllib.request.urlopen(f"http://[::1]:{server.port}/healthz", timeout=5) as answer:
        assert answer.read() == b"ok\n"
    server.stop()


def test_a_client_that_never_shakes_hands_holds_up_nobody(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    context = server_context(files.certificate, files.key)
    server = HttpServer(("127.0.0.1", 0), reviews={"/review": lambda asked: asked}, context=context)
    server.start()
    trusted = ssl.create_default_context(cafile=str(files.certificate))
    with contextlib.ExitStack() as held:
        for _ in range(40):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
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
        self.before_write: Callable[[], None] = lambda: None

    def find(self, path: str) -> Any:
        return self.objects.get(path)

    get = find

    def create(self, path: str, body: Mapping[str, Any]) -> Any:
        if f"{path}/{body['metadata']['name']}" in self.objects:
            raise ClusterError("exists", artifact=path, status=409)
        return self.replace(f"{path}/{body['metadata']['name']}", body)

    def replace(self, path: str, body: Mapping[str, Any]) -> Any:
        self.before_write()
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


@pytest.mark.parametrize("damaged", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("content", [b"", b"%%", None])
def test_what_somebody_wrote_into_the_secret_is_replaced(damaged: str, content: bytes | None) -> None:
    cluster, elsewhere = Cluster(), Cluster()
    before = certificates(cluster).current()
    certificates(elsewhere).current()
    secret = cluster.objects[SECRET]
    foreign = elsewhere.objects[SECRET]["data"][damaged]
    text = foreign if content is None else base64.b64encode(content).decode()
    cluster.objects[SECRET] = {**secret, "data": {**secret["data"], damaged: text}}
    made = certificates(cluster).current()
    assert made != before
    assert certificates(cluster).current() == made
    assert made.certificate in made.trusted
    server_context_of(made)


def server_context_of(made: Certificate) -> None:
    with tempfile.TemporaryDirectory() as folder:
        crt, key = Path(folder) / "crt", Path(folder) / "key"
        crt.write_bytes(made.certificate)
        key.write_bytes(made.key)
        server_context(crt, key)


def test_an_empty_secret_of_the_manifests_is_filled_and_stays_what_it_is() -> None:
    cluster = Cluster()
    metadata = {"name": "bundlectl-webhook-tls", "labels": {"a": "b"}, "resourceVersion": "1"}
    cluster.objects[SECRET] = {"kind": "Secret", "metadata": metadata, "type": "Opaque"}
    made = certificates(cluster).current()
    stored = cluster.objects[SECRET]
    assert (stored["type"], stored["metadata"]["labels"]) == ("Opaque", {"a": "b"})
    assert base64.b64decode(stored["data"]["tls.crt"]) == made.certificate


def test_where_there_is_no_secret_and_none_may_be_made_the_manifests_are_asked_for() -> None:
    cluster = Cluster()

    def forbid() -> None:
        raise ClusterError("secrets is forbidden", artifact="x", status=403)

    cluster.before_write = forbid
    with pytest.raises(ConfigError, match="may only fill it"):
        certificates(cluster).current()


def test_a_replica_that_is_told_of_a_conflict_announces_again() -> None:
    cluster = Cluster()
    made = certificates(cluster).current()
    conflicts = [409, 409]

    def contend() -> None:
        if conflicts:
            raise ClusterError("changed", artifact="x", status=conflicts.pop())

    cluster.before_write = contend
    assert certificates(cluster).announce(made)
    hooks = cluster.objects[WEBHOOKS]["webhooks"]
    assert {base64.b64decode(hook["clientConfig"]["caBundle"]) for hook in hooks} == {made.trusted}


def announced(cluster: Cluster) -> bytes:
    hooks = cluster.objects[WEBHOOKS]["webhooks"]
    (bundle,) = {base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in hooks}
    return bundle


def test_a_new_certificate_is_announced_before_it_is_shown() -> None:
    cluster, now = Cluster(), [0.0]
    old = certificates(cluster, "old.svc").current()
    shown: list[Certificate] = []
    rotation = Rotation(certificates(cluster), old, shown.append, clock=lambda: now[0])
    while now[0] < 300:
        rotation.turn()
        assert shown == []
        assert announced(cluster).endswith(old.certificate)
        now[0] += LOOK_INTERVAL
    bundle = announced(cluster)
    for _ in range(60):
        rotation.turn()
        now[0] += LOOK_INTERVAL
    (new,) = shown
    assert bundle == new.certificate + old.certificate


@pytest.mark.parametrize("emptied", [True, False])
def test_while_a_certificate_is_shown_it_is_trusted_though_somebody_replaced_the_secret(*, emptied: bool) -> None:
    cluster, elsewhere, now = Cluster(), Cluster(), [0.0]
    old = certificates(cluster).current()
    shown: list[Certificate] = []
    rotation = Rotation(certificates(cluster), old, shown.append, clock=lambda: now[0])
    certificates(elsewhere).current()
    cluster.objects[SECRET] = {**cluster.objects[SECRET], "data": {} if emptied else elsewhere.objects[SECRET]["data"]}
    rotation.turn()
    bundle = announced(cluster)
    assert shown == []
    assert bundle.endswith(old.certificate)
    now[0] += 300
    rotation.turn()
    (new,) = shown
    assert new.certificate + old.certificate == bundle
    now[0] += 299
    rotation.turn()
    assert announced(cluster) == bundle, "others may show the old"
    now[0] += 1
    rotation.turn()
    assert (announced(cluster) == bundle) is emptied, "in the Secret it stays, where it was written by a replica"


def test_what_is_shown_is_trusted_whatever_the_secret_says_next() -> None:
    cluster, now = Cluster(), [0.0]
    shown = [certificates(cluster).current()]
    rotation = Rotation(certificates(cluster), shown[0], shown.append, clock=lambda: now[0])
    for seconds in (0.0, 300.0, 400.0):
        now[0] = seconds
        if seconds != 300:
            cluster.objects[SECRET] = {**cluster.objects[SECRET], "data": {}}
        rotation.turn()
        assert all(each.certificate in announced(cluster) for each in shown[-2:])
    assert len(shown) == 2


def test_a_webhook_configuration_that_was_made_anew_gets_its_authority_at_the_next_look() -> None:
    cluster, now = Cluster(), [0.0]
    made = certificates(cluster).current()
    rotation = Rotation(certificates(cluster), made, [].append, clock=lambda: now[0])
    rotation.turn()
    cluster.objects[WEBHOOKS] = Cluster().objects[WEBHOOKS]
    now[0] += LOOK_INTERVAL
    rotation.turn()
    assert announced(cluster) == made.trusted
    assert LOOK_INTERVAL <= 30, "so long nothing is let in"


def test_where_no_webhook_is_configured_nothing_is_announced() -> None:
    cluster = Cluster()
    made = certificates(cluster).current()
    assert not Certificates(cast("Api", cluster), "x", "absent").announce(made)

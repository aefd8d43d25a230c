"""The controller as a whole, with an API server that knows little more than a Lease."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ConfigError
from bundlectl.operations.session import Connection
from bundles.belief import Belief
from controller import service as module
from controller.connecting import connect
from controller.logs import Log
from controller.service import Service, ServiceOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("kubernetes")

LEASE = "/apis/coordination.k8s.io/v1/namespaces/eksa-packages/leases"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


class ApiServer(BaseHTTPRequestHandler):
    """Lists nothing, watches nothing, and keeps one Lease."""

    protocol_version = "HTTP/1.1"
    state: dict[str, Any]
    ended: threading.Event

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.startswith(LEASE):
            self.hang()
            lease = self.state.get("lease")
            self.answer(200 if lease else 404, lease or {"message": "not found"})
        elif "/secrets/" in path:
            self.answer(404, {"message": "not found"})
        elif path.startswith(HOOKS):
            hooks = self.state.get("hooks")
            self.answer(200 if hooks else 404, hooks or {"message": "not found"})
        elif not self.state["known"]:
            self.answer(404, {"message": "the server could not find the requested resource"})
        elif "watch=true" in query:
            self.ended.wait(20)
            self.answer(410, {"message": "too old"})
        else:
            self.answer(200, {"items": [], "metadata": {"resourceVersion": "1"}})

    def do_POST(self) -> None:
        stored = {**self.body(), "metadata": {"resourceVersion": str(time.monotonic_ns())}}
        if self.path.startswith(LEASE):
            self.state["lease"] = stored
        elif self.path.startswith(HOOKS):
            self.state["hooks"] = stored
        self.answer(201, stored)

    def do_PUT(self) -> None:
        self.hang()
        self.do_POST()

    def hang(self) -> None:
        if self.state.get("hangs", 0):
            self.state["hangs"] -= 1
            self.ended.wait(20)

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return found

    def answer(self, status: int, document: dict[str, Any]) -> None:
        raw = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@contextmanager
def made(
    folder: Path, *, known: bool = True, webhook: tuple[str, int] | None = None
) -> Iterator[tuple[Service, dict[str, Any], list[str]]]:
    """A controller that was not started, what its API server has, and its log."""
    helm = folder / "program"
    helm.write_text("#!/bin/sh\necho v3.17.0\n")
    helm.chmod(0o700)
    state: dict[str, Any] = {"known": known}
    ended = threading.Event()
    handler = type("Handler", (ApiServer,), {"state": state, "ended": ended})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "a", "user": {"token": "x"}}],
        }
        options = ServiceOptions(
            cluster="site",
            kubeconfig=folder / "kubeconfig",
            helm=helm,
            folder=folder,
            belief=Belief(),
            connection=Connection(),
            listen=("127.0.0.1", 0),
            webhook_listen=webhook,
            webhook_host="x",
        )
        lines: list[str] = []
        try:
            yield Service(connect(document, "site"), options, Log(lines.append)), state, lines
        finally:
            ended.set()
            server.shutdown()
            serving.join()


def read(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_cluster_that_does_not_know_the_kinds_is_told_of_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LISTED_WITHIN", 0.3)
    with made(tmp_path, known=False) as (service, _, _), pytest.raises(ConfigError, match="could not find") as caught:  # noqa: SIM117
        with service:
            service.start()
    assert "manifests" in (caught.value.hint or "")


def test_the_lease_is_taken_and_given_back(tmp_path: Path) -> None:
    with made(tmp_path) as (service, state, lines):
        with service:
            service.start()
            until(lambda: "bundlectl_controller_leader 1" in read(f"{service.url}/metrics")[1])
            assert state["lease"]["spec"]["holderIdentity"] == service.identity
            assert read(f"{service.url}/healthz")[0] == 200
            assert read(f"{service.url}/readyz")[0] == 200
        assert state["lease"]["spec"]["holderIdentity"] == ""
        assert all(json.loads(line)["level"] for line in lines)


def test_connections_that_hang_do_not_lose_the_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ELECTION", 0.5)
    with made(tmp_path) as (service, state, lines), service:
        service.start()
        until(service._may_write)
        state["hangs"] = 2
        until(lambda: state["hangs"] == 0)
        renewed = state["lease"]["spec"]["renewTime"]
        until(lambda: bool(state["lease"]["spec"]["renewTime"] != renewed))
        assert service._may_write()
        assert not any("does not lead" in line for line in lines)


def test_what_ended_by_a_fault_of_ours_is_seen_by_who_can_start_the_process_again(tmp_path: Path) -> None:
    with made(tmp_path) as (service, _, _), service:
        service.start()
        assert read(f"{service.url}/healthz")[0] == 200
        service._lead.resign()
        until(lambda: read(f"{service.url}/healthz")[0] == 500)
        assert "leadership" in read(f"{service.url}/healthz")[1]


def test_who_has_listed_all_once_stays_ready_for_admission_while_the_api_server_is_away(tmp_path: Path) -> None:
    with made(tmp_path) as (service, _, _), service:
        service.start()
        service._packages.trouble = "no answer"
        assert read(f"{service.url}/readyz") == (200, "ok, but: no answer\n")
        service._lead.resign()
        service._packages.trouble, service._lead.trouble = "", "leases is forbidden"
        assert read(f"{service.url}/readyz") == (200, "ok, but: leases is forbidden\n")
        service._packages.trouble = "no answer"
        service._packages.listed.clear()
        assert read(f"{service.url}/readyz") == (503, "not ready: no answer\n")


def test_while_it_stops_it_is_not_ready_and_begins_nothing(tmp_path: Path) -> None:
    with made(tmp_path) as (service, _, _), service:
        service.start()
        until(service._may_write)
        service._stopped.set()
        assert read(f"{service.url}/readyz")[0] == 503
        assert read(f"{service.url}/healthz")[0] == 200
        service._cut_off.set()
        assert not service._may_write()


def test_admission_outlives_the_lease_for_those_who_are_still_sent_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINGERS", 2.0)
    with made(tmp_path, webhook=("127.0.0.1", 0)) as (service, state, _):
        service.start()
        until(service._may_write)
        closing = threading.Thread(target=service.close)
        closing.start()
        until(lambda: state["lease"]["spec"]["holderIdentity"] == "")
        context = ssl.create_default_context(cafile=str(tmp_path / "webhook.crt"))
        context.check_hostname = False
        url = f"https://127.0.0.1:{service.webhook_port}/validate-packages-eks-amazonaws-com-v1alpha1-package"
        with urllib.request.urlopen(url, data=b"{}", timeout=5, context=context) as answer:
            assert json.loads(answer.read())["response"]["allowed"]
        closing.join(10)
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, data=b"{}", timeout=5, context=context)


def test_whoever_does_not_wait_for_the_end_leaves_no_helm_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(seconds: float) -> None:
        raise KeyboardInterrupt(seconds)

    with made(tmp_path) as (service, _, _), service:
        service.start()
        until(service._may_write)
        with monkeypatch.context() as patched:
            patched.setattr(service._workers, "stop", impatient)
            with pytest.raises(KeyboardInterrupt):
                service.close()
        assert service._helm._stopped.is_set()
        assert not service._may_write()


def test_the_webhook_has_its_authority_soon_whatever_became_of_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.05)
    with made(tmp_path, webhook=("127.0.0.1", 0)) as (service, state, lines), service:
        service.start()
        state["hooks"] = {"metadata": {}, "webhooks": 3}
        until(lambda: any("was not looked after" in line for line in lines))
        time.sleep(0.3)
        assert sum("was not looked after" in line for line in lines) == 1
        state["hooks"] = {"metadata": {}, "webhooks": [{"name": "a", "clientConfig": {}}]}
        until(lambda: bool(state["hooks"]["webhooks"][0]["clientConfig"].get("caBundle")))


def test_what_is_slow_of_a_workload_cluster_is_counted_together_whatever_its_kind(tmp_path: Path) -> None:
    with made(tmp_path) as (service, _, _), service:
        kinds = service._reconcilers()
        packages, controllers = kinds["Package"], kinds["PackageBundleController"]
        assert packages.turns is controllers.turns
        for fair, key, cluster in (
            (packages, "eksa-packages-field/x", "field"),
            (packages, "eksa-packages/x", "site"),
            (packages, "elsewhere/x", ""),
            (controllers, "eksa-packages/field", "field"),
            (controllers, "eksa-packages/site", "site"),
        ):
            assert fair.cluster_of(key) == cluster
        assert [packages.turns.take("field") for _ in range(3)] == [True, True, False]
        assert [packages.turns.take("site") for _ in range(4)] == [True, True, True, False]

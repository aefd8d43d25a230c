"""A cluster on loopback: the real control plane over etcd, and kwok in place of the nodes."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes import config
from kubernetes.client import ApiClient, ApiException

from tests.interop.programs import HERE, answers, free_port, provided, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NODE = "kwok"
STRICT = "Strict"
WARN = "Warn"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Cluster:
    """A running cluster, as its administrator sees it."""

    url: str
    authority: Path
    """The certificate that the API server shows, which it signed itself."""
    kubeconfig: Path
    client: ApiClient
    processes: dict[str, int]
    """Process ids by program."""

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        client: ApiClient | None = None,
        **query: str,
    ) -> tuple[Any, list[str]]:
        """Send one request; returns the object that was answered, and the warnings beside it.

        Raises:
            ApiException: the API server refused it.
        """
        answer, _, headers = (client or self.client).call_api(
            path,
            method,
            query_params=list(query.items()),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
            response_type="object",
            _return_http_data_only=False,
        )
        return answer, headers.getlist("Warning")

    def get(self, path: str, **query: str) -> Any:
        return self.call("GET", path, **query)[0]

    def apply(self, document: dict[str, Any], **query: str) -> tuple[Any, list[str]]:
        """Apply a manifest on the server's side; returns what is stored then, and the warnings.

        Raises:
            ApiException: the API server refused it.
        """
        query = {"fieldManager": "tests", "force": "true", **query}
        return self.call("PATCH", path_of(document), document, content_type=APPLY, **query)

    def write_kubeconfig(self, file: Path, token: str) -> Path:
        """Write how the holder of a token reaches this cluster."""
        return _write_kubeconfig(file, self.url, self.authority, token)

    def logs(self, program: str) -> str:
        return (self.kubeconfig.parent / f"{program}.log").read_text()


def path_of(document: dict[str, Any], plural: str = "") -> str:
    """Where an object stands in the API; kinds are taken to have regular plurals."""
    group, _, version = document["apiVersion"].rpartition("/")
    namespace = document["metadata"].get("namespace")
    parts = ["apis", group, version] if group else ["api", version]
    parts += ["namespaces", namespace] if namespace else []
    return "/" + "/".join([*parts, plural or document["kind"].lower() + "s", document["metadata"]["name"]])


def wait_for(holds: Callable[[], Any], what: str, within: float = 30.0) -> Any:
    """The first true answer; an object that is not there yet is no answer."""
    deadline = time.monotonic() + within
    while True:
        try:
            if found := holds():
                return found
        except ApiException as error:
            if error.status != 404:
                raise
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s"
        time.sleep(0.1)


def define(cluster: Cluster, definitions: list[dict[str, Any]]) -> None:
    """Apply CustomResourceDefinitions, and wait until the API serves them."""
    for definition in definitions:
        cluster.apply(definition, fieldValidation=STRICT)
    for path in map(path_of, definitions):
        wait_for(partial(_is_served, cluster, path), f"{path} is served")


def _is_served(cluster: Cluster, path: str) -> bool:
    conditions = cluster.get(path).get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    """Start a cluster whose files are below ``folder``, and stop it by its process ids."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        started: dict[str, int] = {}

        def start(name: str, *options: str, ready: Callable[[], bool] = lambda: True) -> None:
            environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
            command: list[str | Path] = [provided(name), *options]
            process = running(command, environment=environment, log=folder / f"{name}.log", ready=ready)
            started[name] = stack.enter_context(process).pid

        storage = _start_etcd(folder, start)
        url, kubeconfig = _start_api_server(folder, storage, start)
        client = config.new_client_from_config(str(kubeconfig))
        stack.callback(client.close)
        stack.callback(client.rest_client.pool_manager.clear)
        cluster = Cluster(url, folder / "apiserver.crt", kubeconfig, client, started)
        _start_controllers(folder, cluster, start)
        yield cluster


def _start_etcd(folder: Path, start: Callable[..., None]) -> str:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    start(
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        ready=lambda: answers(f"{client}/health"),
    )
    return client


def _start_api_server(folder: Path, storage: str, start: Callable[..., None]) -> tuple[str, Path]:
    port = free_port()
    url, certificate = f"https://127.0.0.1:{port}", folder / "apiserver.crt"
    key = folder / "service-account.key"
    made = ec.generate_private_key(ec.SECP256R1())
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    token, tokens = secrets.token_hex(16), folder / "tokens.csv"
    tokens.write_text(f"{token},administrator,administrator,system:masters\n")

    def ready() -> bool:
        try:
            trusted = ssl.create_default_context(cafile=str(certificate))
            with urllib.request.urlopen(f"{url}/readyz", timeout=5, context=trusted) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    start(
        "kube-apiserver",
        f"--etcd-servers={storage}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--service-account-issuer={url}",
        "--advertise-address=127.0.0.1",  # else that of the default route, and there may be none
        "--endpoint-reconciler-type=none",  # which refuses a loopback address
        "--service-cluster-ip-range=10.96.0.0/16",
        "--enable-priority-and-fairness=false",
        "--profiling=false",
        ready=ready,
    )
    return url, _write_kubeconfig(folder / "kubeconfig", url, certificate, token)


def _start_controllers(folder: Path, cluster: Cluster, start: Callable[..., None]) -> None:
    cluster.call("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    access = f"--kubeconfig={cluster.kubeconfig}"
    alone = (access, "--leader-elect=false", "--secure-port=0")

    def is_free() -> bool:
        node = cluster.get(f"/api/v1/nodes/{NODE}")
        return "allocatable" in node["status"] and not node["spec"].get("taints")

    def has_account() -> bool:
        return bool(cluster.get("/api/v1/namespaces/default/serviceaccounts")["items"])

    start("kwok", access, "--manage-all-nodes=true", f"--config={HERE / 'stages.yaml'}")
    start("kube-scheduler", *alone)
    start(
        "kube-controller-manager",
        *alone,
        f"--service-account-private-key-file={folder / 'service-account.key'}",
        f"--root-ca-file={cluster.authority}",
        "--node-monitor-grace-period=24h",  # kwok's node gives no signs of life, and its pods would be called unready
        ready=lambda: is_free() and has_account(),
    )


def _write_kubeconfig(file: Path, url: str, authority: Path, token: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "loopback",
        "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "holder"}}],
        "clusters": [{"name": "loopback", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "holder", "user": {"token": token}}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(document))  # JSON is YAML
    return file

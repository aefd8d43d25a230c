"""AWS's own package controller, admission included, fed by bundlectl from a mirror over TLS with a login.

It keeps fixed ports, and fixed paths below ``/tmp``: it gets a network and a ``/tmp`` of its own, as in a pod.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from controller.crds import GROUP, PLURALS, VERSION, load_definitions
from mirror.server.selfsigned import self_signed
from tests.interop.cluster import cluster_in, define, wait_for
from tests.interop.namespaces import namespace
from tests.interop.packages_site import (
    HOME,
    PASSWORD,
    USER,
    Mirror,
    Site,
    kubeconfig_in_itself,
    package,
    prepare,
    secured_docker_registry,
)
from tests.interop.programs import Program, bundlectl, provided, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.cluster import Cluster

CLUSTER = "fed"
PORT = 9443
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
DEPLOYMENT = "eks-anywhere-packages"
ITS_OWN = "/tmp"  # noqa: S108 -- where it has to look
KUBECONFIG = f"{ITS_OWN}/kubeconfig"
POD = 'mount --bind "$0" "$1" && exec "$1/package-manager" server --verbosity=6'

DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"


@dataclass(frozen=True)
class Amazon:
    """What AWS's controller runs with, and the site that it serves."""

    site: Site
    ours: Program
    folder: Path

    @property
    def cluster(self) -> Cluster:
        return self.site.cluster

    @property
    def authority(self) -> bytes:
        return (self.folder / "k8s-webhook-server" / "serving-certs" / "tls.crt").read_bytes()

    def feed(self, *options: str) -> Any:
        """Feed it, the login and the authority given."""
        mirror = self.site.mirror
        assert mirror.certificate is not None
        command = [
            *(self.ours.path, "controller", "feed", "--registry", mirror.registry.rpartition("/")[0]),
            *("--cluster", CLUSTER, "--verify", mirror.key, "--ca-file", f"{mirror.host}={mirror.certificate}"),
            *("--username", USER, "--password-stdin", "-o", "json", *options),
        ]
        done = subprocess.run(
            command, input=f"{PASSWORD}\n", text=True, env=self.ours.variables(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The controller, with what the Deployment and the Secret give to its pod."""
        held = self.cluster.get(f"{DEPLOYMENTS.format(HOME)}/{DEPLOYMENT}")
        (container,) = held["spec"]["template"]["spec"]["containers"]
        environment = {item["name"]: item["value"] for item in container["env"]}
        secret = self.cluster.get(f"/api/v1/namespaces/{HOME}/secrets/registry-mirror-cred")["data"]
        for name, value in secret.items():
            (self.folder / "config" / "registry" / name).write_bytes(base64.b64decode(value))
        with running(
            ["unshare", "--mount", "sh", "-c", POD, self.folder, ITS_OWN],
            environment={"PATH": os.environ["PATH"], "HOME": ITS_OWN, "KUBECONFIG": KUBECONFIG, **environment},
            log=self.folder / "log",
            ready=listens,
        ):
            yield


def listens() -> bool:
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", PORT)) == 0


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    place = tmp_path_factory.mktemp("amazon")
    with ExitStack() as stack:
        stack.enter_context(stack.enter_context(namespace()).entered())
        cluster = stack.enter_context(cluster_in(place / "cluster"))
        mirror = stack.enter_context(secured_docker_registry(place / "registry"))
        define(cluster, load_definitions())
        for name in (HOME, f"{HOME}-{CLUSTER}"):
            cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        cluster.apply(deployment())
        folder = unpacked(place / "tmp", cluster)
        (place / "home").mkdir()
        ours = bundlectl(place / "home")
        ours = Program(ours.path, ours.home, (), {"KUBECONFIG": str(cluster.kubeconfig)})
        yield Amazon(Site(cluster, mirror, CLUSTER, cluster.kubeconfig, place), ours, folder)


def deployment() -> dict[str, Any]:
    """As the chart of AWS's has it, as far as it matters here; kwok says that it runs."""
    environment = {
        "CLUSTER_NAME": CLUSTER,
        "ENABLE_WEBHOOKS": "true",
        "HELM_CONFIG_HOME": f"{ITS_OWN}/config",
        "EKSA_PUBLIC_KEY": "",
    }
    container = {
        "name": "controller",
        "image": "none.example/none",
        "env": [{"name": name, "value": value} for name, value in environment.items()],
    }
    labels = {"app": DEPLOYMENT}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": HOME},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def unpacked(folder: Path, cluster: Cluster) -> Path:
    """The ``/tmp`` of its pod."""
    (folder / "config" / "registry").mkdir(parents=True)
    access = kubeconfig_in_itself(cluster)
    access["contexts"][0]["context"]["namespace"] = HOME
    (folder / "kubeconfig").write_text(json.dumps(access))
    shutil.copy(provided("package-manager"), folder / "package-manager")
    self_signed(folder / "k8s-webhook-server" / "serving-certs", "127.0.0.1")
    return folder


def webhooks(authority: bytes) -> dict[str, Any]:
    """As its chart and cert-manager make them, but for the address."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": DEPLOYMENT},
        "webhooks": [
            {
                "name": f"v{kind.lower()}.kb.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {
                    "url": f"https://127.0.0.1:{PORT}/validate-packages-eks-amazonaws-com-v1alpha1-{kind.lower()}",
                    "caBundle": base64.b64encode(authority).decode(),
                },
                "rules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": [VERSION],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": [plural],
                    }
                ],
            }
            for kind, plural in PLURALS.items()
        ],
    }


def offer(mirror: Mirror, name: str, version: str) -> dict[str, Any]:
    digest = mirror.chart("greeter", version, namesNamespace=True)
    schema = b'{"$schema": "https://json-schema.org/draft-07/schema", "type": "object"}'
    bundle = mirror.bundle(name, package("greeter", (version, digest), schema=schema))
    mirror.push_bundle(bundle, name, "v1-33-latest")
    return bundle


def test_it_admits_what_is_fed_refuses_what_was_altered_and_installs_from_the_mirror(amazon: Amazon) -> None:
    site, mirror = amazon.site, amazon.site.mirror
    bundle = offer(mirror, "v1-33-1", "1.0.0")
    assert amazon.feed()["controller"] == "aws"
    with amazon.running():
        site.apply(webhooks(amazon.authority))
        bundle["metadata"]["name"] = "v1-33-9"
        wait_for(lambda: "signature is invalid" in refusal(site, bundle), "it admits")
        offer(mirror, "v1-33-2", "1.1.0")
        # Which of the two brings the bundle into the cluster is a matter of chance: it polls the mirror itself.
        assert amazon.feed()["bundle"] == "v1-33-2"
        trusted = ("--cluster", CLUSTER, "--verify", mirror.key)
        target = ("--target-namespace", site.namespace)
        amazon.ours.run("packages", "install", "greeter", *trusted, *target, "--wait", "--timeout", "150")
        assert site.deployment("greeter")["metadata"]["labels"]["chart-version"] == "1.1.0"


def refusal(site: Site, document: dict[str, Any]) -> str:
    try:
        site.apply(document)
    except ApiException as error:
        return str(json.loads(error.body)["message"])
    return ""


def test_ours_takes_a_package_over_as_it_runs_and_amazons_takes_it_back(amazon: Amazon) -> None:
    site = prepare(amazon.cluster, amazon.site.mirror, CLUSTER, amazon.folder / "ours")
    amazon.cluster.call("DELETE", f"{HOOKS}/{DEPLOYMENT}")
    before = site.deployment("greeter")
    with site.running("helm3"):
        wait_for(lambda: told(site) == ("True", "Installed"), "it is taken over")
    after = site.deployment("greeter")
    assert [one["metadata"][name] for one in (before, after) for name in ("uid", "generation")] == [
        *(before["metadata"]["uid"], 1),
        *(before["metadata"]["uid"], 1),
    ]
    assert site.package("greeter")["metadata"]["finalizers"]

    amazon.feed()
    assert not site.package("greeter")["metadata"].get("finalizers")
    with amazon.running():
        site.apply(webhooks(amazon.authority))
        site.install("greeter", "greeter", config={"replicas": 2, "namesNamespace": True})
        wait_for(lambda: site.deployment("greeter")["spec"]["replicas"] == 2, "it is changed")
        assert site.deployment("greeter")["metadata"]["uid"] == before["metadata"]["uid"]
        site.cluster.call("DELETE", site.path("Package", "greeter"))
        wait_for(lambda: not site.cluster.get(DEPLOYMENTS.format(site.namespace))["items"], "it is uninstalled")


def told(site: Site) -> tuple[str, str]:
    conditions = site.status("greeter").get("conditions") or []
    return next(((one["status"], one["reason"]) for one in conditions if one["type"] == "Ready"), ("", ""))

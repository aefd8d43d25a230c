"""Packages of a mirror, with and without a controller, on a real API server."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes.client import ApiException

from controller.crds import load_definitions
from controller.observing import LOCATION
from controller.reconcile import FINALIZER
from tests.interop.cluster import cluster_in, define, wait_for
from tests.interop.packages_mirror import BASE, NAMESPACE, Mirror, mirror_in
from tests.interop.programs import Program, bundlectl, free_port, provided, running
from tests.interop.workloads import write_workload_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.cluster import Cluster

API = "/apis/packages.eks.amazonaws.com/v1alpha1/namespaces"


POLICY = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Policy
metadata: {name: none}
spec: {rules: [{match: ["PackageBundle/*"], types: [document], always: refuse}]}
"""


BUNDLE = {
    "apiVersion": "packages.eks.amazonaws.com/v1alpha1",
    "kind": "PackageBundle",
    "spec": {
        "packages": [{"name": "x", "source": {"repository": "x", "versions": [{"name": "1", "digest": "sha256:0"}]}}]
    },
}
"""Without a signature."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def site(place: Path) -> Iterator[Cluster]:
    """A cluster of this file's own, for what controllers have is in namespaces of fixed names."""
    with cluster_in(place / "cluster") as started:
        define(started, load_definitions())
        yield started


@pytest.fixture(scope="module")
def mirror(place: Path) -> Iterator[Mirror]:
    with mirror_in(place) as started:
        yield started


@pytest.fixture
def ours(home: Path, site: Cluster) -> Program:
    """bundlectl, which finds the cluster's kubeconfig in its environment."""
    return Program(bundlectl(home).path, home, (), {"KUBECONFIG": str(site.kubeconfig)})


@pytest.fixture
def with_helm(ours: Program, helm: Program) -> Program:
    """The same, which finds helm 3 or 4 in its path, too."""
    (ours.home / "bin").mkdir()
    (ours.home / "bin" / "helm").symlink_to(helm.path)
    path = {"PATH": f"{ours.home / 'bin'}:/usr/bin:/bin"}
    return Program(ours.path, ours.home, (), {**ours.environment, **path})


def described(document: Any, schema: str) -> Any:
    """A result, which is what its published schema says."""
    written = json.loads(files("bundlectl.cli.schemas").joinpath(f"{schema}.schema.json").read_bytes())
    Draft202012Validator(written).validate(document)
    return document


def deployment(site: Cluster, namespace: str, name: str = "greeter") -> Any:
    return site.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")


@pytest.fixture
def target(site: Cluster, home: Path) -> Iterator[str]:
    """A namespace that no other test knows; what others need is not installed before, nor after."""
    made, _ = site.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "test-"}})
    with suppress(ApiException):
        site.call("POST", "/api/v1/namespaces", {"metadata": {"name": BASE}})
    yield str(made["metadata"]["name"])
    helm = Program(provided("helm3"), home)
    helm.attempt("uninstall", "base", "--namespace", BASE, "--kubeconfig", site.kubeconfig, "--wait")


def test_without_a_controller_a_package_is_installed_changed_rolled_back_and_deleted(
    with_helm: Program, mirror: Mirror, site: Cluster, target: str
) -> None:
    install = ("packages", "install", "greeter", "--from", mirror.target, "--target-namespace", target, *mirror.trusted)
    done = described(
        with_helm.document(*install, "--kube-version", "v1-33-1", "--wait", "-o", "json"), "packages-changes"
    )
    assert [(item["name"], item["version"], item["outcome"]) for item in done["packages"]] == [
        ("base", "3.0.0", "installed"),
        ("greeter", "1.0.0", "installed"),
    ]
    assert deployment(site, target)["status"]["availableReplicas"] == 1

    done = with_helm.document(*install, "--kube-version", "v1-33-2", "--set", "replicas=3", "--wait", "-o", "json")
    assert [item["outcome"] for item in done["packages"]] == ["up to date", "installed"]
    held = deployment(site, target)
    assert (held["metadata"]["labels"]["chart-version"], held["status"]["availableReplicas"]) == ("1.1.0", 3)

    older = with_helm.attempt(*install, "--kube-version", "v1-33-1")
    assert (older.returncode, "v1-33-1 is older than v1-33-2" in older.stderr) == (3, True), older.stderr
    # Nobody saw it ready, so it is nothing to go back to: as if the wait for it had been interrupted.
    assert with_helm.run(*install) == f"greeter 2.0.0 in {target}: installed\n"
    failed = with_helm.attempt(*install, "--wait", "--timeout", "4")
    assert failed.returncode == 3
    foreign = with_helm.attempt("packages", "install", "base", "--package-name", "greeter", *install[3:])
    told = f"{target}/greeter: is there already, of the chart greeter"
    assert (foreign.returncode, told in foreign.stderr) == (3, True), foreign.stderr
    assert "was rolled back to revision 2: not ready within 4 s: Deployment/greeter: " in failed.stderr
    held = deployment(site, target)
    assert (held["metadata"]["labels"]["chart-version"], held["spec"]["replicas"]) == ("1.1.0", 3)

    delete = ("packages", "delete", "greeter", "--local", "--target-namespace", target)
    assert with_helm.run(*delete) == "greeter deleted\n"
    assert with_helm.attempt(*delete).returncode == 4
    with pytest.raises(ApiException, match="not found"):
        deployment(site, target)


def test_without_a_controller_nothing_is_installed_that_does_not_pass_every_check(
    with_helm: Program, mirror: Mirror, site: Cluster, target: str
) -> None:
    install = ("packages", "install", "greeter", "--from", mirror.target, "--target-namespace", target)
    first = ("--kube-version", "v1-33-1")
    for options, code, told in (
        (first, 3, "does not hold: aws"),
        ((*first, *mirror.trusted, "--set", "replicas=-1"), 3, "replicas: the value is less than the minimum of 0"),
        ((*first, *mirror.trusted, "--package-version", "9"), 4, "greeter@9 is not in the bundle (v1-33-1)"),
        (("--kube-version", "1.32", *mirror.trusted), 4, "v1-32-latest"),
    ):
        refused = with_helm.attempt(*install, *options)
        assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
    nowhere = with_helm.attempt(*install[:-1], "nowhere", *first, *mirror.trusted)
    assert (nowhere.returncode, "the cluster has no namespace nowhere" in nowhere.stderr) == (4, True), nowhere.stderr
    assert site.get(f"/apis/apps/v1/namespaces/{target}/deployments")["items"] == []
    assert site.get(f"/api/v1/namespaces/{target}/secrets")["items"] == []


def test_an_installation_that_is_stopped_stops_helm_and_the_same_command_goes_on(
    with_helm: Program, mirror: Mirror, site: Cluster, target: str
) -> None:
    ours = with_helm
    options = ("--from", mirror.target, "--kube-version", "v1-33-1", "--target-namespace", target, *mirror.trusted)
    install = ("packages", "install", "base", *options)
    with subprocess.Popen(
        [ours.path, *install, "--set", "stuck=true"], env=ours.variables(), cwd=ours.home, stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: site.get(f"/apis/batch/v1/namespaces/{target}/jobs/stuck"), "helm waits for the hook")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=5) == 130
        assert process.stderr is not None
        assert b"helm was stopped where it was; the same command again goes on" in process.stderr.read()
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if target.encode() in _read(path)]
    assert ours.run(*install, "--wait") == f"base 3.0.0 in {target}: installed\n"
    assert deployment(site, target, "base")["status"]["availableReplicas"] == 1


def test_helm_finds_what_the_users_kubeconfig_runs_for_a_login_and_leaves_alone_what_another_helm_works_at(
    with_helm: Program, mirror: Mirror, site: Cluster, target: str
) -> None:
    ours = with_helm
    access = json.loads(site.kubeconfig.read_text())
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    (ours.home / "login.json").write_text(json.dumps({**credential, "status": access["users"][0]["user"]}))
    program = ours.home / "bin" / "site-login"
    program.write_text('#!/bin/sh\ncat "$HOME/login.json"\n')
    program.chmod(0o755)
    login = {"apiVersion": credential["apiVersion"], "command": program.name, "interactiveMode": "Never"}
    access["users"][0]["user"] = {"exec": login}
    kubeconfig = ours.home / "login.kubeconfig"
    kubeconfig.write_text(json.dumps(access))
    options = ("--from", mirror.target, "--kube-version", "v1-33-1", "--target-namespace", target, *mirror.trusted)
    install = ("packages", "install", "base", *options, "--kubeconfig", kubeconfig)
    assert ours.run(*install) == f"base 3.0.0 in {target}: installed\n"

    records = f"/api/v1/namespaces/{target}/secrets"
    pending = {"metadata": {"labels": {"status": "pending-upgrade"}}}
    path = f"{records}/sh.helm.release.v1.base.v1"
    site.call("PATCH", path, pending, content_type="application/merge-patch+json")
    refused = ours.attempt(*install)
    assert (refused.returncode, "a helm works at it since" in refused.stderr) == (1, True), refused.stderr
    assert len(site.get(records, labelSelector="owner=helm")["items"]) == 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it ended meanwhile


@pytest.fixture
def cluster_name(site: Cluster, target: str) -> Iterator[str]:
    """The name of a cluster whose packages no other test asks for; nothing of it is left."""
    name = f"c-{target}"
    yield name
    for path in (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/bundlectl-controller",
        f"{API}/eksa-packages/packagebundlecontrollers/{name}",
        f"/api/v1/namespaces/eksa-packages-{name}",
        *(f"/api/v1/namespaces/eksa-packages/secrets/registry-mirror-{one}" for one in ("cred", "secret")),
        *(f"{API}/eksa-packages/packagebundles/v1-33-{number}" for number in (1, 2, 3)),
        *(f"/apis/apps/v1/namespaces/eksa-packages/deployments/{one}" for one in CONTROLLERS.values()),
    ):
        with suppress(ApiException):
            site.call("DELETE", path)


CONTROLLERS = {"bundlectl": "bundlectl-controller", "aws": "eks-anywhere-packages"}


def install_controller(ours: Program, site: Cluster, name: str, which: str, admission: int = 0) -> None:
    """Apply the manifests; kwok makes the pods ready, so nothing acts. Nothing admits unless there is a port for it."""
    printed = ours.run("controller", "manifests", "--image", "registry.example/bundlectl:1", "--cluster", name)
    objects = list(yaml.safe_load_all(printed))
    if which == "aws":
        objects = [item for item in objects if item["kind"] in ("Namespace", "Deployment")]
        for item in objects:
            if item["kind"] == "Deployment":
                item["metadata"]["name"] = CONTROLLERS["aws"]
                pod = item["spec"]["template"]["spec"]
                del pod["serviceAccountName"]
                pod["containers"][0] |= {"name": "manager", "env": [{"name": "ENABLE_WEBHOOKS", "value": "true"}]}
    for item in objects:
        if item["kind"] == "ValidatingWebhookConfiguration":
            if not admission:
                continue
            for hook in item["webhooks"]:
                path = hook["clientConfig"].pop("service")["path"]
                hook["clientConfig"]["url"] = f"https://127.0.0.1:{admission}{path}"
        site.apply(item, fieldValidation="Strict")


@pytest.mark.parametrize("which", CONTROLLERS)
def test_a_controller_is_fed_and_fed_again_without_a_change(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str, which: str
) -> None:
    install_controller(ours, site, cluster_name, which)
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", cluster_name, *mirror.trusted)
    first = described(ours.document(*feed, "--bundle-version", "v1-33-1", "-o", "json"), "controller-feed")
    assert (first["controller"], first["registry"]) == (which, f"{mirror.host}/{NAMESPACE}")
    running = site.get(f"/apis/apps/v1/namespaces/eksa-packages/deployments/{CONTROLLERS[which]}")
    (container,) = running["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in container["env"]}
    shown = ours.run("keys", "show", f"{mirror.key}.pub", "--format", "base64").strip()
    assert environment["EKSA_PUBLIC_KEY"] == shown
    assert len(environment) > 1
    pointing = site.get(f"{API}/eksa-packages/packagebundlecontrollers/{cluster_name}")["spec"]
    assert pointing["activeBundle"] == "v1-33-1"
    assert pointing["defaultRegistry"] == pointing["defaultImageRegistry"] == f"{mirror.host}/{NAMESPACE}"
    assert site.get(f"{API}/eksa-packages/packagebundles/v1-33-1")["spec"]["packages"]
    again = ours.document(*feed, "--bundle-version", "v1-33-1", "-o", "json")
    assert {item["outcome"] for item in again["objects"]} == {"unchanged"}

    newer = ours.document(*feed, "-o", "json")
    assert newer["bundle"] == "v1-33-3"
    changed = {item["kind"]: item["outcome"] for item in newer["objects"] if item["outcome"] != "unchanged"}
    assert changed == {"PackageBundle": "created", "PackageBundleController": "changed"}
    back = ours.attempt(*feed, "--bundle-version", "v1-33-2")
    assert (back.returncode, "is older than v1-33-3, which is active" in back.stderr) == (3, True)
    assert ours.attempt(*feed, "--bundle-version", "v1-33-2", "--allow-rollback").returncode == 0


def test_the_chart_installs_what_the_manifests_say(ours: Program, helm: Program, tmp_path: Path) -> None:
    chart = tmp_path / "chart.tgz"
    ours.run("controller", "manifests", "--chart", chart)
    printed = ours.run("controller", "manifests", "--image", "registry.example/bundlectl:1", "--cluster", "site")
    values = ("--set", "image=registry.example/bundlectl:1", "--set", "clusterName=site")
    options = ("bundlectl", chart, "--namespace", "eksa-packages", *values)
    rendered = helm.run("template", *options, "--kube-version", "1.33.0", "--include-crds")

    def named(text: str) -> dict[tuple[str, str, str], Any]:
        objects = [item for item in yaml.safe_load_all(text) if item]
        return {
            (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in objects
        }

    chart_has, manifests_have = named(rendered), named(printed)
    assert chart_has == {key: item for key, item in manifests_have.items() if key in chart_has}
    rest = manifests_have.keys() - chart_has.keys()
    assert {key for key in rest if key[1] != "eksa-packages-site"} == {
        ("Namespace", "", "eksa-packages"),
        ("Namespace", "", "eksa-packages-site"),
    }
    refused = helm.attempt(
        "template", "bundlectl", chart, "--namespace", "elsewhere", *values, "--kube-version", "1.33.0"
    )
    assert (refused.returncode, "install it with --namespace eksa-packages" in refused.stderr) == (1, True)


def test_an_upgrade_of_the_chart_takes_nothing_away_of_what_the_controller_filled(
    ours: Program, helm: Program, tmp_path: Path
) -> None:
    chart = tmp_path / "chart.tgz"
    ours.run("controller", "manifests", "--chart", chart)
    with cluster_in(tmp_path / "cluster") as cluster:
        where = ("--kubeconfig", cluster.kubeconfig, "--namespace", "eksa-packages")
        set_to = ("--set", "clusterName=site", "--set")
        helm.run("install", "bundlectl", chart, *where, "--create-namespace", *set_to, "image=none.example/none:1")
        secret = "/api/v1/namespaces/eksa-packages/secrets/bundlectl-webhook-tls"
        hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/bundlectl-controller"
        cluster.call("PUT", secret, {**cluster.get(secret), "data": {"tls.crt": "eA=="}})
        configuration = cluster.get(hooks)
        authority = base64.b64encode((cluster.authority).read_bytes()).decode()
        for hook in configuration["webhooks"]:
            hook["clientConfig"]["caBundle"] = authority
        cluster.call("PUT", hooks, configuration)
        helm.run("upgrade", "bundlectl", chart, *where, *set_to, "image=none.example/none:2")
        running = cluster.get("/apis/apps/v1/namespaces/eksa-packages/deployments/bundlectl-controller")
        assert running["spec"]["template"]["spec"]["containers"][0]["image"] == "none.example/none:2"
        assert cluster.get(secret)["data"] == {"tls.crt": "eA=="}
        assert {hook["clientConfig"].get("caBundle") for hook in cluster.get(hooks)["webhooks"]} == {authority}


def test_each_cluster_and_registry_keeps_its_credentials_when_another_is_fed(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str, target: str
) -> None:
    install_controller(ours, site, cluster_name, "aws")
    kept = {"auths": {"other.example": {"auth": "a2VwdA=="}}}
    data = {"config.json": json.dumps(kept), ".dockerconfigjson": json.dumps(kept), "other_ca.crt": "theirs"}
    data |= {f"{cluster_name}_insecure": "true", f"{cluster_name}_ca.crt": "of the registry before"}
    before = {"ENDPOINT": "other.example", "USERNAME": "robot", "PASSWORD": "secret", "INSECURE": "true"}
    # Not applied but written, as AWS's do it: to apply something else takes nothing of it away.
    for name, written in (("registry-mirror-cred", data), ("registry-mirror-secret", before)):
        held = {"metadata": {"name": name, "namespace": "eksa-packages"}, "stringData": written}
        site.call("POST", "/api/v1/namespaces/eksa-packages/secrets", held)
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", cluster_name, *mirror.trusted)
    ours.run(*feed, "--bundle-version", "v1-33-1")
    package = {"packageName": "greeter", "targetNamespace": target}
    ours_to_be = {"apiVersion": API.split("/apis/")[1].rpartition("/")[0], "kind": "Package", "spec": package}
    where = f"eksa-packages-{cluster_name}"
    site.apply({**ours_to_be, "metadata": {"name": "greeter", "namespace": where}})
    ours.run(*feed, "--bundle-version", "v1-33-1")
    pulls = site.get(f"/api/v1/namespaces/{target}/secrets/registry-mirror-cred")
    assert json.loads(base64.b64decode(pulls["data"][".dockerconfigjson"])) == {"auths": {}}, "those of others"
    found = site.get("/api/v1/namespaces/eksa-packages/secrets/registry-mirror-cred")
    opened = {name: base64.b64decode(value).decode() for name, value in found["data"].items()}
    assert (found["type"], opened["other_ca.crt"], json.loads(opened["config.json"])) == ("Opaque", "theirs", kept)
    assert not any(name.startswith(cluster_name) for name in opened)
    path = "/api/v1/namespaces/eksa-packages/secrets/registry-mirror-secret"
    reached = {name: base64.b64decode(value).decode() for name, value in site.get(path)["data"].items()}
    assert reached == {
        "ENDPOINT": mirror.host, "USERNAME": "", "PASSWORD": "", "CACERTCONTENT": "", "INSECURE": "false"
    }  # fmt: skip


def test_a_newer_bundle_is_fed_without_the_login_being_given_again(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str
) -> None:
    install_controller(ours, site, cluster_name, "bundlectl")
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", cluster_name, *mirror.trusted)
    login = ("--bundle-version", "v1-33-1", "--username", "robot", "--password-stdin")
    given = subprocess.run(
        [ours.path, *feed, *login], input="secret\n", text=True, env=ours.variables(), capture_output=True, check=False
    )
    assert given.returncode == 0, given.stderr
    changed = ours.document(*feed, "--bundle-version", "v1-33-2", "-o", "json")["objects"]
    assert {item["kind"] for item in changed if item["outcome"] != "unchanged"} == {
        "PackageBundle",
        "PackageBundleController",
    }
    for namespace in ("eksa-packages", f"eksa-packages-{cluster_name}"):
        held = site.get(f"/api/v1/namespaces/{namespace}/secrets/registry-mirror-secret")["data"]
        assert (held["USERNAME"], held["PASSWORD"]) == ("cm9ib3Q=", "c2VjcmV0")
        site.call("DELETE", f"/api/v1/namespaces/{namespace}/secrets/registry-mirror-secret")


def test_a_bundle_of_a_name_that_the_cluster_has_another_of_is_refused(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str
) -> None:
    install_controller(ours, site, cluster_name, "bundlectl")
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", cluster_name, *mirror.trusted)
    printed = ours.run(*feed, "--bundle-version", "v1-33-1", "--dry-run")
    (bundle,) = (item for item in yaml.safe_load_all(printed) if item["kind"] == "PackageBundle")
    bundle["spec"]["packages"][0]["source"]["versions"][0]["digest"] = "sha256:" + "0" * 64
    site.apply(bundle)
    refused = ours.attempt(*feed, "--bundle-version", "v1-33-1")
    assert (refused.returncode, "another bundle of that name is in the cluster" in refused.stderr) == (3, True)


def test_a_package_is_asked_for_and_an_upgrade_shows_what_it_would_change(
    with_helm: Program, mirror: Mirror, site: Cluster, cluster_name: str, target: str
) -> None:
    ours = with_helm
    install_controller(ours, site, cluster_name, "bundlectl")
    where = ("--cluster", cluster_name, *mirror.trusted)
    ours.run("controller", "feed", "--registry", mirror.target, *where, "--bundle-version", "v1-33-1")
    install = ("packages", "install", "greeter", *where, "--target-namespace", target, "--set", "replicas=1")
    assert ours.run(*install) == "greeter 1.0.0 asked for\n"
    wrong = ours.attempt(*install, "--set", "replicas=many")
    assert (wrong.returncode, 'replicas: the value is not of type "integer"' in wrong.stderr) == (3, True), wrong.stderr
    other = ours.attempt("packages", "install", "base", "--package-name", "greeter", *where)
    assert (other.returncode, "is there already, for the package greeter" in other.stderr) == (3, True), other.stderr
    asked = site.get(f"{API}/eksa-packages-{cluster_name}/packages/greeter")["spec"]
    assert asked == {"packageName": "greeter", "targetNamespace": target, "config": "replicas: 1\n"}
    policy = ours.home / "policy.yaml"
    policy.write_text(POLICY)
    kept_out = ours.attempt("packages", "list", *where, "--policy", policy)
    assert (kept_out.returncode, "policy.yaml" in kept_out.stderr) == (3, True), kept_out.stderr
    other_kube = ours.attempt(*install, "--kube-version", "1.32")
    assert (other_kube.returncode, "the active bundle is not for 1.32" in other_kube.stderr) == (4, True)
    listed = described(ours.document("packages", "list", *where, "-o", "json"), "packages-list")
    assert [package["name"] for package in listed["bundles"][0]["packages"]] == ["greeter", "base"]
    assert [(item["name"], item["state"]) for item in listed["installed"]] == [("greeter", "")]
    waited = ours.attempt(*install, "--wait", "--timeout", "1")
    assert (waited.returncode, "not seen by a controller yet" in waited.stderr) == (4, True)
    # What a controller would have done.
    installed = ("packages", "install", "greeter", "--from", mirror.target, "--target-namespace", target)
    ours.run(*installed, "--kube-version", "v1-33-1", "--set", "replicas=1", *mirror.trusted)

    upgrade = ("packages", "upgrade", *where, "--bundle-version", "v1-33-2")
    shown = ours.run(*upgrade, "--dry-run")
    assert "--- a/Deployment/greeter\n+++ b/Deployment/greeter\n" in shown
    assert "-    chart-version: 1.0.0\n+    chart-version: 1.1.0\n" in shown
    assert shown.endswith("v1-33-2 would be activated (before: v1-33-1)\n")
    pointing = f"{API}/eksa-packages/packagebundlecontrollers/{cluster_name}"
    assert site.get(pointing)["spec"]["activeBundle"] == "v1-33-1"
    described(ours.document(*upgrade, "--dry-run", "-o", "json"), "packages-upgrade")
    ours.run("packages", "install", "greeter", "--package-name", "pinned", *where, "--package-version", "1.0.0")
    lacking = ours.attempt(*upgrade, "--dry-run")
    assert (lacking.returncode, "v1-33-2 has nothing for pinned" in lacking.stderr) == (4, True), lacking.stderr
    ours.run("packages", "delete", "pinned", "--cluster", cluster_name, "--wait")
    done = described(ours.document(*upgrade, "-o", "json"), "packages-upgrade")
    assert (done["outcome"], done["packages"][0]["to"]) == ("activated", "1.1.0")
    assert site.get(pointing)["spec"]["activeBundle"] == "v1-33-2"
    assert site.get(f"{API}/eksa-packages/packagebundles/v1-33-2")
    back = ours.attempt("packages", "upgrade", *where, "--bundle-version", "v1-33-1")
    assert (back.returncode, "is older than v1-33-2, which is active" in back.stderr) == (3, True)

    for wrong in ("", ".", f"../../eksa-packages-{cluster_name}"):
        refused = ours.attempt("packages", "delete", wrong, "--cluster", cluster_name)
        assert (refused.returncode, "nothing was deleted" in refused.stderr) == (2, True), refused.stderr
    told = ours.run("packages", "describe", "greeter", "--cluster", cluster_name)
    assert told.startswith(f"greeter: greeter in {target}\n  state   not seen by a controller yet\n")
    assert ours.run("packages", "delete", "greeter", "--cluster", cluster_name, "--wait") == "greeter deleted\n"


def test_what_is_bound_for_a_package_lets_its_account_install_its_chart(
    with_helm: Program, helm: Program, mirror: Mirror, site: Cluster, cluster_name: str, target: str, tmp_path: Path
) -> None:
    install_controller(with_helm, site, cluster_name, "bundlectl")
    account = f"system:serviceaccount:eksa-packages-{cluster_name}:package-installer"
    chart = write_workload_chart(tmp_path, "greeter", "1.0.0", image=f"{mirror.host}/{NAMESPACE}/tools/greeter:v2")
    install = ("install", "greeter", chart, "--kubeconfig", site.kubeconfig, "--namespace", target)
    before = helm.attempt(*install, "--kube-as-user", account)
    assert (before.returncode, "forbidden" in before.stderr) == (1, True)
    options = ("--cluster", cluster_name, "--registry", mirror.target, "--target-namespace", target)
    printed = with_helm.run("controller", "manifests", "--for", "greeter", *options, *mirror.trusted)
    objects = list(yaml.safe_load_all(printed))
    assert [item["kind"] for item in objects] == ["Role", "RoleBinding"]
    for item in objects:
        site.apply(item, fieldValidation="Strict")
    wait_for(lambda: helm.attempt(*install, "--kube-as-user", account).returncode == 0, "the account may install")
    assert deployment(site, target)
    foreign = with_helm.attempt("packages", "delete", "greeter", "--local", "--target-namespace", target)
    told = "was not installed by packages install --from"
    assert (foreign.returncode, told in foreign.stderr) == (3, True), foreign.stderr
    local = ("packages", "install", "greeter", "--from", mirror.target, "--target-namespace", target, *mirror.trusted)
    taken = with_helm.attempt(*local)
    assert (taken.returncode, told in taken.stderr) == (3, True), taken.stderr
    assert deployment(site, target)["metadata"]["labels"]["chart-version"] == "1.0.0"
    with pytest.raises(ApiException, match="not found"):
        deployment(site, BASE, "base")


def test_without_a_controller_a_login_is_added_to_those_that_a_namespace_has(
    with_helm: Program, mirror: Mirror, site: Cluster, target: str
) -> None:
    secrets = f"/api/v1/namespaces/{target}/secrets"
    held = json.dumps({"auths": {"other.example": {"auth": "a2VwdA=="}}})
    metadata, kind = {"name": "registry-mirror-cred"}, "kubernetes.io/dockerconfigjson"
    site.call("POST", secrets, {"metadata": metadata, "type": kind, "stringData": {".dockerconfigjson": held}})
    install = ("packages", "install", "base", "--from", mirror.target, "--target-namespace", target, *mirror.trusted)
    given = subprocess.run(
        [with_helm.path, *install, "--username", "robot", "--password-stdin"],
        input="secret\n",
        text=True,
        env=with_helm.variables(),
        capture_output=True,
        check=False,
    )
    assert given.returncode == 0, given.stderr
    found = site.get(f"{secrets}/registry-mirror-cred")["data"][".dockerconfigjson"]
    assert sorted(json.loads(base64.b64decode(found))["auths"]) == sorted([mirror.host, "other.example"])
    pods = deployment(site, target, "base")["spec"]["template"]["spec"]
    assert pods["imagePullSecrets"] == [{"name": "registry-mirror-cred"}]


def test_packages_of_a_workload_cluster_are_looked_at_there_before_an_upgrade(
    with_helm: Program, mirror: Mirror, site: Cluster, cluster_name: str, target: str
) -> None:
    ours, field = with_helm, f"{cluster_name}-field"
    install_controller(ours, site, cluster_name, "bundlectl")
    where = ("--cluster", field, *mirror.trusted)
    site.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eksa-system"}})
    feed = ("controller", "feed", "--registry", mirror.target, *where, "--management-cluster", cluster_name)
    ours.run(*feed, "--bundle-version", "v1-33-1")
    ours.run("packages", "install", "greeter", *where, "--target-namespace", target)
    access = json.loads(site.kubeconfig.read_text())
    place = access["clusters"][0]["cluster"]
    authority = Path(place.pop("certificate-authority")).read_bytes()
    place["certificate-authority-data"] = base64.b64encode(authority).decode()
    path = "/api/v1/namespaces/eksa-system/secrets"
    upgrade = ("packages", "upgrade", *where, "--bundle-version", "v1-33-2", "--dry-run")
    for token, code, told in (
        ("none", 1, f"the Secret eksa-system/{field}-kubeconfig"),
        (access["users"][0]["user"]["token"], 0, ""),
    ):
        access["users"][0]["user"]["token"] = token
        metadata = {"name": f"{field}-kubeconfig", "namespace": "eksa-system"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        site.apply({**secret, "stringData": {"value": json.dumps(access)}})
        shown = ours.attempt(*upgrade)
        assert (shown.returncode, told in shown.stderr) == (code, True), shown.stderr
    assert "+++ b/Deployment/greeter" in shown.stdout
    site.call("DELETE", f"{path}/{field}-kubeconfig")
    absent = ours.attempt(*upgrade)
    assert (absent.returncode, "nothing else says how to reach" in absent.stderr) == (4, True), absent.stderr
    site.call("DELETE", f"{API}/eksa-packages/packagebundlecontrollers/{field}")
    site.call("DELETE", f"/api/v1/namespaces/eksa-packages-{field}")


def test_the_controller_does_what_is_asked_with_no_more_rights_than_are_printed(
    with_helm: Program, helm: Program, mirror: Mirror, site: Cluster, cluster_name: str, target: str
) -> None:
    ours, where, port = with_helm, ("--cluster", cluster_name, *mirror.trusted), free_port()
    install_controller(ours, site, cluster_name, "bundlectl", admission=port)
    rights = ("controller", "manifests", "--registry", mirror.target, *where, "--for")
    for options in (("greeter", "--target-namespace", target), ("base",)):
        for item in yaml.safe_load_all(ours.run(*rights, *options)):
            site.apply(item)
    path = "/api/v1/namespaces/eksa-packages/serviceaccounts/bundlectl-controller/token"
    token = site.call("POST", path, {"spec": {}})[0]["status"]["token"]
    access = site.write_kubeconfig(ours.home / "controller.kubeconfig", token)
    log = ours.home / "controller.log"
    run = ("controller", "run", "--cluster-name", cluster_name, "--kubeconfig", access, "--helm", helm.path)
    served = ("--listen", "127.0.0.1:0", "--webhook-listen", f"127.0.0.1:{port}", "--webhook-host", "127.0.0.1")
    served += ("--ready-within", "4", "--key", f"{mirror.key}.pub")
    with running(
        [ours.path, *run, *served],
        environment=ours.variables(),
        log=log,
        ready=lambda: log.exists() and '"serving"' in log.read_text(),
    ):
        with pytest.raises(ApiException, match="denied the request"):
            site.apply({**BUNDLE, "metadata": {"name": "v1-33-9", "namespace": "eksa-packages"}})
        ours.run("controller", "feed", "--registry", mirror.target, *where, "--bundle-version", "v1-33-1")
        install = ("packages", "install", "greeter", *where, "--target-namespace", target)
        assert ours.run(*install, "--wait", "--timeout", "60") == "greeter 1.0.0 installed\n"
        assert deployment(site, target)["metadata"]["labels"]["chart-version"] == "1.0.0"
        by_hand = ("packages", "install", "greeter", "--from", mirror.target, "--target-namespace", target)
        aside = ours.attempt(*by_hand, *mirror.trusted)
        assert (aside.returncode, "a package controller keeps it" in aside.stderr) == (3, True), aside.stderr
        upgrade = ("packages", "upgrade", *where, "--wait", "--timeout", "60", "--bundle-version")
        ours.run(*upgrade, "v1-33-2")
        assert deployment(site, target)["metadata"]["labels"]["chart-version"] == "1.1.0"
        told = ours.document("packages", "describe", "--cluster", cluster_name, "-o", "json")
        assert [item["state"] for item in described(told, "packages-describe")["installed"]] == ["installed"] * 2
        failed = ours.attempt(*upgrade, "v1-33-3")
        assert (failed.returncode, "greeter: was rolled back" in failed.stderr) == (3, True), failed.stderr
        assert deployment(site, target)["metadata"]["labels"]["chart-version"] == "1.1.0"
        deleted = ours.run("packages", "delete", "greeter", "base", "--cluster", cluster_name, "--wait")
        assert deleted == "greeter deleted\nbase deleted\n"
        with pytest.raises(ApiException, match="not found"):
            deployment(site, target)
    assert "forbidden" not in log.read_text()


def test_packages_are_let_go_when_awss_controller_is_fed_alone(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str
) -> None:
    """It knows nothing of our finalizer, and a Package that is deleted would stay for ever."""
    install_controller(ours, site, cluster_name, "aws")
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", cluster_name, *mirror.trusted)
    feed = (*feed, "--bundle-version", "v1-33-1", "-o", "json")
    ours.run(*feed)
    where = f"eksa-packages-{cluster_name}"
    metadata = {
        "name": "greeter",
        "namespace": where,
        "finalizers": [FINALIZER],
        "annotations": {LOCATION: where, "kept": "yes"},
    }
    version = API.split("/apis/")[1].rpartition("/")[0]
    site.apply({"apiVersion": version, "kind": "Package", "metadata": metadata, "spec": {"packageName": "greeter"}})
    changed = [item for item in ours.document(*feed)["objects"] if item["outcome"] != "unchanged"]
    assert [(item["kind"], item["name"]) for item in changed] == [("Package", "greeter")]
    found = site.get(f"{API}/{where}/packages/greeter")["metadata"]
    assert "finalizers" not in found
    assert found["annotations"] == {"kept": "yes"}
    assert {item["outcome"] for item in ours.document(*feed)["objects"]} == {"unchanged"}
    site.call("DELETE", f"{API}/{where}/packages/greeter")


def test_a_dry_run_for_a_workload_cluster_shows_what_would_be_applied_for_it(
    ours: Program, mirror: Mirror, site: Cluster, cluster_name: str
) -> None:
    install_controller(ours, site, cluster_name, "bundlectl")
    feed = ("controller", "feed", "--registry", mirror.target, "--cluster", f"{cluster_name}-field", *mirror.trusted)
    feed = (*feed, "--bundle-version", "v1-33-1")
    site.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "eksa-system"}})
    printed = list(yaml.safe_load_all(ours.run(*feed, "--management-cluster", cluster_name, "--dry-run")))
    shown = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in printed]
    for secret in (item for item in printed if item["kind"] == "Secret"):
        with pytest.raises(ApiException, match="illegal base64"):  # or what is there would be overwritten with a word
            site.apply(secret)
    assert ("Role", "eksa-system", f"bundlectl-controller-{cluster_name}-field") in shown
    applied = ours.document(*feed, "-o", "json")["objects"]
    # The controller's key is not among the objects of a dry run.
    assert shown == [
        (item["kind"], item["namespace"], item["name"]) for item in applied if item["kind"] != "Deployment"
    ]
    site.call("DELETE", f"{API}/eksa-packages/packagebundlecontrollers/{cluster_name}-field")
    site.call("DELETE", f"/api/v1/namespaces/eksa-packages-{cluster_name}-field")

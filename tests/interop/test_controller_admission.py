"""The controller's admission webhook, called by a real API server; bundles from the registry; other clusters."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from controller.crds import GROUP, VERSION
from controller.manifests import Installation, controller_objects
from tests.interop.cluster import MERGE, cluster_in, wait_for
from tests.interop.packages_site import (
    HOME,
    Site,
    api_object,
    kubeconfig_in_itself,
    may_do_all_in,
    package,
    prepare,
    secured_registry,
    tell_of,
)
from tests.interop.programs import Program, free_port, provided
from tests.interop.workloads import write_workload_chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CLOSED = b'{"type": "object", "additionalProperties": false, "properties": {"replicas": {"type": "integer"}}}'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose webhook is called on loopback."""
    folder = tmp_path_factory.mktemp("admission")
    with cluster_in(folder / "cluster") as cluster, secured_registry(folder / "serve") as mirror:
        site = prepare(cluster, mirror, "judged", folder / "controller")
        port = free_port()
        cluster.call("POST", HOOKS, webhooks(port))
        listen = f"--webhook-listen=127.0.0.1:{port}"
        with site.running("helm4", listen, "--webhook-host", "127.0.0.1", "--auto-activate"):
            wait_for(partial(is_announced, site), "the webhook's certificate is announced")
            yield site


def webhooks(port: int, name: str = "") -> dict[str, Any]:
    """That of ``controller manifests``, but for the address."""
    wanted = Installation(image="registry.example/bundlectl:v0", clusters=("judged",))
    (found,) = (item for item in controller_objects(wanted) if item["kind"] == "ValidatingWebhookConfiguration")
    found["metadata"]["name"] = name or found["metadata"]["name"]
    for hook in found["webhooks"]:
        path = hook["clientConfig"].pop("service")["path"]
        hook["clientConfig"]["url"] = f"https://127.0.0.1:{port}{path}"
    return found


def is_announced(site: Site) -> bool:
    found = site.cluster.get(f"{HOOKS}/bundlectl-controller")["webhooks"]
    return all(hook["clientConfig"].get("caBundle") for hook in found)


def refusal(call: Any) -> str:
    """What the API server answered to something that it must not take."""
    with pytest.raises(ApiException) as caught:
        call()
    return str(json.loads(caught.value.body)["message"])


def test_bundles_are_let_in_by_their_signature_and_packages_by_the_bundles_schema(site: Site) -> None:
    mirror = site.mirror
    offered = package("judged", ("1.0.0", mirror.chart("judged", "1.0.0")), schema=CLOSED)
    good = mirror.bundle("v1-33-1", offered)
    altered = json.loads(json.dumps(good))
    altered["spec"]["packages"][0]["source"]["versions"][0]["digest"] = f"sha256:{'3' * 64}"
    assert "does not hold" in refusal(lambda: site.apply(altered))
    del altered["metadata"]["annotations"]["eksa.aws.com/signature"]
    assert "is not signed" in refusal(lambda: site.apply(altered))
    misnamed = mirror.bundle("newest", offered)
    assert "not the name of a bundle" in refusal(lambda: site.apply(misnamed))

    absent = site.controller(activeBundle="v1-33-1")
    assert 'activeBundle "v1-33-1" not present on cluster' in refusal(lambda: site.apply(absent))
    site.apply(mirror.bundle("v1-32-1", offered))
    wait_for(lambda: site.cluster.get(site.path("PackageBundle", "v1-32-1", HOME)).get("status"), "it is judged")
    other = site.controller(activeBundle="v1-32-1")
    assert "kubernetes version 1.33 does not match v1-32-1" in refusal(lambda: site.apply(other))
    site.apply(good)
    wait_for(lambda: site.cluster.get(site.path("PackageBundle", "v1-33-1", HOME)).get("status"), "it is judged")
    site.apply(site.controller(activeBundle="v1-33-1"))

    ask = partial(site.install, "judged", "judged")
    wait_for(lambda: "replicas: " in refusal(partial(ask, config={"replicas": "many"})), "the bundle is known")
    assert "package not found in bundle (v1-33-1): nobody" in refusal(lambda: site.install("judged", "nobody"))
    told = refusal(partial(ask, packageVersion="9.9.9"))
    assert "package version not found in bundle (v1-33-1): judged @ 9.9.9" in told
    ask(config={"replicas": 1})
    site.wait("judged", state="installed")
    assert "targetNamespace is immutable" in refusal(partial(ask, namespace="elsewhere"))
    site.cluster.call("DELETE", site.path("Package", "judged"))
    site.wait_gone("judged")


def test_what_is_applied_one_after_the_other_is_let_in_before_the_watch_tells_of_it(site: Site) -> None:
    digest = site.mirror.chart("hasty", "1.0.0")
    for number in range(20):
        name = f"hasty-{number}"
        bundle = site.mirror.bundle(f"v1-33-{100 + number}", package(name, ("1.0.0", digest)))
        asked = api_object("Package", name, site.namespace, {"packageName": name})
        site.apply(bundle)
        site.apply(site.controller(activeBundle=bundle["metadata"]["name"]))
        site.cluster.apply(asked, dryRun="All")


def test_nobody_but_the_controller_gets_past_by_calling_a_package_internal(site: Site) -> None:
    document = json.loads(
        json.dumps(
            {
                "apiVersion": f"{GROUP}/{VERSION}",
                "kind": "Package",
                "metadata": {
                    "name": "internal",
                    "namespace": site.namespace,
                    "annotations": {"anywhere.eks.aws.com/internal": "true"},
                },
                "spec": {"packageName": "nobody"},
            }
        )
    )
    assert "failed validation" in refusal(lambda: site.apply(document))


def test_the_newest_bundle_of_the_registry_is_offered_and_activated_only_where_none_is(site: Site) -> None:
    mirror = site.mirror
    digest = mirror.chart("offered", "1.0.0")
    older, newer = (mirror.bundle(f"v1-33-{age}", package("offered", ("1.0.0", digest))) for age in (50, 60))
    mirror.push_bundle(older, "v1-33-50", "v1-33-latest")
    site.apply(site.controller(activeBundle=""))
    path = site.path("PackageBundleController", "judged", HOME)
    wait_for(lambda: site.cluster.get(path)["spec"]["activeBundle"] == "v1-33-50", "the newest is active")
    wait_for(lambda: site.cluster.get(path)["status"].get("state") == "active", "it is active")
    mirror.push_bundle(newer, "v1-33-60", "v1-33-latest")
    site.apply(site.controller(activeBundle="v1-33-50", upgradeCheckInterval="1h"))
    wait_for(lambda: site.cluster.get(path)["status"].get("state") == "upgrade available", "a newer one is offered")
    found = site.cluster.get(path)
    assert (found["spec"]["activeBundle"], found["status"]["detail"]) == ("v1-33-50", "v1-33-60 available")


def test_a_package_of_a_workload_cluster_is_installed_there_in_the_installers_name(site: Site, tmp_path: Path) -> None:
    with cluster_in(tmp_path / "workload") as workload:
        namespace = f"{HOME}-field"
        for name in (HOME, namespace):
            workload.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        workload.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "x"}})
        may_do_all_in(workload, namespace, namespace)
        tell_of(site, "field", kubeconfig_in_itself(workload))
        mirror = site.mirror
        bundle = mirror.bundle("v1-33-70", package("remote", ("1.0.0", mirror.chart("remote", "1.0.0"))))
        field = Site(site.cluster, mirror, "field", site.kubeconfig, site.folder)
        field.apply(bundle)
        wait_for(lambda: site.cluster.get(site.path("PackageBundle", "v1-33-70", HOME)).get("status"), "it is judged")
        field.activate(bundle)
        wait_for(lambda: try_to_install(field), "it is let in")
        field.wait("remote", state="installed")
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/remote"
        assert workload.get(path)["status"]["readyReplicas"] == 1
        field.cluster.call("DELETE", field.path("Package", "remote"))
        field.wait_gone("remote")


def try_to_install(field: Site) -> bool:
    try:
        field.install("remote", "remote")
    except ApiException:
        return False
    return True


@pytest.mark.parametrize("name", ["helm3", "helm4"])
def test_what_awss_controller_installed_is_taken_over(site: Site, name: str, home: Path, tmp_path: Path) -> None:
    """AWS's keeps helm's records in its own namespace, and the objects in the target's."""
    helm = Program(provided(name), home)
    chart = write_workload_chart(tmp_path, f"taken-{name}", "1.0.0")
    target = ("--kubeconfig", str(site.cluster.kubeconfig), "--namespace", site.namespace)
    helm.run("install", f"taken-{name}", chart, *target)
    secrets = f"/api/v1/namespaces/{site.namespace}/secrets"
    record = f"{secrets}/sh.helm.release.v1.taken-{name}.v1"
    site.cluster.call("DELETE", record)
    before = site.deployment(f"taken-{name}")["metadata"]["uid"]
    mirror = site.mirror
    version = f"v1-33-8{name[-1]}"
    bundle = mirror.bundle(version, package(f"taken-{name}", ("1.1.0", mirror.chart(f"taken-{name}", "1.1.0"))))
    site.apply(bundle)
    wait_for(lambda: site.cluster.get(site.path("PackageBundle", version, HOME)).get("status"), "it is judged")
    site.activate(bundle)
    wait_for(lambda: active_is(site, version), "it is active")
    site.install(f"taken-{name}", f"taken-{name}")
    site.wait(f"taken-{name}", state="installed")
    found = site.deployment(f"taken-{name}")
    assert (found["metadata"]["uid"], found["metadata"]["labels"]["chart-version"]) == (before, "1.1.0")


def active_is(site: Site, version: str) -> bool:
    found = site.cluster.get(site.path("PackageBundleController", site.name, HOME))
    return bool(found["spec"]["activeBundle"] == version)


def test_manifests_that_are_applied_again_leave_the_certificate_and_its_authority(site: Site) -> None:
    path = f"/api/v1/namespaces/{HOME}/secrets/bundlectl-webhook-tls"
    before = site.cluster.get(path)["data"]
    assert {name for name, value in before.items() if value} == {"tls.crt", "tls.key", "ca.crt"}
    wanted = Installation(image="registry.example/bundlectl:v0", clusters=("judged",))
    (shipped,) = (item for item in controller_objects(wanted) if item["kind"] == "Secret")
    site.apply(shipped)
    assert site.cluster.get(path)["data"] == before
    url = site.cluster.get(f"{HOOKS}/bundlectl-controller")["webhooks"][0]["clientConfig"]["url"]
    site.apply(webhooks(int(url.split(":")[2].partition("/")[0])))
    assert is_announced(site)


def test_what_is_being_deleted_can_be_let_go_where_no_controller_answers(site: Site) -> None:
    held = api_object("PackageBundleController", "held", HOME, {"activeBundle": ""})
    held["metadata"]["finalizers"] = ["bundlectl.dev/held"]
    site.apply(held)
    path = site.path("PackageBundleController", "held", HOME)
    site.cluster.call("POST", HOOKS, webhooks(free_port(), "dead"))
    try:
        label = {"metadata": {"labels": {"a": "b"}}}
        wait_for(lambda: "failed calling webhook" in answered(site, path, label), "the dead webhook is called")
        site.cluster.call("DELETE", path)
        assert site.cluster.get(path)["metadata"]["deletionTimestamp"]
        site.cluster.call("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
        with pytest.raises(ApiException, match="404"):
            site.cluster.get(path)
    finally:
        site.cluster.call("DELETE", f"{HOOKS}/dead")


def answered(site: Site, path: str, change: dict[str, Any]) -> str:
    """What the API server says to a change; nothing where it takes it."""
    try:
        site.cluster.call("PATCH", path, change, content_type=MERGE)
    except ApiException as error:
        return str(json.loads(error.body)["message"])
    return ""


def test_a_package_of_the_namespace_without_a_name_is_installed_by_the_own_clusters_account(site: Site) -> None:
    """It is AWS's older place for them, and has no account of its own."""
    mirror = site.mirror
    bundle = mirror.bundle("v1-33-95", package("older", ("1.0.0", mirror.chart("older", "1.0.0"))))
    site.apply(bundle)
    wait_for(lambda: site.cluster.get(site.path("PackageBundle", "v1-33-95", HOME)).get("status"), "it is judged")
    site.activate(bundle)
    document = api_object("Package", "older", HOME, {"packageName": "older", "targetNamespace": site.namespace})
    wait_for(lambda: taken(site, document), "it is let in")
    path = site.path("Package", "older", HOME)
    wait_for(lambda: site.cluster.get(path).get("status", {}).get("state") == "installed", "it is installed", 40)
    site.cluster.call("DELETE", path)
    wait_for(lambda: answered(site, path, {}).startswith("packages"), "it is gone", 40)


def taken(site: Site, document: dict[str, Any]) -> bool:
    try:
        site.apply(document)
    except ApiException:
        return False
    return True

"""The package controller killed, replaced, and against people who change what it installed."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import signal
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from tests.interop.cluster import MERGE, cluster_in, wait_for
from tests.interop.packages_site import Site, in_process, may_do_all_in, package, prepare, secured_docker_registry
from tests.interop.workloads import UNREADY

if TYPE_CHECKING:
    from collections.abc import Iterator

LEASE = "/apis/coordination.k8s.io/v1/namespaces/eksa-packages/leases/bundlectl-controller"
KILLS = 20
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: pre-upgrade}
spec:
  template:
    metadata: {annotations: {{ toJson .Values.hookAnnotations }}}
    spec:
      restartPolicy: Never
      containers: [{name: hook, image: {{ .Values.image | quote }}}]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("recovery")
    with cluster_in(folder / "cluster") as cluster, secured_docker_registry(folder / "docker-registry") as mirror:
        yield prepare(cluster, mirror, "recovery", folder / "controller")


def charts(site: Site, name: str, *versions: str) -> dict[str, str]:
    return {version: site.mirror.chart(name, version) for version in versions}


def test_a_controller_that_is_killed_at_any_moment_converges_when_it_is_back(site: Site) -> None:
    chance = random.Random()
    pushed = charts(site, "killed", *(f"1.0.{number}" for number in range(4)))
    version = ""
    for attempt in range(KILLS):
        # Each start takes up where the last was cut; a Lease that nobody renews would run out by itself in 15 s.
        delete_lease(site)
        with site.running("helm3" if attempt % 2 else "helm4", "--ready-within", "20") as controller:
            version = f"1.0.{attempt % 4}"
            site.activate(site.mirror.bundle(f"v1-33-{attempt + 1}", package("killed", (version, pushed[version]))))
            if attempt % 7 == 6:
                site.cluster.call("DELETE", site.path("Package", "killed"))
            else:
                config = {"replicas": chance.choice([1, 2])}
                site.install("killed", "killed", config=config)
            time.sleep(chance.uniform(0.05, 1.2))
            os.kill(controller.pid, signal.SIGKILL)
    delete_lease(site)
    with site.running("helm4", "--ready-within", "20"):
        wait_for(lambda: not is_leaving(site, "killed"), "it is not being deleted")
        site.install("killed", "killed", config={"replicas": 2})
        site.wait("killed", within=60, state="installed", currentVersion=version, detail="")
        assert site.deployment("killed")["spec"]["replicas"] == 2
        assert site.deployment("killed")["metadata"]["labels"]["chart-version"] == version
        site.cluster.call("DELETE", site.path("Package", "killed"))
        site.wait_gone("killed")


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_an_upgrade_that_was_cut_short_is_undone_before_another_is_tried(site: Site, helm: str) -> None:
    name = f"cut-{helm}"
    digests = {
        "1.0.0": site.mirror.chart(name, "1.0.0"),
        "2.0.0": site.mirror.chart(name, "2.0.0", template=HOOK, hookAnnotations=UNREADY),
        "3.0.0": site.mirror.chart(name, "3.0.0"),
    }
    bundles = [
        site.mirror.bundle(f"v1-33-20{helm[-1]}{age}", package(name, each)) for age, each in enumerate(digests.items())
    ]
    delete_lease(site)
    with site.running(helm) as controller:
        site.activate(bundles[0])
        site.install(name, name)
        site.wait(name, state="installed", currentVersion="1.0.0")
        site.activate(bundles[1])
        wait_for(lambda: "pending-upgrade" in revisions(site, name), "helm waits for the hook")
        cut = [controller.pid, *controller.helms()]
        assert len(cut) == 2
        for process in cut:
            os.kill(process, signal.SIGKILL)
    assert revisions(site, name) == ["deployed", "pending-upgrade"]
    delete_lease(site)
    site.activate(bundles[2])
    with site.running(helm):
        site.wait(name, state="installed", currentVersion="3.0.0", detail="")
    assert revisions(site, name)[-1] == "deployed"
    assert revisions(site, name).count("deployed") == 1


def revisions(site: Site, name: str) -> list[str]:
    """The states of a release's revisions, the oldest first."""
    path = f"/api/v1/namespaces/{site.namespace}/secrets"
    found = site.cluster.get(path, labelSelector=f"owner=helm,name={name}")["items"]
    labels = sorted((item["metadata"]["labels"] for item in found), key=lambda each: int(each["version"]))
    return [each["status"] for each in labels]


def test_another_replica_takes_over_at_once_when_the_leader_ends_and_soon_when_it_is_killed(site: Site) -> None:
    digest = charts(site, "handed", "1.0.0")["1.0.0"]
    site.activate(site.mirror.bundle("v1-33-100", package("handed", ("1.0.0", digest))))
    delete_lease(site)
    with site.running("helm3", name="first") as first, site.running("helm3", name="second") as second:
        wait_for(lambda: leads(first.url), "the first leads")
        assert not leads(second.url)
        os.kill(first.pid, signal.SIGTERM)
        wait_for(lambda: leads(second.url), "the second leads", within=5)
        site.install("handed", "handed")
        site.wait("handed", state="installed")
        with site.running("helm3", name="third") as third:
            os.kill(second.pid, signal.SIGKILL)
            wait_for(lambda: leads(third.url), "the third leads", within=25)
            site.install("handed", "handed", config={"replicas": 2})
            wait_for(lambda: site.deployment("handed")["status"].get("readyReplicas") == 2, "two are ready")
    assert lease(site)["spec"]["holderIdentity"] == ""


def test_what_somebody_changed_or_deleted_is_put_right(site: Site) -> None:
    digest = charts(site, "drifting", "1.0.0")["1.0.0"]
    site.activate(site.mirror.bundle("v1-33-110", package("drifting", ("1.0.0", digest))))
    path = f"/apis/apps/v1/namespaces/{site.namespace}/deployments/drifting"
    for helm in ("helm3", "helm4"):
        delete_lease(site)
        with in_process(site, helm, drift_interval=1.0):
            site.install("drifting", "drifting", config={"replicas": 2})
            site.wait("drifting", state="installed")
            site.cluster.call("PATCH", path, {"spec": {"replicas": 5}}, content_type=MERGE)
            wait_for(lambda: site.deployment("drifting")["spec"]["replicas"] == 2, "there are two again")
            site.cluster.call("DELETE", path)
            wait_for(lambda: site.deployment("drifting")["status"].get("readyReplicas") == 2, "it is there again")
            site.wait("drifting", state="installed")


def test_a_new_password_of_the_mirror_gets_into_pull_secrets_by_itself(site: Site) -> None:
    digest = charts(site, "pulling", "1.0.0")["1.0.0"]
    site.activate(site.mirror.bundle("v1-33-120", package("pulling", ("1.0.0", digest))))
    mirror = "/api/v1/namespaces/eksa-packages/secrets/registry-mirror-secret"
    path = f"/api/v1/namespaces/{site.namespace}/secrets/registry-mirror-cred"
    delete_lease(site)
    with in_process(site, "helm3", drift_interval=1.0):
        site.install("pulling", "pulling")
        site.wait("pulling", state="installed")
        before = site.cluster.get(path)["data"]
        changed = {"data": {"PASSWORD": base64.b64encode(b"another").decode()}}
        kept = site.cluster.get(mirror)["data"]
        site.cluster.call("PATCH", mirror, changed, content_type=MERGE)
        wait_for(lambda: site.cluster.get(path)["data"] != before, "the pull secret has it", within=40)
        site.cluster.call("PATCH", mirror, {"data": kept}, content_type=MERGE)


def test_a_namespace_of_packages_that_is_deleted_takes_all_with_it_that_they_installed(site: Site) -> None:
    """Its roles go before its Packages do; the last test of this cluster."""
    digest = charts(site, "leaving", "1.0.0")["1.0.0"]
    site.activate(site.mirror.bundle("v1-33-130", package("leaving", ("1.0.0", digest))))
    site.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": "apps"}})
    may_do_all_in(site.cluster, site.namespace, "apps")
    namespace = f"/api/v1/namespaces/{site.namespace}"
    delete_lease(site)
    with site.running("helm4"):
        site.install("leaving", "leaving", namespace="apps")
        site.install("inside", "leaving")
        for name in ("leaving", "inside"):
            site.wait(name, state="installed")
        site.cluster.call("DELETE", namespace)
        wait_for(lambda: is_absent(site, namespace), "the namespace is gone", within=60)
    assert is_absent(site, "/apis/apps/v1/namespaces/apps/deployments/leaving")


def is_absent(site: Site, path: str) -> bool:
    try:
        site.cluster.get(path)
    except ApiException as error:
        return bool(error.status == 404)
    return False


def leads(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        return "bundlectl_controller_leader 1\n" in answer.read().decode()


def lease(site: Site) -> Any:
    return site.cluster.get(LEASE)


def delete_lease(site: Site) -> None:
    """Let another lead at once; that of a process that was killed would run out by itself after 15 s."""
    with contextlib.suppress(ApiException):
        site.cluster.call("DELETE", LEASE)


def is_leaving(site: Site, name: str) -> bool:
    found = site.cluster.get(site.path("Package", "x").rpartition("/")[0])["items"]
    return any(item["metadata"]["name"] == name and "deletionTimestamp" in item["metadata"] for item in found)

"""Many Packages over 10 namespaces, 50 of them or with ``SCALE=1`` 500: convergence, writes, memory."""

from __future__ import annotations

import os
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from controller.manifests import cluster_objects
from tests.interop.cluster import cluster_in, wait_for
from tests.interop.packages_site import (
    HOME,
    Mirror,
    Site,
    api_object,
    kubeconfig_in_itself,
    may_do_all_in,
    package,
    prepare,
    tell_of,
)
from tests.interop.programs import docker_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACES = 10
PACKAGES = max(NAMESPACES, int(500 * float(os.environ.get("SCALE", "0.1"))))
WITHIN = 120 + 3.0 * PACKAGES
MEMORY = 200_000_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with cluster_in(tmp_path / "cluster") as cluster, docker_registry(tmp_path / "docker-registry") as host:
        yield prepare(cluster, Mirror(host, tmp_path), "crowded", tmp_path / "controller")


@pytest.mark.timeout(int(WITHIN + 300))
def test_many_packages_converge_and_cost_no_write_afterwards(site: Site, record_property: Any) -> None:
    """A cluster's Packages lie in one namespace: the cluster is made out to be nine more."""
    digest = site.mirror.chart("crowd", "1.0.0")
    bundle = site.mirror.bundle("v1-33-1", package("crowd", ("1.0.0", digest)))
    began = time.monotonic()
    site.activate(bundle)
    names = [site.name, *(f"crowded-{number}" for number in range(1, NAMESPACES))]
    kubeconfig = kubeconfig_in_itself(site.cluster)
    for name in names:
        for document in cluster_objects(name):
            site.cluster.apply(document)
        may_do_all_in(site.cluster, f"{HOME}-{name}", f"{HOME}-{name}")
        if name != site.name:
            tell_of(site, name, kubeconfig)
        site.apply({**site.controller(activeBundle="v1-33-1"), "metadata": {"name": name, "namespace": HOME}})
    for number in range(PACKAGES):
        namespace = f"{HOME}-{names[number % NAMESPACES]}"
        spec = {"packageName": "crowd", "targetNamespace": namespace, "config": "replicas: 1"}
        site.cluster.call("POST", collection(namespace), api_object("Package", f"crowd-{number}", namespace, spec))
    created = time.monotonic()
    with site.running("helm3") as controller:
        wait_for(lambda: installed(site) == PACKAGES, f"{PACKAGES} are installed", within=WITHIN)
        converged = time.monotonic()
        time.sleep(10)
        before = versions(site)
        writes = counted(controller.url)
        time.sleep(20)
        assert versions(site) == before
        assert counted(controller.url) == writes
        memory = controller.memory()
        changed = time.monotonic()
        newer = site.mirror.bundle("v1-33-2", package("crowd", ("1.1.0", site.mirror.chart("crowd", "1.1.0"))))
        site.apply(newer)
        site.apply(site.controller(activeBundle="v1-33-2"))
        part = PACKAGES // NAMESPACES
        wait_for(lambda: installed(site, "1.1.0") >= part, f"{part} are upgraded", within=WITHIN)
        record_property(
            "told",
            f"{PACKAGES} packages: {created - began:.0f} s to create, {converged - created:.0f} s to converge, "
            f"{part} upgraded in {time.monotonic() - changed:.0f} s, {memory / 1e6:.0f} MB at most, {writes} writes",
        )
        assert memory < MEMORY


def collection(namespace: str) -> str:
    return f"/apis/packages.eks.amazonaws.com/v1alpha1/namespaces/{namespace}/packages"


def everything(site: Site) -> list[Any]:
    return list(site.cluster.get("/apis/packages.eks.amazonaws.com/v1alpha1/packages")["items"])


def installed(site: Site, version: str = "1.0.0") -> int:
    found = [item.get("status") or {} for item in everything(site)]
    return sum(each.get("state") == "installed" and each.get("currentVersion") == version for each in found)


def versions(site: Site) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in everything(site)}


def counted(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith("bundlectl_controller_writes_total"))

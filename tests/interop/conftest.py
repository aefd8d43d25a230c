"""Real programs and real servers, one set a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.crds import load_definitions
from tests.interop.cluster import cluster_in, define, wait_for
from tests.interop.programs import Program, bundlectl, docker_registry, embedded_registry, provided

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.cluster import Cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker(pytest.mark.interop)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write what tests tell of themselves (``record_property("told", …)``), from whatever process."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, said in report.user_properties:
            if name == "told" and report.when == "call":
                terminalreporter.write_line(said)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder without anybody's configuration."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def skopeo(home: Path) -> Program:
    return Program(provided("skopeo"), home, ("--insecure-policy",))


@pytest.fixture
def crane(home: Path) -> Program:
    return Program(provided("crane"), home, ("--insecure",))


@pytest.fixture(params=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, home: Path) -> Program:
    folders = {f"HELM_{name}_HOME": str(home / f"helm-{name.lower()}") for name in ("CACHE", "CONFIG", "DATA")}
    return Program(provided(request.param), home, (), folders)


@pytest.fixture
def ours(home: Path) -> Program:
    """bundlectl itself, as a process."""
    return bundlectl(home)


@pytest.fixture
def distribution(tmp_path: Path) -> Iterator[str]:
    """The host of an empty docker-registry."""
    with docker_registry(tmp_path / "docker-registry") as host:
        yield host


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store is, or will be."""
    return tmp_path / "store"


@pytest.fixture
def served(tmp_path: Path, store: Path) -> Iterator[str]:
    """The host of ``bundlectl serve`` over ``store``, open to pushes from loopback."""
    with embedded_registry(tmp_path / "serve", store) as host:
        yield host


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster without content, one a worker process: who uses it keeps to namespaces of its own."""
    with cluster_in(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture(scope="session")
def packages_cluster(cluster: Cluster) -> Cluster:
    """The cluster, which knows the kinds of curated packages."""
    define(cluster, load_definitions())
    return cluster


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """A namespace that no other test knows."""
    made, _ = cluster.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "test-"}})
    name: str = made["metadata"]["name"]
    path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_for(lambda: cluster.get(path), f"the default account of {name}")
    return name

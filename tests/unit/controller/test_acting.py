"""What is done about a Package, as far as helm and the API server are told of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ContentError
from controller.acting import Actor
from controller.api import ClusterError
from controller.facts import Install, LookUp, Rollback
from controller.mirrors import MirrorSettings
from controller.observing import Looked, Memory
from controller.releases import Release, Revision
from tests.unit.bundlectl.operations.packages import chart
from tests.unit.controller.test_reconcile import observed

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL = 100.0


class World:
    """A cluster with one release, one API that notes what is written, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.chart = folder / "greeter.tgz"
        self.chart.write_bytes(chart("greeter", "1.0.0", {}))
        self.labels: dict[str, str] = {}
        self.applied: list[str] = []
        self.held: dict[str, Any] = {}
        self.now = 1000.0
        self.cluster = SimpleNamespace(name="site", api=self, kubeconfig=folder / "kubeconfig")
        settings = MirrorSettings(endpoint="mirror.example", username="u", password="p")
        mirror = SimpleNamespace(settings=settings, charts=SimpleNamespace(fetch=lambda *_: self.chart))
        observer = SimpleNamespace(
            clusters=SimpleNamespace(own="site", get=lambda _: self.cluster),
            mirrors=SimpleNamespace(get=lambda _: mirror),
            drift_interval=INTERVAL,
        )
        self.actor = Actor(cast("Any", self), cast("Any", observer), cast("Any", self), clock=lambda: self.now)
        self.memory = Memory(0.0)
        self.data = settings.pull_secret() or {}

    def install(self, _target: object, _name: str, _chart: Path, _values: object, **told: Any) -> None:
        self.labels = told["labels"]

    def rollback(self, *_: object) -> None:
        pass

    def find(self, path: str, **_: str) -> dict[str, Any] | None:
        return self.held.get(path.rpartition("/")[2])

    def patch(self, path: str, body: dict[str, Any], *_: str, **query: str) -> dict[str, Any]:
        assert query["as_user"] == "system:serviceaccount:eksa-packages-site:package-installer"
        self.applied.append(path)
        return body

    def do(self, action: Any, **more: Any) -> Looked:
        return self.actor.carry_out(action, observed(**more), Looked(), self.memory)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def release(chart: str, **labels: str) -> Release:
    return Release(revisions=(Revision(number=1, status="deployed", **labels),), chart=chart)


def test_a_release_of_another_chart_that_no_package_made_is_left_alone(world: World) -> None:
    with pytest.raises(
        ContentError, match="apps/greeter: a release of this name is there already, of the chart theirs"
    ):
        world.do(Install(), release=release("theirs"))
    assert world.labels == {}
    with pytest.raises(ContentError, match="of the chart theirs"):
        world.do(Install(), release=release("theirs", owner="uid-of-one-that-is-gone"))
    left = release("greeter", owner="uid-of-one-that-is-gone")
    for there in (None, release("greeter"), release(""), release("renamed", owner="uid-1"), left):
        world.labels = {}
        world.do(Install(), release=there)
        assert world.labels["bundlectl.dev/package"] == "uid-1"


def test_what_was_installed_without_a_controller_is_the_controllers_from_then_on(world: World) -> None:
    world.do(Install(), release=release("greeter", bundle="v1-33-1"))
    assert world.labels["bundlectl.dev/bundle"] == "null", "helm would hand it down"


def test_a_pull_secret_to_which_somebody_added_something_is_not_written_again_and_again(world: World) -> None:
    world.do(LookUp("place"))
    assert world.applied == ["/api/v1/namespaces/apps/secrets/registry-mirror-cred"]
    world.held["registry-mirror-cred"] = {"data": {**world.data, "config.json": "e30="}}
    world.do(LookUp("place"))
    assert len(world.applied) == 1
    world.held["registry-mirror-cred"] = {"data": {".dockerconfigjson": "e30="}}
    world.do(LookUp("place"))
    assert len(world.applied) == 2


def test_whoever_changes_it_back_each_time_is_fought_less_and_less(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(Actor, "_drift", lambda *_: found[-1])
    waits = []
    for drift in [("Deployment/greeter",)] * 8 + [()]:
        found.append(drift)
        assert world.do(LookUp("drift")).drift == drift
        world.do(Rollback(1))
        waits.append((world.memory.drift_at - world.now) / INTERVAL)
    assert waits == [1, 2, 4, 8, 16, 32, 32, 32, 1]
    found.append(("Deployment/greeter",))
    world.do(LookUp("drift"))
    world.do(LookUp("drift"))
    world.do(Install())
    assert (world.memory.drifted, world.memory.drift_at) == (0, world.now + INTERVAL)


def test_a_cluster_that_has_another_kubeconfig_is_asked_anew_for_its_kinds(world: World) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    paths = []
    for name in ("pods", "others"):
        kinds = [{"name": name, "kind": "Pod", "namespaced": True}]
        api = SimpleNamespace(name="site", get=lambda _, kinds=kinds: {"resources": kinds})
        cluster = SimpleNamespace(name="site", api=api)
        paths.append(world.actor._places_of(cast("Any", cluster)).path(pod, "apps"))
    assert paths == ["/api/v1/namespaces/apps/pods/a", "/api/v1/namespaces/apps/others/a"]


@pytest.mark.parametrize(
    ("namespace", "status", "leaving", "gone"),
    [
        ({"metadata": {"deletionTimestamp": "2026-11-26T00:00:00Z"}}, 403, True, True),
        (None, 403, True, True),
        ({"metadata": {}}, 403, True, False),
        (None, 500, True, False),
        (None, 403, False, False),
    ],
)
def test_what_goes_with_its_namespace_need_not_be_uninstalled(
    world: World, namespace: dict[str, Any] | None, status: int, *, leaving: bool, gone: bool
) -> None:
    def refuse(*_: object, **__: object) -> list[dict[str, Any]]:
        raise ClusterError("secrets is forbidden", artifact="x", status=status)

    world.list_metadata = refuse  # type: ignore[attr-defined]
    seen = observed()
    metadata = replace(seen.package.metadata, deleting=leaving)
    seen = replace(seen, package=replace(seen.package, metadata=metadata), location="hello")
    if namespace is not None:
        world.held["hello"] = namespace
    look = partial(world.actor.carry_out, LookUp("release"), seen, Looked(), world.memory)
    if gone:
        assert look().release is None
    else:
        with pytest.raises(ClusterError):
            look()

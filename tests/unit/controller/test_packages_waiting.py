"""What is waited for, and what ends a wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError
from bundles.schema.package_bundle import PackageVersion
from controller import packages_state, packages_waiting
from controller.api import ClusterError
from controller.packages_state import Wait
from controller.packages_waiting import wait_until_gone, wait_until_installed

if TYPE_CHECKING:
    from controller.packages_cluster import ClusterAccess


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages_state, "_LOOK", 0.01)


class Access:
    """A cluster that has Packages, as they are found one time after the other."""

    def __init__(self, *steps: list[dict[str, Any]] | ClusterError) -> None:
        self.steps = list(steps)

    def items(self, path: str) -> list[dict[str, Any]]:
        assert path.endswith("/namespaces/eksa-packages-site/packages")
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, ClusterError):
            raise step
        return step


def as_access(access: Access) -> ClusterAccess:
    return cast("ClusterAccess", access)


def package(state: str, version: str = "", **more: Any) -> dict[str, Any]:
    status = {"state": state, "currentVersion": version, **more}
    return {"metadata": {"name": "a", "generation": 2}, "spec": {"packageName": "A"}, "status": status}


def waited(*steps: list[dict[str, Any]] | ClusterError, seconds: float = 30.0) -> list[str]:
    access, told = Access(*steps), []
    wait = Wait(seconds, told.append, threading.Event())
    wait_until_installed(as_access(access), "site", {"a": PackageVersion(name="1.1", digest="sha256:11")}, wait)
    return told


def test_an_installation_is_followed_until_the_wanted_version_is_the_one_that_runs() -> None:
    seen: dict[str, Any] = {"observedGeneration": 2, "spec": {"packageName": "A"}}
    done = package("installed", "1.1", source={"digest": "sha256:11"}, **seen)
    told = waited(
        [package("installed", "1.0", observedGeneration=1)],
        [package("updating", "1.0", targetVersion="1.1", detail="1 of 2 pods are ready")],
        [package("installed", "1.1", observedGeneration=1)],
        [package("installed", "1.1", spec={"packageName": "A", "config": "old: 1"})],
        [package("installed", "1.1", source={"digest": "sha256:10"}, **seen)],  # of the bundle before
        [done],
    )
    assert told == ["a: installed 1.0", "a: updating 1.1, 1 of 2 pods are ready", "a: installed 1.1"]


def test_a_package_that_was_rolled_back_is_not_waited_for_any_longer() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "RolledBack", "message": "no pod was ready"}
    left = {"conditions": [{**condition, "observedGeneration": 2}], "targetVersion": "1.1 (latest)"}
    with pytest.raises(ContentError, match="was rolled back: no pod was ready"):
        waited([package("installed", "1.0", **left)])
    earlier = package("installed", "1.0", **{**left, "targetVersion": "1.05 (latest)"})
    assert waited([earlier], [package("installed", "1.1", observedGeneration=2)])[-1] == "a: installed 1.1"
    with pytest.raises(MissingError, match=r"not installed within 0 s: a: installed 1\.0"):
        waited([package("installed", "1.0", conditions=[{**condition, "observedGeneration": 1}])], seconds=0)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("ChartNotVerified", ContentError),
        ("ConfigRefused", ContentError),
        ("NameTaken", ContentError),
        ("WorkloadOnly", ContentError),
        ("OtherKubernetes", ContentError),
        ("ImagesMissing", MissingError),
        ("PackageMissing", MissingError),
    ],
)
def test_what_is_not_what_it_should_be_ends_a_wait_otherwise_than_what_is_missing(reason: str, kind: type) -> None:
    with pytest.raises(kind, match="not installed within 0 s: a: installing, told") as refused:
        waited([refusal(reason)], seconds=0)
    assert type(refused.value) is kind


def refusal(reason: str, generation: int = 2) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": "why"}
    return package("installing", detail="told", conditions=[{**condition, "observedGeneration": generation}])


def test_a_refusal_that_stands_ends_a_wait_unless_it_may_be_about_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages_waiting, "_SETTLED", 0.0)
    before, done = [package("installing")], [package("installed", "1.1", observedGeneration=2)]
    with pytest.raises(ContentError, match=r"^refused: a: installing, told"):
        waited(before, [refusal("ConfigRefused")])
    for passing in ([refusal("ConfigRefused", 1)], [refusal("ImagesMissing")]):
        assert waited(before, passing, done)[-1] == "a: installed 1.1"
    assert waited([refusal("ConfigRefused")], done)[-1] == "a: installed 1.1"


def test_a_wait_ends_when_it_is_cancelled() -> None:
    access, cancelled = Access([package("installing")]), threading.Event()
    cancelled.set()
    with pytest.raises(InterruptError):
        wait_until_gone(as_access(access), "site", ["a"], Wait(30.0, lambda _: None, cancelled))


def leaving(name: str = "a") -> dict[str, Any]:
    found = package("uninstalling")
    return {**found, "metadata": {**found["metadata"], "name": name, "deletionTimestamp": "2026-01-01T00:00:00Z"}}


@pytest.mark.parametrize("gone", [[], [leaving()]])
def test_a_package_that_somebody_deletes_is_not_waited_for_any_longer(gone: list[dict[str, Any]]) -> None:
    with pytest.raises(MissingError, match="deleted by somebody meanwhile: a"):
        waited([package("installing")], gone)


def test_an_api_server_that_is_away_for_a_while_ends_no_wait_and_one_that_refuses_does() -> None:
    away = ClusterError("the API server does not answer", artifact="site", status=0)
    done = [package("installed", "1.1", observedGeneration=2)]
    assert waited(away, away, done) == ["site: the API server does not answer", "a: installed 1.1"]
    with pytest.raises(ClusterError, match="does not answer"):
        waited(away, seconds=0)
    with pytest.raises(ClusterError, match="forbidden"):
        waited(ClusterError("forbidden", artifact="site", status=403), done)

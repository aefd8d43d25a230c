"""Workers, and the pass over one Package that they make."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from bundlectl.errors import ContentError
from controller.api import ClusterError
from controller.facts import ChartFile, Dismiss, LookUp, Observed, Refusal
from controller.logs import Log
from controller.metrics import Metrics
from controller.observing import Looked, Memories
from controller.packages import Outcome, PackageReconciler
from controller.queue import KeyedQueue
from controller.reconcile import FINALIZER
from controller.values import Package
from controller.working import Key, Workers
from tests.unit.controller.test_reconcile import package, wanted

KEY = "eksa-packages-site/hello"


class Reconciler:
    """Does what the test says, by name."""

    def __init__(self, **outcomes: Outcome | Exception) -> None:
        self.outcomes = outcomes
        self.seen: list[str] = []
        self.done = threading.Semaphore(0)

    def reconcile(self, key: str) -> Outcome:
        self.seen.append(key)
        self.done.release()
        outcome = self.outcomes[key]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_fault_with_one_object_ends_no_worker_and_brings_it_back_later() -> None:
    lines: list[str] = []
    queue: KeyedQueue[Key] = KeyedQueue()
    metrics = Metrics()
    outcomes: dict[str, Outcome | Exception] = {
        "broken": ZeroDivisionError("of ours"),
        "failed": ContentError("no"),
        "retried": Outcome(retry=True),
        "settled": Outcome(),
    }
    reconciler = Reconciler(**outcomes)
    leads = threading.Event()
    workers = Workers(queue, {"Package": reconciler}, 2, may_write=leads.is_set, metrics=metrics, log=Log(lines.append))
    workers.start()
    for name in outcomes:
        queue.put(("Package", name))
    assert not reconciler.done.acquire(timeout=0.2), "no key is taken before this replica leads"
    leads.set()
    for _ in outcomes:
        assert reconciler.done.acquire(timeout=5)
    workers.stop(5)
    assert set(reconciler.seen) == set(outcomes)
    for name in outcomes:
        assert metrics.value("reconciles_total", kind="Package", result=name) == 1
    assert {json.loads(line)["object"] for line in lines} == {"broken", "failed"}


def test_what_was_not_its_turn_counts_as_no_pass_and_forgives_nothing() -> None:
    queue: KeyedQueue[Key] = KeyedQueue(spread=0.0)
    metrics = Metrics()
    key = ("Package", "later")
    queue.retry(key), queue.retry(key)
    queue.take(5)
    queue.done(key)
    reconciler = Reconciler(later=Outcome(again_after=60.0, untried=True))
    workers = Workers(queue, {"Package": reconciler}, 1, may_write=lambda: True, metrics=metrics, log=Log([].append))
    workers._work(key)
    assert metrics.value("reconciles_total", kind="Package", result="settled") == 0
    assert queue.take(0.0) is None
    assert queue.retry(key) == 4.0


class World:
    """One Package in an API server, and what happens when something is done about it."""

    def __init__(self, *, spec: dict[str, Any] | None = None) -> None:
        metadata = {"name": "hello", "namespace": "eksa-packages-site", "uid": "u", "generation": 1}
        self.document: dict[str, Any] | None = {"metadata": metadata, "spec": spec or {"packageName": "hello"}}
        self.patches: list[Any] = []
        self.told: list[tuple[Any, ...]] = []
        self.refuse: ClusterError | None = None
        self.act: Any = None

    def get(self, key: str) -> Any:
        assert key == KEY
        return self.document

    def put(self, document: dict[str, Any]) -> None:
        self.document = document

    def forget(self, key: str) -> None:
        assert key == KEY
        self.document = None

    def path(self, key: str, subresource: str = "") -> str:
        return f"/{key}/{subresource}"

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path.endswith("/status")
        if self.refuse is not None:
            raise self.refuse
        self.patches.append(body)
        assert self.document is not None
        before = self.document.get("status") or {}
        return {**self.document, "status": {**before, **body["status"]}}

    def carry_out(self, *args: Any) -> Any:
        return self.act(*args)

    def tell(self, *told: Any) -> None:
        self.told.append(told)

    def reconciler(self, observe: Any) -> PackageReconciler:
        return PackageReconciler(
            api=cast("Any", self),
            observer=cast("Any", SimpleNamespace(packages=self, observe=observe)),
            actor=cast("Any", SimpleNamespace(carry_out=self.carry_out)),
            memories=Memories(180.0),
            events=cast("Any", self),
            metrics=Metrics(),
            log=Log(lambda line: None),  # noqa: ARG005 -- nobody reads them
            may_write=lambda: True,
        )

    def observed(self, **more: Any) -> Observed | None:
        if self.document is None:
            return None
        return Observed(package=Package.from_json(self.document), holder="replica", **more)


def refused(world: World) -> Any:
    refusal = Refusal("NoController", "there is none")
    return lambda key, looked, memory: world.observed(refusal=refusal)  # noqa: ARG005 -- a stand-in


def test_a_status_is_written_once_and_an_event_beside_it() -> None:
    world = World()
    reconciler = world.reconciler(refused(world))
    assert reconciler.reconcile(KEY) == Outcome(again_after=180.0)
    assert reconciler.reconcile(KEY) == Outcome(again_after=180.0)
    assert len(world.patches) == 1
    written = world.patches[0]["status"]
    assert (written["state"], written["detail"]) == ("initializing", "there is none")
    assert all(condition["lastTransitionTime"] for condition in written["conditions"])
    assert [(told[2], told[3]) for told in world.told] == [("Warning", "NoController")]


def test_a_package_that_is_gone_is_forgotten() -> None:
    world = World()
    world.refuse = ClusterError("not found", artifact="x", status=404)
    assert world.reconciler(refused(world)).reconcile(KEY) == Outcome()
    assert world.document is None
    assert world.reconciler(refused(world)).reconcile(KEY) == Outcome()


def taken_up(world: World) -> Any:
    def observe(key: str, looked: Looked, memory: Any) -> Observed | None:
        del key, memory
        seen = world.observed(wanted=wanted(), location="apps", release=looked.release, trouble=looked.trouble)
        assert seen is not None
        metadata = replace(package().metadata, namespace="eksa-packages-site", name="hello")
        return replace(seen, package=replace(seen.package, metadata=metadata))

    return observe


def test_a_step_that_fails_is_told_and_backed_off_from() -> None:
    world = World()

    def act(action: Any, *rest: Any) -> Looked:
        assert action == LookUp("release")
        del rest
        raise ClusterError("secrets is forbidden", artifact="site/api/v1/secrets", status=403)

    world.act = act
    assert world.reconciler(taken_up(world)).reconcile(KEY) == Outcome(retry=True)
    assert world.patches[0]["status"]["detail"] == "secrets is forbidden"
    assert world.told[0][3] == "LookUpFailed"


def test_somebody_elses_change_meanwhile_is_no_failure() -> None:
    world = World()

    def act(*args: Any) -> Looked:
        raise ClusterError("changed", artifact=str(len(args)), status=409)

    world.act = act
    # With back-off: it may be a conflict that stays.
    assert world.reconciler(taken_up(world)).reconcile(KEY) == Outcome(retry=True)
    assert world.patches == []


def test_what_does_not_count_any_more_is_not_carried_on() -> None:
    world = World()
    wanted_by_turns = [wanted("1.0.0"), wanted("1.0.0"), wanted("2.0.0"), wanted("2.0.0"), wanted("2.0.0")]
    asked: list[Any] = []

    def observe(key: str, looked: Looked, memory: Any) -> Observed | None:
        now = wanted_by_turns[len(asked)]
        found = taken_up(world)(key, replace(looked, release=None), memory)
        known = looked if looked.aim == now else Looked()
        return replace(found, wanted=now, chart=known.chart, images=known.images)

    def act(action: Any, observed: Any, looked: Looked, memory: Any) -> Looked:
        del observed, memory
        asked.append(action.what)
        found = {"chart": ChartFile("apps")} if action.what == "chart" else {"images": ()}
        return replace(looked, **found)

    world.act = act
    reconciler = replace(world.reconciler(observe), may_write=lambda: len(asked) < 4)
    assert reconciler.reconcile(KEY) == Outcome()
    assert asked == ["chart", "images", "chart", "images"]


def test_a_package_that_was_let_go_is_not_touched_again() -> None:
    world = World()
    assert world.document is not None
    world.document["metadata"] |= {"deletionTimestamp": "2026-11-26T00:00:00Z", "finalizers": [FINALIZER]}
    done: list[Any] = []

    def act(action: Any, observed: Any, looked: Looked, memory: Any) -> Looked:
        del observed, memory
        done.append(action)
        return Looked(chart=looked.chart)

    world.act = act

    def observe(key: str, looked: Looked, memory: Any) -> Observed | None:
        del key, memory
        return world.observed(release=looked.release)

    assert world.reconciler(observe).reconcile(KEY) == Outcome()
    assert done == [Dismiss()]
    assert world.patches == []


def test_a_pass_that_never_settles_is_backed_off_from() -> None:
    world = World()
    world.act = lambda action, observed, looked, memory: looked  # noqa: ARG005 -- nothing is found out
    assert world.reconciler(taken_up(world)).reconcile(KEY) == Outcome(retry=True)


def test_a_namespace_is_prepared_again_after_an_installation_failed() -> None:
    world = World()
    seen: list[str] = []

    def act(action: Any, observed: Any, looked: Looked, memory: Any) -> Looked:
        del observed, looked
        seen.append(type(action).__name__)
        memory.prepared = "as it was"
        raise ContentError('namespaces "apps" not found')

    world.act = act

    def observe(key: str, looked: Looked, memory: Any) -> Observed | None:
        del key
        seen.append(memory.prepared)
        found = taken_up(world)("", replace(looked, release=None), memory)
        return replace(found, chart=ChartFile("apps"), images=(), prepared=True)

    assert world.reconciler(observe).reconcile(KEY) == Outcome(retry=True)
    assert seen == ["", "Install", ""]

"""A workload cluster that holds up who works on it."""

from __future__ import annotations

import threading

import pytest

from bundlectl.errors import ContentError
from controller.fairness import Fair, Turns
from controller.packages import Outcome

LATER = Outcome(again_after=1.0, untried=True)


class Slow:
    """Works until it is told to stop."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()

    def reconcile(self, key: str) -> Outcome:
        self.entered.release()
        if key.startswith("slow"):
            self.free.wait(10)
        if key.endswith("/broken"):
            raise ContentError("no")
        return Outcome()


def cluster_of(key: str) -> str:
    return key.partition("/")[0]


def test_clusters_that_take_their_time_leave_workers_to_the_others_and_one_to_the_own() -> None:
    slow, turns = Slow(), Turns("site", 4)
    packages, controllers = Fair(slow, cluster_of, turns), Fair(slow, cluster_of, turns)
    passes = [(packages, "slow/a"), (controllers, "slow/b"), (controllers, "slow-too/a")]
    threads = [threading.Thread(target=kind.reconcile, args=(key,)) for kind, key in passes]
    for thread in threads[:2]:
        thread.start()
        assert slow.entered.acquire(timeout=5)
    for kind in (packages, controllers):
        assert kind.reconcile("slow/d") == LATER
        assert kind.reconcile("other/a") == Outcome()
        assert slow.entered.acquire(timeout=5)
    threads[2].start()
    assert slow.entered.acquire(timeout=5)
    for kind in (packages, controllers):
        assert kind.reconcile("other/a") == LATER
        assert kind.reconcile("site/a") == Outcome()
    slow.free.set()
    for thread in threads:
        thread.join(5)
    assert packages.reconcile("slow/d") == Outcome()


def test_a_failure_frees_the_worker() -> None:
    turns = Turns("site", 3)
    for _ in range(3):
        with pytest.raises(ContentError):
            Fair(Slow(), cluster_of, turns).reconcile("x/broken")
    assert not turns._busy


def test_the_own_cluster_may_have_all_workers_until_there_are_others() -> None:
    turns = Turns("site", 4)
    assert [turns.take("site") for _ in range(5)] == [True, True, True, True, False]
    assert turns.take("field")
    turns.give_back("site")
    assert not turns.take("site"), "one is for the others"
    turns.give_back("site")
    assert turns.take("site")
    for cluster in ("site", "site", "site", "field"):
        turns.give_back(cluster)
    assert not turns._busy

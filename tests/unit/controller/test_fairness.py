"""A workload cluster that holds up who works on it."""

from __future__ import annotations

import threading

import pytest

from bundlectl.errors import ContentError
from controller.fairness import Fair
from controller.packages import Outcome


class Slow:
    """Works until it is told to stop."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.free = threading.Event()

    def reconcile(self, key: str) -> Outcome:
        self.entered.release()
        if key.startswith("eksa-packages-slow"):
            self.free.wait(10)
        if key.endswith("/broken"):
            raise ContentError("no")
        return Outcome()


def test_clusters_that_take_their_time_leave_workers_to_the_others_and_one_to_the_own() -> None:
    slow = Slow()
    fair = Fair(slow, {"eksa-packages", "eksa-packages-site"}, 4)
    keys = ["eksa-packages-slow/a", "eksa-packages-slow/b", "eksa-packages-slow-too/a"]
    threads = [threading.Thread(target=fair.reconcile, args=(key,)) for key in keys]
    later = Outcome(again_after=1.0, untried=True)
    for thread in threads[:2]:
        thread.start()
        assert slow.entered.acquire(timeout=5)
    assert fair.reconcile("eksa-packages-slow/d") == later
    assert fair.reconcile("eksa-packages-other/a") == Outcome()
    threads[2].start()
    assert slow.entered.acquire(timeout=5)
    assert slow.entered.acquire(timeout=5)
    assert fair.reconcile("eksa-packages-other/a") == later
    for own in ("eksa-packages-site/a", "eksa-packages/a"):
        assert fair.reconcile(own) == Outcome()
    slow.free.set()
    for thread in threads:
        thread.join(5)
    assert fair.reconcile("eksa-packages-slow/d") == Outcome()


def test_a_failure_frees_the_worker() -> None:
    fair = Fair(Slow(), set(), 3)
    for _ in range(3):
        with pytest.raises(ContentError):
            fair.reconcile("eksa-packages-x/broken")
    assert not fair._busy


def test_the_own_cluster_may_have_all_workers() -> None:
    slow = Slow()
    fair = Fair(slow, {"eksa-packages-slow"}, 0)
    slow.free.set()
    assert fair.reconcile("eksa-packages-slow/a") == Outcome()

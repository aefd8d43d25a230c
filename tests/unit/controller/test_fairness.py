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
        if key.startswith("eksa-packages-slow/"):
            self.free.wait(10)
        if key.endswith("/broken"):
            raise ContentError("no")
        return Outcome()


def test_a_cluster_that_takes_its_time_leaves_a_worker_to_the_others() -> None:
    slow = Slow()
    fair = Fair(slow, {"eksa-packages", "eksa-packages-site"}, 3)
    threads = [threading.Thread(target=fair.reconcile, args=(f"eksa-packages-slow/{name}",)) for name in "abc"]
    for thread in threads:
        thread.start()
        assert slow.entered.acquire(timeout=5)
    assert fair.reconcile("eksa-packages-slow/d") == Outcome(again_after=1.0)
    for other in ("eksa-packages-other/a", "eksa-packages-site/a", "eksa-packages/a"):
        assert fair.reconcile(other) == Outcome()
    slow.free.set()
    for thread in threads:
        thread.join(5)
    assert fair.reconcile("eksa-packages-slow/d") == Outcome()


def test_a_failure_frees_the_worker() -> None:
    fair = Fair(Slow(), set(), 1)
    for _ in range(3):
        with pytest.raises(ContentError):
            fair.reconcile("eksa-packages-x/broken")
    assert not fair._busy


def test_the_own_cluster_may_have_all_workers() -> None:
    slow = Slow()
    fair = Fair(slow, {"eksa-packages-slow"}, 0)
    slow.free.set()
    assert fair.reconcile("eksa-packages-slow/a") == Outcome()

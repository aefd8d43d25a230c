"""Leadership, with two replicas over one Lease and clocks that are moved by hand."""

from __future__ import annotations

import inspect
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.api import ClusterError
from controller.lease import DURATION, Leadership
from controller.service import _ELECTION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.api import Api

LEASE = "/apis/coordination.k8s.io/v1/namespaces/eksa-packages/leases/controller"


class Server:
    """An API server that has one Lease, or does not answer."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.reachable = True
        self.before_write: Callable[[], None] = lambda: None
        self.before_answer: Callable[[], None] = lambda: None
        self.loses_answers = False

    def find(self, path: str) -> dict[str, Any] | None:  # noqa: ARG002 -- there is one
        self._answer()
        return self.lease

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.lease is not None:
            raise ClusterError("exists", artifact=path, status=409)
        return self._store(body)

    def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        self.before_write()
        if self.lease is None or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ClusterError("changed", artifact=path, status=409)
        return self._store(body)

    def _store(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {"name": "controller", "resourceVersion": str(self.version)}}
        if self.loses_answers:
            raise ClusterError("no answer", artifact=LEASE, status=0)
        return self.lease

    def _answer(self) -> None:
        self.before_answer()
        if not self.reachable:
            raise ClusterError("no answer", artifact=LEASE, status=0)


class Replica:
    """A participant whose clock is its own."""

    def __init__(self, server: Server, name: str, now: float) -> None:
        self.now = now
        self.told: list[str] = []
        self.troubles: list[str] = []
        self.election = Leadership(
            cast("Api", server),
            "eksa-packages/controller",
            name,
            gained=lambda: self.told.append("gained"),
            lost=lambda: self.told.append("lost"),
            failed=self.troubles.append,
            clock=lambda: self.now,
        )

    def step(self, after: float = 0.0) -> bool:
        self.now += after
        self.election.step()
        return self.election.holds


def test_one_leads_and_the_other_waits_whatever_their_clocks_say() -> None:
    server = Server()
    first, second = Replica(server, "first", 1000.0), Replica(server, "second", 5.0)
    assert first.step()
    for _ in range(20):
        assert not second.step(5)
        assert first.step(5)
    assert (first.told, second.told) == (["gained"], [])


def test_a_leader_that_falls_silent_is_followed_after_fifteen_seconds() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.step()
    assert not second.step()
    assert not second.step(14.9)
    assert second.step(0.2)
    assert not first.step(16)
    assert first.told == ["gained", "lost"]


def test_a_leader_that_cannot_renew_stops_writing_before_another_may_begin() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.step()
    second.step()
    server.reachable = False
    assert first.step(5)
    first.now += 5.1
    assert not first.election.holds
    assert not first.step()
    assert first.told == ["gained", "lost"]
    server.reachable = True
    assert not second.step(11)
    assert first.step()
    assert first.told[-1] == "gained"


def test_why_nobody_leads_is_told_once() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    server.reachable = False
    assert not any(first.step(3) for _ in range(3))
    assert first.troubles == [first.election.trouble]
    assert "no answer" in first.election.trouble
    server.reachable = True
    assert first.step(3)
    assert first.election.trouble == ""
    server.reachable = False
    assert first.step(3)
    assert len(first.troubles) == 2


def test_who_resigns_lets_another_lead_at_once() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.election.start()
    while not first.election.holds:
        pass
    first.election.resign()
    assert second.step()
    assert first.told == ["gained", "lost"]


def test_a_leader_whose_lease_somebody_labels_meanwhile_goes_on_leading() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    first.step()
    lease = server.lease
    assert lease is not None
    server.before_write = lambda: (server._store(lease), None)[1]  # another version
    assert first.step(3)
    assert first.told == ["gained"]
    server.before_write = lambda: None
    assert first.step(0.5)
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == "first"


def test_while_a_deleted_lease_may_still_be_held_nobody_else_takes_it() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.step()
    assert not second.step()
    server.lease = None
    assert not second.step(3)
    assert first.step(3)
    assert not second.step(0.5)
    server.lease = None
    assert second.step(DURATION + 0.1)


def test_a_short_duration_that_somebody_wrote_into_the_lease_does_not_make_two_leaders() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.step()
    assert server.lease is not None
    server._store({**server.lease, "spec": {**server.lease["spec"], "leaseDurationSeconds": 1}})
    second.step()
    assert not second.step(2)
    assert first.step(2)


def test_a_renewal_that_took_too_long_is_none() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)

    def hang() -> None:
        first.now += 11

    first.step()
    server.before_write = hang
    assert not first.step(3)
    assert first.told == ["gained", "lost"]


def test_an_api_server_that_takes_its_time_for_each_answer_does_not_lose_the_lead() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    answered: list[bool] = []

    def take_time() -> None:
        first.now += 2.4
        answered.append(first.election.holds)

    first.step()
    server.before_answer = take_time
    for _ in range(20):
        first.now += first.election.step()
        answered.append(first.election.holds)
    assert all(answered)
    assert first.told == ["gained"]


def test_two_answers_that_never_come_do_not_lose_the_lead() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    first.step()
    hung = [True, True]

    def hang() -> None:
        if hung and hung.pop():
            first.now += _ELECTION
            raise ClusterError("no answer", artifact=LEASE, status=0)

    server.before_answer = hang
    for _ in range(4):
        first.now += first.election.step()
        assert first.election.holds
    assert not hung
    assert first.told == ["gained"]


def test_a_leader_that_slept_with_its_machine_knows_at_once() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    first.step()
    first.now += 20
    assert not first.election.holds  # before any thread of it had its turn
    default = inspect.signature(Leadership).parameters["clock"].default
    assert abs(default() - time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))) < 1


def test_a_lead_that_lapsed_unseen_is_gained_anew_and_with_it_what_was_left_off_meanwhile() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    first.step()
    assert first.step(20)  # before the guard had its turn: the machine slept, and nobody else was there
    assert first.told == ["gained", "lost", "gained"]


def test_a_renewal_whose_lease_another_has_taken_is_followed_by_a_look() -> None:
    server = Server()
    first = Replica(server, "first", 0.0)
    first.step()
    assert server.lease is not None
    server._store({**server.lease, "spec": {**server.lease["spec"], "holderIdentity": "second"}})
    first.now += 3
    assert first.election.step() < 1
    assert not first.step(0.5)
    assert first.told == ["gained", "lost"]
    assert server.lease["spec"]["holderIdentity"] == "second"


def test_to_begin_and_to_stop_are_told_in_the_order_in_which_they_happened() -> None:
    """Else a helm that was revived would be killed for good."""
    server = Server()
    told: list[str] = []
    entered, free = threading.Event(), threading.Event()

    def lost() -> None:
        entered.set()
        free.wait(5)
        told.append("lost")

    now = [0.0]
    election = Leadership(
        cast("Api", server),
        "eksa-packages/controller",
        "first",
        gained=lambda: told.append("gained"),
        lost=lost,
        clock=lambda: now[0],
    )
    election.step()
    now[0] = 11.0
    guard = threading.Thread(target=election._guard)
    guard.start()
    assert entered.wait(5)
    renewing = threading.Thread(target=election.step)
    renewing.start()
    renewing.join(0.1)
    free.set()
    renewing.join(5)
    election.resign()
    guard.join(5)
    assert told == ["gained", "lost", "gained"]
    assert election.holds


def test_a_counter_that_is_full_does_not_keep_anybody_from_leading() -> None:
    server = Server()
    server._store({"metadata": {}, "spec": {"holderIdentity": "", "leaseTransitions": 2**31 - 1}})
    first = Replica(server, "first", 0.0)
    assert first.step()
    assert server.lease is not None
    assert server.lease["spec"]["leaseTransitions"] == 2**31 - 1


class World:
    """Some replicas over one Lease; time passes for all alike, and their clocks stand anywhere."""

    def __init__(self) -> None:
        self.server = Server()
        self.replicas = [Replica(self.server, name, start) for name, start in (("a", 0.0), ("b", 1e6), ("c", 50.0))]

    def pass_by(self, seconds: float) -> None:
        for replica in self.replicas:
            replica.now += seconds

    def label(self) -> None:
        if self.server.lease is not None:
            self.server._store(self.server.lease)


REPLICA = st.integers(0, 2)
STEPS = (
    st.tuples(st.just("step"), REPLICA)
    | st.tuples(st.just("time"), st.sampled_from([0.5, 3.0, 5.0, 9.5, 15.5]))
    | st.tuples(st.sampled_from(["slow", "cut", "lost", "label", "restart"]), REPLICA)
)


@settings(deadline=None, max_examples=200)
@given(st.lists(STEPS, min_size=30, max_size=60))
def test_never_do_two_lead_whatever_becomes_of_what_they_send(steps: list[tuple[str, Any]]) -> None:
    world = World()
    for what, which in steps:
        if what == "time":
            world.pass_by(which)
        elif what == "label":
            world.label()
        elif what == "restart":
            before = world.replicas[which]
            world.replicas[which] = Replica(world.server, f"{before.election.identity}+", before.now)
        else:
            replica = world.replicas[which]
            world.server.reachable = what != "cut"
            # What is sent may arrive late, and the answer to what did arrive may be lost.
            world.server.before_write = (lambda: world.pass_by(7.0)) if what == "slow" else lambda: None
            world.server.loses_answers = what == "lost"
            replica.election.step()
            world.server.reachable, world.server.loses_answers = True, False
        assert sum(replica.election.holds for replica in world.replicas) <= 1

"""Leadership, with two replicas over one Lease and clocks that are moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from controller.api import ClusterError
from controller.lease import Leadership

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.api import Api

LEASE = "/apis/coordination.k8s.io/v1/namespaces/eksa-packages/leases/controller"


class Server:
    """An API server that has one Lease, or does not answer."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.reachable = True

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
        if self.lease is None or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ClusterError("changed", artifact=path, status=409)
        return self._store(body)

    def _store(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {"name": "controller", "resourceVersion": str(self.version)}}
        return self.lease

    def _answer(self) -> None:
        if not self.reachable:
            raise ClusterError("no answer", artifact=LEASE, status=0)


class Replica:
    """A participant whose clock is its own."""

    def __init__(self, server: Server, name: str, now: float) -> None:
        self.now = now
        self.told: list[str] = []
        self.election = Leadership(
            cast("Api", server),
            "eksa-packages",
            "controller",
            name,
            gained=lambda: self.told.append("gained"),
            lost=lambda: self.told.append("lost"),
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


def test_who_resigns_lets_another_lead_at_once() -> None:
    server = Server()
    first, second = Replica(server, "first", 0.0), Replica(server, "second", 0.0)
    first.election.start()
    while not first.election.holds:
        pass
    first.election.resign()
    assert second.step()
    assert first.told == ["gained", "lost"]

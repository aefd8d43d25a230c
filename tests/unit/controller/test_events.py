"""Events of Kubernetes."""

from __future__ import annotations

from typing import Any, cast

from controller.api import ClusterError
from controller.events import Events
from controller.logs import Log
from controller.values import Metadata


class Server:
    """Takes Events, or does not."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.refuses = False
        self.now = 0.0

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert path == "/api/v1/namespaces/eksa-packages-site/events"
        if self.refuses:
            raise ClusterError("forbidden", artifact=path, status=403)
        self.taken.append(body)
        return body

    def events(self, lines: list[str]) -> Events:
        return Events(cast("Any", self), "replica", Log(lines.append, debug=True), clock=lambda: self.now)


def metadata(name: str) -> Metadata:
    return Metadata(name=name, namespace="eksa-packages-site", uid=f"uid-{name}")


def test_an_event_says_about_what_it_is_under_a_name_that_it_may_have() -> None:
    server = Server()
    server.events([]).tell("Package", metadata("a" * 199 + "-" + "b" * 50), "Warning", "Broken", "")
    (event,) = server.taken
    assert event["metadata"]["name"].startswith("a" * 199 + ".")
    assert event["involvedObject"]["uid"] == "uid-" + "a" * 199 + "-" + "b" * 50
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "Broken", "Broken")


def test_one_that_is_not_taken_is_lost_and_no_matter() -> None:
    server, lines = Server(), cast("list[str]", [])
    server.refuses = True
    server.events(lines).tell("Package", metadata("hello"), "Normal", "Installed", "it is")
    assert len(lines) == 1


def test_an_object_that_changes_all_the_time_fills_no_cluster_with_events() -> None:
    server = Server()
    events = server.events([])
    for number in range(200):
        events.tell("Package", metadata("flapping"), "Warning", "NotReady", str(number))
    assert len(server.taken) == 25
    events.tell("Package", metadata("calm"), "Normal", "Installed", "it is")
    assert len(server.taken) == 26
    server.now = 600.0
    for _ in range(5):
        events.tell("Package", metadata("flapping"), "Warning", "NotReady", "again")
    assert len(server.taken) == 28

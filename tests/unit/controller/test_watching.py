"""A copy of the objects of a kind, with an API server that says what the test wants."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from controller.api import _BODY_LIMIT, _PAGE, ClusterError
from controller.watching import Objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.api import Api


def item(name: str, version: int, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "resourceVersion": str(version), "managedFields": [{"manager": "x"}]}
    return {"metadata": metadata, "spec": spec}


class Server:
    """Lists what there is, and sends the events that are put into it."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = list(items)
        self.lists = 0
        self.events: queue.Queue[Any] = queue.Queue()
        self.since: list[str] = []
        self.version = "50"
        self.found: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []

    def within(self, seconds: float) -> Server:
        assert seconds < 5, "an API server waits for admission for 10 s"
        return self

    def find(self, path: str) -> dict[str, Any] | None:
        namespace, _, name = path.partition("/namespaces/")[2].replace("/packages/", "/").partition("/")
        self.asked.append(f"{namespace}/{name}")
        return self.found.get(self.asked[-1])

    def get(self, path: str, **query: str) -> dict[str, Any]:
        assert path.endswith("/packages")
        self.lists += 1
        start = int(query.get("continue", "0"))
        rest = str(start + 1) if start + 1 < len(self.items) else ""
        return {"items": self.items[start : start + 1], "metadata": {"resourceVersion": self.version, "continue": rest}}

    def watch(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        del path
        self.since.append(version)
        while (event := self.events.get(timeout=10)) is not None:
            if isinstance(event, Exception):
                raise event
            yield event


class Told:
    """What the owner of the copy was told."""

    def __init__(self) -> None:
        self.changes: queue.Queue[tuple[str, bool, bool]] = queue.Queue()

    def __call__(self, key: str, before: Any, after: Any) -> None:
        self.changes.put((key, before is not None, after is not None))

    def next(self) -> tuple[str, bool, bool]:
        return self.changes.get(timeout=10)


@pytest.fixture
def told() -> Told:
    return Told()


def started(server: Server, told: Told) -> Objects:
    objects = Objects(cast("Api", server), "Package", told)
    objects.start()
    assert objects.listed.wait(10)
    return objects


def known(objects: Objects, key: str) -> dict[str, Any]:
    found = objects.get(key)
    assert found is not None
    return found


def ended(objects: Objects, server: Server) -> None:
    objects.stop()
    server.events.put(None)
    objects.join(10)
    assert not objects.is_alive()


def test_all_pages_are_listed_and_changes_followed(told: Told) -> None:
    server = Server(item("a", 1), item("b", 2))
    objects = started(server, told)
    assert [told.next()[0], told.next()[0]] == ["n/a", "n/b"]
    assert [each["metadata"]["name"] for each in objects.all("n")] == ["a", "b"]
    assert objects.all("m") == []
    server.events.put({"type": "MODIFIED", "object": item("a", 60, replicas=2)})
    assert told.next() == ("n/a", True, True)
    assert known(objects, "n/a")["spec"] == {"replicas": 2}
    assert "managedFields" not in known(objects, "n/a")["metadata"]
    server.events.put({"type": "DELETED", "object": item("b", 61)})
    assert told.next() == ("n/b", True, False)
    assert objects.get("n/b") is None
    ended(objects, server)


def test_what_a_write_was_answered_with_is_not_undone_by_an_older_event(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    objects.put(item("a", 70, replicas=3))
    assert told.next() == ("n/a", True, True)
    server.events.put({"type": "MODIFIED", "object": item("a", 65)})
    server.events.put({"type": "ADDED", "object": item("c", 71)})
    assert told.next()[0] == "n/c"
    assert known(objects, "n/a")["spec"] == {"replicas": 3}
    ended(objects, server)


def test_versions_that_are_not_kept_any_more_have_everything_listed_again(told: Told) -> None:
    server = Server(item("a", 1), item("b", 2))
    objects = started(server, told)
    told.next(), told.next()
    server.items, server.version = [item("a", 80)], "85"
    server.events.put({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "75"}}})
    server.events.put(ClusterError("too old", artifact="x", status=410))
    assert told.next() == ("n/a", True, True)
    assert told.next() == ("n/b", True, False)
    assert objects.trouble == ""
    ended(objects, server)


def test_a_server_that_fails_is_told_and_tried_again(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    server.events.put(ClusterError("no answer", artifact="x", status=0))
    deadline = threading.Event()
    while not objects.trouble:
        assert not deadline.wait(0.01)
    assert "no answer" in objects.trouble
    while server.lists < 2:
        assert not deadline.wait(0.05)
    ended(objects, server)


def test_what_a_write_was_answered_with_after_the_object_was_deleted_does_not_bring_it_back(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    server.events.put({"type": "DELETED", "object": item("a", 71)})
    assert told.next() == ("n/a", True, False)
    objects.put(item("a", 70))
    assert objects.get("n/a") is None
    objects.put(item("a", 72))  # another of that name, of which the watch has not told yet
    assert told.next() == ("n/a", False, True)
    server.events.put({"type": "DELETED", "object": item("a", 71)})
    server.events.put({"type": "ADDED", "object": item("b", 73)})
    assert told.next()[0] == "n/b"
    assert objects.get("n/a") is not None
    ended(objects, server)


def test_what_was_created_after_a_list_was_made_is_not_taken_for_gone(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    objects.put(item("b", 90))
    assert told.next() == ("n/b", False, True)
    server.version = "80"
    server.events.put(ClusterError("too old", artifact="x", status=410))
    while server.lists < 2:
        assert not threading.Event().wait(0.01)
    server.events.put({"type": "ADDED", "object": item("c", 91)})
    assert told.next() == ("n/c", False, True)
    assert objects.get("n/b") is not None
    ended(objects, server)


def test_a_cluster_that_was_restored_from_a_backup_is_believed_though_its_versions_went_back(told: Told) -> None:
    server = Server(item("a", 40, replicas=9), item("b", 41))
    objects = started(server, told)
    told.next(), told.next()
    server.items, server.version = [item("a", 7, replicas=1)], "8"
    server.events.put(ClusterError("no answer", artifact="x", status=0))
    assert told.next() == ("n/a", True, True)
    assert told.next() == ("n/b", True, False)
    assert known(objects, "n/a")["spec"] == {"replicas": 1}
    server.events.put({"type": "MODIFIED", "object": item("a", 9, replicas=2)})
    assert told.next() == ("n/a", True, True)
    ended(objects, server)


def test_a_restored_cluster_is_believed_though_its_versions_have_overtaken_what_was_known(told: Told) -> None:
    server = Server(item("a", 40, replicas=9), item("b", 41))
    objects = started(server, told)
    told.next(), told.next()
    server.items, server.version = [item("a", 7, replicas=1), item("b", 41)], "1000000050"
    server.events.put(ClusterError("no answer", artifact="x", status=0))
    assert told.next() == ("n/a", True, True)
    assert known(objects, "n/a")["spec"] == {"replicas": 1}
    server.events.put({"type": "ADDED", "object": item("c", 1000000051)})
    assert told.next()[0] == "n/c"  # and nothing of b, which is as it was
    ended(objects, server)


def test_a_list_does_not_undo_what_a_later_write_was_answered_with(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    objects.put(item("a", 90, replicas=3))
    told.next()
    server.version = "80"
    server.events.put(ClusterError("too old", artifact="x", status=410))
    while server.lists < 2:
        assert not threading.Event().wait(0.01)
    server.events.put({"type": "ADDED", "object": item("c", 91)})
    assert told.next() == ("n/c", False, True)
    assert known(objects, "n/a")["spec"] == {"replicas": 3}
    ended(objects, server)


def test_an_answer_that_makes_no_sense_does_not_end_the_watching(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    server.events.put(["no event"])
    while not objects.trouble:
        assert not threading.Event().wait(0.01)
    assert objects.trouble.startswith("AttributeError")
    while objects.trouble:
        assert not threading.Event().wait(0.05)
    server.events.put({"type": "MODIFIED", "object": item("a", 60)})
    assert told.next() == ("n/a", True, True)
    ended(objects, server)


@pytest.mark.parametrize("ended_by", [None, ClusterError("too old", artifact="x", status=410)])
def test_a_server_that_ends_each_watch_at_once_is_not_asked_without_end(told: Told, ended_by: Any) -> None:
    server = Server(item("a", 1))
    for _ in range(50):
        server.events.put(ended_by)
    objects = started(server, told)
    assert not threading.Event().wait(0.5)
    assert len(server.since) <= 2
    objects.stop()
    objects.join(10)
    assert not objects.is_alive()


def test_all_of_the_largest_objects_come_in_answers_that_are_read() -> None:
    assert int(_PAGE) * 1.5 * 1024 * 1024 <= _BODY_LIMIT


def test_an_api_server_that_does_not_answer_is_not_waited_for_by_each_review(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, asked = Server(item("a", 1)), []
    objects = started(server, told)
    told.next()

    def silent(path: str) -> None:
        asked.append(path)
        raise ClusterError("no answer", artifact=path, status=0)

    with monkeypatch.context() as patched:
        patched.setattr(server, "find", silent)
        with pytest.raises(ClusterError):
            objects.refresh("n/b")
        assert not objects.refresh("n/b")
    assert len(asked) == 1
    server.found["n/b"] = item("b", 70)
    objects._unasked_until = 0.0  # ten seconds later
    assert objects.refresh("n/b")
    ended(objects, server)


def test_what_the_watch_did_not_tell_of_yet_can_be_asked_for(told: Told) -> None:
    server = Server(item("a", 1))
    objects = started(server, told)
    told.next()
    server.found["n/b"], server.found["n/c"] = item("b", 70), item("c", 40)
    assert objects.refresh("n/b")
    assert told.next() == ("n/b", False, True)
    assert not objects.refresh("n/b")
    assert not objects.refresh("n/absent")
    assert not objects.refresh("n/c"), "the watch told that it is gone"
    for odd in ("n/../../secrets/x", "n/", "n", "n/a b", "n/A", "../n"):
        assert not objects.refresh(odd)
    assert server.asked == ["n/b", "n/b", "n/absent", "n/c"]
    ended(objects, server)

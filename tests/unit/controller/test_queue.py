"""The queue of keys: once, one worker at a time, due when they were said to be."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from controller.queue import KeyedQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drained(queue: KeyedQueue[str]) -> list[str]:
    found = []
    while (key := queue.take(0)) is not None:
        found.append(key)
        queue.done(key)
    return found


def test_a_key_that_is_put_twice_comes_once() -> None:
    queue: KeyedQueue[str] = KeyedQueue(Clock())
    queue.put("a")
    queue.put("a")
    queue.put("b")
    assert drained(queue) == ["a", "b"]


def test_a_key_comes_when_it_is_due_and_the_earliest_time_counts() -> None:
    clock = Clock()
    queue: KeyedQueue[str] = KeyedQueue(clock)
    queue.put("a", 60)
    queue.put("a", 10)
    queue.put("a", 30)
    assert drained(queue) == []
    clock.now += 10
    assert drained(queue) == ["a"]
    clock.now += 100
    assert drained(queue) == []


def test_a_key_that_is_worked_on_comes_again_only_when_that_has_ended() -> None:
    queue: KeyedQueue[str] = KeyedQueue(Clock())
    queue.put("a")
    assert queue.take(0) == "a"
    queue.put("a")
    assert queue.take(0) is None
    queue.done("a")
    assert queue.take(0) == "a"


def test_one_that_is_worked_on_holds_up_no_other() -> None:
    queue: KeyedQueue[str] = KeyedQueue(Clock())
    queue.put("a")
    assert queue.take(0) == "a"
    queue.put("a")
    queue.put("b")
    assert queue.take(0) == "b"


def test_failures_back_off_up_to_five_minutes_and_are_forgiven() -> None:
    clock = Clock()
    queue: KeyedQueue[str] = KeyedQueue(clock, spread=0.0)
    waits = []
    for _ in range(12):
        waits.append(queue.retry("a"))
        clock.now += waits[-1]
        assert drained(queue) == ["a"]
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == 300.0
    queue.forgive("a")
    assert queue.retry("a") == 1.0


def test_whoever_waits_is_woken_by_a_key_and_by_the_end() -> None:
    queue: KeyedQueue[str] = KeyedQueue()
    found: list[str | None] = []
    waiting = threading.Thread(target=lambda: found.extend([queue.take(10), queue.take(10)]))
    waiting.start()
    queue.put("a")
    queue.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert found[-1] is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "take", "done", "wait", "retry"])), max_size=60)
)
def test_no_key_is_lost_and_none_is_given_to_two(steps: list[tuple[str, str]]) -> None:
    clock = Clock()
    queue: KeyedQueue[str] = KeyedQueue(clock, spread=0.0)
    wanted: set[str] = set()
    working: set[str] = set()
    for key, step in steps:
        if step == "put":
            queue.put(key)
            wanted.add(key)
        elif step == "retry":
            queue.retry(key)
            wanted.add(key)
        elif step == "take":
            taken = queue.take(0)
            if taken is not None:
                assert taken not in working
                working.add(taken)
                wanted.discard(taken)
        elif step == "done":
            queue.done(key)
            working.discard(key)
        else:
            clock.now += 400
    for key in working:
        queue.done(key)
    clock.now += 400
    assert set(drained(queue)) == wanted

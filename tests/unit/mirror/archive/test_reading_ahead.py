"""What is read ahead arrives in order, with its errors, and nothing waits for ever."""

from __future__ import annotations

import threading
import time
from threading import Event
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, InterruptError, TransportError
from mirror.archive.reading_ahead import ReadingAhead

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(10)


def chunks(count: int, *, broken: bool = False, closed: Event | None = None) -> Iterator[bytes]:
    try:
        for number in range(count):
            yield b"%d" % number
        if broken:
            raise TransportError("the connection broke")
    finally:
        if closed is not None:
            closed.set()


def reading(count: int, *, broken: bool = False) -> ReadingAhead:
    return ReadingAhead(chunks(count, broken=broken), Event())


def running() -> bool:
    return any(thread.name == "reading-ahead" for thread in threading.enumerate())


def test_chunks_come_in_order_and_end() -> None:
    ahead = reading(100)
    assert [ahead.next() for _ in range(100)] == [b"%d" % number for number in range(100)]
    ahead.finish()
    ahead.close()
    ahead.close()
    assert not running()


def test_an_error_comes_after_what_was_read_before_it() -> None:
    ahead = reading(3, broken=True)
    assert [ahead.next() for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(TransportError, match="broke"):
        ahead.next()
    ahead.close()
    ahead = reading(1, broken=True)
    ahead.next()
    with pytest.raises(TransportError, match="broke"):
        ahead.finish()
    ahead.close()


def test_too_little_and_too_much_are_told() -> None:
    ahead = reading(0)
    with pytest.raises(ContentError, match="ended early"):
        ahead.next()
    ahead.close()
    ahead = reading(2)
    ahead.next()
    with pytest.raises(ContentError, match="more than its plan"):
        ahead.finish()
    ahead.close()


def test_only_a_few_are_read_ahead() -> None:
    taken: list[int] = []

    def counted() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x"

    ahead = ReadingAhead(counted(), Event())
    time.sleep(0.1)
    assert len(taken) < 20
    ahead.close()
    assert len(taken) < 20


def test_who_leaves_early_ends_the_reading_and_what_it_has_open() -> None:
    closed = Event()
    ahead = ReadingAhead(chunks(1000, closed=closed), Event())
    ahead.next()
    ahead.close()
    assert not running()
    del ahead
    assert closed.wait(5)


def test_cancelled_nobody_waits() -> None:
    cancelled, stuck = Event(), Event()

    def slow() -> Iterator[bytes]:
        stuck.wait(5)
        yield b"late"

    ahead = ReadingAhead(slow(), cancelled)
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(InterruptError, match="stopped"):
        ahead.next()
    stuck.set()
    ahead.close()
    assert not running()

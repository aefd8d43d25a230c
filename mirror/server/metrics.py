"""Counters of the server, as Prometheus text (exposition format 0.0.4), added up over all its processes.

They lie in memory that forked processes share, one row for each: whichever process is asked tells
of all, and what a process that was killed had counted is not lost.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, get_args

from mirror.server.paths import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OTHER")
_ROUTES: Final = (*get_args(Kind), "none")
_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")
_OUTCOMES: Final = ("started", "finished", "cancelled", "refused", "mounted")
_BOUNDS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0)
"""Upper bounds of the histogram's buckets, in seconds; one more holds what took longer."""

_IN_FLIGHT, _OPEN, _SENT, _RECEIVED = range(4)
_GAUGES: Final = (_IN_FLIGHT, _OPEN)
_UPLOADS: Final = 4
_REQUESTS: Final = _UPLOADS + len(_OUTCOMES)
_TIMES: Final = _REQUESTS + len(_METHODS) * len(_ROUTES) * len(_CLASSES)
_TIMES_OF_ROUTE: Final = len(_BOUNDS) + 2  # the buckets, one without bound, and the sum in microseconds
_WIDTH: Final = _TIMES + len(_ROUTES) * _TIMES_OF_ROUTE

_METHOD_INDEX: Final = {method: index for index, method in enumerate(_METHODS)}
_ROUTE_INDEX: Final = {route: index for index, route in enumerate(_ROUTES)}
_OUTCOME_INDEX: Final = {outcome: index for index, outcome in enumerate(_OUTCOMES)}


class Metrics:
    """Thread-safe counters. Labels take a few fixed values only: nothing of a client gets in.

    Args:
        processes: that will count; each after ``take`` of its number.
    """

    def __init__(self, processes: int = 1) -> None:
        self._lock = threading.Lock()
        self._processes = processes
        self._cells = memoryview(mmap.mmap(-1, processes * _WIDTH * 8)).cast("q")
        self._own = 0

    def take(self, process: int) -> None:
        """Count in this row from now on; whoever did before is gone, with its open connections.

        Args:
            process: its number, from 0.
        """
        self._own = process * _WIDTH
        for gauge in _GAUGES:
            self._cells[self._own + gauge] = 0

    def begin(self) -> None:
        """A request arrived."""
        with self._lock:
            self._cells[self._own + _IN_FLIGHT] += 1

    def finish(self, method: str, route: str, status: int, *, sent: int, received: int, seconds: float = 0.0) -> None:
        """A response is over, sent in full or cut.

        Args:
            method: of the request.
            route: its kind.
            status: of the response.
            sent: bytes of its body.
            received: bytes of the request's body.
            seconds: from the request's headers to the response's last byte.
        """
        number = _ROUTE_INDEX.get(route, _ROUTE_INDEX["none"])
        index = _METHOD_INDEX.get(method, _METHOD_INDEX["OTHER"]) * len(_ROUTES) + number
        answered = self._own + _REQUESTS + index * len(_CLASSES) + status // 100 - 1
        times = self._own + _TIMES + number * _TIMES_OF_ROUTE
        bucket = times + bisect_left(_BOUNDS, seconds)
        cells, own = self._cells, self._own
        with self._lock:
            cells[own + _IN_FLIGHT] -= 1
            cells[own + _SENT] += sent
            cells[own + _RECEIVED] += received
            cells[answered] += 1
            cells[bucket] += 1
            cells[times + _TIMES_OF_ROUTE - 1] += int(seconds * 1e6)

    def upload(self, outcome: str) -> None:
        """An upload ``started``, ``finished``, was ``cancelled``, ``refused`` or ``mounted``."""
        with self._lock:
            self._cells[self._own + _UPLOADS + _OUTCOME_INDEX[outcome]] += 1

    def connected(self, change: int) -> None:
        """A connection was opened (1) or closed (-1)."""
        with self._lock:
            self._cells[self._own + _OPEN] += change

    def is_least_busy(self) -> bool:
        """Whether no other process has fewer connections open than this one."""
        opened = self._cells[_OPEN::_WIDTH].tolist()
        return self._cells[self._own + _OPEN] <= min(opened)

    def render(self, gauges: Mapping[str, tuple[str, int]] | None = None) -> bytes:
        """All counters as Prometheus text.

        Args:
            gauges: further values by name, each with a sentence that says what it is.
        """
        rows = [self._cells[start : start + _WIDTH].tolist() for start in range(0, len(self._cells), _WIDTH)]
        cells = [sum(column) for column in zip(*rows, strict=True)]
        lines = [
            *_family("http_requests_total", "counter", "Requests answered.", _requests(cells)),
            *_family("http_request_seconds", "histogram", "Time from headers to the last byte.", _times(cells)),
            *_family("http_in_flight", "gauge", "Requests being answered.", [("", cells[_IN_FLIGHT])]),
            *_family("http_connections", "gauge", "Connections open.", [("", cells[_OPEN])]),
            *_family("http_sent_bytes_total", "counter", "Bytes of response bodies.", [("", cells[_SENT])]),
            *_family("http_received_bytes_total", "counter", "Bytes of request bodies.", [("", cells[_RECEIVED])]),
            *_family("uploads_total", "counter", "Blob uploads by outcome.", _uploads(cells)),
        ]
        for name, (told, value) in (gauges or {}).items():
            lines += _family(name, "gauge", told, [("", value)])
        return ("\n".join(lines) + "\n").encode()


def _family(name: str, kind: str, told: str, samples: Iterable[tuple[str, int | float]]) -> Iterator[str]:
    """The lines of one metric; a sample is what follows its name, and its value."""
    full = f"bundlectl_{name}"
    yield f"# HELP {full} {told}"
    yield f"# TYPE {full} {kind}"
    for labels, value in samples:
        yield f"{full}{labels} {value}"


def _requests(cells: list[int]) -> Iterator[tuple[str, int]]:
    index = _REQUESTS
    for method in _METHODS:
        for route in _ROUTES:
            for status in _CLASSES:
                if cells[index]:
                    yield f'{{method="{method}",route="{route}",status="{status}"}}', cells[index]
                index += 1


def _times(cells: list[int]) -> Iterator[tuple[str, int | float]]:
    for number, route in enumerate(_ROUTES):
        start = _TIMES + number * _TIMES_OF_ROUTE
        *buckets, micros = cells[start : start + _TIMES_OF_ROUTE]
        if not any(buckets):
            continue
        total = 0
        for bound, count in zip((*_BOUNDS, "+Inf"), buckets, strict=True):
            total += count
            yield f'_bucket{{route="{route}",le="{bound}"}}', total
        yield f'_sum{{route="{route}"}}', micros / 1e6
        yield f'_count{{route="{route}"}}', total


def _uploads(cells: list[int]) -> Iterator[tuple[str, int]]:
    for outcome, index in _OUTCOME_INDEX.items():
        if cells[_UPLOADS + index]:
            yield f'{{outcome="{outcome}"}}', cells[_UPLOADS + index]

"""Counters as Prometheus text (exposition format 0.0.4). Labels take few values: no name of an object is one."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0)
_HELP: Final = {
    "reconciles_total": "Passes over one object, by kind and result.",
    "actions_total": "Steps carried out for Packages, by name and result.",
    "writes_total": "Statuses written, by kind.",
    "admissions_total": "Objects judged at admission, by kind and result.",
    "events_total": "Events written, by reason.",
    "leader": "Whether this replica leads.",
    "queue_depth": "Objects that are due, and not worked on.",
    "packages": "Packages by state.",
    "reconcile_seconds": "How long a pass took.",
}


class Metrics:
    """Counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0
        self._gauges: dict[str, Callable[[], Mapping[str, float]]] = {}

    def count(self, name: str, **labels: str) -> None:
        """Count one."""
        with self._lock:
            self._counts[name, tuple(sorted(labels.items()))] += 1

    def took(self, seconds: float) -> None:
        """Note how long a pass took."""
        with self._lock:
            self._seconds += seconds
            self._buckets[sum(1 for bound in _BOUNDS if seconds > bound)] += 1

    def gauge(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Have a value read whenever it is asked for.

        Args:
            name: of the metric.
            read: gives values by the label ``state``; one under the empty text has no label.
        """
        self._gauges[name] = read

    def value(self, name: str, **labels: str) -> int:
        """What was counted."""
        with self._lock:
            return self._counts[name, tuple(sorted(labels.items()))]

    def render(self) -> str:
        """All of it."""
        with self._lock:
            counts, buckets, seconds = dict(self._counts), list(self._buckets), self._seconds
        lines: list[str] = []
        for name in sorted({name for name, _ in counts}):
            lines += _head(name, "counter")
            lines += [
                _line(name, dict(labels), value) for (each, labels), value in sorted(counts.items()) if each == name
            ]
        for name, read in sorted(self._gauges.items()):
            lines += _head(name, "gauge")
            lines += [_line(name, {"state": k} if k else {}, v) for k, v in sorted(read().items())]
        lines += _head("reconcile_seconds", "histogram")
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), buckets, strict=True):
            total += count
            lines.append(_line("reconcile_seconds_bucket", {"le": bound}, total))
        lines += [_line("reconcile_seconds_sum", {}, seconds), _line("reconcile_seconds_count", {}, total)]
        return "\n".join([*lines, ""])


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP bundlectl_controller_{name} {_HELP.get(name, name)}", f"# TYPE bundlectl_controller_{name} {kind}"]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(labels.items()))
    return f"bundlectl_controller_{name}{f'{{{told}}}' if told else ''} {_number(value)}"


def _number(value: float) -> str:
    """All of its digits: a counter of millions that is rounded seems to stand still."""
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""Counters of the server, as Prometheus text (exposition format 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class Metrics:
    """Thread-safe counters. Labels take a few fixed values only: nothing of a client gets in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._uploads: Counter[str] = Counter()
        self._sent = 0
        self._received = 0
        self._in_flight = 0

    def begin(self) -> None:
        """A request arrived."""
        with self._lock:
            self._in_flight += 1

    def finish(self, method: str, route: str, status: int, *, sent: int, received: int) -> None:
        """A response is over, sent in full or cut; ``sent`` and ``received`` are bytes of bodies."""
        key = (method if method in _METHODS else "OTHER", route, status // 100)
        with self._lock:
            self._in_flight -= 1
            self._requests[key] += 1
            self._sent += sent
            self._received += received

    def upload(self, outcome: str) -> None:
        """An upload ``started``, ``finished``, was ``cancelled``, ``refused`` or ``mounted``."""
        with self._lock:
            self._uploads[outcome] += 1

    def render(self) -> bytes:
        """All counters as Prometheus text."""
        with self._lock:
            requests, uploads = sorted(self._requests.items()), sorted(self._uploads.items())
            sent, received, in_flight = self._sent, self._received, self._in_flight
        lines = [
            "# HELP bundlectl_http_requests_total Requests answered.",
            "# TYPE bundlectl_http_requests_total counter",
            *(
                f'bundlectl_http_requests_total{{method="{method}",route="{route}",status="{status}xx"}} {count}'
                for (method, route, status), count in requests
            ),
            "# HELP bundlectl_http_in_flight Requests being answered.",
            "# TYPE bundlectl_http_in_flight gauge",
            f"bundlectl_http_in_flight {in_flight}",
            "# HELP bundlectl_http_sent_bytes_total Bytes of response bodies.",
            "# TYPE bundlectl_http_sent_bytes_total counter",
            f"bundlectl_http_sent_bytes_total {sent}",
            "# HELP bundlectl_http_received_bytes_total Bytes of request bodies.",
            "# TYPE bundlectl_http_received_bytes_total counter",
            f"bundlectl_http_received_bytes_total {received}",
            "# HELP bundlectl_uploads_total Blob uploads by outcome.",
            "# TYPE bundlectl_uploads_total counter",
            *(f'bundlectl_uploads_total{{outcome="{outcome}"}} {count}' for outcome, count in uploads),
        ]
        return ("\n".join(lines) + "\n").encode()

"""Pulls over kept connections, as many as the server gives: the client must not be what is measured.

One thread over eight sockets that lets the kernel throw blobs away unread (``MSG_TRUNC``), so that nearly
all of the processor is the server's. Run as a process of its own, with paths on standard input:

    python benchmarks/pulls.py 127.0.0.1:5000 --connections 8 --seconds 4 <paths
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import socket
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Pulled"]

HEAD = 16 * 1024
BLOCK = 4 * 1024 * 1024
ACCEPT = ", ".join(f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Pulled:
    """What came in how many seconds; the 99th percentile of a request's seconds."""

    requests: int
    bytes: int
    seconds: float
    p99: float


class _Connection:
    """A kept connection with one request under way."""

    def __init__(self, host: str, paths: Iterator[str]) -> None:
        name, _, port = host.rpartition(":")
        self._host = host
        self._paths = paths
        self._head = b""
        self._missing = -1
        self._began = 0.0
        self._waste = bytearray(1)
        self.socket = socket.create_connection((name, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = 0
        self.times: list[float] = []

    def ask(self) -> None:
        """Send the next request."""
        self._head, self._missing, self._began = b"", -1, time.perf_counter()
        path = next(self._paths)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {ACCEPT}\r\n\r\n".encode())

    def read(self) -> None:
        """Take what is there; on the end of an answer, send the next request.

        Raises:
            RuntimeError: an answer other than 200, or none.
        """
        if self._missing > 0:
            got = self.socket.recv_into(self._waste, min(len(self._waste), self._missing), socket.MSG_TRUNC)
            if not got:
                raise RuntimeError(f"the connection was closed, {self._missing} bytes before the end")
            self._took(got)
            return
        data = self.socket.recv(HEAD)
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not data:
            raise RuntimeError(f"the connection was closed after {self._head[:300]!r}")
        if not end:
            return
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or not length:
            raise RuntimeError(f"not 200 with a length: {head[:500]!r}")
        self._missing = int(length[1])
        if self._missing > len(body) and len(self._waste) == 1:
            self._waste = bytearray(BLOCK)
        self._took(len(body))

    def _took(self, count: int) -> None:
        self._missing -= count
        self.bytes += count
        if not self._missing:
            self.times.append(time.perf_counter() - self._began)
            self.ask()


def pull(host: str, paths: Sequence[str], connections: int, seconds: float) -> Pulled:
    """Ask for the paths in turn until the time is up."""
    turns = cycle(paths)
    with selectors.DefaultSelector() as selector:
        open_ones = [_Connection(host, turns) for _ in range(connections)]
        began = time.perf_counter()
        for one in open_ones:
            selector.register(one.socket, selectors.EVENT_READ, one)
            one.ask()
        while time.perf_counter() < began + seconds:
            for key, _ in selector.select(1.0):
                key.data.read()
        took = time.perf_counter() - began
        for one in open_ones:
            one.socket.close()
    times = [seconds for one in open_ones for seconds in one.times]
    if len(times) < 2:
        raise RuntimeError(f"{len(times)} answers in {took:.0f} s")
    slow = statistics.quantiles(times, n=100, method="inclusive")[98]
    return Pulled(len(times), sum(one.bytes for one in open_ones), took, slow)


def main() -> None:
    """Pull, and print what came as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    chosen = parser.parse_args()
    paths = sys.stdin.read().split()
    print(json.dumps(asdict(pull(chosen.host, paths, chosen.connections, chosen.seconds))))


if __name__ == "__main__":
    main()

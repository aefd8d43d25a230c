"""A link with a long way: a TCP proxy on loopback that holds back every byte for half a round trip.

Bandwidth is what the machine has; a connection takes a round trip to be made, and keeps no more than
``WINDOW`` bytes under way in each direction, as a kernel would. Run as a process of its own:

    python benchmarks/latency.py 127.0.0.1:5000 --round-trip 30
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["delayed"]

WINDOW = 4 * 1024 * 1024


@contextmanager
def delayed(host: str, milliseconds: float, folder: Path) -> Iterator[str]:
    """Put the proxy before a host; yields where it listens, or the host itself when there is nothing to add."""
    if not milliseconds:
        yield host
        return
    from programs import serving  # noqa: PLC0415 -- not for the proxy itself

    with serving(
        [sys.executable, Path(__file__), host, f"--round-trip={milliseconds:g}"],
        {"PATH": os.environ["PATH"]},
        log=folder / f"latency-{host.rpartition(':')[2]}.log",
        ready=r"listening on (\S+)\n",
    ) as server:
        yield server.found


class _Direction(asyncio.Protocol):
    """One end of a connection: what it receives goes to the other end, later."""

    def __init__(self, delay: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._delay = delay
        self._began = self._loop.time()
        self._held: deque[tuple[float, bytes | None]] = deque()
        self._size = 0
        self._paused = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self.first = 0.0
        """Seconds from the connection's beginning before which nothing passes."""
        self.transport: asyncio.Transport | None = None
        self.other: _Direction | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=WINDOW)  # type: ignore[union-attr]

    def data_received(self, data: bytes) -> None:
        self._hold(data)
        if self._size > WINDOW and not self._paused and self.transport:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._hold(None)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self.other and self.other.transport:
            self._hold(None)

    def pause_writing(self) -> None:
        if self.other:
            self.other.stop()

    def resume_writing(self) -> None:
        if self.other:
            self.other.go_on()

    def stop(self) -> None:
        """The other end takes nothing now."""
        self._stopped = True

    def go_on(self) -> None:
        """It does again."""
        self._stopped = False
        self._pass_on()

    def _hold(self, data: bytes | None) -> None:
        due = max(self._loop.time(), self._began + self.first) + self._delay
        self._held.append((due, data))
        self._size += len(data or b"")
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._pass_on)

    def _pass_on(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        now = self._loop.time()
        target = self.other.transport if self.other else None
        while self._held and self._held[0][0] <= now and not self._stopped:
            _, data = self._held.popleft()
            if data is None:
                if target and not target.is_closing():
                    target.write_eof() if self.transport and not self.transport.is_closing() else target.close()
                continue
            self._size -= len(data)
            if target and not target.is_closing():
                target.write(data)
        if self._paused and self._size <= WINDOW // 2 and self.transport:
            self._paused = False
            self.transport.resume_reading()
        if self._held and not self._stopped:
            self._timer = self._loop.call_at(max(now, self._held[0][0]), self._pass_on)


class _Client(_Direction):
    """The end that connected to us; its first bytes also wait for the handshake."""

    def __init__(self, delay: float, host: str, port: int) -> None:
        super().__init__(delay)
        self.first = 2 * delay
        self._place = host, port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stopped = True  # until the other side is there
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        server = _Direction(self._delay)
        server.other = self
        try:
            await self._loop.create_connection(lambda: server, *self._place)
        except OSError:
            if self.transport:
                self.transport.abort()
            return
        self.other = server
        self.go_on()


async def _serve(host: str, port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Client(delay, host, port), "127.0.0.1", 0, backlog=512)
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await done.wait()


def main() -> None:
    """Pass on until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", help="HOST:PORT to connect to")
    parser.add_argument("--round-trip", type=float, required=True, help="milliseconds")
    chosen = parser.parse_args()
    host, _, port = chosen.host.rpartition(":")
    asyncio.run(_serve(host, int(port), chosen.round_trip / 2000))


if __name__ == "__main__":
    main()

"""How many requests may be under way at one host, found out while they run.

Additive increase, multiplicative decrease, as TCP finds its share of a line: a host begins with as many as there
are connections. One that refuses (429, 503, Retry-After), breaks connections, or takes much longer than it
did, gets fewer; every round of good answers gives it one more. At least one is always under way, and for
slowness alone at least a quarter: a line that our own blobs fill, or a kind of question that takes longer
than another, looks slow too, and must not bring a transfer to a crawl.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from bundlectl.errors import InterruptError
from bundlectl.events import Notice, ignore

if TYPE_CHECKING:
    from bundlectl.events import Listener
    from mirror.http.flow import Flow

__all__ = ["HostLimits", "Kind", "Slot"]

_REFUSED: Final = 0.5
_SLOW: Final = 0.8
"""What is left of a limit after a refusal, and after answers that became slow."""
_SLOW_LEAST: Final = 0.25
"""The share of its first limit that a host keeps which is merely slow."""
_TIMES_SLOWER: Final = 3.0
_SLOWER_BY: Final = 1.0
"""Seconds. Slow is an answer later than three times the usual by more than this."""
_NEWEST: Final = 0.25
_CREEP: Final = 0.01
"""How fast the usual rises to what is seen now: a host that stays slow is not held down for ever."""
_POLL: Final = 0.25


class Kind(IntEnum):
    """What a request does, and so how long it lasts. The limit of a host holds for each by itself."""

    ASKING = 0
    """It ends by itself: its answer is read at once."""
    READING = 1
    """Its answer stays on the wire until whoever asked has read it."""
    SENDING = 2
    """It streams a body to the host."""


class _Host:
    """The requests under way at one host."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most
        # Entered again by the same thread where collecting garbage lets go of a forgotten slot.
        self.lock = threading.RLock()
        self.allowed = float(most)
        self.busy = [0, 0, 0]
        self.queues: tuple[deque[threading.Event], ...] = (deque(), deque(), deque())
        self.shrunk_at = 0.0
        self.usual = 0.0
        self.recent = 0.0

    def admit(self, kind: Kind) -> None:
        """Give free slots to those who wait longest; called with the lock held."""
        queue = self.queues[kind]
        while queue and self.busy[kind] < int(self.allowed):
            self.busy[kind] += 1
            queue.popleft().set()


class _Held(threading.local):
    """What this thread has under way, all hosts together."""

    def __init__(self) -> None:
        self.count = [0, 0, 0]


class Slot:
    """One request that is under way, from before it is sent until its answer has been read."""

    __slots__ = ("_began", "_counted", "_host", "_kind", "_limits")

    def __init__(self, limits: HostLimits, host: _Host, kind: Kind, counted: list[int]) -> None:
        self._limits = limits
        self._host: _Host | None = host
        self._kind = kind
        self._counted = counted
        self._began = time.monotonic()

    def answered(self) -> None:
        """The head of a good answer came."""
        host = self._host
        if host is not None:
            took = time.monotonic() - self._began
            self._limits._good(host, self._began, took, judged=self._kind is Kind.ASKING)  # noqa: SLF001 -- two halves

    def refused(self, reason: str) -> None:
        """The host wants to be asked less, or could not cope; ``reason`` is shown to the user."""
        host = self._host
        if host is not None:
            self._limits._shrink(host, self._began, _REFUSED, reason, least=1.0)  # noqa: SLF001

    def leave(self) -> None:
        """The request is over; harmless when repeated."""
        host, self._host = self._host, None
        if host is not None:
            kind = self._kind
            with host.lock:
                self._counted[kind] -= 1
                host.busy[kind] -= 1
                if host.queues[kind]:
                    host.admit(kind)

    def __del__(self) -> None:
        # A streamed answer that nobody closed must not keep its place for ever.
        self.leave()


class HostLimits:
    """The limits of all hosts of a client; thread-safe.

    Nobody can wait in a circle. Who asks waits for nothing else until the answer is there. Who sends
    waits for slots to ask only. Who has an answer open, such as the blob that is to be sent, waits for
    slots to ask and to send, and for no second one to read. So whatever is waited for is held by someone
    who goes on: to ask comes after to send, and that after to read, whatever the hosts. What goes ahead
    without waiting is counted all the same.

    Args:
        most: requests at once to begin with, and never more.
        flow: ends the waits.
        listener: told of every change for the worse.
        by_latency: take slow answers as a sign; not where we ourselves read slowly (``limit_rate``).
    """

    def __init__(self, most: int, flow: Flow, listener: Listener = ignore, *, by_latency: bool = True) -> None:
        self._most = max(1, most)
        self._flow = flow
        self._listener = listener
        self._by_latency = by_latency
        self._held = _Held()
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def enter(self, name: str, kind: Kind = Kind.ASKING) -> Slot:
        """Wait for a slot at a host, and take it.

        Args:
            name: of the host, ``host[:port]``.
            kind: what the request does.

        Raises:
            InterruptError: the client was cancelled.
        """
        host = self._hosts.get(name) or self._host(name)
        counted = self._held.count
        waits = kind is Kind.ASKING or not any(counted[kind:])
        ticket = None
        with host.lock:
            if waits and (host.busy[kind] >= int(host.allowed) or host.queues[kind]):
                ticket = threading.Event()
                host.queues[kind].append(ticket)
            else:
                host.busy[kind] += 1
                counted[kind] += 1
        if ticket is not None:
            self._wait(host, kind, ticket)
            with host.lock:
                counted[kind] += 1
        return Slot(self, host, kind, counted)

    def allowed(self, name: str) -> int:
        """How many requests a host may have under way now."""
        return int(self._host(name).allowed)

    def _host(self, name: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(name, _Host(name, self._most))

    def _wait(self, host: _Host, kind: Kind, ticket: threading.Event) -> None:
        try:
            while not ticket.wait(_POLL):
                self._flow.check()
        except InterruptError:
            with host.lock:
                if ticket.is_set():
                    host.busy[kind] -= 1
                    host.admit(kind)
                else:
                    host.queues[kind].remove(ticket)
            raise

    def _good(self, host: _Host, began: float, took: float, *, judged: bool) -> None:
        if judged and self._by_latency and self._is_slow(host, took):
            self._shrink(host, began, _SLOW, "its answers take longer and longer", least=host.most * _SLOW_LEAST)
        elif host.allowed < host.most and began >= host.shrunk_at:
            with host.lock:
                host.allowed = min(host.most, host.allowed + 1 / host.allowed)
                for kind in Kind:
                    host.admit(kind)

    @staticmethod
    def _is_slow(host: _Host, took: float) -> bool:
        """Whether answers now come later than usual. Unlocked: an estimate survives a lost update."""
        if not host.usual:
            host.usual = host.recent = took
        host.recent += (took - host.recent) * _NEWEST
        host.usual = took if took < host.usual else host.usual + (took - host.usual) * _CREEP
        return host.recent > host.usual * _TIMES_SLOWER + _SLOWER_BY

    def _shrink(self, host: _Host, began: float, share: float, reason: str, *, least: float) -> None:
        with host.lock:
            # One bad moment strikes all requests under way at once, and counts once.
            if began < host.shrunk_at or host.allowed <= max(1.0, least):
                return
            host.shrunk_at = time.monotonic()
            before, host.allowed = int(host.allowed), max(1.0, least, host.allowed * share)
            now = int(host.allowed)
        if now < before:
            self._listener(Notice("info", f"{host.name} is asked {now} at a time from now on: {reason}"))

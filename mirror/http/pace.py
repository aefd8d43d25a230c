"""A body that drips is as bad as one that stopped: it holds a transfer, and a slot, for as long as its server likes."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import socket

__all__ = ["SlowBodyError", "holds_bytes", "paced_reader", "pacer"]

_WINDOW: Final = 60.0
"""Seconds of waiting for a server, after which it must have sent ``_LEAST`` bytes of a body."""

_LEAST: Final = 60 * 1024
"""Bytes: a kibibyte a second is less than any line has over which images are carried."""


class SlowBodyError(TimeoutError):
    """A server keeps sending, and so little that the transfer would never end."""


class _Pacer(io.RawIOBase):
    """The receiving side of a socket, which watches the pace where it is told to.

    Only time spent waiting for the server counts: a reader that is slow itself (a rate limit, a slow
    disk) finds bytes waiting for it.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw = raw
        self.dry = False
        """Whether to say that there is nothing now, without asking the socket."""
        self._watching = False
        self._waited = 0.0
        self._moved = 0

    def watch(self, *, body: bool) -> None:
        """Begin anew: what follows is a body, or a head, which may be long in coming."""
        self._watching = body
        self._waited, self._moved = 0.0, 0

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- a buffer, as in the base class
        if self.dry:
            return None
        if not self._watching:
            return self._raw.readinto(buffer)
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - began
        self._moved += count or 0
        if self._waited > _WINDOW:
            if self._moved < _LEAST:
                raise SlowBodyError("timed out")
            self.watch(body=True)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


def paced_reader(sock: socket.socket) -> io.BufferedReader:
    """A reader of a socket whose pace can be watched (`pacer`)."""
    return io.BufferedReader(_Pacer(sock.makefile("rb", buffering=0)))


def holds_bytes(reader: io.BufferedReader) -> bool:
    """Whether something was read ahead: more came than was asked for, and it is nobody's answer."""
    watched = pacer(reader)
    if watched is None:
        return False
    watched.dry = True
    try:
        return bool(reader.peek(1))
    finally:
        watched.dry = False


def pacer(reader: io.BufferedReader) -> _Pacer | None:
    """What watches the pace of a reader; None where nothing does."""
    raw = reader.raw
    return raw if isinstance(raw, _Pacer) else None

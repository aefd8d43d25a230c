"""What a connection reads from and writes to: few copies, few system calls, and no client that holds a thread.

The socket never blocks. All waiting for a client happens in ``Channel.wait``, which bounds it in
three ways: by the silence between two bytes, by a time in all while ``promptly`` is in force (a
request's headers, a body that nobody wants), and by a least pace. Only time spent *waiting for the
client* counts for the pace, so that a slow disk is not blamed on it.
"""

from __future__ import annotations

import io
import math
import os
import select
import socket
import ssl
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Channel", "Reader", "Writer"]

_READ_BUFFER: Final = 64 * 1024
_SILENCE: Final = 60.0
"""Seconds without a byte that end a transfer."""

_WINDOW: Final = 60.0
"""Seconds of waiting for a client, after which it must have moved ``_LEAST`` bytes."""

_LEAST: Final = 32 * 1024
"""Bytes: five hundred a second are less than any link that carries images has for one of its transfers."""


_NEAR: Final = 2000
"""Microseconds there and back, up to which a client is near."""

_NEAR_QUEUE: Final = 256 * 1024
_TCP_INFO_RTT: Final = slice(68, 72)
"""Where ``struct tcp_info`` (linux/tcp.h) has the smoothed round-trip time."""


class Channel:
    """A connected socket, plain or TLS, and how long its client may be waited for."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.socket = sock
        self.encrypted = isinstance(sock, ssl.SSLSocket)
        self._until = math.inf
        self._waited = 0.0
        self._moved = 0
        self._queued = False
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def queue_little(self) -> None:
        """Let the kernel queue no more for a near client than stays in the processor's caches until it is read.

        Measured on loopback with eight connections: twice the bytes a second. A far client needs
        the long queue that the kernel makes by itself.
        """
        if self._queued or not hasattr(socket, "TCP_INFO"):
            return
        self._queued = True
        with suppress(OSError):
            told = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT.stop)
            if 0 < int.from_bytes(told[_TCP_INFO_RTT], sys.byteorder) < _NEAR:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NEAR_QUEUE)

    def wait(self, event: int) -> None:
        """Wait until the socket can be read or written.

        Raises:
            TimeoutError: the client is too slow.
        """
        began = time.monotonic()
        seconds = min(_SILENCE, self._until - began)
        self._poll.modify(self.socket, event)
        if seconds <= 0 or not self._poll.poll(seconds * 1000):
            raise TimeoutError("timed out")
        self._waited += time.monotonic() - began
        if self._waited > _WINDOW:
            if self._moved < _LEAST:
                raise TimeoutError("timed out")
            self.restart()

    def moved(self, count: int) -> None:
        """Count bytes that were read or written."""
        self._moved += count

    def restart(self) -> None:
        """Begin the reckoning of the pace anew: another request begins."""
        self._waited, self._moved = 0.0, 0

    def is_readable(self, seconds: float) -> bool:
        """Whether bytes are there, or come within ``seconds``."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        self._poll.modify(self.socket, select.POLLIN)
        return bool(self._poll.poll(seconds * 1000))

    def shake(self) -> None:
        """Do the server's half of a TLS handshake.

        Raises:
            OSError: the client is gone, too slow, or speaks no TLS that is accepted.
        """
        while isinstance(self.socket, ssl.SSLSocket):
            try:
                self.socket.do_handshake()
            except ssl.SSLWantReadError:
                self.wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self.wait(select.POLLOUT)
            else:
                return

    @contextmanager
    def promptly(self, seconds: float) -> Iterator[None]:
        """Bound all waiting of the block together: who drips bytes would else be waited for without end."""
        self._until = time.monotonic() + seconds
        try:
            yield
        finally:
            self._until = math.inf


class _RawReader(io.RawIOBase):
    """The receiving side; on demand it says that it has nothing now, instead of asking the socket."""

    dry = False

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._receive = channel.socket.recv_into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 -- a buffer, as in the base class
        if self.dry:
            return None
        while True:
            try:
                count = self._receive(buffer)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._channel.wait(select.POLLIN)
            except ssl.SSLWantWriteError:
                self._channel.wait(select.POLLOUT)
            else:
                self._channel.moved(count)
                return count


class Reader(io.BufferedReader):
    """cheroot's reader in C; it asks ``has_data`` whether a pipelined request was read already."""

    bytes_read = 0

    def __init__(self, channel: Channel) -> None:
        self._raw_reader = _RawReader(channel)
        super().__init__(self._raw_reader, _READ_BUFFER)

    def has_data(self) -> bool:
        """Whether bytes were read ahead."""
        self._raw_reader.dry = True
        try:
            return bool(self.peek(1))
        finally:
            self._raw_reader.dry = False


class Writer:
    """The sending side, unbuffered."""

    bytes_written = 0

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._send = channel.socket.send

    def write(self, data: bytes) -> int:
        """Send all of ``data``.

        Raises:
            OSError: the client is gone, or hardly reads (then a `TimeoutError`).
        """
        view = memoryview(data)
        while view:
            try:
                count = self._send(view)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._channel.wait(select.POLLOUT)
            except ssl.SSLWantReadError:
                self._channel.wait(select.POLLIN)
            else:
                self._channel.moved(count)
                view = view[count:]
        return len(data)

    def send_file(self, file: int, *, offset: int, length: int) -> int:
        """Let the kernel send a stretch of a file; not over TLS.

        Args:
            file: descriptor.
            offset: of the first byte.
            length: in bytes.

        Returns:
            What was sent; less than ``length`` when the file ended.

        Raises:
            OSError: the client is gone, or hardly reads (then a `TimeoutError`).
        """
        to, end, position = self._channel.socket.fileno(), offset + length, offset
        while position < end:
            try:
                count = os.sendfile(to, file, position, end - position)
            except BlockingIOError:
                self._channel.wait(select.POLLOUT)
                continue
            if count == 0:
                break
            self._channel.moved(count)
            position += count
        return position - offset

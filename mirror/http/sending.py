"""Sending for as long as it takes, and no longer than something moves."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios

from urllib3.util.wait import wait_for_read, wait_for_write

__all__ = ["answer_came", "send_file_steadily", "send_steadily"]


def answer_came(sock: socket.socket | None) -> bool:
    """Whether an answer is there while we still send: a refusal (413, 401).

    Never under TLS, where a readable socket may only hold a session ticket.
    """
    return type(sock) is socket.socket and bool(wait_for_read(sock, timeout=0.0))


def send_steadily(sock: socket.socket, data: bytes) -> None:
    """Send all of ``data``, as ``sendall`` does, but with the socket's timeout for standstill alone.

    ``sendall`` ends when the whole takes longer than the timeout, which on a slow line is every
    block. And a full socket counts as writable again only when a good part of its buffer is free: on
    a slow line that takes longer than the timeout too, while bytes leave all the time.

    Raises:
        TimeoutError: nothing left the machine for a whole timeout (seconds).
        OSError: the connection broke.
    """
    rest = memoryview(data)
    queued: int | None = None
    while rest:
        try:
            rest = rest[sock.send(rest) :]
            queued = None
        except TimeoutError:
            left = _unsent(sock)
            if left is None or (queued is not None and left >= queued):
                raise
            queued = left


def send_file_steadily(sock: socket.socket, file: int, count: int) -> int:
    """Have the kernel send up to ``count`` bytes of an open file, from its position, which moves.

    Returns:
        Bytes that went out: at least one; 0 at the end of the file.

    Raises:
        TimeoutError: nothing left the machine for a whole timeout (seconds).
        OSError: the connection broke, or the file cannot be read.
    """
    queued: int | None = None
    while True:
        try:
            return os.sendfile(sock.fileno(), file, None, count)
        except BlockingIOError:
            if wait_for_write(sock, sock.gettimeout()):
                continue
        left = _unsent(sock)
        if left is None or (queued is not None and left >= queued):
            raise TimeoutError("timed out")
        queued = left


def _unsent(sock: socket.socket) -> int | None:
    """Bytes that the other side has not acknowledged yet; None where the system does not tell."""
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4)
    except OSError:
        return None
    return int(struct.unpack("i", answer)[0])

"""One question and its answer on a connection that is open already (RFC 9112).

urllib3 opens connections: names, TLS, proxies. What passes over them afterwards is small and the
same thousands of times, and there ``http.client`` and urllib3 cost four times what this does.
Whatever is not plain here (a target with odd characters) is left to urllib3.
"""

from __future__ import annotations

import http.client
import logging
import re
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mirror.http.pace import pacer
from mirror.http.sending import answer_came, send_file_steadily, send_steadily

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator

    from urllib3.connection import HTTPConnection

    from mirror.http.outgoing import OutgoingBody

__all__ = ["BLOCK", "Answer", "exchange", "is_plain"]

BLOCK: Final = 512 * 1024
"""Bytes in a block of an upload; with the 16 KiB of ``http.client`` it took a third longer."""

_JOINED: Final = 16 * 1024
"""A body up to this size leaves together with the head of its request."""
_SPLICED: Final = 1024 * 1024
"""Bytes that the kernel is asked to send by itself, between two looks at the limits."""
_HEAD_LIMIT: Final = 64 * 1024
_INTERIM_MAX: Final = 20
_PLAIN_TARGET: Final = re.compile(r"[A-Za-z0-9/._~:?&=%+@,;!$'()*\-]+")
_PLAIN_METHOD: Final = re.compile(r"[A-Z]+")
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9\-]+")
_PLAIN_VALUE: Final = re.compile(r"[\x20-\x7e\t]*")
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\r\n]*)?\r?\n")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n]*?)[ \t]*\r?\n")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,13})[ \t]*(?:;[^\r\n]*)?\r?\n")
_WITHOUT_BODY: Final = frozenset({204, 304})
_LOG: Final = logging.getLogger("urllib3.connectionpool")
"""Where urllib3 writes its line for each request, too: ``--debug`` listens there."""


class Headers(Mapping[str, str]):
    """Headers of an answer: names in any case, repeated ones joined by commas."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Answer:
    """An answer, its body still on the wire; what `Response` reads from.

    Args:
        reader: the connection's, behind the head.
        method: of the question.
        release: called once: with True when the connection can be used again, else with False.
        reusable: whether the question was sent in full.

    Raises:
        OSError, http.client.HTTPException: the connection broke, or what came is no answer.
    """

    __slots__ = ("_chunk", "_left", "_reader", "_release", "_reusable", "headers", "status")

    def __init__(
        self, reader: io.BufferedReader, method: str, release: Callable[[bool], None], *, reusable: bool
    ) -> None:
        self._reader = reader
        self._release: Callable[[bool], None] | None = None
        watched = pacer(reader)
        for _ in range(_INTERIM_MAX):
            if watched:
                watched.watch(body=False)  # an answer may be long in coming, but not its lines
            minor, self.status = _status(reader)
            if watched:
                watched.watch(body=True)
            fields = _fields(reader)
            if self.status >= 200 or self.status == 101:  # noqa: PLR2004 -- no interim answer, which another follows
                break
        else:
            raise http.client.HTTPException("interim answers without end")
        self.headers = Headers(fields)
        tokens = {token.strip() for token in fields.get("connection", "").lower().split(",")}
        self._reusable = reusable and "close" not in tokens and (minor == 1 or "keep-alive" in tokens)
        self._chunk: int | None = None
        self._left = self._length(fields, method)
        self._release = release
        if self._left == 0:
            self._end()

    def _length(self, fields: dict[str, str], method: str) -> int | None:
        """Bytes of the body; None when it ends with its last chunk, or with the connection."""
        if method == "HEAD" or self.status in _WITHOUT_BODY:
            return 0
        coding = fields.get("transfer-encoding")
        length = fields.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked":
                raise http.client.UnknownTransferEncoding(coding[:80])
            self._chunk = 0
            # Both is what smuggling looks like: nothing that follows on this connection is to be trusted.
            self._reusable = self._reusable and length is None
            return None
        if length is None:
            self._reusable = False
            return None
        if len(values := {value.strip() for value in length.split(",")}) != 1:
            raise http.client.HTTPException("the answer states two lengths")
        value = values.pop()
        if not _LENGTH.fullmatch(value):
            raise http.client.HTTPException("the answer states a length that is none")
        return int(value)

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, fewer only at the end; ``b""`` when there is nothing more.

        Raises:
            OSError, http.client.HTTPException: the connection broke, or ended before the body did.
        """
        if self._release is None or size <= 0:
            return b""
        if self._chunk is not None:
            return self._read_chunked(size)
        if self._left is None:
            data = self._reader.read(size) or b""
            if len(data) < size:
                self._end()
            return data
        data = self._reader.read(min(size, self._left)) or b""
        self._left -= len(data)
        if not self._left:
            self._end()
        elif not data:  # what came before the cut was handed out, for it can be built on
            left = self._left
            self.close()
            raise http.client.IncompleteRead(b"", left)
        return data

    def read1(self, size: int) -> bytes:
        """Read what is there, up to ``size`` bytes, waiting only when there is nothing; ``b""`` at the end.

        Raises:
            OSError, http.client.HTTPException: see `read`.
        """
        if self._release is None or size <= 0:
            return b""
        if self._chunk is not None:
            return self._read_chunked(size, once=True)
        data = self._reader.read1(size if self._left is None else min(size, self._left))
        if self._left is not None:
            if not data:
                left = self._left
                self.close()
                raise http.client.IncompleteRead(b"", left)
            self._left -= len(data)
        if not data or self._left == 0:
            self._end()
        return data

    def _read_chunked(self, size: int, *, once: bool = False) -> bytes:
        blocks: list[bytes] = []
        while size and self._release is not None:
            if not self._chunk:
                self._chunk = self._next_chunk()
                if not self._chunk:
                    break
            wanted = min(size, self._chunk)
            data = self._reader.read1(wanted) if once else self._reader.read(wanted)
            if not data:
                self.close()
                raise http.client.IncompleteRead(b"")
            blocks.append(data)
            size -= len(data)
            self._chunk -= len(data)
            if not self._chunk and self._reader.readline(3) not in (b"\r\n", b"\n"):
                self.close()
                raise http.client.HTTPException("a chunk of the answer does not end where it should")
            if once:
                break
        return b"".join(blocks)

    def _next_chunk(self) -> int:
        line = self._reader.readline(_HEAD_LIMIT)
        found = _CHUNK.fullmatch(line)
        if not found:
            self.close()
            if not line:
                raise http.client.IncompleteRead(b"")
            raise http.client.HTTPException("a chunk of the answer has no size")
        size = int(found[1], 16)
        if not size:
            _fields(self._reader)
            self._end()
        return size

    def _end(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(self._reusable)

    def close(self) -> None:
        """Let the connection go: for good where the body was not read to its end. Harmless when repeated."""
        release, self._release = self._release, None
        if release is not None:
            release(False)  # noqa: FBT003 -- the one argument there is


def is_plain(method: str, target: str, headers: Mapping[str, str]) -> bool:
    """Whether a question can be written down as it is."""
    return bool(
        _PLAIN_METHOD.fullmatch(method)
        and _PLAIN_TARGET.fullmatch(target)
        and all(_PLAIN_NAME.fullmatch(name) and _PLAIN_VALUE.fullmatch(value) for name, value in headers.items())
    )


def exchange(
    connection: HTTPConnection,
    reader: io.BufferedReader,
    question: tuple[str, str, str, Mapping[str, str]],
    body: bytes | OutgoingBody | None,
    *,
    stall: float,
    patience: float,
    release: Callable[[bool], None],
) -> Answer:
    """Send a question and read the head of its answer.

    Args:
        connection: open, and nothing under way on it.
        reader: of its socket.
        question: method, host (``host[:port]``), target and headers, all plain (`is_plain`).
        body: with a ``Content-Length`` among the headers where it is a reader.
        stall: seconds without a byte moving while it is sent.
        patience: seconds until the answer begins.
        release: see `Answer`.

    Raises:
        OSError, http.client.HTTPException: the connection broke, or what came is no answer.
        BundlectlError: the body could not be read.
    """
    method, host, target, headers = question
    sock = connection.sock
    if sock is None:
        raise http.client.NotConnected
    sock.settimeout(stall)
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if isinstance(body, bytes) or (body is None and method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body or b'')}")
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    whole = True
    if body is None:
        send_steadily(sock, head)
    elif isinstance(body, bytes):
        whole = _send(sock, head, iter((body,)))
    else:
        file = body.file if type(sock) is socket.socket else None
        whole = _send(sock, head, body.blocks(BLOCK)) if file is None else _send_file(sock, head, body, file)
    if patience != stall:
        sock.settimeout(patience)
    answer = Answer(reader, method, release, reusable=whole)
    if _LOG.isEnabledFor(logging.DEBUG):
        scheme = "https" if isinstance(sock, ssl.SSLSocket) else "http"
        line = '%s://%s:%s "%s %s %s" %s %s'
        _LOG.debug(
            line, scheme, connection.host, connection.port, method, target, "HTTP/1.1", answer.status,
            answer.headers.get("Content-Length"),
        )  # fmt: skip
    return answer


def _status(reader: io.BufferedReader) -> tuple[int, int]:
    line = reader.readline(_HEAD_LIMIT)
    if not line:
        raise http.client.RemoteDisconnected("Remote end closed connection without response")
    found = _STATUS.fullmatch(line)
    if not found:
        raise http.client.BadStatusLine(line[:100].decode("latin-1"))
    return int(found[1]), int(found[2])


def _fields(reader: io.BufferedReader) -> dict[str, str]:
    """The header fields up to the empty line; names in lower case.

    Raises:
        http.client.HTTPException: they are no fields, or too many.
    """
    fields: dict[str, str] = {}
    total = 0
    while (line := reader.readline(_HEAD_LIMIT)) not in (b"\r\n", b"\n"):
        total += len(line)
        found = _FIELD.fullmatch(line)
        if not found or total > _HEAD_LIMIT:
            if not line:
                raise http.client.IncompleteRead(b"")
            raise http.client.HTTPException(f"the answer has a line that is no header: {line[:60]!r}")
        name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _send(sock: socket.socket, head: bytes, blocks: Iterator[bytes]) -> bool:
    """Send head and body; False where an answer came before the end of it, which is to be read now."""
    pending = head
    try:
        for block in blocks:
            if len(block) <= _JOINED and pending:
                send_steadily(sock, pending + block)
                pending = b""
                continue
            if pending:
                send_steadily(sock, pending)
                pending = b""
            if answer_came(sock):
                return False
            send_steadily(sock, block)
        if pending:
            send_steadily(sock, pending)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        return False
    return True


def _send_file(sock: socket.socket, head: bytes, body: OutgoingBody, file: int) -> bool:
    """Send head and body without reading the body: the kernel takes it from the file's cache."""
    try:
        send_steadily(sock, head)
        while left := body.left():
            if answer_came(sock):
                return False
            body.passed(send_file_steadily(sock, file, min(left, _SPLICED)))
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True

"""What a request asks and a response says, between the WSGI surface and the routes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import parse_qs

from bundlectl.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from mirror.oci.repository import BlobReader

__all__ = [
    "BlobBody",
    "Headers",
    "RefusedError",
    "Request",
    "RequestBody",
    "Response",
    "json_response",
    "refusal",
    "variable_of",
]

Headers = list[tuple[str, str]]

BLOCK: Final = 256 * 1024
"""Bytes read and sent at once."""

WATCHED: Final = 32 * 1024 * 1024
"""Bytes of a body after which whoever watches it is asked again."""

_CHUNKED_BLOCK: Final = 128 * 1024
_QUERY_FIELDS: Final = 64
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_DISCONNECTED: Final = "the client went away, or its body is not what its headers said"


class RefusedError(Exception):
    """The answer is no. Raised by the routes, turned into a response by the application.

    Args:
        status: the HTTP status.
        code: the error code (distribution-spec, "Error Codes").
        message: one sentence for a person.
        detail: the ``detail`` member of the error; one error for each item of a list.
        headers: further response headers.
    """

    def __init__(
        self, status: int, code: str, message: str, *, detail: object = None, headers: Headers | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers or []


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The body of a request, read once; a ``BlobReader`` that never reads past its end.

    Args:
        stream: ``wsgi.input``.
        length: bytes announced, or None for a chunked body.
        watch: told how many bytes arrived, now and then; what it raises ends the reading.
    """

    def __init__(self, stream: _Stream, length: int | None, watch: Callable[[int], None] | None = None) -> None:
        self._stream = stream
        self._left = length
        self._watch = watch
        self._watched = WATCHED
        self.length = length
        self.received = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, and at most 256 KiB.

        Raises:
            TransportError: the client stopped before the end it announced.
            RefusedError: by ``watch``.
        """
        wanted = BLOCK if size < 0 else min(size, BLOCK)
        # cheroot joins chunks by copying what it has: many small chunks make large reads slow
        wanted = min(wanted, _CHUNKED_BLOCK if self._left is None else self._left)
        if wanted == 0:
            return b""
        try:
            data = self._stream.read(wanted)
        except (OSError, ValueError) as error:
            raise TransportError(_DISCONNECTED, retryable=True) from error
        if self._left is not None:
            if not data:
                raise TransportError(_DISCONNECTED, retryable=True)
            self._left -= len(data)
        self.received += len(data)
        if self._watch and self.received >= self._watched:
            self._watched += WATCHED
            self._watch(self.received)
        return data

    def read_all(self, limit: int) -> bytes | None:
        """Read the whole body, or return None as soon as it is longer than ``limit`` bytes."""
        if self.length is not None and self.length > limit:
            return None
        blocks = []
        while data := self.read(limit + 1 - self.received):
            blocks.append(data)
            if self.received > limit:
                return None
        return b"".join(blocks)

    def close(self) -> None:
        """Nothing to release: the server owns the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@lru_cache(maxsize=256)
def variable_of(header: str) -> str:
    """The name of a header in a WSGI environ (PEP 3333)."""
    key = header.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


@dataclass(slots=True)
class Request:
    """One request: decoded path, query, and the headers behind ``header``."""

    method: str
    path: str
    query: dict[str, list[str]]
    environ: Mapping[str, Any] = field(repr=False)
    input: RequestBody | None = None
    watch: Callable[[int], None] | None = field(default=None, repr=False)
    """Asked now and then while the body arrives (``RequestBody``)."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any]) -> Request:
        """Read a WSGI environ.

        Raises:
            RefusedError: the path or the query is not UTF-8, or has too many fields.
        """
        query_string = environ.get("QUERY_STRING", "")
        try:
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8")
            query = (
                parse_qs(query_string, keep_blank_values=True, errors="strict", max_num_fields=_QUERY_FIELDS)
                if query_string
                else {}
            )
        except ValueError:
            raise RefusedError(400, "UNSUPPORTED", "the URL is malformed") from None
        return cls(environ["REQUEST_METHOD"], path, query, environ)

    def header(self, name: str) -> str:
        """The value of a header, empty when absent."""
        value = self.environ.get(variable_of(name), "")
        return value if isinstance(value, str) else ""

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, or None."""
        values = self.query.get(name)
        return values[0] if values else None

    def body(self, length: int | None = None) -> RequestBody:
        """The body, as long as ``Content-Length`` says, or chunked, or empty.

        Args:
            length: for a chunked body, the bytes it must have.

        Raises:
            RefusedError: ``Content-Length`` is not a number.
        """
        stream: _Stream = self.environ["wsgi.input"]
        if not self.environ.get("wsgi.input_terminated"):
            text = self.header("Content-Length") or "0"
            if not _LENGTH.fullmatch(text):
                raise RefusedError(400, "SIZE_INVALID", "Content-Length is not a number")
            length = int(text)
        self.input = RequestBody(stream, length, self.watch)
        return self.input


class BlobBody:
    """A stretch of a blob on its way to a client: an iterable of blocks that closes its reader.

    Args:
        reader: open at the first byte to send.
        length: bytes to send.
        offset: where in the blob that is.
    """

    def __init__(self, reader: BlobReader, length: int, *, offset: int = 0) -> None:
        self._reader = reader
        self.length = length
        self.offset = offset
        self.sent = 0

    def fileno(self) -> int | None:
        """The descriptor of the file behind the reader, if it is a plain one."""
        fileno = getattr(self._reader, "fileno", None)
        try:
            return fileno() if fileno else None
        except (OSError, ValueError):
            return None

    def __iter__(self) -> Iterator[bytes]:
        while self.sent < self.length:
            data = self._reader.read(min(BLOCK, self.length - self.sent))
            if not data:
                raise TransportError("the blob is shorter than it was a moment ago")
            self.sent += len(data)
            yield data

    def close(self) -> None:
        """Close the reader; harmless when repeated."""
        self._reader.close()


@dataclass(slots=True)
class Response:
    """A response; ``Content-Length`` is added by the application where ``headers`` lack it."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | BlobBody = b""

    def header(self, name: str) -> str | None:
        """The value of a header, compared without regard to case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


def json_response(value: object, *, headers: Headers | None = None, content_type: str = "application/json") -> Response:
    """A 200 with a JSON document."""
    return Response(200, [("Content-Type", content_type), *(headers or [])], json.dumps(value).encode())


def refusal(error: RefusedError) -> Response:
    """Render an error as the distribution-spec asks ("Error Codes")."""
    details = error.detail if isinstance(error.detail, list) else [error.detail]
    errors = [
        {"code": error.code, "message": error.message, **({} if detail is None else {"detail": detail})}
        for detail in details
    ]
    body = json.dumps({"errors": errors}).encode() + b"\n"
    return Response(error.status, [("Content-Type", "application/json"), *error.headers], body)

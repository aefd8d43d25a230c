"""One request and its answer, as the made-up servers see them; and the log of both."""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qsl, urlencode

__all__ = ["Answer", "Body", "Handler", "HangUpError", "LoggedRequest", "Request", "RequestLog", "matches", "ranged"]

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class HangUpError(Exception):
    """Close the connection now, whatever was sent so far."""


class Body(Protocol):
    """What a client sends."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request. Header names are lower case, the path is decoded, the query in order."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body
    scheme: str = "http"
    target: str = ""
    """The path and query as they were sent, nothing decoded; empty when made up."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any]) -> Request:
        """Read a WSGI environment (PEP 3333)."""
        headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key[:5] == "HTTP_"}
        for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if environ.get(key):
                headers[key.replace("_", "-").lower()] = environ[key]
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
            query=tuple(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
            headers=headers,
            body=environ["wsgi.input"],
            scheme=environ["wsgi.url_scheme"],
            target=environ.get("REQUEST_URI", ""),
        )

    def header(self, name: str) -> str:
        """A header's value, empty when it was not sent."""
        return self.headers.get(name.lower(), "")

    def asked(self, name: str) -> str:
        """The first value of a query parameter, empty when absent."""
        return next((value for key, value in self.query if key == name), "")

    @property
    def url(self) -> str:
        """``scheme://host`` as the client wrote it."""
        return f"{self.scheme}://{self.header('host')}"

    def without(self, *, headers: Iterable[str] = (), query: Iterable[str] = ()) -> Request:
        """Return the request as if some headers or query parameters had not been sent."""
        gone, unasked = {name.lower() for name in headers}, set(query)
        return replace(
            self,
            headers={key: value for key, value in self.headers.items() if key not in gone},
            query=tuple(item for item in self.query if item[0] not in unasked),
        )


@dataclass(slots=True)
class Answer:
    """A response. ``headers`` hold Content-Length whenever the length is known."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()

    @classmethod
    def of(cls, status: int, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Answer with bytes that are at hand."""
        return cls(status, {"Content-Length": str(len(data)), **(headers or {})}, [data] if data else [])

    @property
    def length(self) -> int | None:
        """The Content-Length; None when the body ends with the connection."""
        text = self.headers.get("Content-Length")
        return None if text is None else int(text)


Handler: TypeAlias = Callable[[Request], Answer]


def ranged(
    request: Request, size: int, blocks: Callable[[int, int], Iterator[bytes]], headers: Mapping[str, str]
) -> Answer:
    """Answer a GET or HEAD for ``size`` bytes, honouring one Range (RFC 9110, section 14).

    Args:
        request: a Range in another form than ``bytes=a-b``, ``a-`` or ``-n`` counts as none.
        size: bytes of the whole.
        blocks: opens the bytes from an offset up to another.
        headers: to send besides; an ``ETag`` among them is compared with If-Range.
    """
    whole = {"Accept-Ranges": "bytes", **headers}
    found = _RANGE.fullmatch(request.header("range"))
    stale = request.header("if-range") not in ("", headers.get("ETag", ""))
    if request.method != "GET" or not found or stale or not (found[1] or found[2]):
        return Answer(HTTPStatus.OK, {**whole, "Content-Length": str(size)}, blocks(0, size))
    if not found[1]:
        start, stop = max(0, size - int(found[2])), size
    else:
        start, stop = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if start >= stop:
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        return Answer.of(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=unsatisfied)
    part = {**whole, "Content-Range": f"bytes {start}-{stop - 1}/{size}", "Content-Length": str(stop - start)}
    return Answer(HTTPStatus.PARTIAL_CONTENT, part, blocks(start, stop))


@dataclass(slots=True)
class LoggedRequest:
    """What was asked and how it was answered. ``status`` 0: the connection was closed unanswered.

    ``authorization`` is the scheme alone (``Bearer``, ``Basic`` or empty): secrets are not kept.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    authorization: str
    status: int = 0
    sent: int = 0
    """Bytes of body handed to the client."""
    received: int = 0
    """Bytes of body that the client declared (Content-Length)."""
    error: str = ""
    """What went wrong inside the fixture itself, when it answered 500 unasked."""


class RequestLog:
    """Requests in the order they arrived; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[LoggedRequest] = []

    def begin(self, request: Request) -> LoggedRequest:
        """Add a request that has not been answered yet."""
        length = request.header("content-length")
        entry = LoggedRequest(
            method=request.method,
            path=request.path,
            query=urlencode(request.query),
            headers={key: value for key, value in request.headers.items() if key not in ("authorization", "cookie")},
            authorization=request.header("authorization").partition(" ")[0],
            received=int(length) if length.isdecimal() else 0,
        )
        with self._lock:
            self._entries.append(entry)
        return entry

    def entries(self, method: str = "*", path: str = "*", *, status: int | None = None) -> list[LoggedRequest]:
        """Requests whose method and path match these shell patterns (``|`` between alternatives)."""
        with self._lock:
            entries = list(self._entries)
        return [
            entry
            for entry in entries
            if status in (None, entry.status) and matches(entry.method, method) and matches(entry.path, path)
        ]

    def count(self, method: str = "*", path: str = "*", *, status: int | None = None) -> int:
        """How many requests match."""
        return len(self.entries(method, path, status=status))

    def clear(self) -> None:
        """Forget what was logged."""
        with self._lock:
            self._entries.clear()


def matches(text: str, patterns: str) -> bool:
    """Whether ``text`` matches one of the shell patterns, separated by ``|``."""
    return any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns.split("|"))

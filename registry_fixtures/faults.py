"""Faults on purpose: what to do to which requests, declared, and the same each time.

>>> plan = FaultPlan(Fault(Refuse(429, retry_after="1"), method="GET", path="*/blobs/*", count=2))

A fault wraps the honest handler: it may change the request, the answer or the bytes of the
answer, or answer itself. Several that match one request nest, the first listed outermost.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import KW_ONLY, dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urlencode

from registry_fixtures.exchange import Answer, Handler, HangUpError, Request, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Action",
    "AlterHeaders",
    "CutBody",
    "CutUpload",
    "Delay",
    "ExtraBody",
    "Fault",
    "FaultPlan",
    "FlipByte",
    "ForgetAuthorization",
    "HangUp",
    "IgnoreQuery",
    "IgnoreRange",
    "MoveLocation",
    "Redirect",
    "Refuse",
    "ShiftRange",
    "SlowBody",
    "Truncate",
]

_BLOCK: Final = 64 * 1024


class Action(Protocol):
    """What a fault does to a request that it matches."""

    def apply(self, request: Request, handler: Handler) -> Answer:
        """Answer ``request``, with the help of ``handler`` or without."""
        ...


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error instead of doing what was asked.

    Args:
        status: of the answer (429, 500, 502, 503, 507, 413, 404, …).
        retry_after: the Retry-After header, seconds or an HTTP date.
        code: the word in the registry's JSON error.
        body: raw body instead of JSON, such as a proxy's HTML page.
        early: answer without reading the request's body; cheroot does so for 413 alone. Otherwise
            the body is read first, as by a disk that fills up in the middle.
    """

    status: int
    retry_after: str = ""
    code: str = ""
    body: bytes | None = None
    content_type: str = ""
    early: bool = False

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: ARG002, D102 -- see Action
        if not self.early:
            while request.body.read(_BLOCK):
                pass
        error = {"code": self.code or _code(self.status), "message": "a fault of the fixture"}
        data = json.dumps({"errors": [error]}).encode() if self.body is None else self.body
        headers = {"Content-Type": self.content_type or ("application/json" if self.body is None else "text/html")}
        if self.retry_after:
            headers["Retry-After"] = self.retry_after
        return Answer.of(self.status, data, headers)


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection without an answer."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: ARG002, D102
        raise HangUpError


@dataclass(frozen=True, slots=True)
class CutUpload:
    """Read ``after`` bytes of what the client sends, let the handler have them, close the connection."""

    after: int

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        handler(replace(request, body=_Limited(request, self.after)))
        raise HangUpError


@dataclass(frozen=True, slots=True)
class CutBody:
    """Send ``after`` bytes of the body, then close the connection; the headers promise all of it."""

    after: int

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        return replace(answer, body=self._cut(iter(answer.body)))

    def _cut(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        left = self.after
        for block in blocks:
            yield block[:left]
            left -= len(block)
            if left <= 0:
                raise HangUpError


@dataclass(frozen=True, slots=True)
class SlowBody:
    """Send the body in chunks of ``chunk`` bytes, ``seconds`` apart."""

    chunk: int = 1024
    seconds: float = 0.01

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        return replace(answer, body=self._drip(iter(answer.body)))

    def _drip(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            for start in range(0, len(block), self.chunk):
                time.sleep(self.seconds)
                yield block[start : start + self.chunk]


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before the request is looked at."""

    seconds: float

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        time.sleep(self.seconds)
        return handler(request)


@dataclass(frozen=True, slots=True)
class FlipByte:
    """Change one byte of the body, at ``offset``; length and headers stay as they were."""

    offset: int = 0

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        return replace(answer, body=self._flip(iter(answer.body)))

    def _flip(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        start = 0
        for block in blocks:
            at = self.offset - start
            start += len(block)
            yield block[:at] + bytes([block[at] ^ 0xFF]) + block[at + 1 :] if 0 <= at < len(block) else block


@dataclass(frozen=True, slots=True)
class Truncate:
    """Leave off the last ``by`` bytes, with a Content-Length that agrees with what is sent."""

    by: int = 1

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        kept = max(0, (answer.length or 0) - self.by)
        return replace(
            answer, headers={**answer.headers, "Content-Length": str(kept)}, body=_first(iter(answer.body), kept)
        )


@dataclass(frozen=True, slots=True)
class ExtraBody:
    """Append ``by`` bytes to the body, with a Content-Length that agrees, or none when ``silent``."""

    by: int = 1
    silent: bool = False

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        headers = {key: value for key, value in answer.headers.items() if key != "Content-Length"}
        if not self.silent:
            headers["Content-Length"] = str((answer.length or 0) + self.by)
        return replace(answer, headers=headers, body=self._append(iter(answer.body)))

    def _append(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        yield from blocks
        left = self.by
        while left > 0:
            yield b"\0" * min(left, _BLOCK)
            left -= _BLOCK


@dataclass(frozen=True, slots=True)
class ForgetAuthorization:
    """See the request without its Authorization: a token that expired; the handler's own 401 follows."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        return handler(request.without(headers=["authorization"]))


@dataclass(frozen=True, slots=True)
class IgnoreRange:
    """Answer a Range with 200 and everything, as RFC 9110 allows."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        return handler(request.without(headers=["range"]))


@dataclass(frozen=True, slots=True)
class ShiftRange:
    """Answer 206 with another part than was asked for, and say so in Content-Range."""

    by: int = 1

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        unit, _, span = request.header("range").partition("=")
        start, _, stop = span.partition("-")
        if not start.isdecimal():
            return handler(request)
        moved = f"{unit}={int(start) + self.by}-{stop}"
        return handler(replace(request, headers={**request.headers, "range": moved}))


@dataclass(frozen=True, slots=True)
class IgnoreQuery:
    """See the request without some query parameters (``mount`` and ``from``: no mounting)."""

    names: tuple[str, ...] = ("mount", "from")

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        return handler(request.without(query=self.names))


@dataclass(frozen=True, slots=True)
class AlterHeaders:
    """Set headers of the answer (``Docker-Content-Digest`` to a lie), or drop them."""

    set: dict[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        kept = {key: value for key, value in answer.headers.items() if key not in self.drop}
        return replace(answer, headers={**kept, **self.set})


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send the client to the same path (and query) at another base URL."""

    to: str
    status: int = HTTPStatus.TEMPORARY_REDIRECT
    path: str = ""
    """Another path than the one asked for."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: ARG002, D102
        target = self.to.rstrip("/") + quote(self.path or request.path)
        if request.query:
            target += f"?{urlencode(request.query)}"
        return Answer.of(self.status, headers={"Location": target})


@dataclass(frozen=True, slots=True)
class MoveLocation:
    """Let the honest answer's Location point at another base URL."""

    to: str

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        location = answer.headers.get("Location", "")
        path = location.removeprefix(request.url)
        return replace(answer, headers={**answer.headers, "Location": self.to.rstrip("/") + path})


@dataclass(frozen=True, slots=True)
class Fault:
    """An action and the requests it is for.

    ``method`` and ``path`` are shell patterns, alternatives parted by ``|``; ``/v2/*/blobs/*``
    is any blob of a registry. Of the requests that match, counted from 1:

    Args:
        nth: only this one.
        after: not the first ones.
        count: at most so many of them.
        probability: each of them with this chance, drawn from ``seed``: the same requests in the
            same order meet the same faults.
    """

    action: Action
    _: KW_ONLY
    method: str = "*"
    path: str = "*"
    nth: int | None = None
    after: int = 0
    count: int | None = None
    probability: float = 1.0
    seed: int = 0


@dataclass(slots=True)
class _Armed:
    fault: Fault
    chance: random.Random
    seen: int = 0
    fired: int = 0

    def fires(self, request: Request) -> bool:
        fault = self.fault
        if not (matches(request.method, fault.method) and matches(request.path, fault.path)):
            return False
        self.seen += 1
        if self.seen <= fault.after or fault.nth not in (None, self.seen):
            return False
        if fault.count is not None and self.fired >= fault.count:
            return False
        if fault.probability < 1 and self.chance.random() >= fault.probability:
            return False
        self.fired += 1
        return True


class FaultPlan:
    """The faults of one server; they may be added and cleared while it runs."""

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self.add(*faults)

    def add(self, *faults: Fault) -> None:
        """Arm more faults."""
        with self._lock:
            self._armed += [_Armed(fault, random.Random(fault.seed)) for fault in faults]  # noqa: S311 -- no secret

    def clear(self) -> None:
        """Disarm all."""
        with self._lock:
            self._armed.clear()

    @property
    def fired(self) -> int:
        """How often any of the armed faults was applied."""
        with self._lock:
            return sum(armed.fired for armed in self._armed)

    def around(self, handler: Handler) -> Handler:
        """Wrap ``handler`` in whatever matches the request that comes."""

        def faulty(request: Request) -> Answer:
            with self._lock:
                actions = [armed.fault.action for armed in self._armed if armed.fires(request)]
            return _nest(actions, handler)(request)

        return faulty


def _nest(actions: list[Action], handler: Handler) -> Handler:
    if not actions:
        return handler
    first, inner = actions[0], _nest(actions[1:], handler)
    return lambda request: first.apply(request, inner)


def _code(status: int) -> str:
    words: dict[int, str] = {
        HTTPStatus.NOT_FOUND: "NOT_FOUND",
        HTTPStatus.FORBIDDEN: "DENIED",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "SIZE_INVALID",
        HTTPStatus.TOO_MANY_REQUESTS: "TOOMANYREQUESTS",
    }
    return words.get(status, "UNKNOWN")


def _first(blocks: Iterator[bytes], left: int) -> Iterator[bytes]:
    for block in blocks:
        if left <= 0:
            return
        yield block[:left]
        left -= len(block)


class _Limited:
    """The first bytes of a request's body."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._left = limit

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._request.body.read(wanted) if wanted else b""
        self._left -= len(data)
        return data

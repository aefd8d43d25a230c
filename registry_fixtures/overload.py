"""Servers under strain: too many requests at once, silence in the middle, answers that get lost or lie.

Faults like those of ``registry_fixtures.faults``; each takes part in a ``FaultPlan``.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from registry_fixtures.exchange import Answer, Handler, HangUpError, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["AtMost", "LoseAnswer", "StallBody", "Swallow"]


@dataclass(frozen=True, slots=True)
class AtMost:
    """Answer 429 to what comes while ``count`` requests are under way; each takes ``seconds`` at least."""

    count: int
    seconds: float = 0.01
    retry_after: str = "0"
    _busy: threading.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_busy", threading.Semaphore(self.count))

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102 -- see Action
        if not self._busy.acquire(blocking=False):
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return Answer.of(HTTPStatus.TOO_MANY_REQUESTS, headers=headers)
        try:
            time.sleep(self.seconds)
            return handler(request)
        finally:
            self._busy.release()


@dataclass(frozen=True, slots=True)
class StallBody:
    """Send ``after`` bytes of the body, then nothing for ``seconds``, then close the connection."""

    after: int
    seconds: float

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        answer = handler(request)
        return replace(answer, body=self._stall(iter(answer.body)))

    def _stall(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        left = self.after
        for block in blocks:
            yield block[:left]
            left -= len(block)
            if left <= 0:
                time.sleep(self.seconds)
                raise HangUpError


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Do what was asked, then close the connection without a word."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: D102
        handler(request)
        raise HangUpError


@dataclass(frozen=True, slots=True)
class Swallow:
    """Say that it was created, and do nothing."""

    def apply(self, request: Request, handler: Handler) -> Answer:  # noqa: ARG002, D102
        while request.body.read(64 * 1024):
            pass
        return Answer.of(HTTPStatus.CREATED)

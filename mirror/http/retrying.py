"""When to try again, and how long to wait before (``wire.md`` 6.5)."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_result, wait_random_exponential

from bundlectl.errors import TransportError
from bundlectl.events import Waiting
from mirror.http.failures import RETRYABLE_STATUSES, never_connected, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.events import Listener
    from mirror.http.flow import Flow
    from mirror.http.response import Response
    from mirror.http.transport import Transport

__all__ = ["Backoff"]

_ASKS_TO_WAIT: Final = frozenset({429, 503})
_RARELY_MENDED: Final = 2
"""Retries of what waiting seldom mends: 500, a refused connection, an unknown name."""


class Backoff:
    """Repeats requests. A host that asks us to wait is left alone by every thread."""

    def __init__(self, transport: Transport, flow: Flow, listener: Listener) -> None:
        self._transport = transport
        self._flow = flow
        self._listener = listener
        self._jitter = wait_random_exponential(multiplier=transport.backoff, max=transport.max_wait)
        self._lock = threading.Lock()
        self._resume_at: dict[str, float] = {}

    def run(self, host: str, attempt: Callable[[], Response], *, retry: bool) -> Response:
        """Call ``attempt`` until it answers well, is refused for good, or the retries are used up.

        Raises:
            TransportError: the last try's.
            InterruptError: the client was cancelled.
        """
        once = partial(self._once, host, attempt)
        if not retry:
            return once()
        return Retrying(
            retry=retry_if_exception(_may_mend) | retry_if_result(lambda answer: answer.status in RETRYABLE_STATUSES),
            stop=self._used_up,
            wait=partial(self._pause, host),
            before_sleep=partial(self._announce, host),
            sleep=self._flow.wait,
            retry_error_callback=_last,
        )(once)

    def _once(self, host: str, attempt: Callable[[], Response]) -> Response:
        if self._resume_at:
            self._flow.wait(self._remaining(host))
        self._flow.check()
        response = attempt()
        if response.status in _ASKS_TO_WAIT:
            asked = retry_after(response.headers)
            if asked is not None:
                until = time.monotonic() + min(asked, self._transport.max_wait)
                with self._lock:
                    self._resume_at[host] = max(until, self._resume_at.get(host, 0.0))
        return response

    def _remaining(self, host: str) -> float:
        with self._lock:
            until = self._resume_at.get(host)
            if until is None:
                return 0.0
            left = until - time.monotonic()
            if left <= 0:
                del self._resume_at[host]
            return max(left, 0.0)

    def _pause(self, host: str, state: RetryCallState) -> float:
        return self._remaining(host) + self._jitter(state)

    def _announce(self, host: str, state: RetryCallState) -> None:
        outcome = state.outcome
        if outcome is None or state.next_action is None:
            return
        error = outcome.exception()
        if isinstance(error, TransportError):
            reason = error.message
        else:
            response: Response = outcome.result()
            response.close()
            reason = f"the server answered {response.status}"
        self._listener(Waiting(host, state.next_action.sleep, reason))

    def _used_up(self, state: RetryCallState) -> bool:
        allowed = self._transport.retries
        outcome = state.outcome
        if outcome is not None:
            error = outcome.exception()
            rarely = never_connected(error.__cause__) if error else outcome.result().status == 500  # noqa: PLR2004
            if rarely:
                allowed = min(allowed, _RARELY_MENDED)
        return state.attempt_number > allowed


def _may_mend(error: BaseException) -> bool:
    return isinstance(error, TransportError) and error.retryable


def _last(state: RetryCallState) -> Response:
    if state.outcome is None:
        raise TransportError("no request was made")
    answer: Response = state.outcome.result()
    return answer

"""When to try again, and how long to wait before (``wire.md`` 6.5)."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_result, wait_random_exponential

from bundlectl.errors import TransportError
from bundlectl.events import Waiting
from mirror.http.failures import RETRYABLE_STATUSES, fell_silent, never_connected, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.events import Listener
    from mirror.http.flow import Flow
    from mirror.http.limits import HostLimits, Kind, Slot
    from mirror.http.response import Response
    from mirror.http.transport import Transport

__all__ = ["Backoff"]

_ASKS_TO_WAIT: Final = frozenset({429, 503})
_RARELY_MENDED: Final = 2
"""Retries of what waiting seldom mends: 500, a refused connection, an unknown name."""


class Backoff:
    """Repeats requests. A host that asks us to wait is left alone by every thread.

    Each try takes a slot of its host; none is held while waiting for the next.
    """

    def __init__(self, transport: Transport, flow: Flow, listener: Listener, limits: HostLimits) -> None:
        self._transport = transport
        self._flow = flow
        self._listener = listener
        self._limits = limits
        self._jitter = wait_random_exponential(multiplier=transport.backoff, max=transport.max_wait)
        # One for all requests: it keeps state for each thread, and making it costs more than using it.
        self._retrying = Retrying(
            retry=retry_if_exception(_may_mend) | retry_if_result(lambda answer: answer.status in RETRYABLE_STATUSES),
            stop=self._used_up,
            wait=self._pause,
            before_sleep=self._announce,
            sleep=flow.wait,
            retry_error_callback=_last,
        )
        self._lock = threading.Lock()
        self._resume_at: dict[str, float] = {}
        self._silent: set[str] = set()
        """Hosts that were silent through all tries of a request, and have said nothing since."""

    def run(self, host: str, attempt: Callable[[], Response], *, retry: bool, kind: Kind) -> Response:
        """Call ``attempt`` until it answers well, is refused for good, or the retries are used up.

        Args:
            host: ``host[:port]`` that is asked.
            attempt: one try.
            retry: whether there may be more than one.
            kind: what the request does.

        Raises:
            TransportError: the last try's.
            InterruptError: the client was cancelled.
        """
        if not retry:
            return self._once(host, attempt, kind)
        try:
            return self._retrying(self._once, host, attempt, kind)
        except TransportError as error:
            if fell_silent(error.__cause__):
                # Every try took a minute: neither may callers add theirs, nor is the next request worth as many.
                error.retryable = False
                self._silent.add(host)
            raise

    def _once(self, host: str, attempt: Callable[[], Response], kind: Kind) -> Response:
        slot = self._turn(host, kind)
        try:
            response = attempt()
        except TransportError as error:
            # What breaks while a body is sent may be the source of it, which is another host. Silence
            # tells of no strain: with fewer at a time it would only take longer to end.
            cause = error.__cause__
            if (
                error.retryable
                and host in (error.artifact or "")
                and not (never_connected(cause) or fell_silent(cause))
            ):
                slot.refused(error.message)
            slot.leave()
            raise
        except BaseException:
            slot.leave()
            raise
        self._silent.discard(host)
        status = response.status
        if status in _ASKS_TO_WAIT or (status >= 400 and "Retry-After" in response.headers):  # noqa: PLR2004
            slot.refused(f"it answered {status}")
            self._leave_alone(host, retry_after(response.headers))
        elif status not in RETRYABLE_STATUSES:
            slot.answered()
        response.hold(slot)
        return response

    def _turn(self, host: str, kind: Kind) -> Slot:
        """Take a slot, once the host may be asked at all."""
        while True:
            if self._resume_at:
                self._flow.wait(self._remaining(host))
            self._flow.check()
            slot = self._limits.enter(host, kind)
            if not self._resume_at or self._remaining(host) <= 0:
                return slot
            slot.leave()

    def _leave_alone(self, host: str, seconds: float | None) -> None:
        if seconds is not None:
            until = time.monotonic() + min(seconds, self._transport.max_wait)
            with self._lock:
                self._resume_at[host] = max(until, self._resume_at.get(host, 0.0))

    def _remaining(self, host: str) -> float:
        with self._lock:
            until = self._resume_at.get(host)
            if until is None:
                return 0.0
            left = until - time.monotonic()
            if left <= 0:
                del self._resume_at[host]
            return max(left, 0.0)

    def _pause(self, state: RetryCallState) -> float:
        return self._remaining(_host(state)) + self._jitter(state)

    def _announce(self, state: RetryCallState) -> None:
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
        self._listener(Waiting(_host(state), state.next_action.sleep, reason))

    def _used_up(self, state: RetryCallState) -> bool:
        allowed = 0 if _host(state) in self._silent else self._transport.retries
        outcome = state.outcome
        if outcome is not None:
            error = outcome.exception()
            rarely = never_connected(error.__cause__) if error else outcome.result().status == 500  # noqa: PLR2004
            if rarely:
                allowed = min(allowed, _RARELY_MENDED)
        return state.attempt_number > allowed


def _host(state: RetryCallState) -> str:
    """The first argument of `Backoff._once`."""
    host: str = state.args[0]
    return host


def _may_mend(error: BaseException) -> bool:
    return isinstance(error, TransportError) and error.retryable


def _last(state: RetryCallState) -> Response:
    if state.outcome is None:
        raise TransportError("no request was made")
    answer: Response = state.outcome.result()
    return answer

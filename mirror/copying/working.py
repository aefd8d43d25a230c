"""Worker threads that stop when told to, and tries that know when to give up."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from bundlectl.errors import BundlectlError, InterruptError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Event

__all__ = ["Workers", "check_cancelled", "persist"]

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_TRIES: Final = 6
_LONGEST_WAIT: Final = 60.0
_backoff = wait_random_exponential(multiplier=0.2, max=20)


def check_cancelled(cancel: Event) -> None:
    """Stop here if the run was cancelled.

    Raises:
        InterruptError: it was.
    """
    if cancel.is_set():
        raise InterruptError("stopped", hint="the same command resumes")


def persist(attempt: Callable[[], T], cancel: Event) -> T:
    """Call ``attempt`` until it succeeds, fails for good, or has failed six times.

    Only errors that call themselves retryable are tried again, after a jittered wait or the
    one that the server asked for.

    Raises:
        BundlectlError: the last error.
        InterruptError: cancelled while waiting.
    """

    def pause(seconds: float) -> None:
        cancel.wait(seconds)
        check_cancelled(cancel)

    retrying = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=_waiting,
        retry=retry_if_exception(lambda error: isinstance(error, BundlectlError) and error.retryable),
        sleep=pause,
        reraise=True,
    )
    return retrying(attempt)


def _waiting(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RegistryError) and error.retry_after is not None:
        return min(error.retry_after, _LONGEST_WAIT)
    return _backoff(state)


class Workers:
    """A pool of threads whose work can submit more work; a context manager.

    Leaving it by an exception cancels what has not begun and does not wait for what has.
    """

    def __init__(self, jobs: int, cancel: Event) -> None:
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="copy")
        self._cancel = cancel
        self._lock = Lock()
        self._pending: set[Future[None]] = set()

    def __enter__(self) -> Workers:  # noqa: PYI034 -- never subclassed
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._cancel.set()
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def submit(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Queue ``work``; it must catch what it can answer for, what it raises ends the run."""
        with self._lock:
            self._pending.add(self._pool.submit(work, *args, **kwargs))

    def map(self, work: Callable[[R], T], items: Iterable[R]) -> list[T]:
        """Apply ``work`` to all items in parallel, results in order.

        Raises:
            BundlectlError: the first error of any item; the rest is cancelled.
        """
        futures = [self._pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def drain(self) -> None:
        """Wait until all work, and all that it submitted, is done.

        Raises:
            BundlectlError: what some work raised.
        """
        while True:
            with self._lock:
                pending = tuple(self._pending)
            if not pending:
                return
            # A bounded wait: the main thread must see Ctrl-C even where no work ends.
            done, _ = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            with self._lock:
                self._pending.difference_update(done)
            for future in done:
                future.result()

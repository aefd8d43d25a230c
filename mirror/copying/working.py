"""Worker threads that stop when told to, and tries that know when to give up."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from bundlectl.errors import BundlectlError, InterruptError, MissingError, RegistryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Persistence", "Workers", "check_cancelled", "persist", "reading_source"]

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_POLL: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How long a step is tried again, beyond what the HTTP client does for a single request.

    Args:
        tries: in all.
        backoff: seconds; the first wait is at most this, the next twice that, and so on.
        longest: seconds; of a wait, also where a server asks for more.
    """

    tries: int = 6
    backoff: float = 0.2
    longest: float = 60.0

    def wait(self, state: RetryCallState) -> float:
        """Seconds until the next try: jittered, or what the server asked for."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RegistryError) and error.retry_after is not None:
            return min(error.retry_after, self.longest)
        return wait_random_exponential(multiplier=self.backoff, max=self.longest / 3)(state)


_USUAL: Final = Persistence()


def check_cancelled(cancel: Event) -> None:
    """Stop here if the run was cancelled.

    Raises:
        InterruptError: it was.
    """
    if cancel.is_set():
        raise InterruptError("stopped", hint="the same command resumes")


def persist(attempt: Callable[[], T], cancel: Event, persistence: Persistence = _USUAL) -> T:
    """Call ``attempt`` until it succeeds, fails for good, or the tries are used up.

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
        stop=stop_after_attempt(persistence.tries),
        wait=persistence.wait,
        retry=retry_if_exception(lambda error: isinstance(error, BundlectlError) and error.retryable),
        sleep=pause,
        reraise=True,
    )
    return retrying(attempt)


@contextmanager
def reading_source() -> Iterator[None]:
    """Tell what the disk of a source refuses as missing there: only a target's disk ends the run.

    Raises:
        MissingError: in place of a `StoreError`.
    """
    try:
        yield
    except StoreError as error:
        raise MissingError(error.message, artifact=error.artifact, hint=error.hint) from error


class _Linked(Event):
    """Set by itself, or by the outer event; setting it leaves the outer one alone."""

    def __init__(self, outer: Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        return super().is_set() or self._outer.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left = _POLL if end is None else min(_POLL, end - time.monotonic())
            if left <= 0:
                break
            super().wait(left)
        return self.is_set()


class Workers:
    """A pool of threads whose work can submit more work; a context manager.

    Leaving it by an exception cancels what has not begun and does not wait for what has.

    Args:
        jobs: threads.
        cancel: of the whole run; it is only looked at. ``stopped`` is set with it, and when
            this pool is left by an exception: work looks at that.
    """

    def __init__(self, jobs: int, cancel: Event) -> None:
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="copy")
        self.stopped: Event = _Linked(cancel)
        self._lock = Lock()
        self._pending: set[Future[None]] = set()

    def __enter__(self) -> Workers:  # noqa: PYI034 -- never subclassed
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.stopped.set()
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

"""Worker threads that stop when told to, and tries that know when to give up."""

from __future__ import annotations

import random
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from heapq import heappop, heappush
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from bundlectl.errors import BundlectlError, InterruptError, MissingError, RegistryError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Lane", "Persistence", "Workers", "check_cancelled", "persist", "reading_source"]

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
        """Seconds until the next try, as tenacity asks for them."""
        error = state.outcome.exception() if state.outcome else None
        return self.seconds(error, state.attempt_number)

    def seconds(self, error: BaseException | None, tries: int) -> float:
        """Seconds until the next try: jittered, or what the server asked for.

        Args:
            error: what the last try came to.
            tries: so far.
        """
        if isinstance(error, RegistryError) and error.retry_after is not None:
            return min(error.retry_after, self.longest)
        return random.uniform(0, min(self.backoff * 2 ** min(tries - 1, 30), self.longest / 3))  # noqa: S311 -- no secret


def check_cancelled(cancel: Event) -> None:
    """Stop here if the run was cancelled.

    Raises:
        InterruptError: it was.
    """
    if cancel.is_set():
        raise InterruptError("stopped", hint="the same command resumes")


def persist(attempt: Callable[[], T], cancel: Event, persistence: Persistence) -> T:
    """Call ``attempt`` until it succeeds, fails for good, or the tries are used up.

    Only errors that call themselves retryable are tried again, after a jittered wait or the
    one that the server asked for.

    Raises:
        BundlectlError: the last error.
        InterruptError: cancelled while waiting.
    """
    result: T = _retrying(persistence)(_attempt, attempt, cancel)
    return result


@lru_cache(maxsize=16)
def _retrying(persistence: Persistence) -> Retrying:
    """One for all steps of a run: it keeps state for each thread, and making it costs more than using it."""
    return Retrying(
        stop=stop_after_attempt(persistence.tries),
        wait=persistence.wait,
        retry=retry_if_exception(lambda error: isinstance(error, BundlectlError) and error.retryable),
        before_sleep=_pause,
        sleep=lambda _: None,
        reraise=True,
    )


def _attempt(attempt: Callable[[], T], cancel: Event) -> T:
    del cancel  # which is looked at between two tries
    return attempt()


def _pause(state: RetryCallState) -> None:
    cancel: Event = state.args[1]
    cancel.wait(state.upcoming_sleep)
    check_cancelled(cancel)


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


class Lane(Generic[R]):
    """One kind of work of a pool, and the items that wait for it. Made by `Workers.lane`."""

    def __init__(self, work: Callable[[R], None], *, ordered: bool, share: float) -> None:
        self.work = work
        self.share = share
        self.busy = 0
        self._heap: list[Any] | None = [] if ordered else None
        self._queue: deque[R] = deque()

    def push(self, item: R) -> None:
        """Let an item wait."""
        if self._heap is None:
            self._queue.append(item)
        else:
            heappush(self._heap, item)

    def pop(self, jobs: int) -> R | None:
        """The item whose turn it is; None when there is none, or enough of this kind is under way."""
        if not (self._heap or self._queue) or self.busy >= max(1, int(jobs * self.share)):
            return None
        return self._queue.popleft() if self._heap is None else heappop(self._heap)


class Workers:
    """A pool of threads whose work can submit more work; a context manager.

    What is queued waits in lanes. A thread that is free takes the next item of the first lane
    that has one: the order of the lanes is the order of importance. Memory for an item that waits
    is the item and its place in the lane.

    Leaving it by an exception cancels what has not begun and does not wait for what has.

    Args:
        jobs: threads.
        cancel: of the whole run; it is only looked at. ``stopped`` is set with it, and when
            this pool is left by an exception: work looks at that.
    """

    def __init__(self, jobs: int, cancel: Event) -> None:
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="copy")
        self.stopped: Event = _Linked(cancel)
        self._jobs = jobs
        self._lanes: list[Lane[Any]] = []
        self._running = 0
        self._lock = Lock()
        self._pending: set[Future[None]] = set()

    def __enter__(self) -> Workers:  # noqa: PYI034 -- never subclassed
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self.stopped.set()
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def lane(self, work: Callable[[R], None], *, ordered: bool = False, share: float = 1.0) -> Lane[R]:
        """Add a lane behind those there are.

        Args:
            work: called with each item; it must catch what it can answer for, what it raises ends the run.
            ordered: the least item first (by ``<``), instead of the oldest.
            share: of the threads, that may be at it at the same time; at least one may.
        """
        made = Lane(work, ordered=ordered, share=share)
        self._lanes.append(made)
        return made

    def submit(self, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have ``work`` done once; it must catch what it can answer for, what it raises ends the run."""
        with self._lock:
            self._pending.add(self._pool.submit(work, *args, **kwargs))

    def queue(self, lane: Lane[R], item: R) -> None:
        """Let an item wait for its turn in a lane."""
        with self._lock:
            lane.push(item)
            if self._running < self._jobs:
                self._running += 1
                self._pending.add(self._pool.submit(self._work))

    def _work(self) -> None:
        """Take items until there is none left for this thread."""
        while True:
            with self._lock:
                lane, item = self._next()
                if lane is None:
                    self._running -= 1
                    return
                lane.busy += 1
            try:
                lane.work(item)
            finally:
                with self._lock:
                    lane.busy -= 1

    def _next(self) -> tuple[Lane[Any] | None, Any]:
        if not self.stopped.is_set():
            for lane in self._lanes:
                item = lane.pop(self._jobs)
                if item is not None:
                    return lane, item
        return None, None

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
            InterruptError: stopped before everything was done.
        """
        while True:
            with self._lock:
                pending = tuple(self._pending)
            if not pending:
                check_cancelled(self.stopped)
                return
            # A bounded wait: the main thread must see Ctrl-C even where no work ends.
            done, _ = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            with self._lock:
                self._pending.difference_update(done)
            for future in done:
                future.result()

"""Several processes on one socket: forked from one that only watches, replaced when they end.

Why so: one Python process answers on one processor. The processes share the listening socket, so
that connections nobody accepted yet survive the process that would have. They end when a pipe
does whose other end only the parent holds: by its wish, or because it is gone, however it went.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ConfigError, UsageError
from bundlectl.events import Listener, Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.context import ForkProcess

__all__ = ["Workers"]

_READY_WITHIN: Final = 30.0
_AFTER_GRACE: Final = 7.0
"""Seconds beyond the grace of transfers, after which a process that is still there is killed."""

_AT_ONCE: Final = 1.0
_LOOK: Final = 0.02
_EARLY: Final = 2.0
_EARLY_MAX: Final = 5
"""A process that ends within two seconds is replaced; the fifth in a row tells that it is no accident."""

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_CLOSED: Final = -1


class Workers:
    """Processes that serve; made, watched and stopped by one thread of a process that has no other.

    Args:
        work: given a number from 0, serves in the background of its process while its context is open.
        count: of processes.
        listener: told of processes that ended.
    """

    def __init__(
        self, work: Callable[[int], AbstractContextManager[object]], count: int, *, listener: Listener
    ) -> None:
        self._work = work
        self._count = count
        self._listener = listener
        self._processes: dict[int, ForkProcess] = {}
        self._born: dict[int, float] = {}
        self._early = 0
        self._lifeline = (_CLOSED, _CLOSED)
        self._tell = _CLOSED

    @property
    def pids(self) -> list[int]:
        """The processes, in the order of their numbers."""
        found = (self._processes[number].pid for number in sorted(self._processes))
        return [pid for pid in found if pid is not None]

    def start(self) -> None:
        """Make the processes, and wait until they serve.

        Raises:
            UsageError: this process has other threads, whose locks a fork would leave locked.
            ConfigError: a process cannot be made, or does not serve.
        """
        if threading.active_count() > 1:
            raise UsageError("several workers need a process without other threads", hint="serve without workers")
        self._lifeline = os.pipe()
        ready, self._tell = os.pipe()
        atexit.register(self.stop, 0)  # before `multiprocessing` waits there for processes to end by themselves
        try:
            for number in range(self._count):
                self._fork(number)
            self._await_ready(ready)
        except BaseException as error:
            self.stop(0)
            if isinstance(error, OSError):
                raise ConfigError(f"cannot make a worker process: {error.strerror}", hint="--workers 1") from error
            raise
        finally:
            tell, self._tell = self._tell, _CLOSED
            os.close(tell)
            os.close(ready)

    def watch(self) -> None:
        """Replace processes that ended. To be called again and again.

        Raises:
            ConfigError: they end as soon as they start.
        """
        for number in range(self._count):
            process = self._processes.get(number)
            if process is not None:
                if process.exitcode is None:
                    continue
                self._bury(number, process, process.exitcode)
            try:
                self._fork(number)
            except OSError as error:  # short of memory or processes: the others go on, and it is tried again
                if process is not None:
                    self._listener(Notice("warning", f"worker {number} cannot be replaced yet: {error.strerror}"))

    def _bury(self, number: int, process: ForkProcess, how: int) -> None:
        early = time.monotonic() - self._born[number] < _EARLY
        self._early = self._early + 1 if early else 0
        pid = process.pid
        del self._processes[number]
        process.close()
        if self._early >= _EARLY_MAX:
            raise ConfigError("the worker processes end as soon as they start", hint="see the warnings above")
        reason = signal.Signals(-how).name if how < 0 else f"exit {how}"
        self._listener(Notice("warning", f"worker {number} (process {pid}) ended: {reason}; it is replaced"))

    def stop(self, grace: float) -> None:
        """End the processes; harmless when repeated.

        Args:
            grace: seconds that they give to transfers; with 0 they are killed a second later.
        """
        atexit.unregister(self.stop)
        lifeline, self._lifeline = self._lifeline, (_CLOSED, _CLOSED)
        for end in lifeline:
            if end != _CLOSED:
                os.close(end)
        deadline = time.monotonic() + (grace + _AFTER_GRACE if grace else _AT_ONCE)
        while self._processes:
            for number, process in list(self._processes.items()):
                if process.exitcode is not None:
                    del self._processes[number]
                    process.close()
                elif time.monotonic() > deadline:
                    process.kill()
            time.sleep(_LOOK)

    def _fork(self, number: int) -> None:
        """Make a process.

        Raises:
            OSError: the system has no room for it.
        """
        process = multiprocessing.get_context("fork").Process(target=self._serve, args=(number,))
        with _undisturbed():
            process.start()
            self._processes[number] = process
            self._born[number] = time.monotonic()

    def _serve(self, number: int) -> None:
        """Be a worker until the parent ends it or is gone."""
        # A terminal's Ctrl-C and a service's stop reach every process; the parent says when.
        for stopping in _STOPPING:
            signal.signal(stopping, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
        wait, hold = self._lifeline
        os.close(hold)
        try:
            with self._work(number):
                if self._tell != _CLOSED:
                    os.write(self._tell, b"+")
                    os.close(self._tell)
                while os.read(wait, 1):
                    pass
        except BaseException as error:  # noqa: BLE001 -- the process ends in any case; the parent is told that it did
            self._listener(Notice("warning", f"worker {number} failed: {error}"[:1000]))

    def _await_ready(self, ready: int) -> None:
        """Wait until each process has written a byte."""
        deadline = time.monotonic() + _READY_WITHIN
        missing = self._count
        while missing:
            ends = [process.sentinel for process in self._processes.values()]
            found = multiprocessing.connection.wait([ready, *ends], deadline - time.monotonic())
            if ready not in found:
                raise ConfigError("a worker process does not serve", hint="see the warnings above, or use --workers 1")
            missing -= len(os.read(ready, missing))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off signals: one between fork and what follows would be handled in both processes, or lose one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Runs an operation so that Ctrl-C ends it within a second.

The work runs on a thread of its own while the main thread waits: only there can a signal
interrupt Python, and there it must not find itself inside a lock or a system call of the work.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar, cast

from bundlectl.cli.progress import show_progress
from bundlectl.errors import InterruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bundlectl.cli.command import Invocation
    from bundlectl.operations.session import Connection, Session

__all__ = ["RESUME", "interrupted", "leave_at_once", "run_interruptibly", "run_session", "terminable"]

_Result = TypeVar("_Result")

_LOOK: Final = 0.2
"""Seconds between two looks for a signal."""

_GRACE: Final = 0.8
"""Seconds that cancelled work gets to end by itself."""

RESUME: Final = "nothing was left half-written; the same command again resumes"


def interrupted() -> InterruptError:
    """The error of a command that the user stopped."""
    return InterruptError("interrupted", hint=RESUME)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, while this is open in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:  # noqa: ARG001 -- the signature of a signal handler
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_at_once(exit_code: int) -> NoReturn:
    """End the process though threads still run; what they hold is only temporary names."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
    os._exit(exit_code)


class _Work(threading.Thread, Generic[_Result]):
    """One call on a thread, its result or error kept."""

    def __init__(self, call: Callable[[], _Result]) -> None:
        super().__init__(name="bundlectl-command", daemon=True)
        self._call = call
        self.ended = threading.Event()
        self.result: _Result | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 -- raised again where it is waited for
            self.error = error
        finally:
            self.ended.set()


def run_interruptibly(call: Callable[[], _Result], *, cancel: Callable[[], None]) -> _Result:
    """Run ``call`` and return what it returns.

    Args:
        call: the work.
        cancel: asks the work to end soon; called in the main thread.

    Raises:
        InterruptError: Ctrl-C or SIGTERM. The work may still be ending.
        BaseException: what ``call`` raised.
    """
    work = _Work(call)
    try:
        work.start()
        # In short waits: a signal may reach another thread first, which does not wake this one.
        while not work.ended.wait(_LOOK):
            pass
    except KeyboardInterrupt:
        cancel()
        try:
            work.ended.wait(_GRACE)
        except KeyboardInterrupt:
            leave_at_once(InterruptError.exit_code)
        raise interrupted() from None
    work.join()
    if work.error is not None:
        raise work.error
    return cast("_Result", work.result)


def run_session(invocation: Invocation, connection: Connection, work: Callable[[Session], _Result]) -> _Result:
    """Open a session, run ``work`` with it while showing progress, close it.

    Raises:
        InterruptError: Ctrl-C or SIGTERM.
        BundlectlError: whatever ``work`` raises.
    """
    from bundlectl.operations.session import Session  # noqa: PLC0415 -- imports the HTTP client

    with show_progress(invocation.console) as listener:
        session = Session(connection, listener=listener)

        def call() -> _Result:
            with session:
                return work(session)

        return run_interruptibly(call, cancel=session.cancel)

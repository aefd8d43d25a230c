"""Shows what goes on: a live display on a terminal, plain lines elsewhere, nothing when quiet.

Each display is a listener: cheap, and safe to call from any thread.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.events import (
    ArtifactFinished,
    BytesMoved,
    Notice,
    PhaseStarted,
    TransferPlanned,
    Waiting,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bundlectl.cli.console import Console
    from bundlectl.events import Event, Listener

__all__ = ["PlainProgress", "Tally", "show_progress"]

_INTERVAL: Final = 1.0
"""Seconds between two plain lines."""

_LONG_WAIT: Final = 5.0
"""Seconds of a pause that are worth a line."""


@contextmanager
def show_progress(console: Console) -> Iterator[Listener]:
    """Show progress on standard error as the console wants it, until the block ends."""
    if console.interactive and not console.quiet and console.color:
        from bundlectl.cli.live import live_progress  # noqa: PLC0415 -- rich, only on a terminal

        with live_progress(console) as listener:
            yield listener
    else:
        plain = PlainProgress(console)
        yield plain
        plain.finish()


class Tally:
    """Counts of a run, added up from events. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.phase = ""
        self.artifacts = 0
        self.settled = 0
        self.bytes = 0
        self.moved = 0

    def count(self, event: Event) -> None:
        """Add what one event says."""
        with self._lock:
            match event:
                case BytesMoved(count):
                    self.moved += count
                case TransferPlanned():
                    self.artifacts += event.artifacts
                    self.bytes += event.bytes
                case ArtifactFinished():
                    self.settled += 1
                case PhaseStarted(name):
                    self.phase = name
                case _:
                    pass


class PlainProgress:
    """One line per finished artifact, at most one a second; failures and warnings at once.

    Args:
        console: where the lines go.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._tally = Tally()
        self._next = clock()
        self._unsaid: ArtifactFinished | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event (the ``Listener`` signature)."""
        self._tally.count(event)
        match event:
            case ArtifactFinished():
                self._finished(event)
            case _:
                tell(self._console, event)

    def finish(self) -> None:
        """Say the last line that was held back."""
        with self._lock:
            unsaid, self._unsaid = self._unsaid, None
        if unsaid is not None:
            self._console.note(self._line(unsaid))

    def _finished(self, event: ArtifactFinished) -> None:
        if event.outcome == "failed":
            self._console.note(f"failed {event.reference}: {event.error or 'no reason given'}")
            return
        with self._lock:
            now = self._clock()
            due = now >= self._next
            if due:
                self._next = now + _INTERVAL
            self._unsaid = None if due else event
        if due:
            self._console.note(self._line(event))

    def _line(self, event: ArtifactFinished) -> str:
        total = f" ({self._tally.settled}/{self._tally.artifacts})" if self._tally.artifacts else ""
        return f"{event.outcome} {event.reference}{total}"


def tell(console: Console, event: Event) -> None:
    """Say what an event has to say in words, if anything."""
    match event:
        case Notice(level, message, artifact):
            text = f"{artifact}: {message}" if artifact else message
            if level == "warning":
                console.warning(text)
            else:
                console.detail(text)
        case Waiting(host, seconds, reason):
            line = f"waiting {seconds:.0f} s for {host}: {reason}"
            if seconds >= _LONG_WAIT:
                console.note(line)
            else:
                console.detail(line)
        case PhaseStarted(name, total):
            console.detail(f"{name} ({total})" if total else name)
        case _:
            pass

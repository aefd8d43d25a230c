"""The live display on a terminal: bytes, rate, time left, artifacts done."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console as RichConsole
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.text import Text

from bundlectl.cli.progress import Tally, tell
from bundlectl.events import ArtifactFinished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from bundlectl.cli.console import Console
    from bundlectl.events import Event, Listener

__all__ = ["live_progress"]


class _Display(Progress):
    """Reads the tally when it draws, so that an event costs one addition and no drawing."""

    def __init__(self, tally: Tally, console: RichConsole) -> None:
        self._tally = tally
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[settled]}"),
            console=console,
            transient=True,
        )
        self._transfer = self.add_task("starting", total=None, settled="")

    def get_renderables(self) -> Iterable[RenderableType]:
        tally = self._tally
        if self.task_ids:
            self.update(
                self._transfer,
                description=tally.phase or "starting",
                total=tally.bytes or None,
                completed=max(tally.moved, 0),
                settled=f"{tally.settled}/{tally.artifacts} artifacts" if tally.artifacts else "",
            )
        return super().get_renderables()


@contextmanager
def live_progress(console: Console) -> Iterator[Listener]:
    """Draw on standard error until the block ends; what is said meanwhile appears above."""
    rich_console = RichConsole(stderr=True, highlight=False, markup=False, emoji=False)
    tally = Tally()

    def listen(event: Event) -> None:
        tally.count(event)
        if isinstance(event, ArtifactFinished):
            if event.outcome == "failed":
                console.note(f"failed {event.reference}: {event.error or 'no reason given'}")
        else:
            tell(console, event)

    with _Display(tally, rich_console):
        console.divert(lambda line: rich_console.print(Text.from_ansi(line), soft_wrap=True))
        try:
            yield listen
        finally:
            console.divert(None)

"""Telling and recording what weakens trust, or decides it (``cli.md``, "Rules for all commands")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundlectl.cli.command import Invocation

__all__ = ["Weakening"]


class Weakening:
    """Says each thing once to the user, with where it came from, and keeps the words for locks and reports.

    Args:
        invocation: for the console, and where options came from.
    """

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._recorded: list[str] = []

    @property
    def recorded(self) -> tuple[str, ...]:
        """What was told."""
        return tuple(self._recorded)

    def tell(self, what: str, option: str) -> None:
        """Tell of something that an option weakens."""
        self.tell_from(what, self._invocation.came_from(option) or "default")

    def choose(self, what: str, option: str) -> None:
        """Tell of something that an option decides: loudly unless it was typed."""
        where = self._invocation.came_from(option) or "default"
        self.tell_from(what, where, loud=not where.startswith("flag "))

    def tell_from(self, what: str, where: str, *, loud: bool = True) -> None:
        """Tell of something that came from ``where``."""
        line = f"{what} ({where})"
        if loud:
            self._invocation.console.warning(line)
        else:
            self._invocation.console.note(line)
        # The path of a file says nothing at another site, and a lock must not differ by it.
        self._recorded.append(f"{what} ({'configuration file' if where.startswith('file ') else where})")

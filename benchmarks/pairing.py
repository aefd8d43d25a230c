"""The same task by several tools, turn about, and what the rounds say together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from results import Plan
    from tools import Measured, Tool

__all__ = ["Chosen", "Contest", "Observed", "Spread"]

ROUNDS = 5
TOO_SLOW = 3.0
"""A tool that took so many times the fastest other's seconds in the first round is not run again."""


@dataclass(frozen=True)
class Chosen:
    """What a run was told: how much of it, which tools beside ours (all when empty), how many rounds."""

    plan: Plan
    against: Sequence[str] = ()
    rounds: int | None = None

    def unless_told(self, *names: str) -> Chosen:
        """Against these tools, if the run was not told against which."""
        return self if self.against else replace(self, against=names)

    def count(self) -> int:
        """How many rounds."""
        return self.rounds or self.plan.count(ROUNDS)

    def contest(self, tools: Sequence[Tool], once: Callable[[Tool, int], Observed]) -> Contest:
        """Run the tools that were chosen.

        Args:
            tools: ours first.
            once: runs one of them, in a round of that number.
        """
        mine, *others = tools
        others = [tool for tool in others if not self.against or tool.name in self.against]
        return _contest([mine, *others], self.count(), once)


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of one number at least."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Observed:
    """One run: what was measured of the tool, and the requests that either registry logged."""

    measured: Measured
    source: int
    target: int


@dataclass
class Contest:
    """All rounds. A ratio is ours over a tool's, in the rounds that had both."""

    tools: Sequence[Tool]
    rounds: list[dict[str, Observed]] = field(default_factory=list)

    @property
    def ours(self) -> str:
        """The name of the first tool."""
        return self.tools[0].name

    def spread(self, name: str, value: Callable[[Observed], float]) -> Spread:
        """Of a value over the rounds of a tool."""
        return Spread.of([value(one[name]) for one in self.rounds if name in one])

    def ratio(self, name: str, value: Callable[[Observed], float]) -> Spread:
        """Of ours to another's."""
        pairs = [(value(one[self.ours]), value(one[name])) for one in self.rounds if name in one]
        return Spread.of([mine / theirs for mine, theirs in pairs])

    def best(self, value: Callable[[Observed], float]) -> str | None:
        """The other tool with the least median, of those in a usual form."""
        usual = [tool.name for tool in self.tools[1:] if tool.usual]
        return min(usual, key=lambda name: self.spread(name, value).median, default=None)


def _contest(tools: Sequence[Tool], rounds: int, once: Callable[[Tool, int], Observed]) -> Contest:
    """Run every tool in every round; each second round in the opposite order."""
    found = Contest(tools)
    taking_part = list(tools)
    for number in range(rounds):
        order = taking_part if number % 2 == 0 else taking_part[::-1]
        found.rounds.append({tool.name: once(tool, number) for tool in order})
        if number == 0:
            seconds = {name: seen.measured.seconds for name, seen in found.rounds[0].items()}
            limit = TOO_SLOW * min((seconds[tool.name] for tool in tools[1:]), default=0.0)
            taking_part = [tool for tool in tools if tool.name == found.ours or seconds[tool.name] <= limit]
    return found

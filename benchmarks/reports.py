"""What a scenario found: a table, and goals that are met or not; kept as JSON, from which the page is written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from results import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pairing import Contest, Observed, Spread

__all__ = [
    "Goal",
    "Report",
    "at_source",
    "at_target",
    "contest_rows",
    "cpu",
    "read_reports",
    "seconds",
    "write_reports",
]

COLUMNS = ("", "seconds", "bundlectl : it", "CPU s", "peak memory", "requests source + target")


@dataclass(frozen=True)
class Goal:
    """Something claimed: ``value`` is at most ``limit``, or at least where ``at_least``."""

    claim: str
    value: float
    limit: float
    spread: str = ""
    at_least: bool = False
    strict: bool = False
    """Of correctness rather than speed: counts at any scale."""

    @property
    def found(self) -> str:
        """The value in words."""
        digits = 2 if self.value < 10 else 0
        return f"{self.value:,.{digits}f} {self.spread}".rstrip()

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Report:
    """One scenario: what was done, on what, the table, and goals."""

    key: str
    title: str
    setting: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = ()
    took: float = 0.0
    measured: dict[str, str] = field(default_factory=dict)
    """``date``, ``machine`` and ``storage``."""

    def results(self, *, judged: bool) -> list[Result]:
        """Rows of the table of ``make soak`` and ``make bench``; goals of speed count when ``judged``."""
        rows = [
            Result(
                f"{self.key}: {row[0].partition(' (')[0]}",
                ", ".join(f"{what} {cell}" for what, cell in zip(self.columns, row, strict=True) if what and cell),
            )
            for row in self.rows
        ]
        for goal in self.goals:
            wrong = "FAILED" if goal.strict else "missed"
            verdict = "ok" if goal.met or not (judged or goal.strict) else wrong
            why = "" if verdict == "ok" else f"{goal.found}, the goal is {goal.bound}"
            rows.append(Result(f"{self.key}: {goal.claim}", goal.found, None, goal.bound, verdict, why))  # type: ignore[arg-type]
        return rows


def contest_rows(contest: Contest) -> list[list[str]]:
    """A row for each tool, under ``COLUMNS``."""
    rows = []
    for tool in contest.tools:
        took = contest.spread(tool.name, seconds)
        ratio = contest.ratio(tool.name, seconds)
        peak = contest.spread(tool.name, lambda one: one.measured.peak / 1e6)
        requests = [contest.spread(tool.name, value).median for value in (at_source, at_target)]
        rows.append(
            [
                f"{tool.name} ({tool.form})",
                shown(took, 2),
                "" if tool.name == contest.ours else shown(ratio, 2),
                f"{contest.spread(tool.name, cpu).median:.1f}",
                f"{tool.at_once} x {peak.most:.0f} MB" if tool.at_once > 1 else f"{peak.most:.0f} MB",
                f"{requests[0]:,.0f} + {requests[1]:,.0f}",
            ]
        )
    return rows


def shown(spread: Spread, digits: int) -> str:
    """A median and its spread in words."""
    if spread.least == spread.most:
        return f"{spread.median:,.{digits}f}"
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f} to {spread.most:,.{digits}f})"


def read_reports(path: Path) -> dict[str, Report]:
    """Reports by their key; none when there is no file."""
    if not path.is_file():
        return {}
    return {key: _report(found) for key, found in json.loads(path.read_bytes()).items()}


def write_reports(path: Path, reports: Iterable[Report]) -> None:
    """Write them in their order."""
    document = {report.key: asdict(report) for report in reports}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _report(found: dict[str, Any]) -> Report:
    return Report(**{**found, "goals": [Goal(**goal) for goal in found["goals"]]})


def seconds(one: Observed) -> float:
    """How long a run took."""
    return one.measured.seconds


def cpu(one: Observed) -> float:
    """Its processor time in seconds."""
    return one.measured.cpu


def at_source(one: Observed) -> float:
    """Its requests at the source."""
    return one.source


def at_target(one: Observed) -> float:
    """Its requests at the target."""
    return one.target

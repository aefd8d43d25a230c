"""The page of what ``make bench`` found: docs/reference/benchmarks.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from programs import ROOT
from scenarios import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reports import Goal, Report

__all__ = ["write_page"]

PAGE = ROOT / "docs" / "reference" / "benchmarks.md"
TOOLS = ROOT / "tests" / "interop" / "tools.txt"
HEAD = """\
<!-- Written by `make bench` from benchmarks/results.json; not to be edited by hand. -->
# Benchmarks

bundlectl and other tools, on the same machine, on the same content, turn about. Seconds depend on the machine;
a ratio of two runs that followed each other says more, so that is what the goals are about. To repeat it:

    make interop-tools
    make bench

which takes some {minutes} minutes, and wants a machine that has nothing else to do. One part of it alone is in
[Measure](../how-to/measure.md). What is below is from {dates}:

- Machine: {machine}. Tools and registries share its cores, over loopback.
- Versions: {versions}.
- Each tool runs in the form its users use at its best: regsync in one process with a sync file and `parallel: 8`,
  the others in eight processes at once, an image each. Everyone starts from tags and copies all platforms;
  nobody looks for signatures (there are none), which bundlectl would do without `--no-referrers`.
- One form is not what people use, and no goal is against it: regsync allows itself three requests at a time to a
  registry unless its file raises `reqConcurrent`, too.
- The target is new and empty for each run, except where nothing is to be done. After each run every tag is looked
  up at the target, and must have the right digest there.
- Five rounds, every second one in the opposite order. The first number is the median, those in brackets are the
  least and the most. `bundlectl : it` is the median of the ratios within a round. A tool that takes three times as
  long as the fastest other one in the first round runs once.
- Requests are counted in the registries' own logs. CPU is that of the tool's processes, not of the registries.
  Memory is the most that one process had at a time.

"""


def write_page(reports: Sequence[Report]) -> None:
    """Write the page."""
    dates = sorted({report.measured["date"] for report in reports})
    machines = sorted({f"{report.measured['machine']}, {report.measured['storage']}" for report in reports})
    goals = [goal for report in reports for goal in report.goals]
    parts = [
        HEAD.format(
            minutes=round(sum(report.took for report in reports) / 60),
            machine=" and on ".join(machines),
            dates=" to ".join(dict.fromkeys((dates[0], dates[-1]))),
            versions=", ".join(_versions()),
        ),
        "## Goals\n\n",
        "Against the best of the other tools in the same run.\n\n",
        _table(("", "goal", "found", ""), [_goal(goal) for goal in goals]),
    ]
    parts += [f"\n## {report.title}\n\n{report.setting}\n\n{_table(report.columns, report.rows)}" for report in reports]
    PAGE.write_text("".join(parts))


def _versions() -> list[str]:
    lines = [line.split() for line in TOOLS.read_text().splitlines()]
    fields = [line for line in lines if line and line[0] in PROGRAMS]
    return [f"{name.rstrip('3')} {version.lstrip('v')}" for name, _, _, version in fields]


def _goal(goal: Goal) -> list[str]:
    return [goal.claim, goal.bound, goal.found, "met" if goal.met else "**missed**"]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)

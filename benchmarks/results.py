"""One row for everything that was run, and the table of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Plan", "Result", "Verdict", "judged", "left_out", "table"]

Verdict: TypeAlias = Literal["ok", "FAILED", "missed", "left out"]
"""``FAILED``: something is wrong, at any scale. ``missed``: a goal, which counts at full scale only."""


@dataclass(frozen=True)
class Plan:
    """What every part is told: how much of the full size, from which seed, and where to work."""

    scale: float
    seed: int
    folder: Path

    def count(self, full: float, *, least: int = 1) -> int:
        """The part of a full number that this run does."""
        return max(least, round(full * self.scale))


@dataclass(frozen=True)
class Result:
    """One row. ``why`` is printed below the table when the verdict is not ``ok``."""

    name: str
    done: str
    seconds: float | None = None
    rate: str = ""
    verdict: Verdict = "ok"
    why: str = ""


def judged(faults: Sequence[str]) -> tuple[Verdict, str]:
    """The verdict on correctness: ``FAILED`` when there is a fault, with all of them."""
    return ("FAILED", "; ".join(faults)) if faults else ("ok", "")


def left_out(name: str, why: str) -> Result:
    """Something that could not be run on this machine; in CI, where everything must be there, a failure."""
    in_ci = os.environ.get("CI", "").lower() == "true"
    return Result(name, "", verdict="FAILED" if in_ci else "left out", why=why)


def table(results: Sequence[Result]) -> str:
    """Render all rows, and the reasons below them."""
    rows = [("name", "done", "seconds", "rate", "verdict")]
    rows += [(r.name, r.done, "" if r.seconds is None else f"{r.seconds:.2f}", r.rate, str(r.verdict)) for r in results]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column == 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *(f"{r.name}: {r.verdict}: {r.why}" for r in results if r.why)])

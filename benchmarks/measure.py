"""Whole processes, measured in pairs, turn about."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Comparison", "compare", "timed"]


@dataclass(frozen=True)
class Comparison:
    """How much longer one takes than another, and how much it may.

    Args:
        name: what is compared.
        seconds: the median of ours.
        baseline: the median of the other, in seconds.
        ratio: the median of the ratios, pair by pair.
        goal: the largest ratio that is good enough.
        rounds: how many pairs.
    """

    name: str
    seconds: float
    baseline: float
    ratio: float
    goal: float
    rounds: int

    @property
    def reached(self) -> bool:
        """Whether the goal is reached."""
        return self.ratio <= self.goal


def timed(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    """Run a process to its end; its user and system time in seconds, which other work disturbs least.

    Raises:
        RuntimeError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcome = subprocess.run(command, env=dict(environment), capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if outcome.returncode:
        raise RuntimeError(f"{command}: exit {outcome.returncode}\n{outcome.stderr.decode(errors='replace')[-2000:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(
    name: str,
    ours: Sequence[str | Path],
    other: Sequence[str | Path],
    *,
    goal: float,
    rounds: int,
    environment: Mapping[str, str],
) -> Comparison:
    """Measure two processes in turn, after one round that is not counted."""
    pairs: list[tuple[float, float]] = []
    deadline = time.monotonic() + 600
    for number in range(rounds + 1):
        pair = timed(ours, environment), timed(other, environment)
        if number:
            pairs.append(pair)
        if time.monotonic() > deadline and pairs:
            break
    return Comparison(
        name,
        statistics.median(mine for mine, _ in pairs),
        statistics.median(theirs for _, theirs in pairs),
        statistics.median(mine / theirs for mine, theirs in pairs),
        goal,
        len(pairs),
    )

"""``bundlectl inspect`` of a whole release against nothing but parsing its text, turn about."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from programs import DATA, run
from results import Plan, Result, left_out

__all__ = ["inspecting"]

DOCUMENT = DATA / "eksa-bundles-main.yaml"
PARSE = "import sys, yaml; yaml.load(open(sys.argv[1], 'rb'), Loader=yaml.CSafeLoader)"
ROUNDS = 40
GOAL = 3.0
"""Times the processor time of the bare parse."""
LONGEST = 600.0


def inspecting(plan: Plan) -> list[Result]:
    """Compare the processor time of two whole processes, which other work disturbs least."""
    name = f"inspect {DOCUMENT.name} : yaml C loader"
    if not DOCUMENT.is_file():
        return [left_out(name, "the document is not beside this checkout (../shared/data)")]
    environment = {"PATH": os.environ["PATH"], "HOME": str(plan.folder)}
    ours: list[str | Path] = [
        Path(sys.executable).with_name("bundlectl"),
        "inspect",
        "--verify",
        "off",
        "-o",
        "json",
        DOCUMENT,
    ]
    other: list[str | Path] = [sys.executable, "-c", PARSE, DOCUMENT]
    pairs: list[tuple[float, float]] = []
    deadline = time.monotonic() + LONGEST
    for number in range(plan.count(ROUNDS) + 1):
        pair = run(ours, environment).cpu, run(other, environment).cpu
        if number:  # the first fills caches
            pairs.append(pair)
        if time.monotonic() > deadline and pairs:
            break
    ratio = statistics.median(mine / theirs for mine, theirs in pairs)
    seconds = statistics.median(mine for mine, _ in pairs)
    baseline = statistics.median(theirs for _, theirs in pairs)
    return [
        Result(
            name,
            f"{len(pairs)} pairs, median CPU {seconds:.3f} s : {baseline:.3f} s",
            seconds,
            f"{ratio:.2f} x",
            "ok" if ratio <= GOAL else "missed",
            "" if ratio <= GOAL else f"the goal is {GOAL:g} x",
        )
    ]

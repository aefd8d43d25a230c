"""Benchmarks and long runs, one table (``make soak``; ``SCALE=0.05`` for a taste).

Goals are judged at full scale only: a twentieth of the rounds shows that everything runs, not how fast.
Exit 1 when something fails, or misses its goal at full scale.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Comparison, compare

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
ROUNDS = 40

PARSE = "import sys, yaml; yaml.load(open(sys.argv[1], 'rb'), Loader=yaml.CSafeLoader)"


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size")
    scale = parser.parse_args().scale
    comparisons = inspecting(max(1, round(ROUNDS * scale)))
    print(table(comparisons))
    soaked = soak_tests(scale)
    missed = [c.name for c in comparisons if not c.reached]
    if missed:
        print(f"goal missed: {', '.join(missed)}" + ("" if scale >= 1 else " (not judged at this scale)"))
    return 1 if soaked or (missed and scale >= 1) else 0


def inspecting(rounds: int) -> list[Comparison]:
    """``bundlectl inspect`` of a whole release against nothing but parsing its text."""
    document = DATA / "eksa-bundles-main.yaml"
    if not document.is_file():
        if os.environ.get("CI", "").lower() == "true":
            sys.exit(f"{document.name} is not beside this checkout (../shared/data)")
        print(f"inspect: left out, {document.name} is not beside this checkout (../shared/data)")
        return []
    bundlectl = Path(sys.executable).with_name("bundlectl")
    with tempfile.TemporaryDirectory() as home:
        return [
            compare(
                f"inspect {document.name} : yaml C loader",
                [bundlectl, "inspect", "--verify", "off", "-o", "json", document],
                [sys.executable, "-c", PARSE, document],
                goal=3.0,
                rounds=rounds,
                environment={"PATH": os.environ["PATH"], "HOME": home},
            )
        ]


def soak_tests(scale: float) -> int:
    """Run the tests marked ``soak``; no such test is no failure."""
    command = [sys.executable, "-m", "pytest", "-m", "soak", "-q", "-rs", "--timeout", "3600", "tests"]
    environment = os.environ | {"SCALE": str(scale)}
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    nothing_collected = 5
    return 0 if code == nothing_collected else code


def table(comparisons: list[Comparison]) -> str:
    """Render the results, one line each."""
    rows = [("measured", "rounds", "ours", "other", "ratio", "goal", "")]
    rows += [
        (
            c.name,
            str(c.rounds),
            f"{c.seconds:.3f} s",
            f"{c.baseline:.3f} s",
            f"{c.ratio:.2f}",
            f"<= {c.goal:g}",
            "ok" if c.reached else "missed",
        )
        for c in comparisons
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())

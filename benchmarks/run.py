"""Benchmarks and long runs, one table (``make soak``; ``SCALE=0.05`` for a taste).

Goals are judged at full scale only: a twentieth of the rounds shows that everything runs, not how fast.
Exit 1 when something is wrong, or misses its goal at full scale.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from bench import bench, memory
from corpus import corpus
from differential import differential
from fuzz import fuzz
from inspecting import inspecting
from load import load
from results import Plan, Result, table
from serving import serving_crowd

if TYPE_CHECKING:
    from collections.abc import Callable

# The corpus comes first: it measures memory, and a child counts what this process ever had.
PARTS = {
    "corpus": corpus,
    "bench": bench,
    "memory": memory,
    "inspect": inspecting,
    "load": load,
    "serve": serving_crowd,
    "fuzz": fuzz,
    "differential": differential,
}


def main() -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size")
    parser.add_argument("--seed", type=int, default=0, help="of everything made up")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="these parts alone")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    results: list[Result] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bundlectl-soak-") as folder:
        for name, part in PARTS.items():
            if chosen.only and name not in chosen.only:
                continue
            place = Path(folder) / name
            place.mkdir()
            results += _rows(name, part, Plan(chosen.scale, chosen.seed, place))
    print(table(results))
    print(f"{time.monotonic() - began:.0f} s at scale {chosen.scale:g}")
    if any(result.verdict == "missed" for result in results) and chosen.scale < 1:
        print("goals are not judged at this scale")
    bad = {"FAILED", "missed"} if chosen.scale >= 1 else {"FAILED"}
    return 1 if any(result.verdict in bad for result in results) else 0


def _rows(name: str, part: Callable[[Plan], list[Result]], plan: Plan) -> list[Result]:
    """Run one part; when it breaks, that is its row, and the other parts run all the same."""
    began = time.monotonic()
    try:
        results = part(plan)
    except Exception as error:  # noqa: BLE001 -- whatever it is
        traceback.print_exc()
        results = [Result(name, "broke", time.monotonic() - began, "", "FAILED", f"{type(error).__name__}: {error}")]
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return results


def _interrupted(_number: int, _frame: object) -> None:
    """End by SIGTERM as by Ctrl-C, so that servers are stopped and folders removed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

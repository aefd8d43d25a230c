"""Paired runs against the tools that people use (``make bench``), and the page of what they found.

All of it takes some 25 minutes on two cores. One scenario, against one tool, in a minute or so:

    .venv/bin/python benchmarks/bench.py --only first-copy --against regsync --rounds 3

Exit 1 when something is wrong, or misses its goal at full scale. The page is written at full scale, too:
not with fewer rounds or tools. A run of some scenarios replaces these on it, and keeps the others.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from page import write_page
from pairing import Chosen
from programs import ROOT
from reports import Report, read_reports, write_reports
from results import Plan, Result, left_out, table
from scenarios import SCENARIOS, missing_programs

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bench", "memory"]

MEMORY = "memory"
TASTE = 0.05
USUAL = ("regsync", "crane", "skopeo", "regctl")
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- a folder of our own is made in it
ROOM = 8e9
"""Bytes that lie there at the same time, at most, and as many to spare."""
RESULTS = ROOT / "benchmarks" / "results.json"


def bench(plan: Plan) -> list[Result]:
    """A taste for ``make soak``: each thing once, at no scale at which a goal of speed says anything."""
    taste = replace(plan, scale=min(plan.scale, TASTE))
    rows: list[Result] = []
    for key in SCENARIOS:
        if key != MEMORY:
            against = USUAL if key in ("first-copy", "store") else USUAL[:1]
            rows += _run([key], Chosen(taste, against), judged=False)[1]
    return rows


def memory(plan: Plan) -> list[Result]:
    """The whole of what memory is measured with."""
    return _run([MEMORY], Chosen(plan), judged=plan.scale >= 1)[1]


def main() -> int:
    """Run, print the table, write results and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size; rounds shrink with it")
    parser.add_argument("--rounds", type=int, help="of paired runs")
    parser.add_argument("--only", choices=sorted(SCENARIOS), action="append", help="these scenarios alone")
    parser.add_argument("--against", action="append", default=[], help="these tools alone")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave the sources there for another run")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupted)
    began = time.monotonic()
    keys = [key for key in SCENARIOS if not asked.only or key in asked.only]
    judged = asked.scale >= 1 and not asked.rounds and not asked.against
    with tempfile.TemporaryDirectory(prefix="bundlectl-bench-", dir=_workplace(asked.scale)) as made:
        folder = asked.keep or Path(made)
        folder.mkdir(exist_ok=True)
        chosen = Chosen(Plan(asked.scale, 0, folder), asked.against, asked.rounds)
        reports, rows = _run(keys, chosen, judged=judged)
    print(table(rows))
    print(f"{time.monotonic() - began:.0f} s at scale {asked.scale:g}")
    if judged:
        known = {**read_reports(RESULTS), **{report.key: report for report in reports}}
        ordered = [known[key] for key in SCENARIOS if key in known]
        write_reports(RESULTS, ordered)
        write_page(ordered)
    return 1 if any(row.verdict in ("FAILED", "missed") for row in rows) else 0


def _run(keys: Sequence[str], chosen: Chosen, *, judged: bool) -> tuple[list[Report], list[Result]]:
    """Run scenarios; one that breaks is a row, and the others run all the same."""
    reports, rows = [], []
    absent = missing_programs()
    if absent:
        return [], [left_out("bench", f"{', '.join(absent)}: make interop-tools")]
    for key in keys:
        began = time.monotonic()
        try:
            report = SCENARIOS[key](chosen)
        except Exception as error:  # noqa: BLE001 -- whatever it is
            if not isinstance(error, RuntimeError):  # these say it all
                traceback.print_exc()
            rows.append(Result(key, "broke", None, "", "FAILED", f"{type(error).__name__}: {error}"))
            continue
        finally:
            print(f"bench {key}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        measured = _circumstances(chosen.plan.folder)
        report = replace(report, took=round(time.monotonic() - began), measured=measured)
        reports.append(report)
        rows += report.results(judged=judged)
    return reports, rows


def _workplace(scale: float) -> Path | None:
    """Where a disk has no say in it, when there is room and nobody named another place (``TMPDIR``)."""
    roomy = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM * scale
    return IN_MEMORY if roomy and "TMPDIR" not in os.environ else None


def _circumstances(folder: Path) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    place = "in memory" if folder.resolve().is_relative_to(IN_MEMORY) else "on a disk"
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {memory / 2**30:.0f} GB, Python {platform.python_version()}",
        "storage": f"the registries' storage {place}",
    }


def _interrupted(_number: int, _frame: object) -> None:
    """End by SIGTERM as by Ctrl-C, so that servers are stopped and folders removed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

"""A million documents made up for the two sides to differ on: what a signature is over, here and upstream.

Every run has a seed of its own unless one is given; it stands in the row. One document again:

    python -m tests.interop.differential NUMBER SEED
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from typing import TYPE_CHECKING

from programs import find_program, workers
from results import Plan, Result, judged, left_out

from tests.interop.differential import Difference, Tally, compare, real_documents, shapes, smaller, upstream
from tests.interop.documents import Generator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["differential"]

DOCUMENTS = 1_000_000
WORKERS = max(1, min(2, os.cpu_count() or 1))
KEPT = 5
"""Differences that one worker looks for before it ends; alike ones are not told apart."""


def differential(plan: Plan) -> list[Result]:
    """Compare the canonical forms of very many documents; one row."""
    program = find_program("canonical")
    if program is None:
        return [left_out("differential", "canonical is not on this machine: make interop-tools")]
    seed = plan.seed or secrets.randbelow(1 << 31)
    count = plan.count(DOCUMENTS, least=WORKERS)
    began = time.monotonic()
    with workers(WORKERS) as pool:
        started = [pool.submit(_compared, program, seed, range(first, count, WORKERS)) for first in range(WORKERS)]
        tallies = [future.result() for future in started]
    seconds = time.monotonic() - began
    tally = sum(tallies[1:], tallies[0])
    found = [_told(difference, seed) for difference in tally.differences]
    if tally.equal * 3 < tally.documents:
        found.append(f"only {tally.equal} of {tally.documents} documents have a form")
    print(f"{tally} (seed {seed})", flush=True)
    done = f"{tally.documents:,} documents, {tally.equal / tally.documents:.0%} equal, seed {seed}"
    return [Result("differential", done, seconds, f"{tally.documents / seconds:,.0f}/s", *judged(found))]


def _compared(program: Path, seed: int, numbers: Sequence[int]) -> Tally:
    generator = Generator(shapes(program), seed, real_documents())
    with upstream(program) as asked:
        tally = compare(asked, ((number, generator.document(number)) for number in numbers), most=KEPT)
        tally.differences = [smaller(asked, found) for found in tally.differences[:KEPT]]
    return tally


def _told(found: Difference, seed: int) -> str:
    """Write the document to a file that stays, and say what each side makes of it."""
    name = f"bundlectl-differential-{found.document.kind}-{found.number}-"
    with tempfile.NamedTemporaryFile(prefix=name, suffix=".yaml", delete=False) as file:
        file.write(found.document.text)
    return f"document {found.number} of seed {seed}, made small in {file.name}: {str(found)[:400]}"

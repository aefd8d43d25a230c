"""Readers of foreign things, fuzzed in process: nothing but bundlectl's own errors may come out, and soon.

Inputs are numbered; the same seed and number make the same input. One again:

    python benchmarks/fuzz.py TARGET NUMBER [SEED]
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from programs import workers
from results import Plan, Result, judged
from targets import TARGETS

from bundlectl.errors import BundlectlError

if TYPE_CHECKING:
    from targets import Target

__all__ = ["fuzz"]

SECONDS = 720.0
"""For everything, at full scale."""
WORKERS = max(1, min(2, os.cpu_count() or 1))
EACH = 5.0
"""Seconds of processor time that one input may take."""
MEMORY = 4 * 1024**3
KEPT = 5
"""Findings of one worker in one target; alike ones are one."""
GRACE = 60.0


class SlowError(BaseException):
    """An input took too long. Not an ``Exception``, so that nothing on the way out keeps it."""


@dataclass
class _Outcome:
    """What one worker did with one target."""

    inputs: int = 0
    accepted: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)
    """Where it happened, and what and with which input."""


def fuzz(plan: Plan) -> list[Result]:
    """Give every target its share of the time; a row each."""
    with workers(WORKERS, _bounded) as pool:
        started = {name: [pool.submit(_attack, name, plan, worker) for worker in range(WORKERS)] for name in TARGETS}
        return [_row(name, [future.result() for future in futures]) for name, futures in started.items()]


def _row(name: str, outcomes: list[_Outcome]) -> Result:
    inputs, accepted = sum(o.inputs for o in outcomes), sum(o.accepted for o in outcomes)
    findings = {place: what for o in outcomes for place, what in o.findings.items()}
    seconds = max(o.seconds for o in outcomes)
    slowest = max(o.slowest for o in outcomes)
    done = f"{inputs:,} inputs, {accepted / max(1, inputs):.0%} accepted, slowest {slowest * 1e3:.0f} ms"
    return Result(f"fuzz {name}", done, seconds, f"{inputs / seconds:,.0f}/s", *judged(sorted(findings.values())))


def _attack(name: str, plan: Plan, worker: int) -> _Outcome:
    """Every input of this worker's, until they are all done or its time is over."""
    target, outcome = TARGETS[name], _Outcome()
    allowed = SECONDS * target.share * plan.scale
    # For what cannot be interrupted: C that does not come back.
    faulthandler.dump_traceback_later(allowed + GRACE, exit=True)
    began = time.monotonic()
    for number in range(worker, plan.count(target.inputs, least=WORKERS), WORKERS):
        raw = target.make(_dice(name, plan.seed, number))
        start = time.perf_counter()
        try:
            outcome.accepted += _read(target, raw)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 -- that is what is looked for
            place = _place(error)
            if len(outcome.findings) < KEPT and place not in outcome.findings:
                outcome.findings[place] = _told(error, name, number, plan.seed, raw)
        outcome.slowest = max(outcome.slowest, time.perf_counter() - start)
        outcome.inputs += 1
        if time.monotonic() - began > allowed:
            break
    faulthandler.cancel_dump_traceback_later()
    outcome.seconds = time.monotonic() - began
    return outcome


def _read(target: Target, raw: bytes) -> bool:
    """Whether the input was accepted, within bounds of time."""
    signal.setitimer(signal.ITIMER_PROF, EACH)
    try:
        target.read(raw)
    except BundlectlError:
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return True


def _dice(name: str, seed: int, number: int) -> Random:
    return Random(f"{seed} {name} {number}")  # noqa: S311 -- to be repeated, not to be secret


def _place(error: BaseException) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {last.filename}:{last.lineno}"


def _told(error: BaseException, name: str, number: int, seed: int, raw: bytes) -> str:
    """Write the input to a file that stays, and say what it did."""
    with tempfile.NamedTemporaryFile(prefix=f"bundlectl-fuzz-{name}-{number}-", delete=False) as file:
        file.write(raw)
    return f"{type(error).__name__}: {str(error)[:200]} (input {number} of seed {seed}, kept in {file.name})"


def _bounded() -> None:
    """Bound the memory of a worker, and let the timer of an input interrupt it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _slow)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _slow(_number: int, _frame: object) -> None:
    raise SlowError(f"not done after {EACH:g} s")


def main() -> None:
    """Make one input again and read it, with a traceback when that fails."""
    name, number = sys.argv[1], int(sys.argv[2])
    target = TARGETS[name]
    raw = target.make(_dice(name, int(sys.argv[3]) if len(sys.argv) > 3 else 0, number))
    print(raw[:3000])
    _bounded()
    print("accepted" if _read(target, raw) else "refused")


if __name__ == "__main__":
    main()

"""``bundlectl serve`` under a crowd: pushes and pulls at once, and one of its processes killed in the middle."""

from __future__ import annotations

import os
import signal
import threading
import time

from programs import bundlectl, run, serve_store, workers
from results import Plan, Result, judged

from tests.interop.crowd import Seen, children_of, crowd, missing

__all__ = ["serving_crowd"]

SECONDS = 120.0
CLIENTS = 2
"""Processes: one alone would measure its own interpreter."""
PUSHERS = PULLERS = 64
LONGEST = 25.0
"""Seconds that no request may take, on a machine that has everything else to do too."""
SHOWN = 3


def serving_crowd(plan: Plan) -> list[Result]:
    """Let the crowd at an empty store, kill a worker, and look for everything that was acknowledged."""
    store, home = plan.folder / "store", plan.folder
    seconds = max(4.0, SECONDS * plan.scale)
    with serve_store(home, store) as server:
        before = children_of(server.pid)
        killer = threading.Timer(seconds / 2, _kill_first, (before,))
        killer.start()
        began = time.monotonic()
        seen = _crowd(server.found, seconds)
        took = time.monotonic() - began
        killer.join()
        lost = missing(server.found, seen)
        left = children_of(server.pid)
    faults = [*seen.faults[:SHOWN], *lost[:SHOWN], *_oddities(seen, before, left)]
    if server.exit_code != 0:
        faults.append(f"serve ended with exit {server.exit_code}")
    program = bundlectl(home)
    run([program.path, "store", "verify", store, "-q"], program.variables())
    done = (
        f"{seen.pushed:,} images pushed, {seen.pulled:,} pulled by {PUSHERS}+{PULLERS} clients, {seen.cuts} cuts, "
        f"slowest request {seen.longest:.1f} s"
    )
    return [Result("serve: crowd and kill", done, took, f"{seen.pushed / took:.0f} pushes/s", *judged(faults))]


def _crowd(host: str, seconds: float) -> Seen:
    seen = Seen()
    with workers(CLIENTS) as pool:
        started = [pool.submit(_clients, host, seconds, f"crowd{number}") for number in range(CLIENTS)]
        for future in started:
            seen.add(future.result())
    return seen


def _clients(host: str, seconds: float, label: str) -> Seen:
    """One process of clients."""
    return crowd(host, seconds, pushers=PUSHERS // CLIENTS, pullers=PULLERS // CLIENTS, label=label)


def _kill_first(pids: list[int]) -> None:
    if len(pids) > 1:
        os.kill(pids[0], signal.SIGKILL)


def _oddities(seen: Seen, before: list[int], after: list[int]) -> list[str]:
    found = []
    if len(before) > 1 and (len(after) != len(before) or before[0] in after):
        found.append(f"the killed worker was not replaced: {before}, then {after}")
    if seen.longest > LONGEST:
        found.append(f"a request took {seen.longest:.1f} s")
    if seen.cuts > PUSHERS + PULLERS + SHOWN:
        found.append(f"{seen.cuts} connections were cut")
    if not seen.pushed or not seen.pulled:
        found.append("nothing was pushed, or nothing pulled")
    return found

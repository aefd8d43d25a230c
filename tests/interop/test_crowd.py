"""``bundlectl serve`` under many clients, and under the kill of one of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.interop.crowd import children_of, crowd, missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.programs import Program

SECONDS = 10.0
PATIENCE = 10.0


@contextmanager
def serving(program: Program, store: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``bundlectl serve`` as a process, and its host."""
    command = [program.path, "serve", "--store", store, "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(
        command,
        env=program.variables() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, process.stdout.readline().strip().removeprefix("listening on http://")
        finally:
            process.kill()


def wait_until_gone(pids: list[int]) -> list[int]:
    """The processes that are still there after some seconds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pids = [pid for pid in pids if _runs(pid)]
        if not pids:
            return []
        time.sleep(0.05)
    return pids


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 -- of the kernel
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_nothing_acknowledged_is_lost_when_a_worker_is_killed_under_load(ours: Program, store: Path) -> None:
    with serving(ours, store, "--workers", "2") as (process, host):
        before = children_of(process.pid)
        assert len(before) == 2
        killer = threading.Timer(SECONDS / 2, os.kill, (before[0], signal.SIGKILL))
        killer.start()
        seen = crowd(host, SECONDS, pushers=16, pullers=16, label="small")
        killer.join()
        assert seen.faults == []
        assert seen.pushed > 20
        assert seen.pulled > 20
        assert 0 < seen.cuts <= 32, "each client notices the kill once, and nothing else cuts it"
        after = children_of(process.pid)
        assert len(after) == 2
        assert before[0] not in after
        assert missing(host, seen) == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
        assert wait_until_gone(after) == []
    ours.run("store", "verify", store)


def test_workers_end_when_the_process_that_watches_them_is_killed(ours: Program, store: Path) -> None:
    with serving(ours, store, "--workers", "2") as (process, _):
        workers = children_of(process.pid)
        assert len(workers) == 2
        process.kill()
        process.wait()
        assert wait_until_gone(workers) == []

"""Whole processes: run to their end and measured, or serving until they are stopped by their process id.

The peak of memory is the kernel's (``ru_maxrss`` of wait4). It counts from before the exec, when
the child still shared the memory of this process: a peak below what this process ever had is read
from ``VmHWM`` while the child runs. So keep this process small, and let children do what needs memory.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
sys.path.append(str(ROOT))  # for tests.interop, which knows the programs of make interop

from tests.interop.programs import bundlectl, distribution3, docker_registry, find_program  # noqa: E402 -- found there

__all__ = [
    "DATA",
    "ROOT",
    "Ran",
    "Server",
    "bundlectl",
    "distribution3",
    "docker_registry",
    "find_program",
    "run",
    "serve_store",
    "serving",
    "workers",
]

LONGEST = 1800.0
READY_WITHIN = 300.0
LOOKS_EVERY = 0.04


@dataclass(frozen=True)
class Ran:
    """A process that ended well: wall and processor time in seconds, peak memory in bytes."""

    seconds: float
    cpu: float
    peak: int
    out: str

    @property
    def report(self) -> Any:  # noqa: ANN401 -- JSON
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass
class Server:
    """A process that serves; ``found`` is what it printed when ready. ``exit_code`` and ``peak`` once stopped."""

    pid: int
    found: str
    exit_code: int | None = None
    peak: int = 0


def run(command: Sequence[str | Path], environment: Mapping[str, str]) -> Ran:
    """Run a process to its end; one that takes half an hour is killed.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        watch = _Watch(process)
        try:
            usage = _wait(process)
            seconds = time.perf_counter() - began
        finally:
            watch.end()
            _stop(process)
        out.seek(0)
        err.seek(0)
        said, complained = out.read().decode(errors="replace"), err.read().decode(errors="replace")
    if process.returncode:
        words = " ".join(map(str, command[:8]))
        raise RuntimeError(f"{words} …: exit {process.returncode}\n{said[-1000:]}\n{complained[-3000:]}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, watch.peak(usage.ru_maxrss * 1024), said)


@contextmanager
def serving(
    command: Sequence[str | Path], environment: Mapping[str, str], *, log: Path, ready: str
) -> Iterator[Server]:
    """Run a server until the block is left.

    Args:
        command: what to run.
        environment: all of it.
        log: where its output goes.
        ready: an expression that matches the whole of its output once it is ready; its group is ``found``.

    Raises:
        RuntimeError: it ended, or was not ready within five minutes.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            server = Server(process.pid, _when_ready(process, log, re.compile(ready, re.DOTALL)))
            yield server
            process.terminate()
            watchdog = threading.Timer(15, process.kill)
            watchdog.start()
            server.peak = _wait(process).ru_maxrss * 1024
            watchdog.cancel()
            server.exit_code = process.returncode
        finally:
            _stop(process)


@contextmanager
def serve_store(home: Path, store: Path) -> Iterator[Server]:
    """``bundlectl serve`` over a store; ``found`` is its host."""
    program = bundlectl(home)
    with serving(
        [program.path, "serve", "--store", store, "--listen", "127.0.0.1:0"],
        {**program.variables(), "PYTHONUNBUFFERED": "1"},
        log=home / f"serve-{store.name}.log",
        ready=r".*listening on http://([^\s/]+).*\n",
    ) as server:
        yield server


@contextmanager
def workers(count: int, start: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Fresh Python processes to work in; ended at once when the block fails.

    Args:
        count: of processes.
        start: run in each of them first.
    """
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=start)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _when_ready(process: subprocess.Popen[bytes], log: Path, ready: re.Pattern[str]) -> str:
    deadline = time.monotonic() + READY_WITHIN
    while True:
        ended = process.poll() is not None
        text = log.read_text(errors="replace")
        match = ready.fullmatch(text)
        if match and not ended:
            return match[1]
        if ended or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r}: {'ended' if ended else 'not ready'}: {text[-2000:]}")
        time.sleep(0.05)


class _Watch:
    """Looks at a process now and then: at its peak of memory, and that it ends."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._seen = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def peak(self, told: int) -> int:
        """The peak in bytes, by what the kernel told on the process's end where that says anything."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return told if told > own or not self._seen else self._seen

    def _look(self) -> None:
        deadline = time.monotonic() + LONGEST
        status = Path(f"/proc/{self._process.pid}/status")
        while not self._ended.wait(LOOKS_EVERY):
            if time.monotonic() > deadline:
                self._process.kill()
            with suppress(OSError):
                found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
                self._seen = max(self._seen, int(found[1]) * 1024 if found else 0)


def _wait(process: subprocess.Popen[bytes]) -> Any:  # noqa: ANN401 -- resource.struct_rusage
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill what is still running, on the way out of a failure."""
    if process.returncode is None:
        process.kill()
        process.wait()

"""The program in processes of its own that start at once, and are killed at the call that is chosen.

A zygote is one process with everything imported. It forks for each run of the program: so a run costs a few
milliseconds of starting and not half a second, and twenty kills are affordable. What is killed is killed for real, by
SIGKILL, just before its n-th call that changes or fills a file: what it wrote stays, what it had in memory is gone.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["CALLS", "Ran", "Zygote"]

CALLS: Final = ("open", "write", "fsync", "fdatasync", "ftruncate", "rename", "replace", "link", "unlink", "utime")
"""Of ``os``: before which of them a run may be killed."""


IMPORTED: Final = (
    "bundlectl.cli.main",
    "bundlectl.operations.exporting",
    "bundlectl.operations.importing",
    "bundlectl.operations.session",
    "bundlectl.operations.verifying",
    "jsonschema_rs",
    "mirror.archive.repairing",
    "mirror.http",
    "mirror.remote",
    "signing.keys.local",
    "typer._click.decorators",
)
"""What a run would import else; the first has ``run``."""


class Ran:
    """How a run ended.

    ``code`` is negative where a signal ended it; ``calls`` are those of `CALLS` that it made; ``peak`` bytes it held.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.code: int = document["code"]
        self.calls: int = document["calls"]
        self.peak: int = document["peak"]
        self.out: str = document["out"]
        self.err: str = document["err"]

    @property
    def document(self) -> Any:
        """What ``--output json`` said."""
        return json.loads(self.out)


class Zygote:
    """Runs the program in a folder; a context manager.

    Args:
        folder: the working directory, for configuration, state and output, too.
    """

    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BUNDLECTL_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **kept,
                "XDG_CONFIG_HOME": str(folder / "config"),
                "XDG_STATE_HOME": str(folder / "state"),
                "TMPDIR": str(folder),
                "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path])),  # noqa: PTH109
            },
            cwd=folder,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            if process.stdin is not None:
                process.stdin.close()

    def run(self, *arguments: object, kill: int = 0) -> Ran:
        """Run the program to its end, or kill it before its ``kill``-th call, counted from 1; 0 never."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": list(map(str, arguments)), "kill": kill}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote died"
        return Ran(json.loads(answer))


def _serve() -> None:
    """Fork once for each line of standard input; only one thread ever runs in this process."""
    program, *_ = [importlib.import_module(name) for name in IMPORTED]
    for line in sys.stdin:
        wanted = json.loads(line)
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8") as out,
            tempfile.TemporaryFile("w+", encoding="utf-8") as err,
        ):
            answer = _fork(program, wanted["arguments"], wanted["kill"], (out, err))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(program: Any, arguments: Sequence[str], kill: int, streams: tuple[IO[str], IO[str]]) -> dict[str, Any]:
    count, end = os.pipe()
    child = os.fork()
    if not child:
        for number, stream in enumerate(streams, start=1):
            os.dup2(stream.fileno(), number)
        _count_calls(end, kill)
        code = program.run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    os.close(end)
    with os.fdopen(count, "rb") as pipe:
        calls = len(pipe.read())
    _, status, used = os.wait4(child, 0)
    for stream in streams:
        stream.seek(0)
    out, err = (stream.read() for stream in streams)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "calls": calls, "out": out, "err": err, "peak": used.ru_maxrss * 1024}


def _count_calls(end: int, kill: int) -> None:
    """Have each call leave a byte in the pipe, and the one that is chosen never return."""
    lock, made, write = threading.Lock(), [0], os.write

    def counted(real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            with lock:
                made[0] += 1
                write(end, b".")
                if made[0] == kill:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    _serve()

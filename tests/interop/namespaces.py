"""Network namespaces that have loopback and nothing else: what is on the two sides of a gap."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.interop.programs import ROOT, absent

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_WITHOUT_ROUTE = ROOT / ".ci" / "without-route"


@dataclass(frozen=True)
class Namespace:
    """A network namespace, for as long as the process ``pid`` lives in it."""

    pid: int

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread starts meanwhile, threads and processes, is in the namespace and stays there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(f"/proc/{self.pid}/ns/net")
            try:
                yield
            finally:
                _enter(f"/proc/self/fd/{own}")
        finally:
            os.close(own)

    def can_be_entered(self) -> bool:
        """Whether it is another one than this thread's, which is allowed into it."""
        current = Path("/proc/thread-self/ns/net")
        own = current.readlink()
        try:
            with self.entered():
                return current.readlink() != own
        except OSError:
            return False


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace without a route, also to this one."""
    if os.geteuid() != 0:
        absent("only root may enter network namespaces")
    waiting = [_WITHOUT_ROUTE, sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            made = Namespace(process.pid)
            if not made.can_be_entered():
                absent("no network namespaces on this machine")
            yield made
        finally:
            process.terminate()


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        # os.setns is there from Python 3.12 on.
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(descriptor)

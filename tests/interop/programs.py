"""The real programs of ``tools.txt``: finding them, running them, starting and stopping servers."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = ROOT.parent / "shared" / "data"
READY_WITHIN = 30.0
LIMIT = 300.0


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def absent(reason: str) -> None:
    """Skip with a reason; in CI, where everything must be there, fail."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


@dataclass(frozen=True)
class Program:
    """A program on this machine, run in a home folder of its own."""

    path: Path
    home: Path
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """An environment without the user's configuration, proxies and credentials."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        return {**kept, "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home), **self.environment}

    def attempt(self, *arguments: str | Path, limit: float = LIMIT) -> subprocess.CompletedProcess[str]:
        command = [self.path, *self.options, *arguments]
        return subprocess.run(
            command, env=self.variables(), cwd=self.home, capture_output=True, text=True, timeout=limit, check=False
        )

    def run(self, *arguments: str | Path, limit: float = LIMIT) -> str:
        """Run it, expect success, return what it printed."""
        outcome = self.attempt(*arguments, limit=limit)
        said = f"{self.path.name} {' '.join(map(str, arguments))}\n{outcome.stdout[-2000:]}\n{outcome.stderr[-4000:]}"
        assert outcome.returncode == 0, said
        return outcome.stdout

    def document(self, *arguments: str | Path) -> Any:
        return json.loads(self.run(*arguments))


def find_program(name: str) -> Path | None:
    """Where a program of ``tools.txt`` is: in the cache of ``provision``, or for developers in PATH."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(os.environ.get("BUNDLECTL_CI_CACHE") or home / "bundlectl-ci")
    for line in (HERE / "tools.txt").read_text().splitlines():
        fields = line.split()
        if fields[:1] != [name]:
            continue
        _, source, package, version = fields
        version = hash_of_sources(ROOT / package) if source == "here" else version
        executable = package.rpartition("/")[2] if source == "go" else name
        cached = cache / f"{name}-{version}" / executable
        if cached.is_file():
            return cached
        found = shutil.which(name)
        return Path(found) if found else None
    raise AssertionError(f"{name} is not in tools.txt")


def hash_of_sources(folder: Path) -> str:
    """The version of a program that is built from this checkout, as ``provision`` reckons it."""
    files = [folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def provided(name: str) -> Path:
    path = find_program(name)
    if path is None:
        absent(f"{name} is not on this machine: make interop-tools")
    assert path is not None
    return path


def bundlectl(home: Path) -> Program:
    """This checkout's own program, as a process."""
    return Program(Path(sys.executable).with_name("bundlectl"), home)


def chromium(home: Path) -> Program:
    """A browser without a window, which keeps everything below ``home`` and asks nothing of anybody."""
    quiet = ("background-networking", "component-update", "sync", "gpu")
    options = ("--headless", "--no-sandbox", "--no-first-run", f"--user-data-dir={home / 'chromium'}")
    return Program(provided("chromium"), home, (*options, *(f"--disable-{name}" for name in quiet)))


def data(name: str) -> Path:
    """A document that was given; the project does not carry it."""
    path = DATA / name
    if not path.is_file():
        absent(f"{name} is not beside this checkout (../shared/data)")
    return path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str | Path], *, environment: Mapping[str, str], log: Path, ready: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, from the moment it is ready; stopped by its own process id."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as process,
    ):
        try:
            deadline = time.monotonic() + READY_WITHIN
            while not ready():
                said = f"{command[0]}: {log.read_text()[-2000:]}"
                assert process.poll() is None, f"ended at once, {said}"
                assert time.monotonic() < deadline, f"not ready, {said}"
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def answers(url: str) -> bool:
    """Whether a server answers at all; a refusal is an answer."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


@contextmanager
def docker_registry(folder: Path, *, access_log: bool = False) -> Iterator[str]:
    """Debian's docker-registry (2.8) over the storage below ``folder``; yields its host.

    Args:
        folder: made when it is not there; what an earlier one stored in it is served again.
        access_log: write every request into ``registry.log`` there, in the combined log format.
    """
    with _reference_registry("docker-registry", folder, access_log=access_log) as host:
        yield host


@contextmanager
def distribution3(folder: Path, *, access_log: bool = False) -> Iterator[str]:
    """Distribution 3, with the file and the parameters of ``docker_registry``; yields its host."""
    with _reference_registry("distribution3", folder, access_log=access_log) as host:
        yield host


@contextmanager
def _reference_registry(name: str, folder: Path, *, access_log: bool) -> Iterator[str]:
    program = provided(name)
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": not access_log}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "not a secret"},
    }
    written = folder / "registry.yml"
    written.write_text(json.dumps(configuration))  # JSON is YAML
    host = f"127.0.0.1:{port}"
    with running(
        [program, "serve", written],
        environment={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        log=folder / "registry.log",
        ready=lambda: answers(f"http://{host}/v2/"),
    ):
        yield host


def amazon_environment(url: str) -> dict[str, str]:
    """Where boto3 finds a stand-in for Amazon, and what it says there."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def moto(folder: Path) -> Iterator[dict[str, str]]:
    """Amazon's APIs on loopback (moto); yields the environment in which boto3 finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(
        [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
        log=folder / "moto.log",
        ready=lambda: answers(f"{url}/moto-api/"),
    ):
        yield amazon_environment(url)


@contextmanager
def embedded_registry(folder: Path, store: Path, *options: str) -> Iterator[str]:
    """``bundlectl serve`` over a store; yields its host."""
    folder.mkdir(parents=True, exist_ok=True)
    program = bundlectl(folder)
    log = folder / "serve.log"

    def address() -> str:
        words = log.read_text().split() if log.exists() else []
        urls = [word for before, word in pairwise(words) if before == "on" and word.startswith("http://")]
        return urls[0].removeprefix("http://").rstrip("/") if urls else ""

    with running(
        [program.path, *program.options, "serve", "--store", store, "--listen", "127.0.0.1:0", *options],
        environment={**program.variables(), "PYTHONUNBUFFERED": "1"},
        log=log,
        ready=lambda: bool(address()),
    ):
        yield address()

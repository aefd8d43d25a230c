"""The program as a process: killed, interrupted, twice at once, on a disk that is full or may not be written."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from registry_fixtures.faults import Fault, SlowBody

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

# A shell that runs the tests in the background has its children ignore SIGINT; a user's does not.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAM = [sys.executable, "-c", f"{START}; from bundlectl.cli.main import main; raise SystemExit(main())"]
DRIP = Fault(SlowBody(chunk=1024, seconds=0.02), method="GET", path="*/blobs/*|*.tar.gz")
KILLS = 3


@dataclass(frozen=True)
class Program:
    """The program, in a folder and an environment of the test's own."""

    folder: Path

    def start(self, *arguments: object, file_limit: int | None = None) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BUNDLECTL_")}

        def limit() -> None:
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

        return subprocess.Popen(
            [*PROGRAM, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, "XDG_CONFIG_HOME": str(self.folder), "TMPDIR": str(self.folder)},
            cwd=self.folder,
            preexec_fn=limit if file_limit is not None else None,  # noqa: PLW1509 -- no threads in the child yet
        )

    def run(self, *arguments: object, file_limit: int | None = None) -> tuple[int, str, str]:
        """Run to the end; exit code, stdout and stderr."""
        with self.start(*arguments, file_limit=file_limit) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def killed(self, *arguments: object, after: float) -> bool:
        """Kill it after some seconds; False when it had ended before."""
        with self.start(*arguments) as process:
            try:
                process.communicate(timeout=after)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        return process.returncode == -signal.SIGKILL


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def dripping(upstream_served: Served) -> Iterator[Served]:
    """The upstream, so slow that there is something to interrupt."""
    upstream_served.faults.add(DRIP)
    yield upstream_served
    upstream_served.faults.clear()


def origins(served: Served) -> list[str]:
    return [word for pair in served.origins for word in ("--origin", pair)]


def leftovers(store: Path) -> list[str]:
    """Files of a store outside the places that are there for what is unfinished."""
    unfinished = {"fetching", "partial", "uploads", "tmp"}
    known = {"oci-layout", "index.json", "store.json", "refs.log", "lock", "sweeping"}
    found = []
    for path in store.rglob("*"):
        inside = path.relative_to(store).parts
        if path.is_file() and path.name not in known and not unfinished & set(inside) and inside[0] != "blobs":
            found.append("/".join(inside))
    return found


def test_a_download_killed_at_any_moment_leaves_nothing_wrong_and_resumes(
    program: Program, dripping: Served, locked: Path, tmp_path: Path
) -> None:
    dice = random.Random(7)
    command = ("download", locked, "--store", tmp_path / "store", "--jobs", 2, *origins(dripping))
    kills = 0
    for _ in range(KILLS):
        kills += program.killed(*command, after=dice.uniform(0.5, 1.4))
        if (tmp_path / "store" / "oci-layout").exists():
            code, out, err = program.run("verify", f"store:{tmp_path / 'store'}")
            assert code == 0, out + err
    assert kills
    dripping.faults.clear()
    code, out, err = program.run(*command, "-o", "json")
    assert code == 0, err
    assert json.loads(out)["failed"] == []
    assert program.run("verify", f"store:{tmp_path / 'store'}")[0] == 0


def test_a_mirror_killed_at_any_moment_leaves_nothing_wrong_and_resumes(
    program: Program, dripping: Served, locked: Path, registry: ServedRegistry
) -> None:
    dice = random.Random(8)
    command = ("mirror", locked, "--to", f"{registry.host}/eks", "--jobs", 2, *origins(dripping))
    check = ("verify", f"registry:{registry.host}/eks", "--against", locked, "--deep")
    kills = 0
    for _ in range(KILLS):
        kills += program.killed(*command, after=dice.uniform(0.5, 1.4))
        code, out, err = program.run(*check)
        assert code in (0, 4), out + err
    assert kills
    dripping.faults.clear()
    code, _, err = program.run(*command)
    assert code == 0, err
    assert program.run(*check)[0] == 0


@pytest.mark.parametrize("command", ["download", "mirror"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_command_stops_soon_with_130_and_says_how_to_go_on(
    number: signal.Signals,
    command: str,
    program: Program,
    upstream_served: Served,
    locked: Path,
    registry: ServedRegistry,
    tmp_path: Path,
) -> None:
    # Slower than any test may take: only the signal ends it.
    upstream_served.faults.add(Fault(SlowBody(chunk=64, seconds=0.1), method="GET", path="*/blobs/*|*.tar.gz"))
    where = ("--store", tmp_path / "store") if command == "download" else ("--to", f"{registry.host}/eks")
    arguments = (command, locked, *where, "-v", *origins(upstream_served))
    with program.start(*arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(("downloading", "mirroring")):
                break
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert (process.returncode, out) == (130, "")
    assert "the same command again resumes" in err
    assert "Traceback" not in err
    upstream_served.faults.clear()
    if command == "download":
        assert leftovers(tmp_path / "store") == []
        assert program.run("verify", f"store:{tmp_path / 'store'}")[0] == 0
    else:
        tags = [tag for name in registry.holdings.names() for tag in registry.holdings.repository(name).tags]
        assert len(tags) < 5
    assert program.run(*arguments)[0] == 0


def test_a_full_disk_is_exit_1_and_told(
    program: Program, upstream_served: Served, locked: Path, tmp_path: Path
) -> None:
    # Without root a limit on the size of files is the closest to a disk without space.
    command = ("download", locked, "--store", tmp_path / "store", *origins(upstream_served))
    code, out, err = program.run(*command, file_limit=6_000)
    assert (code, out) == (1, "")
    assert "Traceback" not in err
    assert str(tmp_path / "store") in err
    assert "large" in err or "space" in err
    assert program.run("verify", f"store:{tmp_path / 'store'}")[0] == 0
    assert program.run(*command)[0] == 0
    assert program.run("verify", f"store:{tmp_path / 'store'}")[0] == 0


def test_a_disk_that_is_too_small_is_found_out_before_anything_is_fetched(
    program: Program, upstream_served: Served, locked: Path, tmp_path: Path
) -> None:
    document = json.loads(locked.read_bytes())
    digest = document["artifacts"][0]["blobs"][0]
    document["blobs"][digest] = 1 << 60
    huge = tmp_path / "huge.lock.json"
    huge.write_text(json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    code, _, err = program.run("download", huge, "--store", tmp_path / "store", *origins(upstream_served))
    assert code == 1, err
    assert "are free" in err
    assert upstream_served.requests.count() == 0


def test_two_downloads_into_one_store_both_end_well(
    program: Program, dripping: Served, locked: Path, tmp_path: Path
) -> None:
    command = ("download", locked, "--store", tmp_path / "store", "-o", "json", *origins(dripping))
    running = [program.start(*command) for _ in range(2)]
    for process in running:
        with process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    code, out, err = program.run("verify", f"store:{tmp_path / 'store'}")
    assert code == 0, out + err
    assert [name for name in leftovers(tmp_path / "store") if "collections" not in name] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_that_may_not_be_written_is_exit_1_and_told(
    program: Program, upstream_served: Served, locked: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    store.mkdir(mode=0o500)
    code, out, err = program.run("download", locked, "--store", store, *origins(upstream_served))
    assert (code, out) == (1, "")
    assert str(store) in err
    assert upstream_served.requests.count() == 0


def test_a_store_below_a_file_is_exit_1_and_told(
    program: Program, upstream_served: Served, locked: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    command = ("download", locked, "--store", tmp_path / "file" / "store", *origins(upstream_served))
    code, out, err = program.run(*command)
    assert (code, out) == (1, "")
    assert str(tmp_path / "file") in err
    assert "Traceback" not in err


def test_a_read_only_store_is_served_mirrored_and_verified_but_not_added_to(
    program: Program, upstream_served: Served, locked: Path, registry: ServedRegistry, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    assert program.run("download", locked, "--store", store, *origins(upstream_served))[0] == 0
    folders = [store, *(path for path in store.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o500)
    try:
        assert program.run("verify", f"store:{store}")[0] == 0
        assert program.run("mirror", f"store:{store}", "--to", registry.host)[0] == 0
    finally:
        for path in folders:
            path.chmod(0o700)

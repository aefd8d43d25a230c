"""The program as a process of its own: signals, serving, the quickstart."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from registry_fixtures.faults import Fault, Refuse, SlowBody

if TYPE_CHECKING:
    from registry_fixtures.upstream import Served

# A shell that runs the tests in the background has its children ignore SIGINT; a user's does not.
START = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
PROGRAM = [sys.executable, "-c", f"{START}; from bundlectl.cli.main import main; raise SystemExit(main())"]


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BUNDLECTL_")}
    return {**kept, "XDG_CONFIG_HOME": str(tmp_path / "config"), "TMPDIR": str(tmp_path)}


def start(tmp_path: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
        cwd=tmp_path,
    )


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_is_exit_130_and_the_same_command_resumes(
    number: signal.Signals, upstream_served: Served, tmp_path: Path
) -> None:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    lock_file = tmp_path / "bundle.lock.json"
    with start(tmp_path, "lock", "eks-a:latest", "--verify", "off", "--out", lock_file, *origins) as process:
        process.communicate(timeout=60)
    upstream_served.faults.add(Fault(SlowBody(chunk=64, seconds=0.1), method="GET", path="*/blobs/*"))
    arguments = ("download", lock_file, "--store", tmp_path / "store", "-v", *origins)
    with start(tmp_path, *arguments) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("downloading"):
                break
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "the same command again resumes" in err
    assert "Traceback" not in err
    upstream_served.faults.clear()
    with start(tmp_path, *arguments, "-o", "json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["artifacts"]["failed"] == 0


def test_serve_says_where_it_listens_and_ends_well_on_a_signal(tmp_path: Path) -> None:
    arguments = ("serve", "--store", tmp_path / "store", "--listen", "127.0.0.1:0")
    with start(tmp_path, *arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:")
        with urllib.request.urlopen(f"{line.split()[-1].rstrip('/')}/v2/") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "Traceback" not in err


def test_serve_says_so_in_json_with_the_port_it_was_given(tmp_path: Path) -> None:
    with start(tmp_path, "serve", "--store", tmp_path / "store", "--listen", "127.0.0.1:0", "-o", "json") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    schema("listening").validate(json.loads("".join(lines)))
    assert process.returncode == 0


def test_the_quickstart_takes_every_step_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with start(tmp_path, "quickstart") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    for number in range(1, 12):
        assert f"{number}/11 " in out
    assert "Next:\n  bundlectl releases" in out
    assert list(tmp_path.glob("bundlectl-quickstart-*")) == []


def test_the_quickstart_keeps_what_it_made_where_it_was_told_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with start(tmp_path, "quickstart", "--dir", kept, "-o", "json") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    document = json.loads(out)
    schema("quickstart").validate(document)
    assert len(document["steps"]) == 11
    assert document["seconds"] > 0
    assert document["next"][0] == f"bundlectl store list {kept / 'store'}"
    assert {path.name for path in kept.iterdir()} == {
        "bundle.lock.json",
        "bundle.lock.json.sigstore.json",
        "registry",
        "site.key",
        "site.key.pub",
        "store",
    }
    with start(tmp_path, "quickstart", "--dir", kept) as process:
        process.communicate(timeout=60)
    assert process.returncode == 2


def test_a_reader_that_goes_away_in_the_middle_is_no_failure(upstream_served: Served, tmp_path: Path) -> None:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    with start(tmp_path, "inspect", "eks-a:latest", "--verify", "off", *origins) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_a_full_disk_behind_standard_output_is_told(upstream_served: Served, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full on this system")
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    with full.open("w") as out:
        done = subprocess.run(
            [*PROGRAM, "inspect", "eks-a:latest", "--verify", "off", *origins],
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment(tmp_path),
        )
    assert done.returncode == 1
    assert "cannot be written to standard output" in done.stderr


def test_on_a_terminal_the_live_display_goes_away_and_leaves_failures_and_the_report(
    upstream_served: Served, tmp_path: Path
) -> None:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    lock_file = tmp_path / "bundle.lock.json"
    with start(tmp_path, "lock", "eks-a:latest", "--verify", "off", "--out", lock_file, *origins) as process:
        process.communicate(timeout=60)
    upstream_served.faults.add(Fault(Refuse(404), method="GET", path="*kube-vip*"))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "download", str(lock_file), "--store", str(tmp_path / "store"), *origins],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**environment(tmp_path), "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(theirs)
        assert process.stdout is not None
        shown = read_all(ours)
        out = process.stdout.read()
    os.close(ours)
    assert process.returncode == 4, shown
    assert "Traceback" not in shown
    assert "artifacts" in shown
    assert "failed " in shown
    assert "\x1b[1;33mwarning:\x1b[0m origin" in shown
    assert out.splitlines()[-1].endswith("run the same command again to resume")


def read_all(terminal: int) -> str:
    blocks = []
    try:
        while block := os.read(terminal, 65536):
            blocks.append(block)
    except OSError:  # the other side is closed
        pass
    return b"".join(blocks).decode()

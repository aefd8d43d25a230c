"""Killed at any moment, a command leaves nothing wrong, and the same command resumes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.interop.journey import EKSD, PACKAGE_BUNDLE, PREFIX, Site, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.programs import Program

KILLS = 10
SCALE = 2e-4
SECONDS = 14  # that a whole run takes, so that there is something to interrupt
START = 0.15
LONGEST = 2.0


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("killed"), (EKSD, PACKAGE_BUNDLE), scale=SCALE) as place:
        yield place


def slowly(release: Site) -> tuple[str, str]:
    """The option that makes a run take long enough."""
    return "--limit-rate", f"{max(1, sum(release.locked()['blobs'].values()) // SECONDS // 1000)}KB"


def killed(program: Program, arguments: list[str | Path], after: float) -> bool:
    """Start a command and kill it after some seconds; False when it had ended before."""
    command = [program.path, *program.options, *arguments]
    with subprocess.Popen(
        command, env=program.variables(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        try:
            _, said = process.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            return True
        assert process.returncode == 0, said.decode(errors="replace")[-2000:]
        return False


def test_a_download_killed_ten_times_resumes_and_verifies(release: Site, store: Path) -> None:
    dice = random.Random(1)
    command = ["download", release.lock, "--store", store, *slowly(release), "-q", *release.origins]
    kills = 0
    for _ in range(KILLS):
        if not killed(release.ours, command, dice.uniform(START, LONGEST)):
            break
        kills += 1
        if (store / "oci-layout").exists():
            outcome = release.ours.attempt("verify", f"store:{store}", "-q")
            assert outcome.returncode != 3, outcome.stderr
    report = release.ours.document("download", release.lock, "--store", store, "-o", "json", *release.origins)
    assert kills > KILLS // 2
    assert report["failed"] == []
    assert release.ours.document("verify", f"store:{store}", "-o", "json")["verified"]
    locked = {item["reference"] for item in release.locked()["artifacts"] if item["type"] != "file"}
    index = json.loads((store / "index.json").read_bytes())
    named = {entry.get("annotations", {}).get("org.opencontainers.image.ref.name") for entry in index["manifests"]}
    assert locked <= named


def test_a_mirror_killed_ten_times_resumes_and_verifies(release: Site, distribution: str) -> None:
    dice = random.Random(2)
    target = f"{distribution}/{PREFIX}"
    command = ["mirror", release.lock, "--to", target, *slowly(release), "-q", *release.origins]
    check = ("verify", f"registry:{target}", "--against", release.lock)
    kills = 0
    for _ in range(KILLS):
        if not killed(release.ours, command, dice.uniform(START, LONGEST)):
            break
        kills += 1
        outcome = release.ours.attempt(*check, "-q")
        assert outcome.returncode in (0, 4), outcome.stderr
    report = release.ours.document("mirror", release.lock, "--to", target, "-o", "json", *release.origins)
    assert kills > KILLS // 2
    assert report["failed"] == []
    assert release.ours.document(*check, "--deep", "-o", "json")["verified"]

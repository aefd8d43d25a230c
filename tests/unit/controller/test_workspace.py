"""The folder that a controller works in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from controller.workspace import workspace

PROGRAM = """
import sys, time
from pathlib import Path
from controller.workspace import workspace
with workspace(Path(sys.argv[1])) as folder:
    (folder / "site.kubeconfig").write_text("token")
    print(folder, flush=True)
    time.sleep(60)
"""


def age(folder: Path) -> None:
    before = time.time() - 120
    os.utime(folder, (before, before))


def test_it_is_private_and_goes_when_it_is_closed(tmp_path: Path) -> None:
    with workspace(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_deleted_and_what_another_holds_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        age(left)
        with workspace(tmp_path):
            assert left.is_dir()
        other.send_signal(signal.SIGKILL)
    with workspace(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]


def test_neither_links_nor_what_was_made_this_moment_is_touched(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    age(kept)
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "bundlectl-controller-link").symlink_to(kept)
    (parent / "bundlectl-controller-new").mkdir()
    with workspace(parent):
        assert (kept / "file").exists()
        assert (parent / "bundlectl-controller-new").is_dir()

"""What is installed is the product, all of it and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from tests.architecture.conftest import PACKAGES

if TYPE_CHECKING:
    from pathlib import Path

BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def test_the_wheel_holds_the_six_packages_whole_and_nothing_else(root: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    # A copy, for building writes beside the sources. With the tests in it, to see that they stay out.
    for folder in (*PACKAGES, "tests", "benchmarks"):
        shutil.copytree(root / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    outcome = subprocess.run(
        [sys.executable, "-c", BUILD, str(target)], cwd=source, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    with zipfile.ZipFile(next(target.glob("bundlectl-*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licence = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    files = (path for folder in PACKAGES for path in (source / folder).rglob("*") if path.is_file())
    wanted = {path.relative_to(source).as_posix() for path in files}
    assert names == wanted
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert licence

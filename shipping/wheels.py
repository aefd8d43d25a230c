"""Wheels of everything that bundlectl needs, for every machine that it is built for, kept by what was asked for."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sources import sha256

if TYPE_CHECKING:
    from collections.abc import Iterable

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC = 28
"""The newest 2.x that a wheel may need: RHEL 8's."""

REQUIREMENT = re.compile(
    r"^(?P<name>[a-z0-9._-]+)==(?P<version>\S+) \\\n(?P<hashes>(?: +--hash=sha256:\w{64}(?: \\)?(?:\n|\Z))+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Requirement:
    """A pinned package, with the hashes of all its files."""

    name: str
    version: str
    hashes: frozenset[str]

    def line(self, hashes: Iterable[str]) -> str:
        """The line of a requirements file that only files with these hashes meet."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash=sha256:{one}" for one in sorted(hashes))])


def read_requirements(file: Path) -> list[Requirement]:
    """The pinned packages of a requirements file.

    Raises:
        SystemExit: there is a line that says more (a marker, an option), which would be lost.
    """
    text = file.read_text()
    found = [
        Requirement(match["name"], match["version"], frozenset(re.findall(r"sha256:(\w{64})", match["hashes"])))
        for match in REQUIREMENT.finditer(text)
    ]
    if len(found) != len(re.findall(r"^[^#\s]", text, re.MULTILINE)):
        sys.exit(f"{file.name} has lines that are not NAME==VERSION with hashes")
    return found


def carried_requirements(tree: Path) -> tuple[list[Requirement], Requirement]:
    """What runs, of the requirements of a tree, and the pip that installs it."""
    develop = read_requirements(tree / "requirements-dev.txt")
    # The build backend is there for editable installations only.
    run = [one for one in read_requirements(tree / "requirements.txt") if one.name != "setuptools"]
    return run, next(one for one in develop if one.name == "pip")


def provide(wanted: list[Requirement], cache: Path) -> dict[Path, str]:
    """The wheels of ``wanted``, each with its SHA-256, downloaded if they are not in the cache.

    Raises:
        SystemExit: one cannot be had for one of the machines, or is another one.
    """
    lines = "".join(f"{one.line(one.hashes)}\n" for one in wanted)
    folder = cache / hashlib.sha256(f"{GLIBC} {PYTHONS} {MACHINES}\n{lines}".encode()).hexdigest()[:16]
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as work:
            requirements, made = Path(work, "requirements.txt"), Path(work, "wheels")
            requirements.write_text(lines)
            for python in PYTHONS:
                for machine in MACHINES.values():
                    _download(requirements, python, machine, made)
            made.rename(folder)
    known = {digest for one in wanted for digest in one.hashes}
    found = {}
    for file in sorted(folder.iterdir()):
        digest = sha256(file)
        if digest not in known:
            sys.exit(f"{file} is not what the requirements name; remove {folder}")
        found[file] = digest
    return found


def platforms(machine: str) -> list[str]:
    """Options of pip for a machine with any glibc from ``GLIBC`` on."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, GLIBC + 1)]
    return [part for tag in [f"manylinux2014_{machine}", *tags] for part in ("--platform", tag)]


def name_of(wheel: Path) -> str:
    """The package of a wheel, written as in requirements."""
    return re.sub(r"[-_.]+", "-", wheel.name.partition("-")[0]).lower()


def _download(requirements: Path, python: str, machine: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"]
    command += ["--python-version", python, *platforms(machine), "--dest", str(folder), "-r", str(requirements)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        sys.exit(f"wheels for Python {python} on {machine}: {outcome.stderr.strip()[-1000:]}")

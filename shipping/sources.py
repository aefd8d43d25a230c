"""The checkout as it is built: a copy of its files, the time of its commit, wheel and source archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from reproducible import FILE, PROGRAM, Entry, compress, write_tar, write_zip

ROOT = Path(__file__).resolve().parents[1]
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


@dataclass(frozen=True)
class Commit:
    """What is built: its hash, and its time in seconds."""

    revision: str
    epoch: int


def commit() -> Commit:
    """The commit that is checked out; says so when there is more than it.

    Raises:
        SystemExit: not a git checkout.
    """
    revision = _git("rev-parse", "HEAD").strip()
    if _git("status", "--porcelain"):
        print(
            f"{revision[:12]} with changes that are not committed: nobody else can build these bytes", file=sys.stderr
        )
        revision += "-dirty"
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or _git("show", "--no-patch", "--format=%ct", "HEAD")
    return Commit(revision, int(epoch))


def snapshot(folder: Path) -> None:
    """Copy everything that git knows or would add, with the rights that git knows."""
    for name in _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        source, target = ROOT / name, folder / name
        if not name or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(PROGRAM if os.access(source, os.X_OK) else FILE)


def build(tree: Path, out: Path, epoch: int) -> tuple[Path, Path]:
    """Write wheel and source archive of a tree.

    Raises:
        CalledProcessError: setuptools could not.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    made = tree / "made"
    for hook in ("build_wheel", "build_sdist"):
        command = [sys.executable, "-c", BUILD, hook, str(made)]
        subprocess.run(command, cwd=tree, env=environment, check=True, capture_output=True)
    wheel, source = next(made.glob("*.whl")), next(made.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as archive, (out / wheel.name).open("wb") as file:
        write_zip(file, [(name, archive.read(name)) for name in sorted(archive.namelist())], epoch)
    entries = {}
    with tarfile.open(source) as archive:
        for member in archive:
            if member.isfile():
                stream = archive.extractfile(member)
                content = stream.read() if stream else b""
                entries[member.name] = Entry(content, PROGRAM if member.mode & 0o100 else FILE)
    with (tree / "source.tar").open("w+b") as file:
        write_tar(file, entries, epoch)
        file.seek(0)
        (out / source.name).write_bytes(compress(file.read()))
    return out / wheel.name, out / source.name


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git(*arguments: str) -> str:
    outcome = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if outcome.returncode != 0:
        sys.exit(f"git {arguments[0]}: {outcome.stderr.strip()} (dist is built from a git checkout)")
    return outcome.stdout

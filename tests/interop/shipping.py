"""What ``make dist`` makes, built as somebody else would build it, and the Pythons that it is tried on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.interop.programs import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

WITHOUT_ROUTE = ROOT / ".ci" / "without-route"
IDENTITY = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
DATES = {f"GIT_{who}_DATE": "2026-01-02T03:04:05Z" for who in ("AUTHOR", "COMMITTER")}


@dataclass(frozen=True)
class Dist:
    """A folder that ``make dist`` wrote."""

    folder: Path

    def one(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found

    @property
    def installer(self) -> Path:
        return self.one("bundlectl-*-offline.pyz")

    @property
    def image(self) -> Path:
        return self.one("bundlectl-*.oci")


def commit_everything(folder: Path) -> Path:
    """A repository with one commit: all that this checkout has and would commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all of it"]):
        environment = {**os.environ, **IDENTITY, **DATES, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True)
    return folder


def build(checkout: Path, out: Path, *, umask: str = "022", environment: Mapping[str, str] | None = None) -> Dist:
    """Build it from a checkout with the environment that runs the tests."""
    command = [sys.executable, checkout / "shipping" / "build.py", "--out", out]
    outcome = subprocess.run(
        ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *command],
        env={**os.environ, **(environment or {})},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr[-4000:]
    return Dist(out)


def find_python(version: str) -> Path | None:
    """A Python of this version, ``3.12``, that runs: this one, one in PATH, or one of pyenv's."""
    candidates = [Path(sys.base_prefix, "bin", f"python{version}"), shutil.which(f"python{version}")]
    candidates += sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}"))
    for candidate in filter(None, candidates):
        command = [candidate, "-c", "import sys; print('{}.{}'.format(*sys.version_info[:2]))"]
        if Path(candidate).is_file():
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            if told.stdout.strip() == version:
                return Path(candidate)
    return None


def attempt(command: list[str | Path], *, home: Path, path: str = os.defpath) -> subprocess.CompletedProcess[str]:
    """Run a program in a network namespace without a route, with an empty environment."""
    environment = {"HOME": str(home), "PATH": path}
    interpreter = shutil.which("sh")
    assert interpreter is not None
    return subprocess.run(
        [interpreter, WITHOUT_ROUTE, *command],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@dataclass(frozen=True)
class Image:
    """The container image, read as its specification says."""

    archive: tarfile.TarFile

    def blob(self, descriptor: Mapping[str, Any]) -> IO[bytes]:
        stream = self.archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))
        assert stream is not None
        return stream

    def manifests(self) -> dict[str, Any]:
        """The manifest of each architecture."""
        top = self.archive.extractfile("index.json")
        assert top is not None
        (described,) = json.load(top)["manifests"]
        listed = json.load(self.blob(described))["manifests"]
        assert {one["platform"]["os"] for one in listed} == {"linux"}
        return {one["platform"]["architecture"]: json.load(self.blob(one)) for one in listed}

    def layers(self, architecture: str) -> list[tarfile.TarFile]:
        return [
            tarfile.open(fileobj=self.blob(layer), mode="r:gz") for layer in self.manifests()[architecture]["layers"]
        ]


def entered(root: Path) -> list[str | Path]:
    """The words before a command that run it in a file system of its own, as the image's user where that may be."""
    if os.geteuid() == 0:
        return ["chroot", "--userspec=65532:65532", root]
    return ["unshare", "--user", "--map-root-user", "chroot", root]

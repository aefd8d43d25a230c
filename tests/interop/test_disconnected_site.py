"""Every command of ``docs/how-to/disconnected-site.md`` runs, in its order, each on its side of a gap."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from tests.interop.namespaces import Namespace, namespace
from tests.interop.programs import ROOT, bundlectl, docker_registry, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.interop

GUIDE = ROOT / "docs" / "how-to" / "disconnected-site.md"
COMMAND = re.compile(r"^(outside|inside)\$ (.+)$", re.MULTILINE)
POLICY = """
apiVersion: bundlectl.dev/v1alpha1
kind: Policy
spec:
  rules:
  - {match: ["*"], trust: declared}
"""


@dataclass(frozen=True)
class Side:
    """One machine: its network, its working folder, and what stands there for the names of the guide."""

    place: Namespace
    folder: Path
    environment: Mapping[str, str]
    names: Mapping[str, str]

    def local(self, command: str) -> str:
        for name, stands in self.names.items():
            command = command.replace(name, stands)
        return command

    def run(self, command: str) -> str:
        with self.place.entered():
            outcome = subprocess.run(
                ["sh", "-c", self.local(command)],
                cwd=self.folder,
                env=dict(self.environment),
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert outcome.returncode == 0, f"{command}\n{outcome.stdout[-2000:]}\n{outcome.stderr[-4000:]}"
        return outcome.stdout

    def serve(self, command: str) -> None:
        log = self.folder / "serve.log"
        with (
            self.place.entered(),
            running(
                ["sh", "-c", f"cd {self.folder} && exec {self.local(command)}"],
                environment={**self.environment, "PYTHONUNBUFFERED": "1"},
                log=log,
                ready=lambda: log.exists() and "listening on" in log.read_text(),
            ),
        ):
            pass


def make_tool(folder: Path) -> None:
    """What stands for what ``make dist`` makes."""
    folder.mkdir()
    tool = b"bundlectl itself"
    (folder / "bundlectl-1-offline.pyz").write_bytes(tool)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(tool).hexdigest()}  bundlectl-1-offline.pyz\n")


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[dict[str, Side]]:
    folders = {name: tmp_path / name for name in ("outside", "inside", "media", "homes")}
    for folder in folders.values():
        folder.mkdir()
    make_tool(tmp_path / "dist")
    (folders["inside"] / "site-policy.yaml").write_text(POLICY)
    program = bundlectl(folders["homes"])
    environment = {**program.variables(), "PATH": f"{program.path.parent}{os.pathsep}{os.environ['PATH']}"}
    with ExitStack() as opened:
        connected, disconnected = opened.enter_context(namespace()), opened.enter_context(namespace())
        with connected.entered():
            upstream = opened.enter_context(Upstream.synthesise(sample_documents(), scale=1e-5))
            served = opened.enter_context(upstream.serve())
        with disconnected.entered():
            registry = opened.enter_context(docker_registry(tmp_path / "registry"))
        # Nobody's signature can be on samples, and volumes are as small as the samples are.
        outside = {
            "BUNDLECTL_LOCK_VERIFY": "off",
            "BUNDLECTL_EXPORT_SPLIT_SIZE": "128KiB",
            **{
                f"BUNDLECTL_{name}_ORIGIN": " ".join(served.origins)
                for name in ("LOCK", "DOWNLOAD", "REPORT", "EXPORT", "DIFF")
            },
        }
        names = {"/media/": f"{folders['media']}/", "/data/": f"{tmp_path}/data-", "/srv/": f"{tmp_path}/srv-"}
        yield {
            "outside": Side(
                connected,
                folders["outside"],
                {**environment, **outside},
                {**names, "--with-tool": f"--with-tool={tmp_path / 'dist'}"},
            ),
            "inside": Side(
                disconnected,
                folders["inside"],
                environment,
                {**names, "harbor.site.example": registry, "127.0.0.1:5000": "127.0.0.1:0"},
            ),
        }


def carry(sides: dict[str, Side]) -> None:
    """Public keys and inventories go from one side to the other, and nothing else does."""
    outside, inside = sides["outside"].folder, sides["inside"].folder
    for source, target in ((outside, inside), (inside, outside)):
        for path in (*source.glob("*.pub"), *source.glob("*.inventory.json.gz")):
            if source is inside or path.suffix == ".pub":
                shutil.copy(path, target)


def test_the_guide_can_be_followed_to_its_end(sides: dict[str, Side]) -> None:
    steps = COMMAND.findall(GUIDE.read_text(encoding="utf-8"))
    assert {side for side, _ in steps} == {"outside", "inside"}
    said = {}
    for side, command in steps:
        carry(sides)
        if "-offline.pyz" in command:
            continue  # test_shipping installs it
        if " serve " in command:
            sides[side].serve(command)
        else:
            said[command] = sides[side].run(command)
    assert len(said) > 25
    told = next(text for command, text in said.items() if command.startswith("bundlectl import") and "--to" in command)
    for expected in ("registryMirrorConfiguration", "bundlectl controller feed", "bundlectl verify registry:"):
        assert expected in told

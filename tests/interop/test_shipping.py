"""bundlectl itself crosses the gap: one file installs it where there is no network, and an image runs it."""

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
from typing import TYPE_CHECKING

import pytest

from bundlectl.operations.tooling import find_tool
from tests.interop.programs import ROOT, Program, absent, answers, free_port, provided, running
from tests.interop.shipping import Dist, Image, attempt, build, commit_everything, entered, find_python

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERYTHING = "import boto3, kubernetes, nacl.public, pkcs11, sigstore, yaml, bundlectl, mirror, bundles, signing"
HAND_ON = "from bundlectl.operations.tooling import find_tool; print(*(f.digest for f in find_tool(None)))"
CONTAINERFILE = ROOT / "shipping" / "Containerfile.controller"
ELF_MACHINES = {"amd64": 62, "arm64": 183}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return commit_everything(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def dist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Dist:
    if shutil.which("apt-get") is None:
        absent("the container image is made of Debian's packages, and there is no apt here")
    return build(checkout, tmp_path_factory.mktemp("dist"))


@dataclass(frozen=True)
class Installed:
    """What the installer made, and what it said."""

    prefix: Path
    said: str

    @property
    def python(self) -> Path:
        return next((self.prefix / "lib" / "bundlectl").glob("*/bin/python"))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        program = self.prefix / "bin" / "bundlectl"
        return attempt([program, *command], home=self.prefix)


@pytest.fixture(scope="module")
def python() -> Path:
    found = find_python("{}.{}".format(*sys.version_info[:2]))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def installed(dist: Dist, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return install(dist.installer, python, tmp_path_factory.mktemp("prefix"))


def install(installer: Path, python: Path, prefix: Path) -> Installed:
    outcome = attempt([python, installer, "--prefix", prefix], home=prefix)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return Installed(prefix, outcome.stdout)


def test_two_people_who_build_one_commit_get_the_same_bytes(checkout: Path, dist: Dist, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another folder"
    shutil.copytree(checkout, elsewhere, symlinks=True)
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}
    again = build(elsewhere, tmp_path / "dist", umask="077", environment=other)
    names = sorted(path.name for path in dist.folder.iterdir())
    assert len(names) == 5
    assert sorted(path.name for path in again.folder.iterdir()) == names
    for name in names:
        assert (again.folder / name).read_bytes() == (dist.folder / name).read_bytes(), name


def test_sha256sum_and_the_export_agree_with_the_list_of_what_was_made(dist: Dist) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=dist.folder, check=True)
    assert {file.path for file in find_tool(dist.folder)} == set(dist.folder.iterdir())


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_one_file_installs_everything_without_a_network(
    dist: Dist, installed: Installed, python: Path, tmp_path: Path, version: str
) -> None:
    found = find_python(version)
    if found is None:
        pytest.skip(f"no Python {version} on this machine")
    if found != python:
        prefix = tmp_path / "some where"
        prefix.mkdir()
        installed = install(dist.installer, found, prefix)
    check = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", installed.python, "check"]
    for command in ([installed.python, "-I", "-c", EVERYTHING], check):
        outcome = attempt(command, home=tmp_path)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_what_was_installed_does_the_whole_journey_without_a_network(installed: Installed) -> None:
    version = installed.run("--version").stdout.strip()
    assert version.startswith("bundlectl ")
    program = installed.prefix / "bin" / "bundlectl"
    assert installed.said.splitlines()[:3] == [
        f"installed {version} as {program}",
        "next:",
        f'  export PATH="{program.parent}:$PATH"',
    ]
    outcome = installed.run("quickstart")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_what_was_installed_can_hand_itself_on(installed: Installed, dist: Dist) -> None:
    told = attempt([installed.python, "-I", "-c", HAND_ON], home=installed.prefix).stdout.split()
    assert f"sha256:{hashlib.sha256(dist.installer.read_bytes()).hexdigest()}" in told


def test_from_the_medium_alone_it_is_installed_and_imports_that_archive(
    dist: Dist, python: Path, tmp_path: Path
) -> None:
    outside, site = tmp_path / "outside", tmp_path / "site"
    medium = site / "medium"
    site.mkdir()
    here = Path(sys.executable).with_name("bundlectl")
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    for arguments in (
        ["quickstart", "--dir", outside],
        ["keys", "generate", tmp_path / "transfer.key"],
        [
            *("export", f"store:{outside / 'store'}", "--to", medium, "--key", tmp_path / "transfer.key"),
            *("--split-size", "200KB", f"--with-tool={dist.folder}"),
        ],
    ):
        ran = subprocess.run([here, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    # What the site gets: the medium, and in another way the key that checks it.
    key = shutil.copy(tmp_path / "transfer.key.pub", site)
    shutil.rmtree(outside)
    (installer,) = (medium / "tool").glob("bundlectl-*-offline.pyz")
    prefix = site / "prefix"
    prefix.mkdir()
    installed = install(installer, python, prefix)
    store = site / "store"
    for words in (["verify", f"archive:{medium}"], ["import", medium, "--store", store]):
        outcome = installed.run(*map(str, words), "--key", str(key))
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert installed.run("store", "verify", str(store)).returncode == 0


def test_it_can_be_installed_once_more_over_itself(installed: Installed, dist: Dist, python: Path) -> None:
    install(dist.installer, python, installed.prefix)
    assert installed.run("--version").returncode == 0
    assert [path.name for path in (installed.prefix / "lib" / "bundlectl").glob(".*")] == []


@pytest.mark.parametrize("kind", ["a flipped bit", "another wheel of that name", "another file"])
def test_a_changed_installer_is_refused_and_what_was_there_stays(
    installed: Installed, dist: Dist, python: Path, tmp_path: Path, kind: str
) -> None:
    changed = tmp_path / dist.installer.name
    with zipfile.ZipFile(dist.installer) as archive:
        wheel = next(member for member in archive.infolist() if member.filename.startswith("wheelhouse/cryptography-"))
        if kind == "a flipped bit":
            content = bytearray(dist.installer.read_bytes())
            content[wheel.header_offset + 1000] ^= 1
            changed.write_bytes(content)
        else:
            # A zip like any other, as a program or a person would write it.
            with zipfile.ZipFile(changed, "w") as out:
                for member in archive.infolist():
                    another = kind == "another wheel of that name" and member is wheel
                    out.writestr(member, b"something else" if another else archive.read(member))
                if kind == "another file":
                    out.writestr("wheelhouse/evil-1.0-py3-none-any.whl", b"")
    outcome = attempt([python, changed, "--prefix", installed.prefix], home=tmp_path)
    assert outcome.returncode == 3, outcome.stdout + outcome.stderr
    assert str(changed) in outcome.stderr
    assert "nothing was installed" in outcome.stderr
    if kind != "another file":
        assert wheel.filename in outcome.stderr
    assert installed.run("--version").returncode == 0
    assert [path.name for path in (installed.prefix / "lib" / "bundlectl").glob(".*")] == []


def test_a_program_from_elsewhere_is_not_replaced(dist: Dist, python: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "bin" / "bundlectl"
    theirs.parent.mkdir()
    theirs.write_text("somebody else's")
    outcome = attempt([python, dist.installer, "--prefix", tmp_path], home=tmp_path)
    assert outcome.returncode == 1
    assert str(theirs) in outcome.stderr
    assert theirs.read_text() == "somebody else's"
    assert not (tmp_path / "lib").exists()


@pytest.mark.parametrize("version", ["3.6", "3.10"])
def test_a_python_that_is_too_old_is_told_or_makes_room_for_a_newer_one(
    dist: Dist, python: Path, tmp_path: Path, version: str
) -> None:
    old = find_python(version)
    if old is None:
        pytest.skip(f"no Python {version} on this machine")
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    for folder in (alone, beside):
        folder.mkdir()
        for program in ("python3", "unshare", "sh"):
            (folder / program).symlink_to(shutil.which(program) or "")
    refused = attempt([old, dist.installer, "--prefix", tmp_path], home=tmp_path, path=str(alone))
    assert refused.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13" in refused.stderr
    (beside / f"python{'{}.{}'.format(*sys.version_info[:2])}").symlink_to(python)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bundlectl").touch()
    helped = attempt([old, dist.installer, "--prefix", tmp_path], home=tmp_path, path=str(beside))
    assert "is there and not from here" in helped.stderr  # so it went on


@pytest.fixture(scope="module")
def image(dist: Dist) -> Iterator[Image]:
    with tarfile.open(dist.image) as archive:
        yield Image(archive)


@pytest.fixture(scope="module")
def root(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of the image for amd64."""
    if os.uname().machine != "x86_64":
        pytest.skip("this machine does not run amd64")
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)  # for the image's user
    for layer in image.layers("amd64"):
        with layer:
            layer.extractall(folder, filter="fully_trusted")  # noqa: S202 - it was made here
    return folder


def test_the_image_is_one_that_other_tools_read(dist: Dist, skopeo: Program, tmp_path: Path) -> None:
    skopeo.run("copy", "--all", f"oci-archive:{dist.image}", f"dir:{tmp_path / 'copied'}")
    told = skopeo.document("inspect", "--config", f"oci-archive:{dist.image}")
    assert told["config"]["Entrypoint"] == ["/usr/local/bin/bundlectl"]
    assert told["config"]["User"] == "65532:65532"
    assert told["config"]["Volumes"] == {"/data": {}}


def test_what_is_in_the_image_of_an_architecture_is_made_for_it(image: Image) -> None:
    assert set(image.manifests()) == set(ELF_MACHINES)
    for architecture, machine in ELF_MACHINES.items():
        programs = 0
        for layer in image.layers(architecture):
            with layer:
                for member in filter(tarfile.TarInfo.isfile, layer):
                    stream = layer.extractfile(member)
                    head = stream.read(20) if stream else b""
                    if head.startswith(b"\x7fELF"):
                        assert int.from_bytes(head[18:20], "little") == machine, member.name
                        programs += 1
        assert programs > 50


def test_the_image_runs_bundlectl_without_a_network(root: Path, tmp_path: Path) -> None:
    for command in (["/usr/local/bin/bundlectl", "--version"], ["/usr/bin/python3.11", "-I", "-c", EVERYTHING]):
        outcome = attempt([*entered(root), *command], home=tmp_path, path=os.environ["PATH"])
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_image_serves_a_store(root: Path, tmp_path: Path) -> None:
    port = free_port()
    command = [*entered(root), "/usr/local/bin/bundlectl", "serve", "--store", "/data/store"]
    with running(
        [*command, "--listen", f"127.0.0.1:{port}"],
        environment={"PATH": os.environ["PATH"], "HOME": "/data"},
        log=tmp_path / "serve.log",
        ready=lambda: answers(f"http://127.0.0.1:{port}/v2/"),
    ):
        assert answers(f"http://127.0.0.1:{port}/healthz")


def test_the_image_of_the_controller_is_built_from_it_without_a_network(
    root: Path, dist: Dist, home: Path, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        absent("buildah needs root, or ranges of user ids")
    assert root
    storage = tmp_path / "storage"
    places = ("--root", str(storage), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs")
    buildah = Program(provided("buildah"), home, places)
    beside = tmp_path / "context" / "linux-amd64"
    beside.mkdir(parents=True)
    shutil.copy(provided("helm3"), beside / "helm")
    ours = buildah.run("pull", "--quiet", f"oci-archive:{dist.image}").strip()
    options = ("--platform", "linux/amd64", "--build-arg", f"BUNDLECTL={ours}", "--file", CONTAINERFILE)
    made = buildah.run("build", "--pull-never", "--isolation", "chroot", "--quiet", *options, beside.parent).strip()
    inside = buildah.run("mount", buildah.run("from", made).strip()).strip()
    for command, told in ((["helm", "version"], "Version:"), (["bundlectl", "controller", "run", "--help"], "--helm")):
        run = [*entered(Path(inside)), f"/usr/local/bin/{command[0]}", *command[1:]]
        outcome = attempt(run, home=tmp_path, path=os.environ["PATH"])
        assert told in outcome.stdout, outcome.stderr
    shutil.rmtree(storage)  # near a gigabyte


def test_a_python_without_pip_and_ensurepip_installs_it(root: Path, dist: Dist, tmp_path: Path) -> None:
    """Debian's Python, as it is in the image, where there is nothing else: no shell, no pip, no compiler."""
    null = root / "dev" / "null"  # which who runs a container provides
    null.touch()
    null.chmod(0o666)
    shutil.copy(dist.installer, root / "data" / "offline.pyz")
    inside = [*entered(root), "/usr/bin/python3.11"]
    absent = attempt([*inside, "-c", "import ensurepip"], home=tmp_path, path=os.environ["PATH"])
    assert "No module named 'ensurepip'" in absent.stderr
    command = [*inside, "/data/offline.pyz", "--prefix", "/data/prefix"]
    outcome = attempt(command, home=tmp_path, path=os.environ["PATH"])
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert (root / "data" / "prefix" / "bin" / "bundlectl").is_symlink()

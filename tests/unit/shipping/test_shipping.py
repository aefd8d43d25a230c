"""What `make dist` is made with: archives that depend on their contents alone, requirements and pins."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
SHIPPING = ROOT / "shipping"
HASH = "--hash=sha256:" + "0" * 64


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of `shipping`, which is a program and no package, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(SHIPPING))
    for path in SHIPPING.glob("*.py"):
        monkeypatch.setitem(sys.modules, path.stem, sys)
        monkeypatch.delitem(sys.modules, path.stem)
    return importlib.import_module


def test_a_tar_depends_on_its_contents_alone(load: Callable[[str], Any]) -> None:
    reproducible = load("reproducible")
    entries = {
        "b": reproducible.folder(0o1777, owner=7),
        "a" * 150: reproducible.Entry(b"content", reproducible.PROGRAM),
        "link": reproducible.Entry(link="b"),
    }
    written = []
    for order in (entries, dict(reversed(entries.items()))):
        out = io.BytesIO()
        reproducible.write_tar(out, order, 1_000_000)
        written.append(out.getvalue())
    assert written[0] == written[1]
    with tarfile.open(fileobj=io.BytesIO(written[0])) as archive:
        told = [(one.name, one.mode, one.uid, one.gid, one.uname, one.mtime, one.linkname) for one in archive]
    assert told == [
        ("a" * 150, 0o755, 0, 0, "", 1_000_000, ""),
        ("b", 0o1777, 7, 7, "", 1_000_000, ""),
        ("link", 0o644, 0, 0, "", 1_000_000, "b"),
    ]


@pytest.mark.parametrize("store", [True, False])
def test_a_zip_has_one_time_and_nobodys_rights(load: Callable[[str], Any], tmp_path: Path, store: bool) -> None:  # noqa: FBT001
    reproducible = load("reproducible")
    file = tmp_path / "file"
    file.write_bytes(b"content")
    file.chmod(0o600)
    out = io.BytesIO()
    reproducible.write_zip(out, [("a", file), ("b", b"more")], 0, store=store)
    with zipfile.ZipFile(out) as archive:
        assert archive.read("a") == b"content"
        assert {(one.date_time, one.external_attr >> 16) for one in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 0o100644)
        }


def test_requirements_are_read_whole_and_the_ones_of_this_checkout_can_be(load: Callable[[str], Any]) -> None:
    needed, pip = load("wheels").carried_requirements(ROOT)
    text = (ROOT / "requirements.txt").read_text()
    assert {f"{one.name}=={one.version}" for one in needed} | {"setuptools"} == {
        "setuptools" if line.startswith("setuptools==") else line.removesuffix(" \\")
        for line in text.splitlines()
        if "==" in line
    }
    assert sum(len(one.hashes) for one in needed) < text.count("sha256:")
    assert pip.name == "pip"
    assert pip.line(["b" * 64, "a" * 64]) == (f"pip=={pip.version} --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}")


@pytest.mark.parametrize(
    "line", [f'one==1 ; python_version < "3.12" \\\n    {HASH}\n', "one==1\n", "--pre\n", f"one>=1 \\\n    {HASH}\n"]
)
def test_a_requirement_that_would_lose_something_stops_the_build(
    load: Callable[[str], Any], tmp_path: Path, line: str
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(f"two==2 \\\n    {HASH}\n{line}")
    with pytest.raises(SystemExit, match=r"requirements\.txt"):
        load("wheels").read_requirements(file)


def test_both_architectures_are_made_of_the_same_packages(load: Callable[[str], Any]) -> None:
    debian = load("debian")
    amd64, arm64 = (debian.read_pins(architecture) for architecture in debian.ARCHITECTURES)
    assert sorted(one.name for one in amd64) == sorted(one.name for one in arm64)
    assert all(len(bytes.fromhex(one.sha256)) == 32 for one in (*amd64, *arm64))


def test_a_python_that_is_too_old_can_read_the_installer() -> None:
    ast.parse((SHIPPING / "installer.py").read_text(), feature_version=(3, 6))


def test_what_was_installed_runs_until_what_replaces_it_does(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installer = load("installer")
    home, program = tmp_path / "lib" / "bundlectl", tmp_path / "bin" / "bundlectl"
    ran: list[str] = []
    fails = {3: KeyboardInterrupt, 4: installer.RefusedError}

    def unpack(work: Path) -> None:
        (work / "wheelhouse").mkdir()
        (work / "wheelhouse" / "bundlectl-1.0-py3-none-any.whl").touch()

    def fill(place: Path, _: Path) -> str:
        ran.append(program.read_text() if program.exists() else "nothing")
        assert not place.exists()
        (place / "bin").mkdir(parents=True)
        (place / "bin" / "bundlectl").write_text(str(len(ran)))
        if len(ran) in fails:
            raise fails[len(ran)]("stopped")
        return "bundlectl 1.0"

    monkeypatch.setattr(installer, "unpack", unpack)
    monkeypatch.setattr(installer, "fill", fill)
    monkeypatch.setattr(installer.os, "umask", lambda _: 0)
    (home / "1.0" / "bin").mkdir(parents=True)  # of a run that was killed
    for number in range(1, 6):
        with contextlib.suppress(KeyboardInterrupt, installer.RefusedError):
            installer.install(tmp_path)
        assert len(list(home.iterdir())) == 1, number
    assert ran == ["nothing", "1", "2", "2", "2"]
    assert program.read_text() == "5"


class Shelf:
    """Stands for apt: what Debian offers now, each package in one version."""

    def __init__(self, offered: list[Any]) -> None:
        self._offered = {one.name: one for one in offered}

    def __call__(self, work: Path, architecture: str) -> Shelf:
        assert work.is_dir()
        assert architecture == "amd64"
        return self

    def offered(self, wanted: list[str]) -> list[Any]:
        found = []
        for name, _, version in (one.partition("=") for one in wanted):
            one = self._offered.get(name)
            if one is None or version not in ("", one.version):
                return []  # as `apt-get download`: all or nothing
            found.append(one)
        return found

    def download(self, packages: list[Any], cache: Path) -> None:
        for one in packages:
            (cache / f"{one.sha256}.deb").write_bytes(contents(one.name, one.version))


def contents(name: str, version: str) -> bytes:
    return f"{name} {version}".encode()


def package(debian: Any, name: str, version: str) -> Any:
    return debian.Package(name, version, "amd64", hashlib.sha256(contents(name, version)).hexdigest())


def test_a_package_that_debian_replaced_is_taken_in_its_new_version_and_said(
    load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    debian = load("debian")
    pinned = [package(debian, "libc6", "2.36"), package(debian, "libssl3", "3.0.1")]
    now = [pinned[0], package(debian, "libssl3", "3.0.2")]
    monkeypatch.setattr(debian, "PINS", tmp_path / "debian.txt")
    lines = (f"{one.name} {one.version} {one.architecture} {one.sha256}\n" for one in pinned)
    (tmp_path / "debian.txt").write_text("# a comment\n" + "".join(lines))

    monkeypatch.setattr(debian, "Apt", Shelf(now))
    taken = debian.provide("amd64", tmp_path / "cache")
    assert [(one, file.read_bytes()) for one, file in taken] == [(one, contents(one.name, one.version)) for one in now]
    said = capsys.readouterr().err
    assert "libssl3 3.0.2" in said
    assert "make lock-image" in said
    assert "libc6" not in said

    monkeypatch.setattr(debian, "Apt", Shelf(pinned))
    assert [one for one, _ in debian.provide("amd64", tmp_path / "cache")] == pinned
    monkeypatch.setattr(debian, "Apt", Shelf([]))
    assert [one for one, _ in debian.provide("amd64", tmp_path / "cache")] == pinned  # nobody was asked
    assert capsys.readouterr().err == ""

"""Finding what carries bundlectl itself."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest

import bundlectl
from bundlectl.errors import ContentError, MissingError, UsageError
from bundlectl.operations.tooling import find_tool
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

CONTENTS = {"bundlectl-1-offline.pyz": b"an installer", "bundlectl-1.oci": b"an image"}


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    lines = []
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment and a package that are not in a checkout; the folder of both."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(bundlectl, "__file__", str(tmp_path / "checkout" / "bundlectl" / "__init__.py"))
    return tmp_path


def test_the_files_of_a_folder_are_told_with_size_and_digest_and_so_is_their_list(tmp_path: Path) -> None:
    folder = made(tmp_path / "dist")
    (folder / "something else").write_text("not listed")
    files = find_tool(folder)
    assert [file.name for file in files] == ["SHA256SUMS", *CONTENTS]
    for file in files:
        content = (folder / file.name).read_bytes()
        assert (file.path, file.size, file.digest) == (folder / file.name, len(content), Digest.of(content))


def test_what_was_installed_has_the_tool_and_a_checkout_has_it_after_make_dist(nowhere: Path) -> None:
    (nowhere / "checkout").mkdir()
    in_checkout = made(nowhere / "checkout" / "dist")
    with pytest.raises(MissingError) as caught:
        find_tool(None)  # no checkout: a folder that happens to be beside the package
    assert "make dist" in str(caught.value.hint)
    (nowhere / "checkout" / "pyproject.toml").touch()
    assert {file.path.parent for file in find_tool(None)} == {in_checkout}
    installed = made(nowhere / "environment" / "share" / "bundlectl" / "dist")
    assert {file.path.parent for file in find_tool(None)} == {installed}


def test_a_folder_without_the_tool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find_tool(tmp_path)
    assert caught.value.artifact == str(tmp_path)


def test_a_file_that_is_not_the_one_that_was_made_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "dist")
    (folder / "bundlectl-1.oci").write_bytes(b"an imago")
    with pytest.raises(ContentError, match=r"bundlectl-1\.oci"):
        find_tool(folder)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    folder = made(tmp_path / "dist")
    (folder / "bundlectl-1.oci").unlink()
    with pytest.raises(MissingError, match=r"bundlectl-1\.oci"):
        find_tool(folder)


@pytest.mark.parametrize(
    "line",
    [
        f"{'0' * 64}  ../outside",
        f"{'0' * 64}  /etc/passwd",
        f"{'0' * 64}  tool/inside",
        f"{'0' * 64} *bundlectl-1.oci",
        f"{'A' * 64}  bundlectl-1.oci",
        "\udcff",
        "x" * 70_000,
    ],
)
def test_a_list_that_make_dist_does_not_write_is_refused(tmp_path: Path, line: str) -> None:
    folder = made(tmp_path / "dist")
    (folder / "SHA256SUMS").write_bytes(line.encode(errors="surrogateescape") + b"\n")
    with pytest.raises(ContentError, match="SHA256SUMS"):
        find_tool(folder)

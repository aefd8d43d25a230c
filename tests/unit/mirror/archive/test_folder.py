"""A folder on a medium holds whatever somebody put there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.archive.folder import SUM_LIMIT, Folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_only_regular_files_have_names(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    assert folder.names() == ["file"]
    assert [folder.size(name) for name in ("file", "link", "folder", "fifo", "none")] == [4, None, None, None, None]


def test_a_folder_that_is_not_there_has_no_names_and_can_be_made(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "a" / "b")
    assert folder.names() == []
    folder.make()
    folder.make()
    folder.write("x", b"1")
    assert folder.names() == ["x"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "none"])
def test_what_is_no_regular_file_is_not_there_and_holds_nobody_up(folder: Folder, tmp_path: Path, kind: str) -> None:
    (tmp_path / "other").write_bytes(b"secret")
    if kind == "fifo":
        os.mkfifo(tmp_path / "x")
    elif kind == "link":
        (tmp_path / "x").symlink_to("other")
    elif kind == "folder":
        (tmp_path / "x").mkdir()
    with pytest.raises(MissingError, match="not there"):
        folder.read("x", limit=100)
    assert folder.read_sum("x") is None


def test_more_than_the_limit_is_not_read(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(11))
    assert folder.read("x", limit=11) == bytes(11)
    with pytest.raises(ContentError, match="more than the 10 bytes"):
        folder.read("x", limit=10)
    with (tmp_path / "huge.sum.json").open("wb") as file:
        file.truncate(SUM_LIMIT * 1000)
    assert folder.read_sum("huge.sum.json") is None


def test_a_file_that_cannot_be_written_leaves_nothing_behind(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(StoreError):
        folder.write("x", b"1")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_run_left_is_swept_and_nothing_else(folder: Folder, tmp_path: Path) -> None:
    left = ["a-0001.sum.json.0123456789abcdef", "a.inventory.json.0123456789abcdef", "SHA256SUMS.0123456789abcdef"]
    kept = ["a-0001.partial", "a.json", "a.json.0123", "holiday.jpg.0123456789abcdef", "SHA256SUMS"]
    for name in left + kept:
        (tmp_path / name).write_bytes(b"")
    folder.sweep()
    assert folder.names() == sorted(kept)


def test_two_exports_do_not_write_into_one_folder_at_once(folder: Folder, tmp_path: Path) -> None:
    with folder.held(), pytest.raises(StoreError, match="another export"), Folder(tmp_path).held():
        pass
    with Folder(tmp_path).held():
        pass
    with pytest.raises(StoreError), Folder(tmp_path / "none").held():
        pass

"""A folder that is written into: each file whole or not at all, by one run at a time."""

from __future__ import annotations

import io
import resource
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, StoreError, UsageError
from bundlectl.operations.file_tree import FileTree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Broken(io.BytesIO):
    """Gives something, and then breaks."""

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise ContentError("has another digest")
        return block


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "here"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_file_and_its_folders_are_made(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("a", "b", "c.yaml"), io.BytesIO(b"content"))
    assert names(folder) == {"a", "a/b", "a/b/c.yaml"}
    assert (folder / "a/b/c.yaml").read_bytes() == b"content"
    assert not stat.S_IMODE((folder / "a/b/c.yaml").stat().st_mode) & 0o133


def test_a_source_that_breaks_leaves_everything_as_it_was(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("a",), io.BytesIO(b"before"))
        with pytest.raises(ContentError):
            tree.write(("a",), Broken(b"after"))
        with pytest.raises(ContentError):
            tree.write(("new", "b"), Broken(b"after"))
    assert names(folder) == {"a"}
    assert (folder / "a").read_bytes() == b"before"


@pytest.fixture
def _small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("_small_files")
def test_a_disk_that_takes_no_more_ends_the_run_and_leaves_nothing_half_written(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("small",), io.BytesIO(bytes(1000)))
        with pytest.raises(StoreError, match="large"):
            tree.write(("a", "large"), io.BytesIO(bytes(1001)))
    assert names(folder) == {"small"}


def test_two_runs_do_not_write_into_one_folder(folder: Path) -> None:
    with FileTree(folder) as tree:
        with pytest.raises(UsageError, match="another run"):
            FileTree(folder)
        tree.write(("a",), io.BytesIO(b"content"))
    FileTree(folder).close()
    assert names(folder) == {"a"}


def test_a_file_in_the_way_of_a_folder_is_told(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("a",), io.BytesIO(b"content"))
        with pytest.raises(StoreError, match="in the way"):
            tree.write(("a", "b"), io.BytesIO(b"content"))
        tree.write(("c", "d"), io.BytesIO(b"content"))
        with pytest.raises(StoreError):
            tree.write(("c",), io.BytesIO(b"content"))
    with pytest.raises(StoreError, match="in the way"):
        FileTree(folder / "a")
    assert names(folder) == {"a", "c", "c/d"}


def test_what_is_there_can_be_read_and_links_and_folders_cannot(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("a", "b"), io.BytesIO(b"content"))
        (folder / "link").symlink_to(folder / "a" / "b")
        (folder / "linked").symlink_to(folder / "a")
        reader = tree.open(("a", "b"))
        assert reader is not None
        with reader:
            assert reader.read() == b"content"
        for place in (("a",), ("link",), ("linked", "b"), ("none", "b"), ("a", "b", "c")):
            assert tree.open(place) is None


def test_removing_removes_a_link_and_not_what_it_names(folder: Path) -> None:
    with FileTree(folder) as tree:
        tree.write(("a",), io.BytesIO(b"content"))
        (folder / "link").symlink_to(folder / "a")
        tree.remove(("link",))
        tree.remove(("link",))
        tree.remove(("none", "b"))
    assert names(folder) == {"a"}


def test_closing_waits_for_a_thread_that_still_writes(folder: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            begun.set()
            go_on.wait(10)
            return super().read(size)

    tree = FileTree(folder)
    writer = threading.Thread(target=tree.write, args=(("a",), Slow(b"content")))
    writer.start()
    begun.wait(10)
    closer = threading.Thread(target=tree.close)
    closer.start()
    closer.join(0.1)
    assert closer.is_alive()
    go_on.set()
    writer.join()
    closer.join()
    assert names(folder) == {"a"}

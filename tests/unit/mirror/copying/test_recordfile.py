"""Records on disk: shared, private, and never a reason to fail."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from bundlectl.events import Event, Notice
from mirror.copying.recordfile import RecordFile

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TABLE = "numbers (number INTEGER PRIMARY KEY, word TEXT)"
KEEP = "INSERT OR REPLACE INTO numbers VALUES (?, ?)"
FIND = "SELECT word FROM numbers WHERE number = ?"


def fill(path: Path, start: int) -> None:
    """In a process of its own: write many small batches."""
    with RecordFile(path, table=TABLE) as file:
        for number in range(start, start + 40):
            file.change(KEEP, [(number, str(number))])


def test_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fill, args=(path, start)) for start in (0, 40, 80)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    with RecordFile(path, table=TABLE) as file:
        assert [file.select(FIND, (number,)) for number in range(120)] == [(str(number),) for number in range(120)]


def test_the_file_and_its_directory_are_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "numbers.sqlite"
    with RecordFile(path, table=TABLE) as file:
        file.change(KEEP, [(1, "one")])
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_batch_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    heard: list[Event] = []
    with RecordFile(tmp_path / "numbers.sqlite", table=TABLE, listener=heard.append) as file:
        file.change("INSERT INTO numbers VALUES (?, ?)", [(1, "one"), (1, "again")])
    assert len(heard) >= 1
    with RecordFile(tmp_path / "numbers.sqlite", table=TABLE) as file:
        assert file.select(FIND, (1,)) is None


def test_another_kind_of_file_is_told_of_once_and_left_alone(tmp_path: Path) -> None:
    heard: list[Event] = []
    path = tmp_path / "numbers.sqlite"
    path.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"mine")
    with RecordFile(path, table=TABLE, listener=heard.append) as file:
        for _ in range(3):
            file.change(KEEP, [(1, "one")])
            assert file.select(FIND, (1,)) is None
    assert [event.level for event in heard if isinstance(event, Notice)] == ["warning"]
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_file_that_another_process_keeps_locked_is_waited_for_and_then_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.copying.recordfile._PATIENCE", 0.05)
    heard: list[Event] = []
    path = tmp_path / "numbers.sqlite"
    with RecordFile(path, table=TABLE) as file:
        file.change(KEEP, [(1, "one")])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with RecordFile(path, table=TABLE, listener=heard.append) as file:
            assert file.select(FIND, (1,)) is None
    assert len(heard) == 1
    with RecordFile(path, table=TABLE) as file:
        assert file.select(FIND, (1,)) == ("one",)


def test_a_file_that_has_grown_too_large_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "numbers.sqlite"
    with RecordFile(path, table=TABLE) as file:
        file.change(KEEP, [(number, "x" * 1000) for number in range(100)])
    with RecordFile(path, table=TABLE, limit=50_000) as file:
        assert file.select(FIND, (1,)) is None
    assert path.stat().st_size < 50_000


def test_a_closed_file_is_not_opened_again(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "numbers.sqlite", table=TABLE)
    file.close()
    file.change(KEEP, [(1, "one")])
    assert file.select(FIND, (1,)) is None
    assert list(tmp_path.iterdir()) == []

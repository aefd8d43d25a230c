"""A small SQLite file of records that cost something to make, and nothing but that to lose."""

from __future__ import annotations

import os
import stat
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from bundlectl.events import Listener, Notice, ignore
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["RecordFile"]

_PATIENCE: Final = 5.0
"""Seconds to wait for another process that writes."""


class RecordFile(Closing):
    """One table in a file that several processes may use at once. Thread-safe, a context manager.

    It never fails: a file that cannot be opened, read or written is reported once as a `Notice`, and from
    then on everything is absent and nothing is kept. A damaged file is made anew. A file that others could
    have written is not believed.

    Args:
        path: of the file; its directory is made when absent. None: nothing is kept.
        table: what ``CREATE TABLE IF NOT EXISTS`` is followed by. A table of another form gets another
            name, so that two versions of bundlectl can share the file.
        listener: told why nothing is remembered.
        limit: bytes; a file that has grown beyond is begun anew. None: it may grow.
    """

    def __init__(self, path: Path | None, *, table: str, listener: Listener = ignore, limit: int | None = None) -> None:
        self._path = path
        self._table = table
        self._listener = listener
        self._limit = limit
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._usable = path is not None

    def close(self) -> None:
        """Let go of the file for good; harmless when repeated."""
        with self._lock:
            self._usable = False
            self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def select(self, query: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """The first row that a query finds; None where there is none."""
        rows = self._run(lambda connection: connection.execute(query, values).fetchall())
        return rows[0] if rows else None

    def change(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row, all of them or none."""
        kept = list(rows)

        def write(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            _write(connection, statement, kept)
            return []

        if kept:
            self._run(write)

    def _run(self, work: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 -- a callable of a module that is imported late
        with self._lock:
            if not self._usable:
                return []
            try:
                import sqlite3  # noqa: PLC0415 -- some Pythons are built without it, most commands need none
            except ImportError:
                self._give_up("this Python has no sqlite3")
                return []
            for last in (False, True):
                try:
                    found: list[tuple[Any, ...]] = work(self._opened(sqlite3))
                except (OSError, sqlite3.Error) as error:
                    self._release()
                    # An OperationalError says of the moment (locked, full, read-only), not of the content.
                    damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
                        error, sqlite3.OperationalError
                    )
                    if last or not damaged or not self._remove():
                        self._give_up(error.strerror or str(error) if isinstance(error, OSError) else str(error))
                        return []
                    self._tell("is damaged and made anew; what was remembered there is asked for again")
                else:
                    return found
            return []

    def _opened(self, sqlite3: Any) -> sqlite3.Connection:  # noqa: ANN401 -- the module
        if self._connection is None:
            path = self._path
            assert path is not None  # noqa: S101 -- else it is not usable
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                # Not opened to look at it: closing it again would drop the locks of other threads (fcntl).
                status = path.lstat()
                if self._limit is not None and status.st_size > self._limit and self._remove():
                    return self._opened(sqlite3)
                if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    raise PermissionError(1, "it is not a file that only this user can write") from None
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=16
            )
            known = self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", self._table.split()[:1])
            if not known.fetchall():
                _write(self._connection, f"CREATE TABLE IF NOT EXISTS {self._table}", [()])
        return self._connection

    def _remove(self) -> bool:
        assert self._path is not None  # noqa: S101 -- else it is not usable
        try:
            # The journal first: it would be taken for that of the next file.
            self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _give_up(self, reason: str) -> None:
        self._usable = False
        self._tell(f"cannot be used, and nothing is remembered: {reason}")

    def _tell(self, message: str) -> None:
        self._listener(Notice("warning", message, str(self._path)))


def _write(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    # By this word the lock is had before anything is read: two that write wait for each other.
    connection.execute("BEGIN IMMEDIATE")
    try:
        for row in rows:
            connection.execute(statement, row)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

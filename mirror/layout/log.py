"""The log of refs on disk: appending, refreshing, healing, compacting (ADR 1)."""

from __future__ import annotations

import os
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, ContentError, InterruptError, StoreError
from mirror.filesystem import (
    BLOCK,
    locked,
    mapped_errors,
    open_regular,
    regular_size,
    write_all,
    write_atomically,
)
from mirror.layout.records import Record, encode_line, header, scan
from mirror.layout.refs import RefTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from mirror.layout.index import IndexFile

__all__ = ["RefLog"]

_PUBLISH_INTERVAL: Final = 1.0
_COMPACT_FACTOR: Final = 4
_COMPACT_SLACK: Final = 256

Plan: TypeAlias = "Callable[[RefTable], Iterable[Record]]"


@dataclass(slots=True, eq=False)
class _Ticket:
    """One change that waits for its turn."""

    plan: Plan
    done: bool = False
    error: BaseException | None = None
    """Raised by ``commit`` of the thread that brought the ticket."""


class RefLog:
    """The refs of a store, read from its log and appended to it. Thread-safe, and safe between processes.

    Args:
        directory: ``bundlectl`` in the store; holds ``refs.log``, ``lock`` and ``tmp``.
        index: ``index.json``, written from the table under the lock.
        read_only: never write.
    """

    def __init__(self, directory: Path, *, index: IndexFile, read_only: bool) -> None:
        self.path = directory / "refs.log"
        self._directory = directory
        self._index = index
        self._read_only = read_only
        self._queue: list[_Ticket] = []
        self._queue_guard = threading.Lock()
        self._turn = threading.Lock()
        # Guards the table and the position in the file; never held while waiting for another process.
        self._view = threading.RLock()
        self._descriptor = -1
        self._closed = False
        self._clear()
        self._batches = 0
        self._unsynced = False
        self._suspect = False
        self._unpublished = False
        self._published_at = time.monotonic()

    def _clear(self) -> None:
        self._table = RefTable()
        self._position = 0
        self._sequence = 0
        self._generation = ""
        self._damaged = 0

    # Reading

    @contextmanager
    def reading(self) -> Iterator[RefTable]:
        """The table, refreshed from the file, and still while the block runs (which must be short).

        Raises:
            StoreError: the log cannot be read.
        """
        with self._view:
            self._refresh()
            yield self._table

    @property
    def damaged(self) -> int:
        """How many stretches of the log could not be read."""
        return self._damaged

    @property
    def state(self) -> str:
        """The name of the last record read: generation and sequence."""
        return f"{self._generation}-{self._sequence - 1}"

    def _refresh(self) -> None:
        if self._closed:
            raise StoreError("the store is closed", artifact=str(self.path.parent.parent))
        with mapped_errors(self.path, action="read"):
            found = self.path.stat(follow_symlinks=False)
            if self._descriptor >= 0 and os.path.samestat(os.fstat(self._descriptor), found):
                if found.st_size == self._position:
                    return
            else:
                self._reopen()
        if found.st_size < self._position:
            self._clear()
        self._replay(self._tail())

    def _reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._read_only:
            self._descriptor, _ = open_regular(self.path, artifact=str(self.path))
        else:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW)
        self._clear()

    def _tail(self) -> bytes:
        with mapped_errors(self.path, action="read"):
            blocks = []
            position = self._position
            while block := os.pread(self._descriptor, 4 * BLOCK, position):
                blocks.append(block)
                position += len(block)
            return b"".join(blocks)

    def _replay(self, data: bytes) -> None:
        found = scan(data, sequence=self._sequence)
        self._damaged += found.damaged
        for record in found.records:
            if record["op"] == "log":
                self._generation = str(record.get("generation", ""))
            try:
                self._table.apply(record)
            except (ContentError, KeyError, TypeError):
                self._damaged += 1
            except StoreError as error:
                error.artifact = str(self.path.parent.parent)
                raise
            self._sequence = record["sequence"] + 1
        self._position += found.end
        self._unsynced = self._unsynced or bool(found.records)

    # Appending

    def commit(self, plan: Plan) -> None:
        """Log what ``plan`` decides, given the table under the lock; return when it is on disk.

        Inside `begin_batch` and `end_batch` it is on disk when the last batch ended.

        Raises:
            BundlectlError: ``plan`` raised it, or the log cannot be written; then the change may or may not last.
        """
        if self._read_only:
            raise StoreError("the store was opened read-only", artifact=str(self.path.parent.parent))
        ticket = _Ticket(plan)
        with self._queue_guard:
            self._queue.append(ticket)
        with self._turn:
            if not ticket.done:
                with self._queue_guard:
                    tickets, self._queue = self._queue, []
                self._settle(tickets)
        if ticket.error:
            raise ticket.error

    def _settle(self, tickets: list[_Ticket]) -> None:
        try:
            with locked(self._directory / "lock"):
                self._append(tickets)
                if self._unpublished and time.monotonic() - self._published_at >= _PUBLISH_INTERVAL:
                    self._publish_quietly()
        except StoreError as error:
            for ticket in tickets:
                # A thread of its own raises each, so each gets an error of its own.
                ticket.error = ticket.error or StoreError(error.message, artifact=error.artifact, hint=error.hint)
        except BaseException:
            for ticket in tickets:
                ticket.error = ticket.error or InterruptError("interrupted while the store was written")
            raise
        finally:
            for ticket in tickets:
                ticket.done = True

    def _append(self, tickets: list[_Ticket]) -> None:
        """Append what the tickets decide: one write, one fsync."""
        if self._suspect:
            self._rewrite()
        with self._view:
            self._refresh()
            sequence, lines = self._sequence, bytearray()
            # Later tickets decide on what earlier ones did, so records are applied before they are
            # written; other threads cannot look until the view is released.
            try:
                for ticket in tickets:
                    try:
                        records = list(ticket.plan(self._table))
                    except BundlectlError as error:
                        ticket.error = error
                        continue
                    for record in records:
                        numbered = record | {"sequence": sequence}
                        lines += encode_line(numbered)
                        self._table.apply(numbered)
                        sequence += 1
                if not lines:
                    # What is there already may be another process's unfinished batch.
                    if not self._batches:
                        self._force()
                    return
                with mapped_errors(self.path, action="write"):
                    self._write(bytes(lines))
            except BaseException:
                # The table is ahead of the file: read it anew.
                self._clear()
                raise
            self._position += len(lines)
            self._sequence = sequence
            self._unpublished = self._unsynced = True
        if not self._batches:
            self._force()

    def _write(self, lines: bytes) -> None:
        if os.fstat(self._descriptor).st_size > self._position:
            os.ftruncate(self._descriptor, self._position)
        os.lseek(self._descriptor, self._position, os.SEEK_SET)
        write_all(self._descriptor, lines)

    def _force(self) -> None:
        if not self._unsynced:
            return
        try:
            with mapped_errors(self.path, action="write"):
                os.fsync(self._descriptor)
        except StoreError:
            # The kernel reports a lost write once: a later fsync would succeed and mean nothing.
            self._suspect = True
            raise
        self._unsynced = False

    def begin_batch(self) -> None:
        """Put off the fsync of all threads' changes until `end_batch`; batches nest."""
        with self._turn:
            self._batches += 1

    def end_batch(self) -> None:
        """End a batch; the last one to end brings everything to disk.

        Raises:
            StoreError: that failed.
        """
        with self._turn:
            self._batches -= 1
            if not self._batches and self._unsynced and not self._closed:
                with locked(self._directory / "lock"):
                    self._bring_to_disk()

    def _bring_to_disk(self) -> None:
        if self._suspect:
            self._rewrite()
        with self._view:
            self._refresh()
        self._force()

    # Keeping in shape

    def heal(self, recover: Callable[[], Iterable[Record]]) -> None:
        """On open: make a log where there is none, replace one that is damaged or long, publish if needed.

        Args:
            recover: gives the records of a log that is not there or says nothing.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._turn, locked(self._directory / "lock"), self._view:
            if not self.path.exists():
                self._create(recover())
            self._refresh()
            if not self._sequence:
                if regular_size(self.path):
                    self._keep_damaged()
                self._create(recover())
                self._refresh()
            elif self._damaged or not self._generation:
                self._keep_damaged()
                self._rewrite()
            elif self._sequence > _COMPACT_FACTOR * self._table.live() + _COMPACT_SLACK:
                self._rewrite()
            if not self._index.is_current(self.state):
                self._publish()

    def _create(self, records: Iterable[Record]) -> None:
        generation = secrets.token_hex(16)
        lines = [encode_line(header(generation))]
        lines += [encode_line(record | {"sequence": number}) for number, record in enumerate(records, 1)]
        write_atomically(self.path, b"".join(lines), scratch=self._directory / "tmp")

    def _rewrite(self) -> None:
        """Replace the log by one that says the same in the fewest records."""
        with self._view:
            self._refresh()
            self._create(self._table.records())
            self._refresh()
            self._suspect = self._unsynced = False
            self._unpublished = True

    def _keep_damaged(self) -> None:
        with mapped_errors(self.path, action="read"):
            raw = self.path.read_bytes()
        self.keep_damaged(raw)

    def keep_damaged(self, raw: bytes) -> None:
        """Keep what is left of a log that lost something beside it, so that nobody takes the refs for all there were.

        Raises:
            StoreError: the store cannot be written.
        """
        name = self.path.with_name(f"{self.path.name}.damaged-{secrets.token_hex(4)}")
        write_atomically(name, raw, scratch=self._directory / "tmp")

    def damaged_copies(self) -> list[Path]:
        """What `keep_damaged` kept, sorted."""
        return sorted(self.path.parent.glob(f"{self.path.name}.damaged-*"))

    def flush(self) -> None:
        """Bring everything to disk and publish, if something changed since the last time.

        Raises:
            StoreError: that failed.
        """
        if self._read_only or not self._unpublished:
            return
        with self._turn, locked(self._directory / "lock"):
            self._bring_to_disk()
            if self._index.is_current(self.state):
                self._unpublished = False
            else:
                self._publish()

    def _publish(self) -> None:
        self._force()
        with self._view:
            rendered = self._index.render(self._table, self.state)
        self._index.write(rendered)
        self._unpublished = False
        self._published_at = time.monotonic()

    def _publish_quietly(self) -> None:
        """Publish; a failure is left to `flush` to tell, because the refs themselves are safe."""
        self._published_at = time.monotonic()
        with suppress(StoreError):
            self._publish()

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        with self._turn, self._view:
            self._closed = True
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

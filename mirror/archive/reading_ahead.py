"""Reading in one thread while another one writes."""

from __future__ import annotations

from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, InterruptError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ReadingAhead"]

_QUEUED: Final = 8
_POLL: Final = 0.1


class ReadingAhead:
    """Takes chunks from an iterator in a thread of its own, a few ahead of who asks for them.

    Args:
        chunks: what is read.
        cancelled: ends waits when set.
    """

    def __init__(self, chunks: Iterator[bytes], cancelled: Event) -> None:
        self._chunks = chunks
        self._cancelled = cancelled
        self._closed = Event()
        self._queue: Queue[bytes | BaseException | None] = Queue(_QUEUED)
        self._thread = Thread(target=self._run, name="reading-ahead", daemon=True)
        self._thread.start()

    def next(self) -> bytes:
        """The next chunk.

        Raises:
            InterruptError: cancelled.
            ContentError: there is none.
            Exception: what the iterator raised.
        """
        chunk = self._take()
        if chunk is None:
            raise ContentError("the archive ended early")
        return chunk

    def finish(self) -> None:
        """Wait until everything is read.

        Raises:
            InterruptError: cancelled.
            ContentError: a chunk is left.
            Exception: what the iterator raised.
        """
        if self._take() is not None:
            raise ContentError("the archive has more than its plan says")

    def close(self) -> None:
        """End the thread; harmless when repeated."""
        self._closed.set()
        self._thread.join()

    def _take(self) -> bytes | None:
        while not self._cancelled.is_set():
            try:
                found = self._queue.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(found, BaseException):
                raise found
            return found
        raise InterruptError("stopped", hint="the same command resumes")

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._put(chunk):
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that waits for it
            self._put(error)

    def _put(self, item: bytes | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
            except Full:
                continue
            return True
        return False

"""A source that breaks in the middle goes on where it stopped, and whoever reads it does not notice.

An upload that is under way, and the hash of what went into it, are so kept through the cuts of the
source: only what is missing is asked for (``wire.md`` 6.5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, ContentError, RegistryError, StoreError, TransportError
from mirror.copying.working import check_cancelled, reading_source
from mirror.oci.closing import Closing
from mirror.oci.repository import is_file_backed

if TYPE_CHECKING:
    from threading import Event

    from mirror.copying.working import Persistence
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader, ReadRepository

__all__ = ["ResumingReader", "open_at"]

_BLOCK: Final = 256 * 1024
_PROGRESS: Final = 1024 * 1024
"""Bytes that make up for the cuts before them: a source that always gives less is given up."""
_LONGEST_PAUSE: Final = 10.0
"""Seconds. A target waits for the rest meanwhile, and gives up after a minute or so."""
_NO_SUCH_RANGE: Final = 416


def open_at(source: ReadRepository, blob: Descriptor, offset: int, cancel: Event) -> BlobReader:
    """Open a blob at ``offset``, also where the source's ranges are no good: then what is before is read past.

    Raises:
        MissingError: it is not there, or the source's disk does not give it.
        TransportError, RegistryError: the source cannot be reached, or refuses.
        InterruptError: cancelled.
    """
    with reading_source():
        try:
            return source.open_blob(blob, offset)
        except (ContentError, RegistryError) as error:
            if not offset or (isinstance(error, RegistryError) and error.status != _NO_SUCH_RANGE):
                raise
        reader = source.open_blob(blob, 0)
        try:
            _skip(reader, offset, blob, cancel)
        except BaseException:
            reader.close()
            raise
        return reader


def _skip(reader: BlobReader, count: int, blob: Descriptor, cancel: Event) -> None:
    while count:
        check_cancelled(cancel)
        data = reader.read(min(count, _BLOCK))
        if not data:
            raise TransportError(
                "the source has less of it than is already here", artifact=str(blob.digest), retryable=True
            )
        count -= len(data)


class ResumingReader(Closing):
    """A blob as its source gives it, over as many connections as that takes.

    Used by one thread at a time. The first connection is opened at once.

    Args:
        source: where it is read.
        blob: what is read.
        offset: where to begin, in bytes.
        persistence: how often it is opened in vain before the last error counts; once means that a cut ends it.
        cancel: ends waits.

    Raises:
        BundlectlError: from opening it.
    """

    def __init__(
        self, source: ReadRepository, blob: Descriptor, offset: int, *, persistence: Persistence, cancel: Event
    ) -> None:
        self._source = source
        self._blob = blob
        self._position = offset
        self._persistence = persistence
        self._cancel = cancel
        self._cuts = 0
        self._made_up_for = offset
        self._reader: BlobReader | None = open_at(source, blob, offset, cancel)
        self.resumed = False
        """Whether what was read came over more than one connection."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; ``b""`` at the end.

        Raises:
            TransportError, RegistryError: the source broke too often without giving anything between.
            MissingError: it is gone, or cannot be read.
            InterruptError: cancelled while waiting.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        while True:
            try:
                reader = self._reader
                if reader is None:
                    reader = self._reader = open_at(self._source, self._blob, self._position, self._cancel)
                block = reader.read(size)
                if not block and size and self._position < self._blob.size:
                    raise self._ended_early()
            except StoreError:
                with reading_source():
                    raise
            except (TransportError, RegistryError) as error:
                self._recover(error)
                continue
            self._position += len(block)
            return block

    @property
    def file(self) -> int | None:
        """Of a source that is a file on this machine (``FileBacked``)."""
        reader = self._reader
        return reader.file if is_file_backed(reader) else None

    def passed(self, count: int) -> None:
        """Take note of what was sent without being read."""
        self._position += count

    def _recover(self, error: BundlectlError) -> None:
        """Wait before the source is opened anew, or raise when that is no use any more."""
        self.close()
        if not error.retryable or self._persistence.tries <= 1:
            raise error
        if self._position - self._made_up_for >= _PROGRESS:
            self._cuts = 0
        self._made_up_for = self._position
        self._cuts += 1
        if self._cuts >= self._persistence.tries:
            error.retryable = False  # it was tried as often as the user asked for
            raise error
        self.resumed = True
        self._cancel.wait(min(_LONGEST_PAUSE, self._persistence.seconds(error, self._cuts)))
        check_cancelled(self._cancel)

    def _ended_early(self) -> TransportError:
        return TransportError(
            f"ended after {self._position} of {self._blob.size} bytes",
            artifact=f"{self._source.name}@{self._blob.digest}",
            retryable=True,
        )

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

"""How much a registry takes in one request, and the pieces of a blob that are sent (``wire.md`` 2.2)."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError, TransportError
from mirror.oci.closing import Closing
from mirror.oci.repository import is_file_backed
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from mirror.http.response import Response
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader
    from mirror.verifying import Checkpoint

__all__ = ["BodyLimits", "Piece", "SourceReader", "bytes_taken"]

_CHUNK: Final = 8 * 1024 * 1024
_SMALLEST_CHUNK: Final = 512 * 1024
_LARGEST_CHUNK: Final = 64 * 1024 * 1024
_BLOCK: Final = 256 * 1024
_LONG: Final = 20.0
"""Seconds. A source that gives nothing for so long may be why the target closed the connection."""
_RANGE: Final = re.compile(r"(?:bytes[= ])?0-(-?[0-9]{1,18})")


class BodyLimits:
    """What a registry and the proxies before it turned out to take. One a registry, for a run; thread-safe.

    So the second blob is not sent in a way in which the first one failed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._too_large: int | None = None
        self._chunk: int | None = None

    def takes_whole(self, size: int) -> bool:
        """Whether a blob of this size is worth sending in one request."""
        return self._too_large is None or size < self._too_large

    def whole_refused(self, size: int) -> None:
        """A blob of this size could not be sent in one request."""
        with self._lock:
            self._too_large = size if self._too_large is None else min(size, self._too_large)

    def whole_broke(self, size: int) -> None:
        """A blob of this size broke in one request again and again, and went through in chunks."""
        if size > _SMALLEST_CHUNK:
            self.whole_refused(size)

    def chunk(self, wanted: int) -> int:
        """Bytes of a chunk.

        Args:
            wanted: the least that the registry asks for (``OCI-Chunk-Min-Length``), 0 when it does not.
        """
        return max(self._chunk or _CHUNK, min(wanted, _LARGEST_CHUNK))

    def chunk_refused(self, size: int, wanted: int) -> bool:
        """A chunk was too large; False when no smaller one may be sent."""
        least = max(_SMALLEST_CHUNK, min(wanted, _LARGEST_CHUNK))
        if size <= least:
            return False
        with self._lock:
            self._chunk = min(self._chunk or _CHUNK, max(size // 4, least))
        return True


class SourceReader(Closing):
    """The verified source of an upload; remembers whether a failure was its own.

    Args:
        reader: stands where ``since`` was made, or at the beginning.
        descriptor: of the blob.
        since: what was hashed before.
        skip: bytes that the target has beyond that: hashed, and not sent.

    Raises:
        BundlectlError: from reading what is skipped; the reader is closed.
    """

    def __init__(
        self, reader: BlobReader, descriptor: Descriptor, *, since: Checkpoint | None = None, skip: int = 0
    ) -> None:
        self._reader = VerifyingReader(reader, descriptor, since=since)
        self._whole = reader if since is None and not skip and is_file_backed(reader) else None
        self.failed = False
        """Whether reading it failed, or took so long that the target may have lost patience."""
        try:
            while skip:
                data = self.read(min(skip, _BLOCK))
                if not data:
                    raise TransportError("the source has less of it than the target", retryable=True)
                skip -= len(data)
        except BundlectlError:
            self.close()
            raise

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; ``b""`` at the end."""
        began = time.monotonic()
        try:
            data = self._reader.read(size)
        except BundlectlError:
            self.failed = True
            raise
        if time.monotonic() - began > _LONG:
            self.failed = True
        return data

    @property
    def file(self) -> int | None:
        """Of a source that is a file on this machine and is sent from its beginning (``FileBacked``)."""
        return self._whole.file if self._whole else None

    def passed(self, count: int) -> None:
        """Take note of what was sent without being read: its digest is the registry's to check."""
        if self._whole:
            self._whole.passed(count)

    def checkpoint(self) -> Checkpoint:
        """How far it was read."""
        return self._reader.checkpoint()

    def close(self) -> None:
        """Close the source; harmless when repeated."""
        self._reader.close()


class Piece(Closing):
    """The next ``length`` bytes of a source, as the body of one request; closing it leaves the source open.

    Args:
        source: None for an empty body.
        length: bytes.
        unread: it is a whole blob, and may be sent without being hashed here.
    """

    def __init__(self, source: SourceReader | None, length: int, *, unread: bool = False) -> None:
        self._source = source
        self._unread = unread
        self._left = length
        self.taken = 0

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; ``b""`` at the end of the piece."""
        if self._source is None or not self._left:
            return b""
        data = self._source.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        self.taken += len(data)
        return data

    @property
    def file(self) -> int | None:
        """The open file that all of it lies in (``FileBacked``)."""
        return self._source.file if self._source and self._unread and not self.taken else None

    def passed(self, count: int) -> None:
        """Take note of what was sent without being read."""
        self._left -= count
        self.taken += count
        if self._source:
            self._source.passed(count)

    def close(self) -> None:
        """Nothing: the next piece follows."""


def bytes_taken(response: Response, *, least: int, most: int) -> int | None:
    """How many bytes of an upload the registry says it has; None when it does not say, or that cannot be.

    ``Range: 0-0`` means nothing at all right after the beginning, where real registries say so.

    Args:
        response: to a PATCH or a GET of the session.
        least: what it confirmed before.
        most: what was sent.
    """
    found = _RANGE.fullmatch(response.headers.get("Range", "").strip())
    if found is None:
        return None
    last = int(found[1])
    taken = 0 if last == 0 and not least else max(0, last + 1)
    return taken if least <= taken <= most else None

"""A request body on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import ContentError, TransportError
from mirror.oci.repository import is_file_backed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.http.flow import Flow
    from mirror.oci.repository import BlobReader

__all__ = ["OutgoingBody"]


class OutgoingBody:
    """A reader as it is sent: exactly ``length`` bytes or an error, within the rate limit.

    A body that ends early would leave the server waiting for the rest; one that runs on would
    be taken for the next request.
    """

    def __init__(self, reader: BlobReader, flow: Flow, length: int | None) -> None:
        self._reader = reader
        self._flow = flow
        self._length = length
        self._sent = 0
        self._backed = reader if is_file_backed(reader) else None

    def read(self, size: int = -1, /) -> bytes:
        """Read the next block.

        Raises:
            TransportError: the source ended early.
            ContentError: the source runs on.
        """
        self._flow.check()
        data = self._reader.read(size)
        self._sent += len(data)
        if self._length is not None:
            if not data and self._sent < self._length:
                raise TransportError(f"the source ended after {self._sent} of {self._length} bytes", retryable=True)
            if self._sent > self._length:
                raise ContentError(f"the source is longer than {self._length} bytes")
        self._flow.up.take(len(data))
        return data

    def blocks(self, size: int) -> Iterator[bytes]:
        """All of it, block by block.

        Raises:
            TransportError, ContentError: see `read`.
        """
        while block := self.read(size):
            yield block

    @property
    def file(self) -> int | None:
        """The open file that the rest can be sent from by the kernel; None where it is to be read."""
        return self._backed.file if self._backed and self._length is not None else None

    def left(self) -> int:
        """Bytes that are still to be sent."""
        self._flow.check()
        return (self._length or 0) - self._sent

    def passed(self, count: int) -> None:
        """Take note of what the kernel sent from the file.

        Raises:
            TransportError: the file ended early.
        """
        if not count:
            raise TransportError(f"the source ended after {self._sent} of {self._length} bytes", retryable=True)
        self._sent += count
        if self._backed:
            self._backed.passed(count)
        self._flow.up.take(count)

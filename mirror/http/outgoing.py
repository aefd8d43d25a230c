"""A request body on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import ContentError, TransportError

if TYPE_CHECKING:
    from mirror.http.flow import Flow
    from mirror.oci.repository import BlobReader

__all__ = ["OutgoingBody"]


class OutgoingBody:
    """A reader as urllib3 sends it: exactly ``length`` bytes or an error, within the rate limit.

    A body that ends early would leave the server waiting for the rest; one that runs on would
    be taken for the next request.
    """

    def __init__(self, reader: BlobReader, flow: Flow, length: int | None) -> None:
        self._reader = reader
        self._flow = flow
        self._length = length
        self._sent = 0

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

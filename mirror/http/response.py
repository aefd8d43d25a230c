"""Answers, and reading their bodies."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, TransportError
from mirror.http.addresses import shown
from mirror.http.failures import FOREIGN, transport_error
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

    from mirror.http.exchange import Answer
    from mirror.http.flow import Flow
    from mirror.http.limits import Slot

__all__ = ["BodyReader", "Response"]

_BLOCK: Final = 64 * 1024
_DRAIN_LIMIT: Final = 64 * 1024
_NUMBER: Final = re.compile(r"[0-9]{1,18}")


class BodyReader(Closing):
    """A body as it arrives, a ``BlobReader``. A connection that breaks is a retryable ``TransportError``."""

    def __init__(self, raw: BaseHTTPResponse | Answer, flow: Flow, url: str, *, slot: Slot | None = None) -> None:
        self._raw = raw
        self._slot = slot
        self._flow = flow
        self._url = url
        self._left: int | None = None
        self.etag = ""
        """What names this very version of a file, where the server said so and means every byte of it."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes, ``b""`` at the end; -1 reads everything.

        Raises:
            TransportError: the connection broke, or ended before the announced length.
            InterruptError: the client was cancelled.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(4 * _BLOCK), b""))
        if self._left is not None:
            size = min(size, self._left)
        if size == 0:
            return b""
        try:
            data = b"" if self._flow.stopped else self._raw.read(size)
        except FOREIGN as error:
            self.close()
            self._flow.check()
            raise transport_error(error, self._url) from error
        if self._flow.stopped:
            # A body without a length ends when its connection does, also when we cut it.
            self.close()
            self._flow.check()
        if not data:
            return data
        if self._left is not None:
            self._left -= len(data)
        self._flow.down.take(len(data))
        return data

    def skip(self, count: int) -> None:
        """Read ``count`` bytes and drop them.

        Raises:
            TransportError: the body is shorter than that, or the connection broke.
        """
        while count:
            data = self.read(min(count, 4 * _BLOCK))
            if not data:
                self.close()
                raise TransportError("is shorter than what is already here", artifact=shown(self._url))
            count -= len(data)

    def limit(self, size: int) -> None:
        """Let the body end after ``size`` more bytes."""
        self._left = size

    def close(self) -> None:
        """Release the connection: to the pool when the body was read to its end, else for good."""
        with contextlib.suppress(*FOREIGN):
            self._raw.close()
        if self._slot is not None:
            self._slot.leave()


class Response(Closing):
    """An answer of any status. ``headers`` are case-insensitive, repeated ones joined by commas."""

    def __init__(self, raw: BaseHTTPResponse | Answer, url: str, flow: Flow) -> None:
        self.status: int = raw.status
        self.headers: Mapping[str, str] = raw.headers
        self.url = url
        self._raw = raw
        self._flow = flow
        self._body: bytes | None = None
        self._slot: Slot | None = None

    def hold(self, slot: Slot) -> None:
        """Keep the host's slot for as long as the answer is on the wire."""
        if self._body is None:
            self._slot = slot
        else:
            slot.leave()

    def number(self, header: str) -> int | None:
        """A header that is a natural number of at most 18 digits; None when it is absent or anything else."""
        value = self.headers.get(header, "")
        return int(value) if _NUMBER.fullmatch(value) else None

    def preload(self, limit: int, *, deadline: float, cut: bool) -> None:
        """Read the body now, so that its connection is free for others.

        Args:
            limit: bytes.
            deadline: seconds, for the whole body.
            cut: keep the first ``limit`` bytes of a longer body, in place of refusing it.
        """
        self._body = self._read(limit, deadline=deadline, cut=cut)

    def read(self, limit: int) -> bytes:
        """The body, at most ``limit`` bytes.

        Raises:
            ContentError: it is longer.
            TransportError: the connection broke.
        """
        if self._body is None:
            self._body = self._read(limit, deadline=3600.0, cut=False)
        if len(self._body) > limit:
            raise ContentError(f"the answer is larger than {limit} bytes", artifact=shown(self.url))
        return self._body

    def excerpt(self, limit: int = _DRAIN_LIMIT) -> bytes:
        """The first ``limit`` bytes of the body, for an error's explanation; never raises for its content."""
        if self._body is None:
            try:
                self._body = self._read(limit, deadline=30.0, cut=True)
            except (TransportError, ContentError):
                self._body = b""
        return self._body[:limit]

    def reader(self) -> BodyReader:
        """The body as it arrives; whoever asks closes it."""
        return BodyReader(self._raw, self._flow, self.url, slot=self._slot)

    def close(self) -> None:
        """Release the connection; harmless when repeated."""
        with contextlib.suppress(*FOREIGN):
            self._raw.close()
        if self._slot is not None:
            self._slot.leave()

    def _read(self, limit: int, *, deadline: float, cut: bool) -> bytes:
        until = time.monotonic() + deadline
        blocks: list[bytes] = []
        total = 0
        try:
            while total <= limit:
                self._flow.check()
                # read1: a server that drips single bytes cannot hold us longer than the deadline.
                data = self._raw.read1(_BLOCK)
                if not data:
                    self._flow.check()
                    return b"".join(blocks)
                blocks.append(data)
                total += len(data)
                self._flow.down.take(len(data))
                if time.monotonic() > until:
                    raise TransportError(f"took longer than {deadline:.0f} seconds", artifact=shown(self.url))
        except FOREIGN as error:
            self._flow.check()
            raise transport_error(error, self.url) from error
        finally:
            self.close()
        if cut:
            return b"".join(blocks)[:limit]
        raise ContentError(f"the answer is larger than {limit} bytes", artifact=shown(self.url))

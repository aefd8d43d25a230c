"""Checking content while it passes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Self

from bundlectl.errors import ContentError, TransportError
from mirror.oci.artifact import SHA512_ANNOTATION

if TYPE_CHECKING:
    from hashlib import _Hash
    from types import TracebackType

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader

__all__ = ["VerifyingReader"]

_BLOCK: Final = 1024 * 1024


class VerifyingReader:
    """Hashes a blob as it is read, and never hands out the last block of a wrong one.

    Whoever stores what comes out of here therefore stores a right blob or an unfinished one.

    Args:
        reader: stands at ``start``; closed with this reader.
        descriptor: what the blob must be: digest, size, and the sha512 of
            ``dev.bundlectl.file.sha512`` where the blob is read from its beginning.
        hasher: of the descriptor's algorithm, having seen the ``start`` bytes before.
        start: offset of the reader in the blob, in bytes.

    Raises:
        ValueError: ``start`` without a ``hasher``.
    """

    def __init__(
        self, reader: BlobReader, descriptor: Descriptor, *, hasher: _Hash | None = None, start: int = 0
    ) -> None:
        if start and hasher is None:
            raise ValueError("a reader that starts in the middle needs the hash of what came before")
        self._reader = reader
        self._descriptor = descriptor
        self._hasher = hasher or descriptor.digest.hasher()
        self._sha512 = "" if start else descriptor.annotations.get(SHA512_ANNOTATION, "")
        self._second = hashlib.sha512() if self._sha512 else None
        self._seen = start
        self._checked = False

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; ``b""`` at the end.

        Raises:
            ContentError: the blob is longer than it should be, or has another digest.
            TransportError: it ended early (retryable: most likely the connection was cut).
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        if self._checked or size == 0:
            return b""
        data = self._reader.read(size) if self._seen < self._descriptor.size else b""
        self._hasher.update(data)
        if self._second is not None:
            self._second.update(data)
        self._seen += len(data)
        if self._seen < self._descriptor.size and not data:
            raise TransportError(
                f"ended after {self._seen} of {self._descriptor.size} bytes",
                artifact=str(self._descriptor.digest),
                retryable=True,
            )
        if self._seen >= self._descriptor.size:
            self._check_end()
        return data

    def _check_end(self) -> None:
        digest, size = self._descriptor.digest, self._descriptor.size
        if self._seen > size or self._reader.read(1):
            raise ContentError(f"is longer than its {size} bytes", artifact=str(digest))
        found = self._hasher.hexdigest()
        if found != digest.encoded:
            raise ContentError(
                f"has digest {digest.algorithm}:{found}",
                artifact=str(digest),
                hint="the source or something on the way altered it; it was not stored",
            )
        if self._second is not None and self._second.hexdigest() != self._sha512.lower():
            raise ContentError(
                f"has sha512 {self._second.hexdigest()}, the manifest states {self._sha512[:128]}",
                artifact=str(digest),
                hint="the source altered the file after the manifest was written; it was not stored",
            )
        self._checked = True

    def close(self) -> None:
        """Close the reader below."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

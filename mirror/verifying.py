"""Checking content while it passes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, TransportError
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from hashlib import _Hash

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader

__all__ = ["Checkpoint", "VerifyingReader"]

_BLOCK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a blob was read, and the hashes of it so far. Made by ``VerifyingReader.checkpoint``."""

    seen: int
    hasher: _Hash
    second: _Hash | None


class VerifyingReader(Closing):
    """Hashes a blob as it is read, and never hands out the last block of a wrong one.

    Whoever stores what comes out of here therefore stores a right blob or an unfinished one.

    Args:
        reader: stands where ``since`` was made, or at the beginning; closed with this reader.
        descriptor: what the blob must be: digest, size, and the sha512 of
            ``dev.bundlectl.file.sha512`` where it states one.
        since: of an earlier reader of the same blob.
    """

    def __init__(self, reader: BlobReader, descriptor: Descriptor, *, since: Checkpoint | None = None) -> None:
        self._reader = reader
        self._descriptor = descriptor
        self._sha512 = descriptor.annotations.get(SHA512_ANNOTATION, "")
        if since is None:
            since = Checkpoint(0, descriptor.digest.hasher(), hashlib.sha512() if self._sha512 else None)
        self._hasher = since.hasher.copy()
        self._second = since.second.copy() if since.second else None
        self._seen = since.seen
        self._checked = False

    def checkpoint(self) -> Checkpoint:
        """Remember how far it was read, so that another reader can go on from here."""
        return Checkpoint(self._seen, self._hasher.copy(), self._second.copy() if self._second else None)

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

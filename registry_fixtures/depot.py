"""Bytes by digest: small ones in memory, large ones in a folder."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BlobDepot", "Draft"]

_BLOCK: Final = 1024 * 1024
_IN_MEMORY: Final = 64 * 1024


class BlobDepot:
    """Content addressed by digest, shared by every repository of a made-up registry.

    Args:
        directory: where blobs over 64 KiB go; a temporary folder, removed by ``close`` or at
            the end of the process, when None.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._small: dict[Digest, bytes] = {}
        self._large: dict[Digest, tuple[Path, int]] = {}
        self._directory = directory
        self._cleanup: weakref.finalize[..., BlobDepot] | None = None

    def put(self, data: bytes, *, digest: Digest | None = None) -> Digest:
        """Keep ``data`` and return its digest (sha256 unless ``digest`` says otherwise).

        Raises:
            ContentError: ``digest`` is not that of the data.
        """
        draft = self.draft()
        draft.write(data)
        return draft.finish(digest)

    def draft(self) -> Draft:
        """Begin a blob whose bytes arrive bit by bit."""
        return Draft(self)

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None when it is not here."""
        small = self._small.get(digest)
        if small is not None:
            return len(small)
        large = self._large.get(digest)
        return large[1] if large else None

    def read(self, digest: Digest) -> bytes:
        """All bytes of a blob.

        Raises:
            MissingError: it is not here.
        """
        return b"".join(self.blocks(digest))

    def blocks(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop`` (all when None), in blocks of at most 1 MiB.

        Raises:
            MissingError: the blob is not here.
        """
        small = self._small.get(digest)
        if small is not None:
            yield small[start:stop]
            return
        found = self._large.get(digest)
        if found is None:
            raise MissingError("no such blob in the fixture", artifact=str(digest))
        path, size = found
        left = (size if stop is None else min(stop, size)) - start
        with path.open("rb") as file:
            file.seek(start)
            while left > 0:
                block = file.read(min(_BLOCK, left))
                left -= len(block)
                yield block

    def close(self) -> None:
        """Forget everything; a temporary folder is removed."""
        self._small.clear()
        self._large.clear()
        if self._cleanup is not None:
            self._cleanup()
            self._directory = self._cleanup = None

    def folder(self) -> Path:
        """The folder of large blobs, made when first asked for."""
        with self._lock:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="bundlectl-fixture-"))
                self._cleanup = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
            self._directory.mkdir(parents=True, exist_ok=True)
            return self._directory

    def _keep_small(self, digest: Digest, data: bytes) -> None:
        self._small[digest] = data

    def _keep_large(self, digest: Digest, path: Path, size: int) -> None:
        target = self.folder() / f"{digest.algorithm}-{digest.encoded}"
        path.replace(target)
        self._large[digest] = (target, size)


class Draft:
    """A blob on its way into a ``BlobDepot``; not visible before ``finish``. It keeps no file open."""

    def __init__(self, depot: BlobDepot) -> None:
        self._depot = depot
        self._memory = bytearray()
        self._path: Path | None = None
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        self.size += len(data)
        self._sha256.update(data)
        if self._path is None:
            self._memory += data
            if self.size <= _IN_MEMORY:
                return
            self._path = self._depot.folder() / f"draft-{uuid.uuid4().hex}"
            data = bytes(self._memory)
            self._memory.clear()
        with self._path.open("ab") as file:
            file.write(data)

    def digest(self, algorithm: str = "sha256") -> Digest:
        """The digest of what was written so far."""
        if algorithm == "sha256":
            return Digest(algorithm, self._sha256.hexdigest())
        if self._path is None:
            return Digest.of(bytes(self._memory), algorithm)
        with self._path.open("rb") as file:
            return Digest(algorithm, hashlib.file_digest(file, algorithm).hexdigest())

    def finish(self, expected: Digest | None = None) -> Digest:
        """Put the blob into the depot under its digest.

        Raises:
            ContentError: it is not what ``expected`` says; the draft is gone.
        """
        digest = self.digest(expected.algorithm if expected else "sha256")
        if expected is not None and digest != expected:
            self.discard()
            raise ContentError(f"the bytes should have digest {expected} but have {digest}")
        if self._path is None:
            self._depot._keep_small(digest, bytes(self._memory))  # noqa: SLF001 -- one module, two halves
        else:
            self._depot._keep_large(digest, self._path, self.size)  # noqa: SLF001
        return digest

    def discard(self) -> None:
        """Forget what was written."""
        self._memory.clear()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

"""Blobs on disk: named by digest, there only when they are right, resumable until then (ADR 1)."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import ContentError, InterruptError, StoreError, TransportError
from mirror.filesystem import (
    BLOCK,
    FileReader,
    fsync_directory,
    locked,
    mapped_errors,
    open_regular,
    read_small,
    regular_size,
    store_error,
    write_all,
)
from mirror.layout.leases import Lease, oldest_lease
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader, Opener

__all__ = ["BlobDirectory", "PartialBlob"]

_POLL: Final = 0.05
_ALGORITHMS: Final = ("sha256", "sha512")


class BlobDirectory:
    """``blobs/`` of a store, and the partial files beside it. Thread-safe, and safe between processes.

    Args:
        root: the store's directory.
        read_only: never write.
        cancelled: ends waits when set, besides `interrupt`.
    """

    def __init__(self, root: Path, *, read_only: bool, cancelled: threading.Event | None = None) -> None:
        self._root = root
        self._partials = root / "bundlectl" / "partial"
        self._scratch = root / "bundlectl" / "tmp"
        self.sweeping = root / "bundlectl" / "sweeping"
        """The file whose lock `gc` holds alone while it removes, and who says that a blob is here with others."""
        self._fetching = root / "bundlectl" / "fetching"
        self._lease = Lease(self._fetching)
        self._read_only = read_only
        self._interrupted = threading.Event()
        self._cancelled = cancelled or self._interrupted

    def interrupt(self) -> None:
        """End every wait for another fetcher, now and from now on, with an `InterruptError`."""
        self._interrupted.set()

    def close(self) -> None:
        """Let go of what tells `gc` that blobs are being fetched; harmless when repeated."""
        self._lease.release()

    def path(self, digest: Digest) -> Path:
        """Where a blob lies, or would lie.

        Raises:
            ContentError: the digest is none; nothing but hexadecimal digits becomes a file name.
        """
        checked = Digest.parse(str(digest))
        return self._root / "blobs" / checked.algorithm / checked.encoded

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None when it is not there, or not a regular file.

        Raises:
            StoreError: the disk does not tell.
        """
        return regular_size(self.path(digest))

    def touch(self, digest: Digest, *, within: float = 0.0) -> int | None:
        """Like `size`; a blob that is there counts as new to `gc` from now on.

        Whoever answers "it is there" to someone who is about to name it calls this: the answer
        then holds until the name is written (ADR 1, "Removing what nothing names").

        Args:
            digest: of the blob.
            within: a blob that came, or was touched, in as many seconds is left alone.

        Raises:
            StoreError: the store cannot be written.
        """
        path = self.path(digest)
        try:
            found = path.lstat()
        except OSError:
            return regular_size(path)
        if not stat.S_ISREG(found.st_mode):
            return None
        if self._read_only or time.time() - found.st_mtime < within:
            return found.st_size
        with locked(self.sweeping, shared=True):
            size = regular_size(path)
            if size is not None:
                with mapped_errors(path, action="write"):
                    os.utime(path, follow_symlinks=False)
        return size

    def oldest_lease(self) -> float | None:
        """When the oldest fetch that is under way began, in whichever process; leases of the dead are removed.

        Raises:
            StoreError: the directory of leases cannot be read.
        """
        return oldest_lease(self._fetching)

    def arrived(self, digest: Digest, size: int) -> int:
        """How many of a blob's ``size`` bytes lie on the disk already; a blob of another size counts for nothing."""
        if self.size(digest) == size:
            return size
        return min(regular_size(self._partial(digest)) or 0, size)

    def open(self, digest: Digest, offset: int = 0, *, size: int | None = None) -> FileReader:
        """Open a blob at ``offset``; its digest is the reader's to check (ADR 1, "What is believed on reading").

        Args:
            digest: of the blob.
            offset: bytes to skip.
            size: what the blob should have, when known.

        Raises:
            MissingError: it is not there.
            ContentError: it is not a regular file, or of another size.
        """
        path = self.path(digest)
        descriptor, found = open_regular(path, artifact=str(digest))
        reader = FileReader(descriptor, found, path)
        if size is not None and found != size:
            reader.close()
            raise ContentError(
                f"should have {size} bytes, but its file in the store has {found}",
                artifact=str(digest),
                hint="run the download that brings it again: it is replaced",
            )
        if offset:
            try:
                os.lseek(descriptor, offset, os.SEEK_SET)
            except OSError as error:
                reader.close()
                raise store_error(error, path, action="read") from error
        return reader

    def put(self, data: bytes, *, expected: Digest | None = None) -> Digest:
        """Store small content.

        Args:
            data: the bytes.
            expected: the digest it must have; its algorithm names the blob.

        Raises:
            ContentError: it has another digest.
            StoreError: the disk is full, or refuses.
        """
        digest = Digest.of(data, expected.algorithm if expected else "sha256")
        if expected and digest != expected:
            raise ContentError(f"the content has digest {digest}", artifact=str(expected))
        path = self.path(digest)
        if (
            regular_size(path) == len(data)
            and read_small(path, limit=len(data), artifact=str(digest)) == data
            and self.touch(digest) is not None
        ):
            return digest
        self._check_writable()
        temporary = self._scratch / f"{digest.encoded[:64]}.{secrets.token_hex(8)}"
        with mapped_errors(path, action="write"):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            try:
                write_all(descriptor, data)
                self.settle(descriptor, temporary, digest)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
        return digest

    def begin(self, descriptor: Descriptor) -> Literal["present"] | PartialBlob:
        """Take a blob's partial file, waiting while someone else fetches it.

        Raises:
            InterruptError: `interrupt` was called, or the user cancelled, while waiting.
            StoreError: the store cannot be written.
        """
        path = self.path(descriptor.digest)
        if not self._read_only:
            self._lease.take()
        if regular_size(path) == descriptor.size and self.touch(descriptor.digest) == descriptor.size:
            return "present"
        self._check_writable()
        partial = self._partial(descriptor.digest)
        while True:
            held = self._take(partial)
            if self.touch(descriptor.digest) != descriptor.size:
                if held is not None:
                    return PartialBlob(self, descriptor, partial, held)
            else:
                if held is not None:
                    with mapped_errors(partial, action="write"):
                        partial.unlink(missing_ok=True)
                    os.close(held)
                return "present"
            if self._interrupted.wait(_POLL) or self._cancelled.is_set():
                raise InterruptError("interrupted while another download of the same blob ran")

    def _partial(self, digest: Digest) -> Path:
        return self._partials / f"{digest.algorithm}-{digest.encoded}"

    def _take(self, partial: Path) -> int | None:
        """Open and lock a partial file; None while someone else has it, or when it moved meanwhile."""
        with mapped_errors(partial, action="write"):
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(descriptor), partial.lstat()):
                    return descriptor
            except (BlockingIOError, FileNotFoundError):
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            return None

    def settle(self, held: int, source: Path, digest: Digest) -> None:
        """Give a complete, checked file its name, for good.

        Args:
            held: the open file.
            source: its present path, in the same file system.
            digest: of its bytes, checked by the caller.

        Raises:
            StoreError: the disk refuses; the file is where it was, or at its new name.
        """
        path = self.path(digest)
        self._make_room(path)
        with mapped_errors(path, action="write"):
            os.fsync(held)
            with locked(self.sweeping, shared=True):
                os.utime(held)  # it arrived now, however long ago its last byte did
                source.rename(path)
            fsync_directory(path.parent)

    def discard(self, digest: Digest) -> None:
        """Remove a blob's file, so that the next download fetches it anew; harmless when it is not there.

        Raises:
            StoreError: the store cannot be written.
        """
        self._check_writable()
        path = self.path(digest)
        with mapped_errors(path, action="remove"):
            path.unlink(missing_ok=True)

    def digests(self) -> Iterator[Digest]:
        """Every blob that is there, sorted; files whose names are no digests are not blobs.

        Raises:
            StoreError: the directory cannot be read.
        """
        for algorithm in _ALGORITHMS:
            directory = self._root / "blobs" / algorithm
            with mapped_errors(directory, action="read"):
                names = sorted(os.listdir(directory)) if directory.is_dir() else []  # noqa: PTH208 -- names, not paths
            for name in names:
                try:
                    digest = Digest.parse(f"{algorithm}:{name}")
                except ContentError:
                    continue
                yield digest

    def _check_writable(self) -> None:
        if self._read_only:
            raise StoreError(
                "the store was opened read-only",
                artifact=str(self._root),
                hint="use a store on a disk that can be written",
            )

    def _make_room(self, path: Path) -> None:
        """Make the algorithm's directory, and let nothing but a file stand where the blob goes."""
        if path.parent.is_dir():
            return
        with mapped_errors(path.parent, action="make"):
            path.parent.mkdir(parents=True, exist_ok=True)
            fsync_directory(path.parent.parent)


class PartialBlob:
    """A `BlobUpload` into the store: a partial file that no one else can take until it is let go.

    Used by one thread at a time. `write` may be called again after a retryable error; `cancel`
    ends it, and keeps what arrived for a later run.
    """

    def __init__(self, blobs: BlobDirectory, descriptor: Descriptor, path: Path, held: int) -> None:
        self._blobs = blobs
        self._descriptor = descriptor
        self._path = path
        self._held = held
        self._fresh = True
        self._restart_hashes()

    def _restart_hashes(self) -> None:
        self._hash = self._descriptor.digest.hasher()
        self._second = hashlib.sha512() if SHA512_ANNOTATION in self._descriptor.annotations else None
        self._hashed = 0

    def offset(self) -> int:
        """Bytes that are there from an earlier try; not hashed yet, so they may turn out wrong.

        Raises:
            StoreError: the file cannot be read.
        """
        with mapped_errors(self._path, action="read"):
            size = os.fstat(self._open()).st_size
            if size > self._descriptor.size:
                self._empty()
                size = 0
        return size

    def write(self, opener: Opener) -> None:
        """Append what ``opener`` gives from `offset` on, check it, and give the blob its name.

        The opener is not called when everything is there already. After success the partial is let go.

        Raises:
            ContentError: size, digest or the stated sha512 differ; what was there is dropped. Retryable when
                part of it was from an earlier run, since that part may have been the wrong one.
            TransportError: the stream ended early; what arrived is kept.
            StoreError: the disk is full, or refuses; what arrived is kept.
        """
        start = self.offset()
        resumed = start > 0 and self._fresh
        try:
            if start != self._hashed:
                self._rehash(start)
            if start < self._descriptor.size:
                self._stream(opener)
            self._check()
        except ContentError as error:
            # Kept open and empty when another try may be made, else gone.
            self._fresh = False
            self._empty()
            error.retryable = error.retryable or resumed
            if not error.retryable:
                self._release(keep=False)
            raise
        try:
            self._blobs.settle(self._held, self._path, self._descriptor.digest)
        except StoreError:
            # After a failed fsync the bytes may be in memory only, where hashing them proves nothing.
            self._release(keep=False)
            raise
        self._release(keep=True)

    def _rehash(self, size: int) -> None:
        self._restart_hashes()
        with mapped_errors(self._path, action="read"):
            while self._hashed < size:
                block = os.pread(self._held, min(BLOCK, size - self._hashed), self._hashed)
                if not block:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                self._update(block)

    def _stream(self, opener: Opener) -> None:
        with opener() as reader:
            self._copy(reader)

    def _copy(self, reader: BlobReader) -> None:
        size = self._descriptor.size
        with mapped_errors(self._path, action="write"):
            os.lseek(self._held, self._hashed, os.SEEK_SET)
        while block := reader.read(BLOCK):
            if self._hashed + len(block) > size:
                raise ContentError(f"is longer than the {size} bytes it should have", artifact=self._artifact())
            view = memoryview(block)
            with mapped_errors(self._path, action="write"):
                while view:
                    written = os.write(self._held, view)
                    self._update(view[:written])
                    view = view[written:]
        if self._hashed < size:
            raise TransportError(
                f"the stream ended after {self._hashed} of {size} bytes",
                artifact=self._artifact(),
                hint="run the same command again: it resumes",
                retryable=True,
            )

    def _update(self, block: bytes | memoryview) -> None:
        self._hash.update(block)
        if self._second:
            self._second.update(block)
        self._hashed += len(block)

    def _check(self) -> None:
        found = self._hash.hexdigest()
        if found != self._descriptor.digest.encoded:
            raise ContentError(
                f"has digest {self._descriptor.digest.algorithm}:{found} instead; nothing was stored",
                artifact=self._artifact(),
                hint="the source or a proxy altered it, or an earlier part was damaged: run the same command again",
            )
        stated = self._descriptor.annotations.get(SHA512_ANNOTATION)
        if stated and self._second and self._second.hexdigest() != stated.lower():
            raise ContentError(
                f"has sha512 {self._second.hexdigest()} instead of the stated {stated[:128]}; nothing was stored",
                artifact=self._artifact(),
                hint="the source altered the file, or the release states a wrong sha512",
            )

    def _artifact(self) -> str:
        return str(self._descriptor.digest)

    def _open(self) -> int:
        if self._held < 0:
            raise StoreError("this download was already ended", artifact=self._artifact())
        return self._held

    def _empty(self) -> None:
        with mapped_errors(self._path, action="write"):
            os.ftruncate(self._open(), 0)
        self._restart_hashes()

    def cancel(self) -> None:
        """Let the partial go, keeping what arrived; harmless when repeated. Never raises."""
        if self._held >= 0:
            self._release(keep=True)

    def _release(self, *, keep: bool) -> None:
        held, self._held = self._held, -1
        try:
            # Unlinked while locked, and only if it is ours: it may have become a blob, and the
            # name somebody else's.
            found = os.fstat(held)
            if (not keep or not found.st_size) and os.path.samestat(found, self._path.lstat()):
                self._path.unlink()
        except OSError:
            pass  # an empty partial left behind costs nothing
        finally:
            os.close(held)

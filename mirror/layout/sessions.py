"""Uploads through the server, whose digest is told only at the end (distribution-spec, "Pushing blobs")."""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
import uuid
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.filesystem import BLOCK, mapped_errors, regular_size
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from hashlib import _Hash
    from pathlib import Path

    from mirror.layout.blobs import BlobDirectory
    from mirror.oci.repository import BlobReader

__all__ = ["UploadSessions"]

_NAME: Final = re.compile(r"[0-9a-f]{32}")
_POLL: Final = 0.02
_REMEMBERED: Final = 1024
_PATIENCE: Final = 5.0
"""Seconds that a second writer waits for the first to notice its end."""


@dataclass(slots=True)
class _Running:
    """The hash of the first ``size`` bytes of a session, as far as this process wrote them in order."""

    algorithm: str
    hash: _Hash
    size: int = 0


class UploadSessions:
    """Upload sessions of a store. Thread-safe; any process may go on with a session.

    A session has one writer at a time, in whichever process: the kernel's lock on its file says so.

    Args:
        directory: ``bundlectl/uploads``.
        blobs: where finished uploads go.
    """

    def __init__(self, directory: Path, blobs: BlobDirectory) -> None:
        self._directory = directory
        self._blobs = blobs
        self._patience = _PATIENCE
        self._running: OrderedDict[str, _Running] = OrderedDict()
        self._guard = threading.Lock()

    def begin(self, algorithm: str = "sha256") -> str:
        """Start a session and return its name, 32 hex digits.

        Args:
            algorithm: of the digest that is expected at the end; with another one the bytes are read again then.

        Raises:
            StoreError: the store cannot be written.
        """
        name = uuid.uuid4().hex
        path = self._directory / name
        with mapped_errors(path, action="write"):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644))
        with self._guard:
            self._remember(name, algorithm)
        return name

    def _remember(self, session: str, algorithm: str) -> _Running:
        running = self._running[session] = _Running(algorithm, Digest(algorithm, "").hasher())
        # A session that another process ended is never heard of again here.
        if len(self._running) > _REMEMBERED:
            self._running.popitem(last=False)
        return running

    def size(self, session: str) -> int:
        """Bytes that arrived so far.

        Raises:
            MissingError: no such session.
        """
        size = regular_size(self._path(session))
        if size is None:
            raise _unknown(session)
        return size

    def append(self, session: str, reader: BlobReader, *, at: int | None = None) -> int:
        """Append what ``reader`` gives, as it arrives; what arrived before an error stays.

        Args:
            session: its name.
            reader: the bytes.
            at: where the sender believes to be.

        Returns:
            The new size in bytes.

        Raises:
            MissingError: no such session.
            ContentError: the session does not stand at ``at``.
            StoreError: the disk is full, or somebody else keeps writing to the session (then retryable).
        """
        with self._held(session) as held:
            with mapped_errors(self._path(session), action="write"):
                size = os.lseek(held, 0, os.SEEK_END)
            if at is not None and at != size:
                raise ContentError(f"the upload stands at {size} bytes, not at {at}", artifact=session)
            running = self._running_at(session, size)
            while block := reader.read(BLOCK):
                view = memoryview(block)
                with mapped_errors(self._path(session), action="write"):
                    while view:
                        written = os.write(held, view)
                        size += written
                        if running:
                            running.hash.update(view[:written])
                            running.size = size
                        view = view[written:]
            return size

    def finish(self, session: str, digest: Digest) -> int:
        """Check what arrived and make it a blob; the session is over either way.

        Returns:
            The size in bytes.

        Raises:
            MissingError: no such session.
            ContentError: the bytes have another digest; they are dropped.
            StoreError: the disk is full, or refuses.
        """
        with self._held(session) as held:
            path = self._path(session)
            with mapped_errors(path, action="read"):
                size = os.fstat(held).st_size
            running = self._running_at(session, size)
            known = running and running.algorithm == digest.algorithm
            found = running.hash.hexdigest() if running and known else _hash(held, digest, path)
            if found != digest.encoded:
                self._remove(session)
                raise ContentError(
                    f"what arrived has digest {digest.algorithm}:{found}; nothing was stored",
                    artifact=str(digest),
                    hint="push it again",
                )
            try:
                self._blobs.settle(held, path, digest)
            except BaseException:
                # After a failed fsync the bytes may be in memory only, where hashing proves nothing.
                self._remove(session)
                raise
            with self._guard:
                self._running.pop(session, None)
            return size

    def abort(self, session: str) -> None:
        """Drop a session with what arrived; harmless when it is over.

        Raises:
            StoreError: the store cannot be written, or somebody keeps writing to the session (then retryable).
        """
        try:
            with self._held(session):
                self._remove(session)
        except MissingError:
            return

    def _remove(self, session: str) -> None:
        path = self._path(session)
        with mapped_errors(path, action="remove"):
            path.unlink(missing_ok=True)
        with self._guard:
            self._running.pop(session, None)

    def _path(self, session: str) -> Path:
        if not _NAME.fullmatch(session):
            raise _unknown(session)
        return self._directory / session

    def _running_at(self, session: str, size: int) -> _Running | None:
        """The running hash, if it stands at ``size``: else another process wrote, and the file tells."""
        with self._guard:
            running = self._running.get(session)
            if running:
                self._running.move_to_end(session)
            elif not size:
                running = self._remember(session, "sha256")  # begun by another process
            return running if running and running.size == size else None

    @contextmanager
    def _held(self, session: str) -> Iterator[int]:
        """The session's file, locked: nobody else writes to it, in this process or another."""
        path = self._path(session)
        try:
            held = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise _unknown(session) from error
        except OSError as error:
            raise StoreError(f"cannot open the upload: {error.strerror}", artifact=session) from error
        try:
            self._lock(held, session)
            try:
                ours = os.path.samestat(os.fstat(held), path.lstat())
            except FileNotFoundError:
                ours = False
            if not ours:  # it ended while we waited
                raise _unknown(session)
            yield held
        finally:
            os.close(held)

    def _lock(self, held: int, session: str) -> None:
        end = time.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise StoreError(
                        "another request writes to this upload",
                        artifact=session,
                        hint="try again when it ended",
                        retryable=True,
                    ) from error
                time.sleep(_POLL)
            else:
                return


def _hash(held: int, digest: Digest, path: Path) -> str:
    hasher, position = digest.hasher(), 0
    with mapped_errors(path, action="read"):
        while block := os.pread(held, BLOCK, position):
            hasher.update(block)
            position += len(block)
    return hasher.hexdigest()


def _unknown(session: str) -> MissingError:
    return MissingError("no such upload", artifact=session[:64], hint="begin a new upload")

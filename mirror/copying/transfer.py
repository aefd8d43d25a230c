"""One blob on its way into one repository: its tries, and the bytes told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, ContentError, MissingError
from bundlectl.events import BytesMoved
from mirror.copying.resuming import ResumingReader
from mirror.copying.working import Persistence, check_cancelled
from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from bundlectl.events import Listener
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader, BlobUpload, Present, ReadRepository, Repository

__all__ = ["BlobTransfer"]


class BlobTransfer:
    """The tries of one blob into one repository, and the bytes reported for them.

    Args:
        descriptor: of the blob.
        source: where it is read.
        target: where it goes.
        cancel: set to stop.
        listener: told of bytes, and of those taken back when a try begins again.
        count: called with the bytes that went over the wire, whatever became of them.
        persistence: how often a source that breaks is opened anew without anything coming of it.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        source: ReadRepository,
        target: Repository,
        *,
        cancel: Event,
        listener: Listener,
        count: Callable[[int], None],
        persistence: Persistence,
    ) -> None:
        self.descriptor = descriptor
        self.source = source
        self.target = target
        self.cancel = cancel
        self.listener = listener
        self.count = count
        self.reported: int = 0
        self.upload: BlobUpload | None = None
        self.failure: BundlectlError | None = None
        self._persistence = persistence
        self._reader: ResumingReader | None = None
        self._in_one_piece = False

    def attempt(self, mount_from: str | None) -> Present | None:
        """Try once: return why nothing was sent, or None when the blob was."""
        check_cancelled(self.cancel)
        if self.upload is None:
            begun = self.target.begin_blob(self.descriptor, mount_from=mount_from)
            if isinstance(begun, str):
                self.report(self.descriptor.size)
                return begun
            self.upload = begun
        # The same upload again after a broken try: it remembers what broke, and sends otherwise.
        upload = self.upload
        try:
            upload.write(lambda: self.open(upload.offset()))
        except ContentError as error:
            if self._reader is not None and self._reader.resumed and not self._in_one_piece:
                # Put together from several connections, which may have led to different files.
                self._in_one_piece = error.retryable = True
                upload.cancel()
                self.upload = None
            raise
        self.report(self.descriptor.size)
        return None

    def give_up(self) -> None:
        """Let the upload go, and take back what was reported."""
        if self.upload is not None:
            self.upload.cancel()
        self.report(0)

    def source_failed(self, error: BundlectlError) -> bool:
        """Whether another source may do better: this one did not give the blob, or gave a wrong one."""
        return error is self.failure or isinstance(error, (MissingError, ContentError))

    def open(self, offset: int) -> BlobReader:
        """Open the source where the target stands; bytes reported beyond that are taken back."""
        self.report(offset)
        persistence = Persistence(tries=1) if self._in_one_piece else self._persistence
        try:
            self._reader = ResumingReader(
                self.source, self.descriptor, offset, persistence=persistence, cancel=self.cancel
            )
        except BundlectlError as error:
            self.failure = error
            raise
        return _CountedReader(self._reader, self)

    def report(self, position: int) -> None:
        """Tell the listener that the transfer now stands at ``position`` bytes."""
        if position != self.reported:
            self.listener(BytesMoved(position - self.reported))
            self.reported = position

    def moved(self, count: int) -> None:
        """Count bytes that went over the wire."""
        check_cancelled(self.cancel)
        self.count(count)
        self.report(self.reported + count)


class _CountedReader(Closing):
    """A reader that reports what is read, and stops when the run is cancelled."""

    def __init__(self, reader: ResumingReader, transfer: BlobTransfer) -> None:
        self._reader = reader
        self._transfer = transfer

    def read(self, size: int = -1, /) -> bytes:
        try:
            block = self._reader.read(size)
        except BundlectlError as error:
            self._transfer.failure = error
            raise
        self._transfer.moved(len(block))
        return block

    @property
    def file(self) -> int | None:
        """Of a source that is a file on this machine (``FileBacked``)."""
        return self._reader.file

    def passed(self, count: int) -> None:
        """Report what was sent without being read."""
        self._reader.passed(count)
        self._transfer.moved(count)

    def close(self) -> None:
        self._reader.close()

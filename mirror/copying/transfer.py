"""One blob on its way into one repository: its tries, and the bytes told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from bundlectl.errors import BundlectlError, ContentError, MissingError, TransportError
from bundlectl.events import BytesMoved
from mirror.copying.working import check_cancelled, reading_source

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event
    from types import TracebackType

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
        upload.write(lambda: self.open(upload.offset()))
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
        try:
            with reading_source():
                return _CountedReader(self.source.open_blob(self.descriptor, offset), self, offset)
        except BundlectlError as error:
            self.failure = error
            raise

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


class _CountedReader:
    """A reader that reports what is read, and stops when the run is cancelled."""

    def __init__(self, reader: BlobReader, transfer: BlobTransfer, offset: int) -> None:
        self._reader = reader
        self._transfer = transfer
        self._position = offset

    def read(self, size: int = -1, /) -> bytes:
        try:
            with reading_source():
                block = self._reader.read(size)
            if not block and size and self._position < self._transfer.descriptor.size:
                raise self._ended_early()
        except BundlectlError as error:
            self._transfer.failure = error
            raise
        self._position += len(block)
        self._transfer.moved(len(block))
        return block

    def _ended_early(self) -> TransportError:
        wanted = self._transfer.descriptor
        return TransportError(
            f"ended after {self._position} of {wanted.size} bytes",
            artifact=f"{self._transfer.source.name}@{wanted.digest}",
            retryable=True,
        )

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

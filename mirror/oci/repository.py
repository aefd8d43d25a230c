"""The protocol that a remote registry, a layout on disk and an archive all speak.

Copying is one engine over pairs of these. A repository is one scope: ``eks-anywhere/kind`` on
a host, or everything a store holds under one upstream name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypeAlias, TypeGuard, runtime_checkable

if TYPE_CHECKING:
    from types import TracebackType

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest

__all__ = [
    "BlobReader",
    "BlobUpload",
    "Deletable",
    "FileBacked",
    "Opener",
    "Present",
    "ReadRepository",
    "Repository",
    "is_file_backed",
]

Present: TypeAlias = Literal["present", "mounted"]
"""Why no bytes have to be sent: the blob was there, or was linked from another repository."""


class BlobReader(Protocol):
    """Bytes of a blob, read once from front to back, a context manager."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes; ``b""`` at the end.

        Raises:
            TransportError: the connection broke (retryable).
        """
        ...

    def close(self) -> None:
        """Release what the reader holds; harmless when repeated."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class FileBacked(Protocol):
    """A `BlobReader` over an open file, whose bytes the kernel can send by itself (sendfile).

    Nobody hashes them then on their way: only for a receiver that checks the digest.
    """

    @property
    def file(self) -> int | None:
        """The descriptor of a file that stands where the reader stands; None where there is none, after all."""
        ...

    def passed(self, count: int) -> None:
        """Take note that ``count`` bytes were sent from the file, and its position moved."""
        ...


def is_file_backed(reader: object) -> TypeGuard[FileBacked]:
    """Whether a reader is a `FileBacked` one; a protocol checked at run time would take ten times as long."""
    return hasattr(type(reader), "passed")


Opener: TypeAlias = Callable[[], BlobReader]
"""Opens the blob at the offset its upload stands at; called anew for each try."""


class BlobUpload(Protocol):
    """A blob on its way into a repository. Nothing of it is visible before ``write`` returns."""

    def offset(self) -> int:
        """Bytes that are already safe at the target, from an earlier try; the opener starts there."""
        ...

    def write(self, opener: Opener) -> None:
        """Send the rest and commit it, if digest and size match.

        Raises:
            ContentError: digest or size differ; nothing was committed.
            TransportError, RegistryError, StoreError: ``retryable`` says whether to call it again.
        """
        ...

    def cancel(self) -> None:
        """Give up this session. What can be resumed later is kept. Never raises."""
        ...


class ReadRepository(Protocol):
    """Where content is copied from."""

    @property
    def name(self) -> str:
        """The name for messages: ``registry/repository``."""
        ...

    def resolve(self, tag: str) -> Descriptor:
        """What a tag points at.

        Raises:
            MissingError: no such tag.
        """
        ...

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest by digest; ``descriptor.size`` 0 and an empty media type mean unknown.

        Raises:
            MissingError: it is not there.
            ContentError: it is not what the digest says.
        """
        ...

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob at ``offset``. Readers do not check digests, writers do.

        Raises:
            MissingError: it is not there.
        """
        ...

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob or manifest of this digest is there."""
        ...

    def tags(self) -> list[str]:
        """All tags, sorted; empty when the repository does not exist."""
        ...

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Manifests whose subject is ``subject``, with ``artifact_type`` and annotations filled in."""
        ...


class Repository(ReadRepository, Protocol):
    """Where content is copied to."""

    def begin_blob(self, descriptor: Descriptor, *, mount_from: str | None = None) -> Present | BlobUpload:
        """Check for a blob, mount it, or start its upload, in one request where the other side can.

        Args:
            descriptor: of the blob.
            mount_from: a repository of the same registry that holds it (a path, without host).
        """
        ...

    def put_manifest(self, manifest: Manifest, *, tag: str | None = None) -> None:
        """Store a manifest by digest, then point ``tag`` at it. Its children must be there first."""
        ...


@runtime_checkable
class Deletable(Protocol):
    """A repository that can forget."""

    def delete_manifest(self, digest: Digest) -> None:
        """Delete a manifest and every tag that points at it."""
        ...

    def delete_tag(self, tag: str) -> None:
        """Delete one tag, leaving the manifest."""
        ...

"""A repository seen through another one: what a subclass does not say anew is asked of the repository itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader, ReadRepository

__all__ = ["RepositoryView"]


class RepositoryView:
    """Passes every question on.

    Args:
        repository: what is asked.
    """

    def __init__(self, repository: ReadRepository) -> None:
        self._repository = repository

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return self._repository.name

    def resolve(self, tag: str) -> Descriptor:
        """What a tag points at."""
        return self._repository.resolve(tag)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest by digest."""
        return self._repository.manifest(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob."""
        return self._repository.open_blob(descriptor, offset)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether it is there."""
        return self._repository.has(descriptor)

    def tags(self) -> list[str]:
        """All tags."""
        return self._repository.tags()

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """What refers to a manifest."""
        return self._repository.referrers(subject)

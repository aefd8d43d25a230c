"""An archive that leaves out what its site has, read together with what the site has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import MissingError
from mirror.oci.view import RepositoryView

if TYPE_CHECKING:
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader, ReadRepository

__all__ = ["SupplementedRepository"]


class SupplementedRepository(RepositoryView):
    """Reads from an archive what it carries, and from the target what it does not.

    Args:
        archive: tells what it carries, and why it does not give the rest.
        beside: the repository of the target that has, or will have, the same content.
    """

    def __init__(self, archive: ReadRepository, beside: ReadRepository) -> None:
        super().__init__(archive)
        self._beside = beside

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Fetch a manifest by digest.

        Raises:
            MissingError: neither has it; it says why the archive has not.
        """
        if not self._repository.has(descriptor):
            try:
                return self._beside.manifest(descriptor)
            except MissingError:
                pass
        return self._repository.manifest(descriptor)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob.

        Raises:
            MissingError: as above.
        """
        if not self._repository.has(descriptor):
            try:
                return self._beside.open_blob(descriptor, offset)
            except MissingError:
                pass
        return self._repository.open_blob(descriptor, offset)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether either has it."""
        return self._repository.has(descriptor) or self._beside.has(descriptor)

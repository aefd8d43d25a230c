"""An archive as a repository to copy from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import ContentError, MissingError
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT

if TYPE_CHECKING:
    from mirror.archive.reading import StretchReader, VolumeSet
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest

__all__ = ["ArchiveRepository"]


class ArchiveRepository:
    """What an archive holds, under one name; implements `ReadRepository`.

    It has no tags: whoever reads an archive knows from its lock what is in it.

    Args:
        name: ``registry/repository``.
        volumes: of the archive.
    """

    def __init__(self, name: str, volumes: VolumeSet) -> None:
        self._name = name
        self._volumes = volumes

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return self._name

    def resolve(self, tag: str) -> Descriptor:
        """Refuse.

        Raises:
            MissingError: always.
        """
        raise MissingError("an archive has no tags", artifact=f"{self._name}:{tag[:128]}")

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Read a manifest and check its digest.

        Raises:
            MissingError: it is not in the archive, or its volume is missing.
            ContentError: it is damaged, or no manifest.
            StoreError: the medium does not give it.
        """
        with self._open(descriptor.digest, 0, limit=MANIFEST_LIMIT) as reader:
            raw = reader.read()
        return Manifest.from_bytes(raw, descriptor.media_type, expected=descriptor.digest)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> StretchReader:
        """Open a blob at ``offset``.

        Raises:
            MissingError: it is not in the archive, or its volume is missing.
        """
        return self._open(descriptor.digest, offset)

    def _open(self, digest: Digest, offset: int, *, limit: int | None = None) -> StretchReader:
        place = self._volumes.locate(digest)
        artifact = f"{self._name}@{digest}"
        if place is None:
            raise MissingError(
                "is not in the archive: it was left out because the site had it",
                artifact=artifact,
                hint="let the site take an inventory, and export what it lacks with --since",
            )
        begin, size = place
        if limit is not None and size > limit:
            raise ContentError(f"has {size:,} bytes, and a manifest at most {limit:,}", artifact=artifact)
        return self._volumes.open(begin + offset, max(size - offset, 0), artifact=artifact)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether it lies in a volume that is there."""
        place = self._volumes.locate(descriptor.digest)
        return place is not None and not self._volumes.missing(*place)

    def tags(self) -> list[str]:
        """None: see above."""
        return []

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """None: a lock lists them."""
        del subject
        return []

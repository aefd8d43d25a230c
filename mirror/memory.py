"""A repository of one artifact that is made when it is first asked for."""

from __future__ import annotations

import io
from threading import Lock
from typing import TYPE_CHECKING

from bundlectl.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader

__all__ = ["MemoryRepository"]


class MemoryRepository:
    """Reads one manifest and its blobs from memory (``ReadRepository``).

    Args:
        name: for messages.
        make: returns the manifest and all its blobs; called once, from whichever thread asks first.
    """

    def __init__(self, name: str, make: Callable[[], tuple[Manifest, Mapping[Digest, bytes]]]) -> None:
        self._name = name
        self._make = make
        self._made: tuple[Manifest, Mapping[Digest, bytes]] | None = None
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The name for messages."""
        return self._name

    def resolve(self, tag: str) -> Descriptor:
        """Every tag is the one manifest."""
        del tag
        return self._content()[0].descriptor

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest, if that is its digest.

        Raises:
            MissingError: it is another.
        """
        manifest = self._content()[0]
        if manifest.descriptor.digest != descriptor.digest:
            raise MissingError(f"has changed: it is no longer {descriptor.digest}", artifact=self._name)
        return manifest

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob of the manifest.

        Raises:
            MissingError: it has no such blob.
        """
        data = self._content()[1].get(descriptor.digest)
        if data is None:
            raise MissingError(f"has no {descriptor.digest}", artifact=self._name)
        return io.BytesIO(data[offset:])

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the manifest or one of its blobs has this digest."""
        manifest, blobs = self._content()
        return descriptor.digest in blobs or descriptor.digest == manifest.descriptor.digest

    def tags(self) -> list[str]:
        """None: nothing is named."""
        return []

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """None."""
        del subject
        return []

    def _content(self) -> tuple[Manifest, Mapping[Digest, bytes]]:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

"""One file on a web server, seen as a repository: what copying needs to wrap it in a manifest."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from bundlectl.errors import MissingError
from mirror.http.addresses import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.http.client import HttpClient
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobReader

__all__ = ["UrlRepository"]


class UrlRepository:
    """A ``ReadRepository`` of one manifest, whose layer is the file at ``url``.

    Args:
        url: of the file.
        manifest: wraps it (``mirror.oci.artifact.wrap_file``).
        blobs: content that is not at the URL, such as the empty config.
        client: fetches the file.
    """

    def __init__(self, url: str, manifest: Manifest, blobs: Mapping[Digest, bytes], client: HttpClient) -> None:
        self._url = url
        self._manifest = manifest
        self._blobs = dict(blobs)
        self._client = client
        self._etag = ""
        self._known = {child.digest for child in manifest.children()} | self._blobs.keys()

    @property
    def name(self) -> str:
        """The URL, for messages."""
        return shown(self._url)

    def resolve(self, tag: str) -> Descriptor:  # noqa: ARG002 -- there is one manifest
        """The manifest, whatever the tag."""
        return self._manifest.descriptor

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest.

        Raises:
            MissingError: another one was asked for.
        """
        if descriptor.digest != self._manifest.descriptor.digest:
            raise MissingError(f"has no manifest {descriptor.digest}", artifact=self.name)
        return self._manifest

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        """Open a blob: one of those given, else the file.

        Raises:
            MissingError: the file is not there, or the manifest names no such blob.
            RegistryError, TransportError: the server refuses, or cannot be reached.
        """
        data = self._blobs.get(descriptor.digest)
        if data is not None:
            return io.BytesIO(data[offset:])
        if descriptor.digest not in self._known:
            raise MissingError(f"has no blob {descriptor.digest}", artifact=self.name)
        if offset >= descriptor.size > 0:
            return io.BytesIO()
        # A file that was replaced since the first part of it was read comes whole, and is found out.
        same = {"If-Range": self._etag} if offset and self._etag else {}
        reader = self._client.open(self._url, offset=offset, headers=same)
        self._etag = reader.etag
        return reader

    def has(self, descriptor: Descriptor) -> bool:
        """Whether it is the manifest or one of its blobs."""
        return descriptor.digest == self._manifest.descriptor.digest or descriptor.digest in self._known

    def tags(self) -> list[str]:
        """None: a file has no tags."""
        return []

    def referrers(self, subject: Digest) -> list[Descriptor]:  # noqa: ARG002 -- files have none
        """None: nothing refers to a file."""
        return []

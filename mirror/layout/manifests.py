"""Manifests as a store holds them: files like any blob, checked whenever they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import ContentError
from mirror.filesystem import read_small
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT

if TYPE_CHECKING:
    from mirror.layout.blobs import BlobDirectory
    from mirror.oci.descriptor import Descriptor

__all__ = ["known_size", "load_manifest"]


def load_manifest(blobs: BlobDirectory, descriptor: Descriptor) -> Manifest:
    """Read a manifest out of a store's blobs and check its digest and size.

    Raises:
        MissingError: it is not there.
        ContentError: its file is damaged, or it is no manifest.
    """
    path = blobs.path(descriptor.digest)
    raw = read_small(path, limit=MANIFEST_LIMIT, artifact=str(descriptor.digest))
    wanted = known_size(descriptor)
    if wanted not in (None, len(raw)):
        raise ContentError(f"should have {wanted} bytes, but has {len(raw)}", artifact=str(descriptor.digest))
    try:
        return Manifest.from_bytes(raw, descriptor.media_type, expected=descriptor.digest)
    except ContentError as error:
        if Digest.of(raw, descriptor.digest.algorithm) == descriptor.digest:
            raise
        raise ContentError(
            "its file in the store is damaged",
            artifact=str(descriptor.digest),
            hint=f"remove {path} and run the download that brings it again",
        ) from error


def known_size(descriptor: Descriptor) -> int | None:
    """The size a descriptor states; None when it was made from a digest alone."""
    return descriptor.size if descriptor.size or descriptor.media_type else None

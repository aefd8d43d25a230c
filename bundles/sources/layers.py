"""Small documents that lie in repositories as layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError

if TYPE_CHECKING:
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import ReadRepository

__all__ = ["read_layer"]

_HINT: Final = "it is not a release document; check what the tag names"
_BLOCK: Final = 1024 * 1024


def read_layer(repository: ReadRepository, layer: Descriptor, *, limit: int, place: str) -> bytes:
    """Read a layer into memory, checking size and digest.

    Args:
        repository: where it is.
        layer: which one.
        limit: bytes.
        place: for messages.

    Raises:
        ContentError: larger than ``limit``, or not what its descriptor says.
        MissingError, TransportError: it cannot be read.
    """
    if layer.size > limit:
        raise ContentError(f"the document is larger than {limit} bytes", artifact=place, hint=_HINT)
    raw = bytearray()
    with repository.open_blob(layer) as reader:
        while len(raw) <= layer.size and (block := reader.read(_BLOCK)):
            raw += block
    hasher = layer.digest.hasher()
    hasher.update(raw)
    if len(raw) != layer.size or hasher.hexdigest() != layer.digest.encoded:
        raise ContentError(
            f"the document should have digest {layer.digest} and {layer.size} bytes, what came does not",
            artifact=place,
            hint="the registry, a proxy or the disk altered it; nothing of it was used",
        )
    return bytes(raw)

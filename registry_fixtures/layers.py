"""Layers: gzip tars, small or as large as real ones, never held in memory as a whole."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror.oci.digest import Digest
from registry_fixtures.noise import noise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from registry_fixtures.depot import BlobDepot

__all__ = ["TIME", "Layer", "tar_gzip", "write_layer"]

TIME: Final = 1714521600
"""When everything was made: 2024-05-01T00:00:00Z, in seconds."""

_GZIP: Final = 31
_RECORD: Final = 512


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the depot. ``diff_id`` is the digest of the tar inside the gzip (image-spec, config.md)."""

    digest: Digest
    size: int
    diff_id: Digest


def write_layer(depot: BlobDepot, seed: str, name: str, size: int) -> Layer:
    """Write a gzip tar of one file ``name`` with ``size`` bytes of noise into the depot."""
    draft, inner = depot.draft(), hashlib.sha256()
    # Noise does not compress: level 0 saves the time and keeps the size as planned.
    packer = zlib.compressobj(0, zlib.DEFLATED, _GZIP)
    for block in _tar(name, size, noise(seed, size)):
        inner.update(block)
        packed = packer.compress(block)
        if packed:
            draft.write(packed)
    draft.write(packer.flush())
    digest = draft.finish()
    return Layer(digest, draft.size, Digest("sha256", inner.hexdigest()))


def tar_gzip(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a gzip tar, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            archive.addfile(_member(name, len(data)), io.BytesIO(data))
    packer = zlib.compressobj(9, zlib.DEFLATED, _GZIP)
    return packer.compress(buffer.getvalue()) + packer.flush()


def _tar(name: str, size: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield _member(name, size).tobuf(tarfile.USTAR_FORMAT)
    yield from blocks
    yield b"\0" * (-size % _RECORD + 2 * _RECORD)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, TIME
    return member

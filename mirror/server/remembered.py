"""Manifests that were read from the store and checked, kept in memory: most pulls ask for the same few."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import MissingError

if TYPE_CHECKING:
    from mirror.layout.store import Store
    from mirror.oci.descriptor import Descriptor

__all__ = ["ReadManifests"]

_BYTES_MAX: Final = 16 * 1024 * 1024
_OVERHEAD: Final = 2048
"""Bytes that an entry takes beside the manifest's."""

_Identity: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Read:
    path: str
    identity: _Identity
    descriptor: Descriptor
    raw: bytes


class ReadManifests:
    """Manifests by digest. Thread-safe.

    Bytes are believed for as long as the file that they were read from is the same and unchanged:
    what is removed is not answered any more, what is replaced is read and checked again.

    Args:
        store: where they are.
        limit: bytes kept in all.
    """

    def __init__(self, store: Store, *, limit: int = _BYTES_MAX) -> None:
        self._store = store
        self._limit = limit
        self._lock = threading.Lock()
        self._read: dict[tuple[str, str], _Read] = {}
        self._bytes = 0

    def get(self, repository: str, descriptor: Descriptor, *, named: bool) -> tuple[Descriptor, bytes]:
        """A manifest's descriptor, with the media type it states, and its bytes.

        Args:
            repository: of the store.
            descriptor: size 0 and an empty media type mean unknown.
            named: whether the store was just asked for its name, and so has not forgotten it.

        Raises:
            MissingError: it is not there, or was deleted from this repository.
            ContentError: its file is damaged, or it is no manifest.
        """
        key = (str(descriptor.digest), descriptor.media_type)
        found = self._read.get(key)
        if found and _identity(found.path) == found.identity:
            if not named and self._store.is_forgotten(repository, descriptor.digest):
                raise MissingError("was deleted", artifact=f"{repository}@{descriptor.digest}")
            return found.descriptor, found.raw
        path = str(self._store.blob_path(descriptor.digest))
        before = _identity(path)
        manifest = self._store.repository(repository).manifest(descriptor)
        if before is not None and before == _identity(path):
            self._keep(key, _Read(path, before, manifest.descriptor, manifest.raw))
        return manifest.descriptor, manifest.raw

    def _keep(self, key: tuple[str, str], read: _Read) -> None:
        with self._lock:
            old = self._read.pop(key, None)
            self._bytes += _cost(read) - (_cost(old) if old else 0)
            self._read[key] = read
            while self._bytes > self._limit:
                oldest = next(iter(self._read))
                self._bytes -= _cost(self._read.pop(oldest))


def _cost(read: _Read) -> int:
    return len(read.raw) + _OVERHEAD


def _identity(path: str) -> _Identity | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

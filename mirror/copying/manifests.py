"""Manifests that were read once, kept by digest: what has not changed is not fetched again."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundlectl.events import Listener, ignore
from mirror.copying.recordfile import RecordFile
from mirror.oci.closing import Closing
from mirror.oci.manifest import Manifest
from mirror.oci.view import RepositoryView

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.repository import ReadRepository

__all__ = ["ManifestMemory", "RememberingRepository"]

_TABLE: Final = "manifests (digest TEXT PRIMARY KEY, type TEXT, raw BLOB)"
_FIND: Final = "SELECT type, raw FROM manifests WHERE digest = ?"
_KEEP: Final = "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?)"
_BATCH: Final = 1024 * 1024
_EVERY: Final = 5.0
_LIMIT: Final = 64 * 1024 * 1024


class ManifestMemory(Closing):
    """Manifests by digest, in a file of the user's. Thread-safe, a context manager.

    What is read from it is hashed again, so it can be incomplete but not wrong.

    Args:
        path: of the file, begun anew when it is larger than 64 MiB; None remembers nothing.
        listener: told when the file cannot be used.
    """

    def __init__(self, path: Path | None, *, listener: Listener = ignore) -> None:
        self._file = RecordFile(path, table=_TABLE, listener=listener, limit=_LIMIT)
        self._lock = Lock()
        self._fresh: dict[Digest, Manifest] = {}
        self._size = 0
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what is not written yet, and let go of the file."""
        with self._lock:
            self._write()
        self._file.close()

    def find(self, digest: Digest) -> Manifest | None:
        """The manifest of this digest, if it is remembered."""
        with self._lock:
            if digest in self._fresh:
                return self._fresh[digest]
        row = self._file.select(_FIND, (str(digest),))
        if row is None or not isinstance(row[0], str) or not isinstance(row[1], bytes):
            return None
        try:
            return Manifest.from_bytes(row[1], row[0], expected=digest)
        except ContentError:
            return None

    def keep(self, manifest: Manifest) -> None:
        """Remember a manifest."""
        with self._lock:
            self._fresh[manifest.descriptor.digest] = manifest
            self._size += len(manifest.raw)
            if self._size > _BATCH or time.monotonic() - self._written > _EVERY:
                self._write()

    def _write(self) -> None:
        rows = [(str(digest), item.descriptor.media_type, item.raw) for digest, item in self._fresh.items()]
        self._file.change(_KEEP, rows)
        self._fresh.clear()
        self._size = 0
        self._written = time.monotonic()


class RememberingRepository(RepositoryView):
    """A source whose manifests are asked for once, by this run or an earlier one (``ReadRepository``)."""

    def __init__(self, repository: ReadRepository, memory: ManifestMemory) -> None:
        super().__init__(repository)
        self._memory = memory

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """A manifest by digest: the remembered one, else the one of the source.

        Raises:
            MissingError, ContentError, RegistryError, TransportError: from the source.
        """
        found = self._memory.find(descriptor.digest)
        if found is None or descriptor.size not in (0, len(found.raw)):
            found = super().manifest(descriptor)
            self._memory.keep(found)
        return found

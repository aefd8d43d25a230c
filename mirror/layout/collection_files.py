"""Locks that a store keeps, byte for byte, under the names of collections."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from mirror.layout.filesystem import locked, mapped_errors, read_small, write_atomically
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CollectionFiles", "required_blobs"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUFFIX: Final = ".json"
_LIMIT: Final = 256 * 1024 * 1024
_SIGNATURE_LIMIT: Final = 64 * 1024 * 1024


class CollectionFiles:
    """``bundlectl/collections`` of a store.

    Args:
        directory: ``bundlectl`` in the store.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "collections"
        self._signatures = directory / "signatures"
        self._lock = directory / "lock"
        self._scratch = directory / "tmp"

    def put(self, name: str, lock: bytes, signature: bytes | None = None) -> None:
        """Keep a lock under a name, and its signature; both replace what was there.

        Raises:
            UsageError: the name could not be a file's name everywhere.
            StoreError: the disk is full, or refuses.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:200]!r} cannot name a collection",
                hint="up to 128 letters, digits and . _ -, beginning with a letter or digit",
            )
        with locked(self._lock):
            kept = self._signatures / f"{name}{_SUFFIX}"
            # Never the signature of one lock beside another: without one nothing is believed by mistake.
            with mapped_errors(kept, action="remove"):
                kept.unlink(missing_ok=True)
            write_atomically(self._directory / f"{name}{_SUFFIX}", lock, scratch=self._scratch)
            if signature is not None:
                with mapped_errors(kept.parent, action="make"):
                    kept.parent.mkdir(exist_ok=True)  # a store of an earlier version has none
                write_atomically(kept, signature, scratch=self._scratch)

    def signature(self, name: str) -> bytes | None:
        """The signature of a collection's lock; None where it has none.

        Raises:
            ContentError: not a regular file, or larger than 64 MiB.
            StoreError: it cannot be read.
        """
        path = self._signatures / f"{name}{_SUFFIX}"
        if not _NAME.fullmatch(name) or not path.exists():
            return None
        return read_small(path, limit=_SIGNATURE_LIMIT, artifact=f"signature of collection {name}")

    def all(self) -> dict[str, bytes]:
        """Every collection's lock by its name, sorted by name.

        Raises:
            ContentError: one is not a regular file, or larger than 256 MiB.
            StoreError: the directory cannot be read.
        """
        found = {}
        with mapped_errors(self._directory, action="read"):
            paths = sorted(self._directory.iterdir()) if self._directory.is_dir() else []
        for path in paths:
            if path.suffix == _SUFFIX and _NAME.fullmatch(path.stem):
                found[path.stem] = read_small(path, limit=_LIMIT, artifact=f"collection {path.stem}")
        return found


def required_blobs(lock: bytes) -> dict[Digest, int]:
    """The digests and sizes in bytes that a lock's ``blobs`` lists; what is not of that shape is left out."""
    try:
        document = json.loads(lock)
    except (ValueError, RecursionError):
        return {}
    blobs = document.get("blobs") if isinstance(document, dict) else None
    required = {}
    for text, size in blobs.items() if isinstance(blobs, dict) else ():
        try:
            digest = Digest.parse(text)
        except ContentError:
            continue
        if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
            required[digest] = size
    return required

"""Locks that a store keeps, byte for byte, under the names of collections."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, UsageError
from mirror.filesystem import locked, mapped_errors, read_small, write_atomically
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
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

    def put(self, name: str, lock: bytes, signature: bytes | None = None, *, is_here: Callable[[Digest], bool]) -> None:
        """Keep a lock under a name, and its signature; both replace what was there.

        Args:
            name: of the collection.
            lock: its bytes.
            signature: of them.
            is_here: whether the store has a blob.

        Raises:
            UsageError: the name could not be a file's name everywhere.
            MissingError: what the lock lists is not all there.
            StoreError: the disk is full, or refuses.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name[:200]!r} cannot name a collection",
                hint="up to 128 letters, digits and . _ -, beginning with a letter or digit",
            )
        with locked(self._lock):
            # Under the lock under which `gc` removes: it may have, while nothing but this run wanted them.
            absent = [digest for digest in required_blobs(lock) if not is_here(digest)]
            if absent:
                raise MissingError(
                    f"lists {len(absent)} blobs that are not in the store, {absent[0]} among them",
                    artifact=f"collection {name}",
                    hint="they were removed meanwhile: run the same command again",
                )
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

    def state(self) -> tuple[tuple[str, int, int, int], ...]:
        """Changes whenever a lock or a signature does: path, inode, size in bytes and time in ns of each file.

        Raises:
            StoreError: a directory cannot be read.
        """
        found = []
        for directory in (self._directory, self._signatures):
            with mapped_errors(directory, action="read"):
                for entry in os.scandir(directory) if directory.is_dir() else ():
                    with suppress(FileNotFoundError):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((entry.path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(sorted(found))

    def required(self) -> dict[str, dict[Digest, int]]:
        """What each collection's lock lists: digests, and their sizes in bytes, by the collection's name.

        Raises:
            ContentError: one is no lock, or damaged, so that nobody can tell what it lists.
            StoreError: the directory cannot be read.
        """
        found = {}
        for name, lock in self.all().items():
            listed = _listed(lock)
            found[name] = _well_formed(listed or {})
            if listed is None or len(found[name]) != len(listed):
                raise ContentError(
                    "is damaged: what it needs cannot be told",
                    artifact=f"collection {name}",
                    hint="run its download again",
                )
        return found


def _listed(lock: bytes) -> dict[str, Any] | None:
    """The entries of a lock's ``blobs`` as they stand; None where there are none to be read."""
    try:
        document = json.loads(lock)
    except (ValueError, RecursionError):
        return None
    blobs = document.get("blobs") if isinstance(document, dict) else None
    return blobs if isinstance(blobs, dict) else None


def required_blobs(lock: bytes) -> dict[Digest, int]:
    """The digests and sizes in bytes that a lock's ``blobs`` lists; what is not of that shape is left out."""
    return _well_formed(_listed(lock) or {})


def _well_formed(listed: dict[str, Any]) -> dict[Digest, int]:
    required = {}
    for text, size in listed.items():
        try:
            digest = Digest.parse(text)
        except ContentError:
            continue
        if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
            required[digest] = size
    return required

"""The newest release that a store has seen of each kind and channel, in ``bundlectl/newest.json``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from mirror.filesystem import locked, read_small, write_atomically
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["NewestFile"]

_LIMIT: Final = 1024 * 1024
_HINT: Final = "remove the file; what it remembers is lost, so check that the next release is the one you expect"


class NewestFile:
    """Remembers ages, which are compared as tuples of numbers, and the names that go with them.

    Args:
        directory: ``bundlectl`` in the store.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "newest.json"
        self._lock = directory / "lock"
        self._scratch = directory / "tmp"

    def read(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """All that is remembered, by kind and channel.

        Raises:
            ContentError: the file is damaged.
            StoreError: it cannot be read.
        """
        if not self._path.exists():
            return {}
        try:
            document = json.loads(read_small(self._path, limit=_LIMIT, artifact=str(self._path)))
            return {
                str(key): (tuple(int(part) for part in entry["age"]), str(entry["name"]))
                for key, entry in document.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ContentError("is damaged", artifact=str(self._path), hint=_HINT) from error

    def put(self, ages: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Remember these in place of what was remembered of the same kind and channel.

        Raises:
            ContentError: the file is damaged.
            StoreError: it cannot be written.
        """
        with locked(self._lock):
            kept = self.read()
            kept.update(ages)
            document = {key: {"age": list(age), "name": name} for key, (age, name) in kept.items()}
            write_atomically(self._path, canonical_json(document), scratch=self._scratch)

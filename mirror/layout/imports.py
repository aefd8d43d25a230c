"""Which inventory last moved each name, in ``bundlectl/imports.json`` of a store (ADR 4, "What is believed")."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mirror.filesystem import locked, read_small, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["ImportsFile"]

_LIMIT: Final = 32 * 1024 * 1024
"""Bytes; of 150,000 names."""


class ImportsFile:
    """A small file of the store whose meaning is its user's.

    Args:
        directory: ``bundlectl`` in the store.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "imports.json"
        self._lock = directory / "lock"
        self._alone = directory / "imports.lock"
        self._scratch = directory / "tmp"

    def read(self) -> bytes | None:
        """Its bytes; None when there is none.

        Raises:
            ContentError: not a regular file, or too large.
            StoreError: it cannot be read.
        """
        return read_small(self._path, limit=_LIMIT, artifact=str(self._path)) if self._path.exists() else None

    def change(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace it by what ``change`` makes of it, while nobody else does.

        Raises:
            StoreError: it cannot be written.
        """
        with locked(self._lock):
            write_atomically(self._path, change(self.read()), scratch=self._scratch)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other imports out.

        Raises:
            StoreError: there is another one.
        """
        with locked(self._alone, wait=False):
            yield

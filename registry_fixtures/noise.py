"""Bytes and choices that look random and are the same for the same seed, on every machine."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Dice", "noise"]

_BLOCK: Final = 1024 * 1024


def noise(seed: str, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes that do not compress, in blocks of at most 1 MiB."""
    for start in range(0, size, _BLOCK):
        yield hashlib.shake_128(f"{seed}\0{start}".encode()).digest(min(_BLOCK, size - start))


class Dice:
    """Choices that depend on a seed and a name alone, not on the order they are made in."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fraction(self, *name: str) -> float:
        """A number from 0 up to 1."""
        digest = hashlib.sha256(f"{self._seed}\0{chr(0).join(name)}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    def pick(self, count: int, *name: str) -> int:
        """A whole number from 0 up to ``count``, exclusive."""
        return int(self.fraction(*name) * count)

    def size(self, least: float, most: float, *name: str) -> float:
        """A size in bytes between two, small ones more often than large ones."""
        return math.exp(math.log(least) + self.fraction(*name) * (math.log(most) - math.log(least)))

    def label(self, *name: str) -> str:
        """A text to seed ``noise`` with."""
        return f"{self._seed}\0{chr(0).join(name)}"

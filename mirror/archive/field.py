"""GF(256), and what any k points of a polynomial say about its other points."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["combine", "factors"]

_POLYNOMIAL: Final = 0x11D
_STRETCH: Final = 16 * 1024
"""Bytes that are multiplied and added at once: they, their product and the sum stay in the first cache."""


def _powers() -> list[int]:
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = value << 1 ^ (_POLYNOMIAL if value & 0x80 else 0)
    return powers


_EXP: Final = _powers() * 2
_LOG: Final = {value: exponent for exponent, value in enumerate(_EXP[:255])}
_POINTS: Final = (0, *_EXP[:255])
"""Where a polynomial is evaluated for each volume and parity volume: 0, 1, 2, 4, 8 …"""


def factors(known: Sequence[int], wanted: int) -> tuple[int, ...]:
    """What to multiply each known volume by, so that the sum is the wanted one (Lagrange's interpolation).

    Args:
        known: k different volumes (0 to 255).
        wanted: which one to compute.
    """
    at, points = _POINTS[wanted], [_POINTS[index] for index in known]
    if at in points:
        return tuple(int(point == at) for point in points)
    numerator = sum(_LOG[at ^ point] for point in points)
    return tuple(
        _EXP[(numerator - _LOG[at ^ point] - sum(_LOG[point ^ other] for other in points if other != point)) % 255]
        for point in points
    )


@lru_cache(maxsize=256)
def _multiplied(factor: int) -> bytes:
    """The table that `bytes.translate` multiplies with."""
    return bytes([0, *(_EXP[_LOG[factor] + _LOG[value]] for value in range(1, 256))])


def combine(blocks: Sequence[bytes], by: Sequence[int]) -> bytes:
    """Multiply each block by its factor and add them up; all are of one length."""
    tables = [(block, _multiplied(factor)) for block, factor in zip(blocks, by, strict=True) if factor]
    size = len(blocks[0])
    made = []
    for start in range(0, size, _STRETCH):
        end = min(start + _STRETCH, size)
        total = 0
        for block, table in tables:
            total ^= int.from_bytes(block[start:end].translate(table), "little")
        made.append(total.to_bytes(end - start, "little"))
    return b"".join(made)

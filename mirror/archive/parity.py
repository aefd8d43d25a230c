"""Parity: lost volumes are given back bit by bit from those that are left (Reed-Solomon over GF(256)).

*k* volumes, thought of as padded with zero bytes to the length of the longest, and *N* parity volumes of that length:
any *k* of the *k* + *N* give back all others. Volumes are counted in one row: 0 to k-1 are the volumes, k to k+N-1 the
parity volumes. What is lost must be known (an erasure): **a volume that is damaged and passed in as readable is not
noticed here, and spoils what is rebuilt**. Sums tell, and they are the caller's, before and after.

The code is part of the archive's format, and the one of zfec: GF(256) with x^8+x^4+x^3+x^2+1 and generator 2, the
Vandermonde matrix of the points 0, 1, 2, 4, 8 … multiplied by the inverse of its first k rows. Byte i of a parity
volume depends on byte i of each volume alone, so blocks can be rebuilt one after the other; and on k, not on N.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import ContentError, InterruptError, MissingError, UsageError
from mirror.archive.field import combine, factors
from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from threading import Event

__all__ = ["ReadAt", "Write", "check_counts", "encode_parity", "rebuild", "shortfall"]

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""``(offset, size)`` to exactly that many bytes of a volume; never asked beyond its end."""

Write: TypeAlias = Callable[[bytes], object]
"""Appends all of a block, such as ``write`` of a buffered binary file."""

_MOST: Final = 256
"""Volumes and parity volumes of a set: the field has no more points."""

_MEMORY: Final = 24 * 1024 * 1024
"""Bytes of all the blocks that are in memory at once."""

_LARGEST_BLOCK: Final = 1024 * 1024
"""Bytes read from a volume at once: enough that a rotating disk does not only seek from volume to volume."""

_NAMED: Final = 10
"""Volumes that a message names; `verify` lists all."""


def check_counts(k: int, count: int) -> None:
    """Check that a code of these numbers exists; known before the first volume is written.

    Args:
        k: volumes.
        count: parity volumes.

    Raises:
        UsageError: there are none, or more than 256 together.
    """
    if k < 1 or count < 1:
        raise UsageError(f"parity needs at least one volume and one parity volume, not {k} and {count}")
    if k + count > _MOST:
        raise UsageError(
            f"{k} volumes and {count} parity volumes are more than {_MOST} together",
            hint="a larger --split-size makes fewer volumes",
        )


def shortfall(k: int, count: int, lost: Collection[int]) -> int:
    """Tell how many of the lost volumes must be found again before the rest can be rebuilt; 0: it can be repaired.

    Args:
        k: volumes.
        count: parity volumes.
        lost: which of both kinds are missing or damaged (0 to k-1, and k to k+count-1).
    """
    return max(0, len(set(lost) & set(range(k + count))) - count)


def encode_parity(
    volumes: Sequence[ReadAt],
    sizes: Sequence[int],
    writers: Sequence[Write],
    *,
    progress: Callable[[int], object],
    cancelled: Event,
) -> None:
    """Make the parity volumes of a whole set, all in one pass over its volumes.

    Args:
        volumes: all of them, in order.
        sizes: how long each is, in bytes.
        writers: one for each parity volume; each gets as many bytes as the longest volume has, in order.
        progress: told the bytes that were written since the last call, of all parity volumes.
        cancelled: ends it between two blocks when set.

    Raises:
        ContentError: a volume is shorter than its size.
        InterruptError: cancelled.
        StoreError: a volume cannot be read, or a parity volume cannot be written.
        UsageError: more than 256 volumes and parity volumes.
    """
    k = len(sizes)
    rebuild(
        dict(enumerate(volumes)),
        sizes,
        len(writers),
        {k + number: write for number, write in enumerate(writers)},
        progress=progress,
        cancelled=cancelled,
    )


def rebuild(
    available: Mapping[int, ReadAt],
    sizes: Sequence[int],
    count: int,
    writers: Mapping[int, Write],
    *,
    progress: Callable[[int], object],
    cancelled: Event,
) -> None:
    """Give back lost volumes of either kind, all in one pass over k of the others.

    Args:
        available: those that are there and have the right sums (0 to k-1 volumes, k to k+count-1 parity volumes).
        sizes: how long each of the k volumes is, in bytes, also of the lost ones.
        count: parity volumes that the set has, lost or not.
        writers: where each lost volume goes; each gets its bytes in order, without the padding.
        progress: told the bytes that were written since the last call, of all that are rebuilt.
        cancelled: ends it between two blocks when set.

    Raises:
        ContentError: a survivor is shorter than its size.
        InterruptError: cancelled.
        MissingError: fewer than k are available.
        StoreError: a survivor cannot be read, or a rebuilt volume cannot be written.
        UsageError: more than 256 volumes and parity volumes.
    """
    survivors = _Survivors(available, sizes, count)
    wanted = tuple(sorted(writers))
    length = max((survivors.size(index) for index in wanted), default=0)
    block = survivors.block
    for offset in range(0, length, block):
        if cancelled.is_set():
            raise InterruptError("stopped", hint="the same command resumes")
        blocks = survivors.recover(wanted, offset, min(block, length - offset))
        for index in wanted:
            data = blocks.pop(index)[: max(0, survivors.size(index) - offset)]
            if data:
                with mapped_errors(survivors.name(index), action="write"):
                    writers[index](data)
                progress(len(data))


class _Survivors:
    """The volumes that are there, and what they say about the others."""

    def __init__(self, available: Mapping[int, ReadAt], sizes: Sequence[int], count: int) -> None:
        self._k = k = len(sizes)
        check_counts(k, count)
        self._sizes = sizes
        self._longest = max(sizes)
        self.block: Final = min(_LARGEST_BLOCK, _MEMORY // (k + count) // 4096 * 4096)
        lost = [index for index in range(k + count) if index not in available]
        if short := shortfall(k, count, lost):
            named = ", ".join(self.name(index) for index in lost[:_NAMED])
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            raise MissingError(
                f"{len(lost)} of {k} volumes and {count} parity volumes are lost or damaged, "
                f"and {count} can be rebuilt: {named}{more}",
                hint=f"any {short} more of them must be found, carried or exported again; the rest is rebuilt then",
            )
        # A volume in its own place and parity volumes in the gaps: so the decoder wants it.
        gaps = iter(sorted(index for index in available if k <= index < k + count))
        self._chosen: Final = tuple(index if index in available else next(gaps) for index in range(k))
        self._available = available
        self._known: dict[int, tuple[int, ...]] = {}

    def size(self, index: int) -> int:
        """How long a volume or parity volume is, in bytes."""
        return self._sizes[index] if index < self._k else self._longest

    def name(self, index: int) -> str:
        """What a volume or parity volume is called in a sentence."""
        return f"volume {index + 1}" if index < self._k else f"parity volume {index - self._k + 1}"

    def recover(self, wanted: Sequence[int], offset: int, size: int) -> dict[int, bytes]:
        """Compute a stretch (padded) of each wanted volume; at most `block` bytes.

        Raises:
            ContentError: a survivor is shorter than its size.
            StoreError: a survivor cannot be read.
        """
        blocks = [self._padded(index, offset, size) for index in self._chosen]
        return {index: combine(blocks, self._factors(index)) for index in wanted}

    def _factors(self, index: int) -> tuple[int, ...]:
        if index not in self._known:
            self._known[index] = factors(self._chosen, index)
        return self._known[index]

    def _padded(self, index: int, offset: int, size: int) -> bytes:
        there = max(0, min(size, self.size(index) - offset))
        if not there:
            return bytes(size)
        with mapped_errors(self.name(index), action="read"):
            data = self._available[index](offset, there)
        if len(data) != there:
            raise ContentError(
                f"{self.name(index)} ends after {offset + len(data)} bytes, and should have {self.size(index)}",
                hint="it counts as lost: name the damaged ones with `bundlectl verify archive:DIR`",
            )
        return data.ljust(size, b"\0")

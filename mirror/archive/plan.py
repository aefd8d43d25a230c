"""Where every byte of an archive lies: a pure function of its members' sizes (ADR 4)."""

from __future__ import annotations

import tarfile
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import ContentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.oci.digest import Digest

__all__ = ["BLOCK", "ArchivePlan", "Literal", "Member", "Piece", "Span", "Volume", "capacity_of"]

BLOCK: Final = 512
"""Bytes of a tar's block (POSIX.1-2017, pax, "ustar Interchange Format")."""

_END: Final = bytes(2 * BLOCK)
_SMALLEST: Final = 64 * 1024
_MOST: Final = 100_000
"""Volumes that an archive may have, 6 TB of the smallest: each takes memory, and a size is quickly written."""
_MODE: Final = 0o644
_LARGEST_PLAIN: Final = 8**11 - 1
"""Bytes of a member that a header alone can state."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive: a blob, or something small of the layout, which then has a name."""

    digest: Digest
    size: int
    name: str = ""

    @property
    def path(self) -> str:
        """In the tar, and so in the layout that it unpacks to."""
        return self.name or f"blobs/{self.digest.algorithm}/{self.digest.encoded}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A piece of the tar: the bytes from ``start`` up to ``end``; ``number`` counts from 1."""

    number: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes of the tar that follow from the plan alone: a header, padding, the end."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Where it ends in the tar."""
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of the tar that are those of a member, from ``begin`` on."""

    offset: int
    member: Member
    begin: int
    size: int

    @property
    def end(self) -> int:
        """Where it ends in the tar."""
        return self.offset + self.size


Piece: TypeAlias = Literal | Span


def capacity_of(split_size: int) -> int:
    """Bytes that a volume takes beside the end of the archive, so that it stays below ``split_size``.

    Raises:
        UsageError: less than 64 KiB.
    """
    if split_size < _SMALLEST:
        raise UsageError(
            f"volumes of {split_size} bytes are too small", hint=f"let --split-size be at least {_SMALLEST} bytes"
        )
    return (split_size - 1) // BLOCK * BLOCK - len(_END)


class ArchivePlan:
    """Where members lie in the tar, and the tar in volumes. Immutable.

    Args:
        members: in the order in which they lie, each path once.
        capacity: bytes of a volume (`capacity_of`).

    Raises:
        ContentError: a path occurs twice or is too long, a size or the capacity cannot be, or there would be more than
            100,000 volumes.
    """

    def __init__(self, members: Sequence[Member], capacity: int) -> None:
        if capacity < _SMALLEST // 2 or capacity % BLOCK:
            raise ContentError(f"{capacity} is no capacity of a volume")
        self.members = tuple(members)
        self.capacity = capacity
        self._headers = array("Q")
        self._index: dict[Digest, int] = {}
        self._starts = array("Q", [0])
        self._end = self._place()
        edges = [*self._starts, self._end]
        self.volumes = tuple(Volume(number, start, end) for number, (start, end) in enumerate(pairwise(edges), start=1))

    @property
    def size(self) -> int:
        """Bytes of all volumes together."""
        return self._end

    def _place(self) -> int:
        position = 0
        paths: set[str] = set()
        for index, member in enumerate(self.members):
            if member.size < 0 or member.path in paths:
                raise ContentError(f"lists {member.path[:200]} twice, or with a size that cannot be")
            paths.add(member.path)
            header = _header_size(member.path, member.size)
            if header >= self.capacity:
                raise ContentError(f"lists {member.path[:200]}…, whose header is larger than a volume")
            need = header + _padded(member.size)
            room = self._starts[-1] + self.capacity - position
            if position > self._starts[-1] and (need > room if need <= self.capacity else room <= header):
                self._starts.append(position)
            self._headers.append(position)
            if not member.name:
                self._index[member.digest] = index
            position += need
            if len(self._starts) + (position - self._starts[-1]) // self.capacity > _MOST:
                raise ContentError(
                    f"would have more than {_MOST:,} volumes", hint="a larger --split-size makes fewer volumes"
                )
            while position > self._starts[-1] + self.capacity:
                self._starts.append(self._starts[-1] + self.capacity)
        return position + len(_END)

    def locate(self, digest: Digest) -> tuple[int, int] | None:
        """Where a blob's bytes begin in the tar, and how many they are; None when it is not a member."""
        index = self._index.get(digest)
        return None if index is None else (self._begin(index), self.members[index].size)

    def volumes_of(self, offset: int, size: int) -> tuple[Volume, ...]:
        """The volumes that a stretch of the tar lies in."""
        first = bisect_right(self._starts, offset) - 1
        last = bisect_right(self._starts, offset + max(size, 1) - 1) - 1
        return self.volumes[first : last + 1]

    def settled(self, edge: int) -> int:
        """Where the member ends that lies on both sides of a volume's end; that end itself where there is none."""
        last = bisect_right(self._headers, edge - 1) - 1
        return edge if last < 0 else max(edge, self._begin(last) + self.members[last].size)

    def cut(self, volume: Volume) -> list[Member]:
        """The members of which a volume has only a part, at most two."""
        edges = [piece for piece in self.pieces(volume.start, volume.end) if isinstance(piece, Span)]
        return [piece.member for piece in edges if piece.size != piece.member.size]

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """What the bytes from ``start`` up to ``end`` are, in order and without gaps."""
        index = max(bisect_right(self._headers, start) - 1, 0)
        for position in range(index, len(self.members)):
            if self._headers[position] >= end:
                return
            yield from self._cut(position, start, end)
        closing = self._end - len(_END)
        if end > closing:
            begin = max(start, closing)
            yield Literal(begin, _END[begin - closing : end - closing])

    def _cut(self, index: int, start: int, end: int) -> Iterator[Piece]:
        member = self.members[index]
        at = self._headers[index]
        header = _header(member.path, member.size)
        if start < at + len(header):
            begin = max(start, at)
            yield Literal(begin, header[begin - at : end - at])
        at += len(header)
        begin, until = max(start, at), min(end, at + member.size)
        if begin < until:
            yield Span(begin, member, begin - at, until - begin)
        at += member.size
        begin, until = max(start, at), min(end, at + _padded(member.size) - member.size)
        if begin < until:
            yield Literal(begin, bytes(until - begin))

    def _begin(self, index: int) -> int:
        member = self.members[index]
        return self._headers[index] + _header_size(member.path, member.size)


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK


def _header_size(path: str, size: int) -> int:
    """Without rendering it, where that can be told: of 50,000 blobs that takes seconds."""
    plain = len(path) <= tarfile.LENGTH_NAME and path.isascii() and size <= _LARGEST_PLAIN
    return BLOCK if plain else len(_header(path, size))


@lru_cache(maxsize=4096)
def _header(path: str, size: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = size, _MODE
    return entry.tobuf(tarfile.PAX_FORMAT)

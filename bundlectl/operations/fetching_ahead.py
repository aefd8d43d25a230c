"""Small content is fetched before its turn comes, several at a time: with latency, a line would else be idle."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from mirror.oci.closing import Closing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mirror.archive.plan import Member
    from mirror.oci.repository import BlobReader

__all__ = ["FetchingAhead"]

_SMALL: Final = 2 * 1024 * 1024
"""Bytes of what is held in memory; anything larger keeps a line busy by itself."""
_BUDGET: Final = 16 * 1024 * 1024
_AHEAD: Final = 64
_THREADS: Final = 8


class FetchingAhead(Closing):
    """Opens members that are asked for in their order. Used by one thread.

    Args:
        members: in that order.
        open_member: opens one of them; what it hands out is checked. Called from several threads.
    """

    def __init__(self, members: Sequence[Member], open_member: Callable[[Member], BlobReader]) -> None:
        self._members = members
        self._open = open_member
        self._index = {member.path: index for index, member in enumerate(members)}
        self._fetched: dict[str, Future[bytes]] = {}
        self._pending = 0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetching-ahead")

    def open(self, member: Member) -> BlobReader:
        """Open a member, and begin to fetch those that come after it.

        Raises:
            ContentError, MissingError, TransportError, RegistryError: it cannot be had, or is wrong.
        """
        self._look_ahead(self._index[member.path] + 1)
        found = self._fetched.pop(member.path, None)
        if found is None:
            return self._open(member)
        self._pending -= member.size
        return io.BytesIO(found.result())

    def _look_ahead(self, start: int) -> None:
        for member in self._members[start : start + _AHEAD]:
            if member.size > _SMALL or member.path in self._fetched:
                continue
            if self._pending + member.size > _BUDGET:
                return
            self._pending += member.size
            self._fetched[member.path] = self._pool.submit(self._fetch, member)

    def _fetch(self, member: Member) -> bytes:
        with self._open(member) as reader:
            return b"".join(iter(lambda: reader.read(_SMALL), b""))

    def close(self) -> None:
        """Let go of what was fetched and not asked for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._fetched.clear()

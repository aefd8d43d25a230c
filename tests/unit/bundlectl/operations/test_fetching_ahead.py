"""Small members are fetched before their turn, and come out in it."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import MissingError
from bundlectl.operations.fetching_ahead import FetchingAhead
from mirror.archive.plan import Member
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from mirror.oci.repository import BlobReader

MIB = 1024 * 1024


def members(*sizes: int) -> list[Member]:
    return [Member(Digest.of(str(number).encode()), size) for number, size in enumerate(sizes)]


def test_everything_comes_out_in_its_turn_whatever_its_size() -> None:
    wanted = members(*(size for size in (0, 5, 3 * MIB, 700, 2 * MIB, 1) for _ in range(30)))

    def fetch(member: Member) -> BlobReader:
        return io.BytesIO(member.digest.encoded.encode())

    with FetchingAhead(wanted, fetch) as ahead:
        for member in wanted:
            with ahead.open(member) as reader:
                assert reader.read() == member.digest.encoded.encode()


def test_several_are_fetched_at_once_while_one_is_read() -> None:
    wanted = members(*[10] * 9)
    others = threading.Barrier(8, timeout=20)

    def fetch(member: Member) -> BlobReader:
        if member is not wanted[0]:
            others.wait()
        return io.BytesIO(b"x" * 10)

    with FetchingAhead(wanted, fetch) as ahead:
        for member in wanted:
            ahead.open(member).close()


def test_no_more_is_held_than_the_budget() -> None:
    wanted = members(*[2 * MIB] * 64)
    lock, asked = threading.Lock(), set()

    def fetch(member: Member) -> BlobReader:
        with lock:
            asked.add(member.path)
        return io.BytesIO(b"")

    ahead = FetchingAhead(wanted, fetch)
    ahead.open(wanted[0]).close()
    ahead._pool.shutdown(wait=True)
    assert len(asked) <= 1 + 16 // 2


def test_what_cannot_be_had_is_told_when_its_turn_comes() -> None:
    wanted = members(1, 1, 1)

    def fetch(member: Member) -> BlobReader:
        if member is wanted[2]:
            raise MissingError("is gone")
        return io.BytesIO(b"x")

    with FetchingAhead(wanted, fetch) as ahead:
        ahead.open(wanted[0]).close()
        ahead.open(wanted[1]).close()
        with pytest.raises(MissingError, match="is gone"):
            ahead.open(wanted[2])

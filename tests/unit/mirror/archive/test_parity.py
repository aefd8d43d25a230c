"""Parity gives lost volumes back bit by bit, as many as there are parity volumes, and says so when it cannot."""

from __future__ import annotations

import errno
import random
import tracemalloc
from functools import cache
from itertools import chain, combinations
from threading import Event
from typing import TYPE_CHECKING, NoReturn

import pytest
import zfec
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError, UsageError
from mirror.archive.parity import check_counts, encode_parity, rebuild, shortfall

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mirror.archive.parity import ReadAt

SIZES = (8192,) * 5 + (512, 8191, 0, 7000, 8192, 1) + (3000,)


def volumes_of(sizes: Sequence[int], seed: int = 1) -> list[bytes]:
    made = random.Random(seed)
    return [made.randbytes(size) for size in sizes]


def reader(content: bytes) -> ReadAt:
    def read(offset: int, size: int) -> bytes:
        assert size > 0
        assert 0 <= offset <= offset + size <= len(content), "asked beyond the end of the volume"
        return content[offset : offset + size]

    return read


def encoded(volumes: Sequence[bytes], count: int) -> list[bytes]:
    parity = [bytearray() for _ in range(count)]
    encode_parity(
        [reader(volume) for volume in volumes],
        [len(volume) for volume in volumes],
        [made.extend for made in parity],
        progress=lambda _: None,
        cancelled=Event(),
    )
    return [bytes(made) for made in parity]


def readers_without(everything: Sequence[bytes], lost: Collection[int]) -> dict[int, ReadAt]:
    return {index: reader(content) for index, content in enumerate(everything) if index not in lost}


def rebuilt(volumes: Sequence[bytes], parity: Sequence[bytes], lost: Collection[int]) -> dict[int, bytes]:
    made = {index: bytearray() for index in lost}
    rebuild(
        readers_without([*volumes, *parity], lost),
        [len(volume) for volume in volumes],
        len(parity),
        {index: content.extend for index, content in made.items()},
        progress=lambda _: None,
        cancelled=Event(),
    )
    return {index: bytes(content) for index, content in made.items()}


def product(a: int, b: int) -> int:
    """In GF(256), as the module's docstring states it; a second implementation, which shares nothing with zfec."""
    result = 0
    while b:
        result ^= a if b & 1 else 0
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return result


@cache
def power(a: int, exponent: int) -> int:
    return 1 if exponent == 0 else product(a, power(a, exponent - 1))


def inverse_times(matrix: list[list[int]], row: list[int]) -> list[int]:
    """Solve x · matrix = row for x, by elimination over the columns."""
    k = len(row)
    equations = [[*(matrix[unknown][column] for unknown in range(k)), row[column]] for column in range(k)]
    for pivot in range(k):
        swap = next(line for line in range(pivot, k) if equations[line][pivot])
        equations[pivot], equations[swap] = equations[swap], equations[pivot]
        scale = power(equations[pivot][pivot], 254)
        equations[pivot] = [product(scale, value) for value in equations[pivot]]
        for line in range(k):
            factor = equations[line][pivot]
            if line != pivot and factor:
                equations[line] = [
                    value ^ product(factor, other)
                    for value, other in zip(equations[line], equations[pivot], strict=True)
                ]
    return [equation[k] for equation in equations]


@pytest.mark.parametrize(("k", "count"), [(1, 3), (2, 1), (5, 4), (12, 2)])
def test_a_parity_volume_is_what_the_format_says(k: int, count: int) -> None:
    volumes = volumes_of([29] * k)
    points = [0, *(power(2, exponent) for exponent in range(k + count - 1))]
    vandermonde = [[power(point, column) for column in range(k)] for point in points]
    for number, parity in enumerate(encoded(volumes, count)):
        factors = inverse_times(vandermonde[:k], vandermonde[k + number])
        for place in range(29):
            expected = 0
            for factor, volume in zip(factors, volumes, strict=True):
                expected ^= product(factor, volume[place])
            assert parity[place] == expected


def test_a_parity_volume_does_not_depend_on_how_many_more_there_are() -> None:
    volumes = volumes_of(SIZES)
    assert encoded(volumes, 5)[:2] == encoded(volumes, 2)


def test_any_two_of_twelve_volumes_are_given_back_by_two_parity_volumes() -> None:
    volumes = volumes_of(SIZES)
    parity = encoded(volumes, 2)
    assert [len(content) for content in parity] == [8192, 8192]
    pairs = list(combinations(range(12), 2))
    assert len(pairs) == 66
    for pair in pairs:
        assert rebuilt(volumes, parity, pair) == {index: volumes[index] for index in pair}


def test_lost_parity_volumes_are_given_back_too() -> None:
    volumes = volumes_of(SIZES)
    everything = [*volumes, *encoded(volumes, 2)]
    for lost in chain(combinations(range(14), 1), ((index, 12) for index in range(12)), [(3, 13), (12, 13)]):
        assert rebuilt(volumes, everything[12:], lost) == {index: everything[index] for index in lost}


@st.composite
def damaged_sets(draw: st.DrawFn) -> tuple[list[int], int, set[int]]:
    k = draw(st.integers(1, 40) | st.integers(41, 255))
    count = draw(st.integers(1, min(12, 256 - k)))
    sizes = draw(st.lists(st.integers(0, 90), min_size=k, max_size=k))
    lost = draw(st.sets(st.integers(0, k + count - 1), max_size=count + 2))
    return sizes, count, lost


@settings(deadline=None)
@given(damaged_sets(), st.integers(0, 2**32))
def test_what_is_lost_is_given_back_unless_more_is_lost_than_there_is_parity(
    damaged: tuple[list[int], int, set[int]], seed: int
) -> None:
    sizes, count, lost = damaged
    volumes = volumes_of(sizes, seed)
    everything = [*volumes, *encoded(volumes, count)]
    if shortfall(len(sizes), count, lost):
        assert len(lost) > count
        with pytest.raises(MissingError):
            rebuilt(volumes, everything[len(sizes) :], lost)
    else:
        assert len(lost) <= count
        assert rebuilt(volumes, everything[len(sizes) :], lost) == {index: everything[index] for index in lost}


def test_volumes_of_many_blocks_are_rebuilt() -> None:
    volumes = volumes_of([2_500_001, 1_048_576, 2_097_153, 7])
    parity = encoded(volumes, 2)
    assert rebuilt(volumes, parity, {0, 2}) == {0: volumes[0], 2: volumes[2]}


def test_what_is_written_is_told_to_the_byte() -> None:
    told: list[int] = []
    volumes = volumes_of([2_500_001, 1_048_576, 7])
    encode_parity(
        [reader(volume) for volume in volumes],
        [len(volume) for volume in volumes],
        [lambda _: None] * 2,
        progress=told.append,
        cancelled=Event(),
    )
    assert sum(told) == 2 * 2_500_001
    assert len(told) == 6


@pytest.mark.parametrize(("k", "count"), [(250, 6), (12, 2)])
def test_memory_stays_bounded_however_large_the_volumes_are(k: int, count: int) -> None:
    size = 80 * 1024 * 1024 // k
    lost = set(range(count))
    sizes = [size] * k
    tracemalloc.start()
    try:
        rebuild(
            {index: lambda _, length: bytes(length) for index in range(count, k + count)},
            sizes,
            count,
            dict.fromkeys(lost, len),
            progress=lambda _: None,
            cancelled=Event(),
        )
        encode_parity(
            [lambda _, length: bytes(length)] * k,
            sizes,
            [len] * count,
            progress=lambda _: None,
            cancelled=Event(),
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


def test_too_many_lost_volumes_are_named_with_how_many_are_needed_again() -> None:
    volumes = volumes_of([100] * 5)
    parity = encoded(volumes, 2)
    with pytest.raises(MissingError) as refused:
        rebuilt(volumes, parity, {0, 2, 4, 6})
    assert refused.value.message == (
        "4 of 5 volumes and 2 parity volumes are lost or damaged, and 2 can be rebuilt: "
        "volume 1, volume 3, volume 5, parity volume 2"
    )
    assert refused.value.hint is not None
    assert refused.value.hint.startswith("any 2 more of them")


def test_a_message_does_not_name_a_hundred_volumes() -> None:
    with pytest.raises(MissingError, match=r"volume 9, volume 10 and 92 more$"):
        rebuilt(volumes_of([1] * 100), [b"x"] * 2, set(range(102)))


def test_how_many_are_needed_again_is_told_before_anything_is_read() -> None:
    assert shortfall(12, 2, set()) == 0
    assert shortfall(12, 2, {3, 11}) == 0
    assert shortfall(12, 2, {3, 13}) == 0
    assert shortfall(12, 2, {12, 13}) == 0
    assert shortfall(12, 2, {0, 1, 12, 13}) == 2
    assert shortfall(12, 0, {5}) == 1


def test_a_set_has_at_most_256_volumes() -> None:
    check_counts(254, 2)
    with pytest.raises(UsageError) as refused:
        check_counts(255, 2)
    assert refused.value.hint is not None
    assert "--split-size" in refused.value.hint
    for k, count in ((0, 2), (3, 0)):
        with pytest.raises(UsageError):
            check_counts(k, count)


def test_a_volume_that_ends_early_is_named() -> None:
    volumes = volumes_of([100] * 3)
    cut = [reader(volumes[0]), lambda offset, size: volumes[1][offset : min(offset + size, 60)], reader(volumes[2])]
    with pytest.raises(ContentError, match="volume 2 ends after 60 bytes, and should have 100"):
        encode_parity(cut, [100] * 3, [len], progress=lambda _: None, cancelled=Event())


def test_a_medium_that_cannot_be_read_is_an_error_about_that_volume() -> None:
    def failing(_offset: int, _size: int) -> NoReturn:
        raise OSError(errno.EIO, "said by the system")

    volumes = volumes_of([100] * 3)
    readers = {**readers_without([*volumes, *encoded(volumes, 1)], {0}), 1: failing}
    with pytest.raises(StoreError) as refused:
        rebuild(readers, [100] * 3, 1, {0: len}, progress=lambda _: None, cancelled=Event())
    assert str(refused.value) == "volume 2: cannot read it: Input/output error"


def test_a_full_medium_is_an_error_about_what_was_written() -> None:
    def full(_block: bytes) -> NoReturn:
        raise OSError(errno.ENOSPC, "said by the system")

    with pytest.raises(StoreError, match="parity volume 1: cannot write it: No space left"):
        encode_parity([reader(b"abc")], [3], [full], progress=lambda _: None, cancelled=Event())


def test_it_ends_between_two_blocks_when_cancelled() -> None:
    cancelled = Event()
    written: list[int] = []

    def stop(count: int) -> None:
        written.append(count)
        cancelled.set()

    with pytest.raises(InterruptError):
        encode_parity([reader(bytes(3 << 20))], [3 << 20], [len], progress=stop, cancelled=cancelled)
    assert written == [1 << 20]


@pytest.mark.parametrize(("k", "count"), [(1, 1), (3, 5), (12, 2), (200, 6)])
def test_parity_has_the_bytes_that_zfec_writes(k: int, count: int) -> None:
    volumes = volumes_of([4096] * k)
    numbers = tuple(range(k, k + count))
    assert encoded(volumes, count) == [bytes(block) for block in zfec.Encoder(k, k + count).encode(volumes, numbers)]

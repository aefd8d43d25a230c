from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.server.message import RefusedError
from mirror.server.ranges import chunk_range, matches_etag, wanted_range

SIZE = 3000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=500-1499", (500, 1000)),
        ("bytes=500-", (500, 2500)),
        ("bytes=-500", (2500, 500)),
        ("bytes=-5000", (0, 3000)),
        ("bytes=2000-5000", (2000, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-\u0662", None),
    ],
)
def test_one_range_is_honoured_and_anything_else_is_the_whole(header: str, expected: tuple[int, int] | None) -> None:
    assert wanted_range(header, SIZE) == expected


@pytest.mark.parametrize("header", ["bytes=500-0", "bytes=5000-10000", "bytes=3000-", "bytes=-0"])
def test_a_range_of_nothing_is_refused_with_the_size(header: str) -> None:
    with pytest.raises(RefusedError) as caught:
        wanted_range(header, SIZE)
    assert caught.value.status == 416
    assert ("Content-Range", "bytes */3000") in caught.value.headers


def test_an_empty_blob_has_no_ranges() -> None:
    with pytest.raises(RefusedError):
        wanted_range("bytes=0-", 0)


@given(st.text(max_size=30).map("bytes=".__add__), st.integers(0, 10_000))
def test_a_range_always_lies_inside(header: str, size: int) -> None:
    try:
        found = wanted_range(header, size)
    except RefusedError:
        return
    if found:
        offset, length = found
        assert length > 0
        assert 0 <= offset < offset + length <= size


def test_a_chunk_says_where_it_lies() -> None:
    assert chunk_range("") is None
    assert chunk_range("0-99") == (0, 100)
    assert chunk_range("bytes 100-199/*") == (100, 100)
    assert chunk_range("bytes 100-199/200") == (100, 100)


@pytest.mark.parametrize("header", ["9-0", "x", "0-", "-5", "bytes=0-9", "0-9, 10-19"])
def test_a_malformed_chunk_range_is_refused(header: str) -> None:
    with pytest.raises(RefusedError) as caught:
        chunk_range(header)
    assert caught.value.status == 400


def test_etags_compare_weakly() -> None:
    assert matches_etag('"a", W/"b"', '"b"')
    assert matches_etag("*", '"b"')
    assert not matches_etag('"a"', '"b"')
    assert not matches_etag("", '"b"')

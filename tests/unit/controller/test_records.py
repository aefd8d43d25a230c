"""helm's records: what is wanted of them, whatever else they say."""

from __future__ import annotations

import base64
import gzip
import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from controller.records import Record, read_record


def packed(raw: bytes) -> dict[str, Any]:
    return {"data": {"release": base64.b64encode(base64.b64encode(gzip.compress(raw))).decode()}}


def record(release: object) -> dict[str, Any]:
    return packed(json.dumps(release).encode())


names = st.sampled_from(["info", "chart", "manifest", "description", "metadata", "name", 'a"b', "ü\\"]) | st.text()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(names, inside, max_size=4),
    max_leaves=20,
)
releases = st.dictionaries(names, values, max_size=6)


def wanted(release: Any, *path: str) -> str:
    for name in path:
        release = release.get(name) if isinstance(release, dict) else None
    return release if isinstance(release, str) else ""


@given(releases, st.sampled_from([None, 1]), st.booleans())
def test_it_is_read_as_any_json_is(release: dict[str, Any], indent: int | None, ascii_only: bool) -> None:  # noqa: FBT001
    raw = json.dumps(release, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return
    assert read_record(packed(raw), "a") == Record(
        description=wanted(release, "info", "description"),
        chart=wanted(release, "chart", "metadata", "name"),
        manifest=wanted(release, "manifest"),
    )


def test_the_last_of_one_name_counts_as_for_helm() -> None:
    assert read_record(packed(b'{"manifest": "a", "manifest" : "b" }'), "a").manifest == "b"


@given(st.text(max_size=50))
def test_whatever_else_is_in_a_secret_is_told(text: str) -> None:
    with pytest.raises(ContentError):
        read_record({"data": {"release": text}}, "a")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a": [',
        b'{"a": "',
        b'{"a" 1}',
        b'{"a": 1 2}',
        b"{1: 2}",
        b"\xff",
        b'"a"',
    ],
)
def test_what_is_not_an_object_is_told(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_record(packed(raw), "a")


def test_half_a_pair_of_surrogates_is_replaced_for_it_could_not_be_written() -> None:
    assert read_record(packed(b'{"manifest": "\\ud800"}'), "a").manifest.encode() == b"?"


def test_a_text_without_an_end_is_looked_through_once() -> None:
    began = time.process_time()
    with pytest.raises(ContentError):
        read_record(packed(b'{"a":["' + b'\\"' * 2_000_000), "a")
    assert time.process_time() - began < 5.0, "from each quote anew it would take hours"


def test_one_that_unpacks_without_end_is_refused() -> None:
    with pytest.raises(ContentError):
        read_record(packed(b'{"a": 1}' + b" " * (33 * 1024 * 1024)), "a")


@pytest.mark.parametrize("block", [b"{},", b"[[],[]],", b'"",', b'{"a":{"b":[]}},'])
def test_one_that_was_made_up_of_many_objects_takes_no_more_memory_than_its_text(block: bytes) -> None:
    def held(size: int) -> dict[str, Any]:
        return packed(b'{"info": {"description": "d"}, "a": [' + block * (size // len(block)) + b'1], "manifest": "m"}')

    assert read_record(held(200_000), "a") == Record(description="d", manifest="m")
    bomb = held(16 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(ContentError):
            read_record(bomb, "a")
        assert tracemalloc.get_traced_memory()[1] < 4 * 16 * 1024 * 1024
    finally:
        tracemalloc.stop()

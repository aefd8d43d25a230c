"""A wrong blob never comes out whole."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError, TransportError
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.verifying import VerifyingReader


def described(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data, algorithm), len(data))


def drain(reader: VerifyingReader, size: int, stored: bytearray) -> None:
    """Write blocks into ``stored`` as a writer would."""
    while block := reader.read(size):
        stored += block


@given(st.binary(max_size=300), st.integers(1, 400), st.sampled_from(["sha256", "sha512"]))
def test_a_right_blob_passes_in_any_block_size(data: bytes, size: int, algorithm: str) -> None:
    with VerifyingReader(io.BytesIO(data), described(data, algorithm)) as reader:
        stored = bytearray()
        drain(reader, size, stored)
        assert stored == data
        assert reader.read(size) == b""


@given(st.binary(min_size=1, max_size=200), st.binary(max_size=200), st.integers(1, 300))
def test_a_different_body_never_comes_out_whole(data: bytes, other: bytes, size: int) -> None:
    stored = bytearray()
    reader = VerifyingReader(io.BytesIO(other), described(data))
    if other == data:
        return
    with pytest.raises((ContentError, TransportError)):
        drain(reader, size, stored)
    assert len(stored) < len(data)


def test_a_longer_body_is_refused_before_the_last_block() -> None:
    reader = VerifyingReader(io.BytesIO(b"abcdef"), described(b"abc"))
    assert reader.read(2) == b"ab"
    with pytest.raises(ContentError, match="longer than its 3 bytes"):
        reader.read(2)


def test_a_shorter_body_is_a_retryable_cut() -> None:
    with pytest.raises(TransportError, match="ended after 2 of 3") as caught:
        VerifyingReader(io.BytesIO(b"ab"), described(b"abc")).read()
    assert caught.value.retryable


def test_a_wrong_digest_names_both_and_is_not_retryable() -> None:
    with pytest.raises(ContentError, match=hashlib.sha256(b"abd").hexdigest()) as caught:
        VerifyingReader(io.BytesIO(b"abd"), described(b"abc")).read()
    assert caught.value.artifact == str(Digest.of(b"abc"))
    assert not caught.value.retryable


def test_a_body_of_nothing_is_checked_too() -> None:
    assert VerifyingReader(io.BytesIO(), described(b"")).read(10) == b""
    with pytest.raises(ContentError):
        VerifyingReader(io.BytesIO(b"x"), described(b"")).read(10)
    with pytest.raises(ContentError, match="has digest"):
        VerifyingReader(io.BytesIO(), replace(described(b"x"), size=0)).read(10)


def test_the_stated_sha512_is_enforced_from_the_beginning() -> None:
    right = hashlib.sha512(b"abc").hexdigest()
    good = replace(described(b"abc"), annotations={SHA512_ANNOTATION: right.upper()})
    assert VerifyingReader(io.BytesIO(b"abc"), good).read() == b"abc"
    bad = replace(good, annotations={SHA512_ANNOTATION: "0" * 128})
    with pytest.raises(ContentError, match="has sha512"):
        VerifyingReader(io.BytesIO(b"abc"), bad).read()


def test_a_reader_goes_on_where_another_stopped_with_all_its_hashes() -> None:
    stated = replace(described(b"abcd"), annotations={SHA512_ANNOTATION: hashlib.sha512(b"abcd").hexdigest()})
    first = VerifyingReader(io.BytesIO(b"abXX"), stated)
    assert first.read(2) == b"ab"
    since = first.checkpoint()
    with pytest.raises(ContentError):
        first.read()
    for _ in range(2):
        again = VerifyingReader(io.BytesIO(b"cd"), stated, since=since)
        assert again.read() == b"cd"
    assert VerifyingReader(io.BytesIO(), stated, since=again.checkpoint()).read(5) == b""
    with pytest.raises(ContentError, match="has digest"):
        VerifyingReader(io.BytesIO(b"cX"), stated, since=since).read()


def test_closing_closes_what_is_below() -> None:
    below = io.BytesIO(b"abc")
    with VerifyingReader(below, described(b"abc")):
        pass
    assert below.closed

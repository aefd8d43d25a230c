"""Digests."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from mirror.oci.digest import Digest


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_survives_being_written_and_read(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.encoded == hashlib.new(algorithm, data).hexdigest()


@given(st.text(max_size=200))
def test_text_that_is_no_digest_is_a_content_error(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except ContentError:
        return
    assert str(digest) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "sha256:" + "0" * 64 + "\n",
        " sha256:" + "0" * 64,
    ],
)
def test_near_misses_are_refused(text: str) -> None:
    with pytest.raises(ContentError):
        Digest.parse(text)

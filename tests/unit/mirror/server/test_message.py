from __future__ import annotations

import io
import json
from typing import Any

import pytest

from bundlectl.errors import TransportError
from mirror.server.message import BlobBody, RefusedError, Request, RequestBody, refusal


def environ(body: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "PUT", "PATH_INFO": "/v2/", "wsgi.input": io.BytesIO(body), **more}


def test_a_body_ends_where_its_length_says() -> None:
    body = Request.from_environ(environ(b"hello, next request", CONTENT_LENGTH="5")).body()
    assert body.read() == b"hello"
    assert body.read() == b""
    assert body.received == 5


def test_a_body_shorter_than_announced_is_an_error() -> None:
    body = Request.from_environ(environ(b"hel", CONTENT_LENGTH="5")).body()
    assert body.read() == b"hel"
    with pytest.raises(TransportError) as caught:
        body.read()
    assert caught.value.retryable


@pytest.mark.parametrize("length", ["-1", "+5", "5,5", "0x5", "1_0", "five", "\u0665", "9" * 30])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(RefusedError):
        Request.from_environ(environ(CONTENT_LENGTH=length)).body()


def test_a_body_without_length_is_empty() -> None:
    assert Request.from_environ(environ(b"ignored")).body().read() == b""


def test_a_chunked_body_is_read_to_its_end() -> None:
    body = Request.from_environ(environ(b"x" * 300_000, **{"wsgi.input_terminated": True})).body()
    total = 0
    while block := body.read(1 << 20):
        total += len(block)
    assert total == 300_000


def test_a_small_body_is_read_whole_and_a_large_one_not_at_all() -> None:
    assert RequestBody(io.BytesIO(b"12345"), None).read_all(5) == b"12345"
    assert RequestBody(io.BytesIO(b"123456"), None).read_all(5) is None
    announced = RequestBody(io.BytesIO(b"123456"), 6)
    assert announced.read_all(5) is None
    assert announced.received == 0


def test_a_broken_stream_is_a_transport_error() -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise ValueError(size)

    with pytest.raises(TransportError):
        RequestBody(Broken(), None).read(10)


@pytest.mark.parametrize(
    "change", [{"PATH_INFO": "/\xff"}, {"QUERY_STRING": "&".join("ab" * 40)}, {"QUERY_STRING": "a=%ff"}]
)
def test_a_malformed_url_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(RefusedError) as caught:
        Request.from_environ(environ(**change))
    assert caught.value.status == 400


def test_a_refusal_has_one_error_for_each_detail() -> None:
    response = refusal(RefusedError(400, "MANIFEST_BLOB_UNKNOWN", "gone", detail=[{"digest": "a"}, {"digest": "b"}]))
    errors = json.loads(response.body if isinstance(response.body, bytes) else b"")["errors"]
    assert [error["detail"] for error in errors] == [{"digest": "a"}, {"digest": "b"}]
    assert {error["code"] for error in errors} == {"MANIFEST_BLOB_UNKNOWN"}


class Source(io.BytesIO):
    def fileno(self) -> int:
        raise OSError


def test_a_blob_is_sent_to_its_length_and_closed() -> None:
    source = Source(b"x" * 3_000_000)
    body = BlobBody(source, 2_500_000)
    assert sum(len(block) for block in body) == 2_500_000
    assert body.fileno() is None
    body.close()
    body.close()
    assert source.closed


def test_a_blob_that_ends_early_is_an_error() -> None:
    body = BlobBody(Source(b"short"), 10)
    with pytest.raises(TransportError):
        list(body)

"""Answers over a connection that is open already: how they are framed, and when it is used again."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import TransportError
from mirror.http import HostTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mirror.http import HttpClient
    from tests.unit.mirror.conftest import Asked, Authority, Web

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = {
    "length": OK + b"Content-Length: 4\r\n\r\nbody",
    "said twice": OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
    "without a reason": b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\nb\r\n3\r\nody\r\n0\r\nTrailer: x\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    + OK
    + b"Content-Length: 4\r\n\r\nbody",
}
CLOSING = {
    "until the end": OK + b"\r\nbody",
    "said so": OK + b"Connection: close\r\nContent-Length: 4\r\n\r\nbody",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "length and chunks": OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
}
BROKEN = {
    "nothing": b"",
    "no answer": b"220 smtp.example ESMTP\r\n\r\n",
    "short": OK + b"Content-Length: 9\r\n\r\nbody",
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody.",
    "negative": OK + b"Content-Length: -4\r\n\r\nbody",
    "folded": OK + b"X: a\r\n b\r\nContent-Length: 4\r\n\r\nbody",
    "space before the colon": OK + b"Content-Length : 4\r\n\r\nbody",
    "no header": OK + b"nonsense\r\n\r\nbody",
    "endless head": OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "interim without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 100,
    "cut head": OK + b"Content-Le",
    "chunk without size": OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\nbody\r\n0\r\n\r\n",
    "chunk too long": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nbody\r\n0\r\n\r\n",
    "cut in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nbody",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
}


@pytest.fixture
def warm(make_client: Callable[..., HttpClient], web: Web) -> HttpClient:
    """A client with one open connection."""
    client = make_client(retries=0)
    client.request("GET", web.url("/first"))
    return client


def says(raw: bytes, *, stay: bool) -> Callable[[Asked], object]:
    """Answer with these bytes, and close afterwards unless told to stay; ``/port`` tells the client's port."""

    def answer(asked: Asked) -> object:
        if asked.path == "/port":
            return 200, {}, str(asked.raw.client_address[1]).encode()
        asked.raw.wfile.write(raw)
        asked.raw.wfile.flush()
        while stay and not asked.raw.close_connection:
            asked.raw.handle_one_request()
        return None

    return answer


def port(client: HttpClient, web: Web) -> bytes:
    return client.request("GET", web.url("/port")).read(10)


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_read_to_its_end_and_the_connection_used_again(
    warm: HttpClient, web: Web, form: str, *, stream: bool
) -> None:
    web.answer = says(WHOLE[form], stay=True)
    before = port(warm, web)
    with warm.request("GET", web.url(), stream=stream) as response:
        body = response.reader().read() if stream else response.read(10)
    assert (response.status, body) == (200, b"body")
    assert port(warm, web) == before


@pytest.mark.parametrize("form", CLOSING)
def test_a_connection_that_ends_or_is_in_doubt_is_not_used_again(warm: HttpClient, web: Web, form: str) -> None:
    web.answer = says(CLOSING[form], stay=form == "length and chunks")
    before = port(warm, web)
    assert warm.request("GET", web.url()).read(10) == b"body"
    assert port(warm, web) != before


@pytest.mark.parametrize("form", BROKEN)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_whole_answer_is_an_error_and_its_connection_gone(
    warm: HttpClient, web: Web, form: str, *, stream: bool
) -> None:
    web.answer = says(BROKEN[form], stay=False)
    before = port(warm, web)
    with pytest.raises(TransportError), warm.request("GET", web.url(), stream=stream) as response:
        response.reader().read()
    assert port(warm, web) != before


def test_a_body_that_nobody_reads_to_its_end_takes_its_connection_along(warm: HttpClient, web: Web) -> None:
    web.answer = says(OK + b"Content-Length: 5\r\n\r\nbody", stay=True)
    before = port(warm, web)
    with warm.request("GET", web.url(), stream=True) as response:
        assert response.reader().read(2) == b"bo"
    assert port(warm, web) != before


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_leaves_the_connection_free(warm: HttpClient, web: Web, status: int) -> None:
    web.answer = says(b"HTTP/1.1 %d X\r\nContent-Length: 7\r\n\r\n" % status, stay=True)
    before = port(warm, web)
    assert warm.request("GET", web.url()).read(10) == b""
    assert warm.request("HEAD", web.url()).number("Content-Length") == 7
    assert port(warm, web) == before


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", OK + b"Content-Length: 4\r\n\r\nbody"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
        ("GET", OK + b"Content-Length: 4\r\n\r\nbody"),
        ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
    ],
)
def test_what_follows_an_answer_unasked_is_not_taken_for_the_next(
    warm: HttpClient, web: Web, method: str, answer: bytes
) -> None:
    forged = OK + b"Content-Length: 6\r\n\r\nforged"
    web.answer = says(answer + forged, stay=True)
    warm.request(method, web.url("/odd"))
    web.answer = lambda _: (200, {}, b"right")
    assert warm.request("GET", web.url("/next")).read(100) == b"right"


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb"])
def test_a_header_cannot_smuggle_another_one_in(warm: HttpClient, web: Web, value: str) -> None:
    with pytest.raises((TransportError, ValueError)):
        warm.request("GET", web.url(), headers={"X-A": value})
    assert len(web.asked) == 1


def test_a_target_with_odd_characters_is_asked_for_all_the_same(warm: HttpClient, web: Web) -> None:
    warm.request("GET", web.url("/a|b?c=<d>"))
    assert web.asked[1].path == "/a%7Cb?c=%3Cd%3E"


class Spliced(io.FileIO):
    """A file that may leave unread (``FileBacked``), and remembers what was read nevertheless."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count = 0
        self.blocks: list[int] = []

    @property
    def file(self) -> int:
        return self.fileno()

    def passed(self, count: int) -> None:
        self.count += count

    def read(self, size: int = -1, /) -> bytes:
        self.blocks.append(size)
        return super().read(size) or b""


def test_a_file_is_sent_by_the_kernel_without_being_read(warm: HttpClient, web: Web, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "blob").write_bytes(data)
    bodies: list[bytes] = []
    web.answer = lambda asked: (201, {}, b"") if bodies.append(asked.body) is None else None  # type: ignore[func-returns-value]
    with Spliced(tmp_path / "blob") as body:
        assert warm.request("PUT", web.url(), body=body, length=len(data)).status == 201
        assert (body.count, body.blocks) == (len(data), [])
    assert bodies == [data]


def test_a_file_that_ends_early_never_completes_a_request(warm: HttpClient, web: Web, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"12345")
    with Spliced(tmp_path / "blob") as body, pytest.raises(TransportError, match="ended after 5 of 10"):
        warm.request("PUT", web.url(), body=body, length=10)


def test_under_tls_a_file_is_read(
    make_client: Callable[..., HttpClient], make_web: Callable[..., Web], authority: Authority, tmp_path: Path
) -> None:
    server = make_web(authority.server)
    client = make_client(hosts={server.host: HostTransport(ca_file=authority.ca)})
    client.request("GET", server.url())
    (tmp_path / "blob").write_bytes(b"x" * 1000)
    with Spliced(tmp_path / "blob") as body:
        client.request("PUT", server.url(), body=body, length=1000)
        assert (body.count, sum(body.blocks) > 0) == (0, True)
    assert server.asked[1].body == b"x" * 1000

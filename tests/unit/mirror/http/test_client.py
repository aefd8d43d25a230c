"""Requests, retries, ranges and limits against real servers."""

from __future__ import annotations

import email.utils
import io
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError, RegistryError, TransportError, UsageError
from bundlectl.events import Waiting
from mirror.http import HostTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bundlectl.events import Event
    from mirror.http import HttpClient
    from tests.unit.mirror.conftest import Asked, Authority, Web

DATA = bytes(range(256)) * 4096


def ranged(asked: Asked) -> Any:
    """A file server that knows ranges."""
    wanted = asked.headers.get("Range")
    if not wanted:
        return 200, {}, DATA
    start, _, end = wanted.removeprefix("bytes=").partition("-")
    if int(start) >= len(DATA):
        return 416, {"Content-Range": f"bytes */{len(DATA)}"}, b""
    last = min(int(end or len(DATA) - 1), len(DATA) - 1)
    part = DATA[int(start) : last + 1]
    return 206, {"Content-Range": f"bytes {start}-{last}/{len(DATA)}"}, part


def test_any_status_is_an_answer(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (418, {"X-A": "b"}, b"teapot")
    answer = client.request("GET", web.url("/x?y=%2F&z=a+b"))
    assert (answer.status, answer.headers["x-a"], answer.read(10)) == (418, "b", b"teapot")
    assert web.lines == ["GET /x?y=%2F&z=a+b"]
    assert web.asked[0].headers["User-Agent"].startswith("bundlectl/")
    assert web.asked[0].headers["Accept-Encoding"] == "identity"


def test_connections_are_reused_and_cookies_are_never_kept(client: HttpClient, web: Web) -> None:
    web.answer = lambda asked: (200, {"Set-Cookie": "sid=1"}, str(asked.raw.client_address[1]).encode())
    ports = {client.request(method, web.url()).read(10) for method in ("GET", "POST", "HEAD", "GET")} - {b""}
    assert len(ports) == 1
    assert not any(asked.headers.get("Cookie") for asked in web.asked)


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_statuses_that_pass_are_tried_again(client: HttpClient, web: Web, status: int, events: list[Event]) -> None:
    web.answer = lambda _asked: (200, {}, b"ok") if len(web.asked) > 2 else (status, {}, b"<html>")
    assert client.request("GET", web.url()).read(10) == b"ok"
    assert len(web.asked) == 3
    waits = [event for event in events if isinstance(event, Waiting)]
    assert len(waits) == 2
    assert str(status) in waits[0].reason


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 412, 413, 501])
def test_statuses_that_stay_are_not_tried_again(client: HttpClient, web: Web, status: int) -> None:
    web.answer = lambda _asked: (status, {}, b"")
    assert client.request("GET", web.url()).status == status
    assert len(web.asked) == 1


def test_500_is_tried_again_only_twice(make_client: Callable[..., HttpClient], web: Web) -> None:
    web.answer = lambda _asked: (500, {}, b"")
    assert make_client(retries=9).request("GET", web.url()).status == 500
    assert len(web.asked) == 3


def test_after_the_last_retry_the_last_answer_is_returned(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (503, {}, b"closed")
    assert client.request("GET", web.url()).read(10) == b"closed"
    assert len(web.asked) == 4


def test_a_post_is_tried_again_only_when_asked(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (503, {}, b"")
    client.request("POST", web.url(), body=b"x")
    assert len(web.asked) == 1
    client.request("POST", web.url(), body=b"x", retry=True)
    assert len(web.asked) == 5
    assert all(asked.body == b"x" for asked in web.asked)


def test_a_get_is_not_tried_again_when_told_so(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (503, {}, b"")
    client.request("GET", web.url(), retry=False)
    assert len(web.asked) == 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_pauses_the_whole_host_up_to_the_ceiling(
    make_client: Callable[..., HttpClient], web: Web, events: list[Event], form: str
) -> None:
    client = make_client(max_wait=0.15)
    asks = "3600" if form == "seconds" else email.utils.formatdate(time.time() + 3600, usegmt=True)
    web.answer = lambda _asked: (200, {}, b"ok") if len(web.asked) > 1 else (429, {"Retry-After": asks}, b"")
    first = threading.Thread(target=client.request, args=("GET", web.url()))
    first.start()
    while not events:
        time.sleep(0.005)
    began = time.monotonic()
    assert client.request("GET", web.url("/other")).status == 200
    waited = time.monotonic() - began
    first.join()
    assert waited > 0.02
    wait = next(event for event in events if isinstance(event, Waiting))
    assert 0.1 < wait.seconds < 0.4
    assert wait.host == web.host


def test_a_connection_that_breaks_before_the_answer_is_tried_again(client: HttpClient, web: Web) -> None:
    def answer(asked: Asked) -> Any:
        if len(web.asked) < 3:
            asked.raw.connection.shutdown(socket.SHUT_RDWR)
            return None
        return 200, {}, b"ok"

    web.answer = answer
    assert client.request("GET", web.url()).read(10) == b"ok"


def test_a_truncated_body_is_tried_again(client: HttpClient, web: Web) -> None:
    def answer(asked: Asked) -> Any:
        if len(web.asked) < 3:
            asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
            return None
        return 200, {}, b"whole"

    web.answer = answer
    assert client.fetch(web.url(), limit=100) == b"whole"


def test_a_body_cut_while_it_streams_is_a_retryable_error(client: HttpClient, web: Web) -> None:
    def answer(asked: Asked) -> Any:
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)

    web.answer = answer
    with client.open(web.url()) as reader, pytest.raises(TransportError) as caught:
        reader.read()
    assert caught.value.retryable
    assert len(web.asked) == 1


def test_a_refused_connection_names_the_host_and_a_way_out(client: HttpClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TransportError, match=f"127.0.0.1:{port} cannot be reached: connection refused") as caught:
        client.request("GET", f"http://127.0.0.1:{port}/?secret=1")
    assert caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_name_that_does_not_exist_is_told_plainly(client: HttpClient) -> None:
    with pytest.raises(TransportError, match=r"the name of no\.such\.invalid cannot be resolved"):
        client.request("GET", "https://no.such.invalid/")


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc/passwd", "https://", "host/x", "https://a b/"])
def test_what_is_no_web_url_is_refused(client: HttpClient, url: str) -> None:
    with pytest.raises(UsageError):
        client.request("GET", url)


def test_a_silent_server_is_given_up(make_client: Callable[..., HttpClient], web: Web) -> None:
    release = threading.Event()

    def answer(_asked: Asked) -> Any:
        release.wait(5)

    web.answer = answer
    with pytest.raises(TransportError, match="fell silent") as caught:
        make_client(read_timeout=0.05, retries=0).request("GET", web.url())
    release.set()
    assert not caught.value.retryable  # it was tried as often as it may be


def test_a_document_that_drips_meets_its_deadline(make_client: Callable[..., HttpClient], web: Web) -> None:
    def answer(asked: Asked) -> Any:
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            asked.raw.wfile.write(b"x")
            asked.raw.wfile.flush()
            time.sleep(0.01)

    web.answer = answer
    with pytest.raises(TransportError, match="took longer"):
        make_client(deadline=0.05, retries=0).fetch(web.url(), limit=2000)


def test_fetch_tells_missing_from_refused_and_stops_at_its_limit(client: HttpClient, web: Web) -> None:
    statuses = {"/gone": 404, "/very": 410, "/no": 403, "/big": 200}
    web.answer = lambda asked: (statuses[asked.path], {}, b"x" * 100)
    for path in ("/gone", "/very"):
        with pytest.raises(MissingError):
            client.fetch(web.url(path), limit=10)
    with pytest.raises(RegistryError) as caught:
        client.fetch(web.url("/no"), limit=10)
    assert caught.value.status == 403
    with pytest.raises(ContentError, match="larger than 10 bytes"):
        client.fetch(web.url("/big"), limit=10)


def test_a_file_opens_at_an_offset(client: HttpClient, web: Web) -> None:
    web.answer = ranged
    with client.open(web.url(), offset=1000) as reader:
        assert reader.read() == DATA[1000:]
    with client.open(web.url(), offset=10, size=20) as reader:
        assert reader.read() == DATA[10:30]
    assert [asked.headers["Range"] for asked in web.asked] == ["bytes=1000-", "bytes=10-29"]


def test_a_server_without_ranges_is_read_past_the_offset(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (200, {}, DATA)
    with client.open(web.url(), offset=300_000) as reader:
        assert reader.read() == DATA[300_000:]
    with client.open(web.url(), offset=5, size=7) as reader:
        assert reader.read() == DATA[5:12]


def test_another_range_than_asked_for_is_an_error(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (206, {"Content-Range": "bytes 0-9/100"}, b"0123456789")
    with pytest.raises(ContentError, match="asked from byte 50"):
        client.open(web.url(), offset=50)


def test_a_range_from_the_very_end_is_empty(client: HttpClient, web: Web) -> None:
    web.answer = ranged
    with client.open(web.url(), offset=len(DATA)) as reader:
        assert reader.read() == b""
    with pytest.raises(RegistryError):
        client.open(web.url(), offset=len(DATA) + 1)


def test_head_gives_the_size_or_none(client: HttpClient, web: Web) -> None:
    answers = {
        "/a": (200, {"Content-Length": "123"}, b""),
        "/b": (405, {}, b""),
        "/c": (404, {}, b""),
    }
    web.answer = lambda asked: answers[asked.path]
    assert client.head(web.url("/a")) == 123
    assert client.head(web.url("/b")) is None
    with pytest.raises(MissingError):
        client.head(web.url("/c"))


def test_a_number_without_end_is_no_number(client: HttpClient, web: Web) -> None:
    long = "9" * 5000
    web.answer = lambda _asked: (206, {"Content-Range": f"bytes {long}-{long}/*"}, b"data")
    with pytest.raises(ContentError, match="asked from byte 3"):
        client.open(web.url(), offset=3)
    web.answer = lambda _asked: (200, {"Content-Length": long}, b"")
    assert client.head(web.url()) is None


def test_a_reader_is_sent_with_its_length_and_in_large_blocks(client: HttpClient, web: Web) -> None:
    sizes = []

    class Watched(io.BytesIO):
        def read(self, size: int = -1, /) -> Any:
            sizes.append(size)
            return super().read(size)

    bodies = []
    web.answer = lambda asked: (201, {}, b"") if bodies.append(asked.body) is None else None
    assert client.request("PUT", web.url(), body=Watched(DATA), length=len(DATA)).status == 201
    assert bodies == [DATA]
    assert web.asked[0].headers["Content-Length"] == str(len(DATA))
    assert min(sizes) >= 256 * 1024


def test_a_source_of_another_length_never_completes_a_request(client: HttpClient, web: Web) -> None:
    web.answer = lambda asked: (201, {}, asked.body[:0])
    with pytest.raises(TransportError, match="ended after 5 of 10"):
        client.request("PUT", web.url(), body=io.BytesIO(b"12345"), length=10)
    with pytest.raises(ContentError, match="longer than 3"):
        client.request("PUT", web.url(), body=io.BytesIO(b"12345"), length=3)
    assert client.request("GET", web.url("/after")).status == 201


def test_an_answer_before_the_end_of_the_body_is_read(client: HttpClient, web: Web) -> None:
    answered = threading.Event()

    def answer(asked: Asked) -> Any:
        if asked.method == "GET":
            return 200, {}, b"fine"
        asked.raw.wfile.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        asked.raw.wfile.flush()
        answered.set()
        asked.raw.rfile.read(1024 * 1024)
        return None

    class Slow(io.BytesIO):
        def read(self, size: int = -1, /) -> Any:
            if self.tell() > 1024 * 1024:
                answered.wait(5)
                time.sleep(0.02)
            return super().read(size)

    web.answer = answer
    body = Slow(b"x" * (64 * 1024 * 1024))
    response = client.request("PUT", web.url(), body=body, length=64 * 1024 * 1024)
    assert (response.status, response.read(10)) == (413, b"big")
    assert body.tell() < 8 * 1024 * 1024
    assert client.request("GET", web.url()).read(10) == b"fine"


def test_the_rate_limit_holds_over_downloads(make_client: Callable[..., HttpClient], web: Web) -> None:
    web.answer = lambda _asked: (200, {}, b"x" * 30_000)
    client = make_client(limit_rate=200_000)
    began = time.monotonic()
    for _ in range(2):
        with client.open(web.url()) as reader:
            while reader.read(10_000):
                pass
    assert time.monotonic() - began > 0.2


def test_offline_reaches_loopback_and_named_hosts_only(make_client: Callable[..., HttpClient], web: Web) -> None:
    client = make_client(offline_hosts=frozenset({"harbor.invalid:8443"}), retries=0)
    assert client.request("GET", web.url()).status == 200
    with pytest.raises(TransportError, match="not reached with --offline"):
        client.request("GET", "https://public.ecr.aws/v2/")
    with pytest.raises(TransportError, match="not reached with --offline"):
        client.request("GET", "https://harbor.invalid/v2/")
    with pytest.raises(TransportError, match="cannot be resolved"):
        client.request("GET", "https://harbor.invalid:8443/v2/")


def test_cancelling_wakes_a_reader_a_waiter_and_refuses_what_comes_after(
    make_client: Callable[..., HttpClient], web: Web
) -> None:
    client = make_client(max_wait=60.0, backoff=30.0)
    release = threading.Event()

    def answer(asked: Asked) -> Any:
        if asked.path == "/wait":
            return 503, {"Retry-After": "60"}, b""
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\n\r\nsome")
        asked.raw.wfile.flush()
        release.wait(5)
        return None

    web.answer = answer
    caught = []

    def expect(call: Any) -> Any:
        try:
            call()
        except InterruptError as error:
            caught.append(error)

    threads = [
        threading.Thread(target=expect, args=(lambda: client.open(web.url("/read")).read(),)),
        threading.Thread(target=expect, args=(lambda: client.request("GET", web.url("/wait")),)),
    ]
    for thread in threads:
        thread.start()
    while len(web.asked) < 2:
        time.sleep(0.005)
    time.sleep(0.05)
    client.cancel()
    for thread in threads:
        thread.join(5)
    release.set()
    assert len(caught) == 2
    with pytest.raises(InterruptError):
        client.request("GET", web.url())


def test_a_warning_of_the_server_is_passed_on_once(client: HttpClient, web: Web, events: list[Event]) -> None:
    web.answer = lambda _asked: (200, {"Warning": '299 - "read \x1b[31mthis", 299 - "and \\"that\\""'}, b"")
    for _ in range(3):
        client.request("GET", web.url())
    assert [event.message.partition(" says: ")[2] for event in events] == ["read  [31mthis", 'and "that"']


def test_a_refusal_in_the_middle_of_a_body_is_read_under_tls_too(
    make_client: Callable[..., HttpClient], make_web: Callable[..., Web], authority: Authority
) -> None:
    server = make_web(authority.server)

    def answer(asked: Asked) -> Any:
        asked.raw.rfile.read(1024)
        asked.raw.wfile.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        asked.raw.wfile.flush()

    server.answer = answer
    client = make_client(hosts={server.host: HostTransport(ca_file=authority.ca)})
    size = 64 * 1024 * 1024
    response = client.request("PUT", server.url(), body=io.BytesIO(bytes(size)), length=size)
    assert (response.status, response.read(10)) == (413, b"big")


def test_a_url_without_tls_is_refused_unless_its_host_was_named(client: HttpClient) -> None:
    with pytest.raises(TransportError, match="without TLS") as caught:
        client.fetch("http://192.0.2.1/x", limit=10)
    assert "--plain-http 192.0.2.1" in str(caught.value.hint)

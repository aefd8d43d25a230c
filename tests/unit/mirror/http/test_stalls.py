"""A transfer ends when nothing moves, and never because it takes long."""

from __future__ import annotations

import io
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import TransportError
from mirror.http import HostTransport
from mirror.http.addresses import origin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.http import HttpClient
    from tests.unit.mirror.conftest import Asked, Authority, Web

STALL = 0.7  # seconds; long enough for a busy machine
SIZE = 480 * 1024


def slow_reader(asked: Asked) -> Any:
    """Take a body at a rate that makes each of the client's blocks last longer than the stall limit."""
    asked.raw.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    asked._body = b""
    left = int(asked.headers["Content-Length"])
    while left:
        left -= len(asked.raw.rfile.read1(16 * 1024))
        time.sleep(0.055)
    return 201, {}, b""


def drip(asked: Asked) -> Any:
    """Send a body in small pieces, over many times the stall limit."""
    asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(10):
        asked.raw.wfile.write(b"x" * 10)
        asked.raw.wfile.flush()
        time.sleep(0.12)


@pytest.fixture(params=["plain", "tls"])
def place(
    request: pytest.FixtureRequest,
    make_client: Callable[..., HttpClient],
    make_web: Callable[..., Web],
    authority: Authority,
) -> tuple[HttpClient, Web]:
    server = make_web(authority.server if request.param == "tls" else None)
    hosts = {server.host: HostTransport(ca_file=authority.ca)} if request.param == "tls" else {}
    return make_client(read_timeout=STALL, retries=0, hosts=hosts), server


def test_a_slow_upload_that_goes_on_is_never_cut(place: tuple[HttpClient, Web]) -> None:
    client, server = place
    server.answer = slow_reader
    # As on a slow line, where the kernel holds little: on loopback it would take the whole body at once.
    small = (socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    client._pools.get(origin_of(server.url())).conn_kw["socket_options"] = [small]
    began = time.monotonic()
    body = io.BytesIO(bytes(SIZE))
    assert client.request("PUT", server.url(), body=body, length=SIZE).status == 201
    assert time.monotonic() - began > 2 * STALL


def test_an_upload_that_nobody_reads_is_cut_and_may_be_tried_again(place: tuple[HttpClient, Web]) -> None:
    client, server = place
    release = threading.Event()
    server.answer = lambda _asked: release.wait(10) and None
    began = time.monotonic()
    with pytest.raises(TransportError, match="fell silent") as caught:
        client.request("PUT", server.url(), body=io.BytesIO(bytes(64 * SIZE)), length=64 * SIZE)
    release.set()
    assert caught.value.retryable
    assert time.monotonic() - began < 10 * STALL


def test_a_slow_download_that_goes_on_is_never_cut(place: tuple[HttpClient, Web]) -> None:
    client, server = place
    server.answer = drip
    began = time.monotonic()
    with client.open(server.url()) as reader:
        assert reader.read() == b"x" * 100
    assert time.monotonic() - began > 1.5 * STALL


def test_a_download_that_falls_silent_is_cut_and_may_be_tried_again(place: tuple[HttpClient, Web]) -> None:
    client, server = place
    release = threading.Event()

    def answer(asked: Asked) -> Any:
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        asked.raw.wfile.flush()
        release.wait(10)

    server.answer = answer
    began = time.monotonic()
    with client.open(server.url()) as reader, pytest.raises(TransportError, match="fell silent") as caught:
        reader.read()
    release.set()
    assert caught.value.retryable
    assert time.monotonic() - began < 10 * STALL


def test_a_host_that_was_silent_through_all_tries_gets_one_a_request_until_it_answers(
    make_client: Callable[..., HttpClient], make_web: Callable[..., Web]
) -> None:
    client, server = make_client(read_timeout=0.2, retries=2, backoff=0.001), make_web(None)
    awake, asked = threading.Event(), []

    def answer(request: Asked) -> Any:
        asked.append(request.path)
        return (200, {}, b"ok") if awake.wait(0 if awake.is_set() else 1) else None

    server.answer = answer
    for number, tries in enumerate((3, 1, 1)):
        with pytest.raises(TransportError, match="fell silent") as caught:
            client.request("GET", server.url(f"/{number}"))
        assert asked.count(f"/{number}") == tries
        assert not caught.value.retryable  # whoever called must not multiply the tries
    awake.set()
    assert client.request("GET", server.url("/awake")).status == 200
    awake.clear()
    with pytest.raises(TransportError, match="fell silent"):
        client.request("GET", server.url("/again"))
    assert asked.count("/again") == 3


@pytest.mark.parametrize("first", [True, False], ids=["new connection", "kept connection"])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_download_that_only_drips_is_cut_and_may_be_tried_again(
    place: tuple[HttpClient, Web], monkeypatch: pytest.MonkeyPatch, *, first: bool, chunked: bool
) -> None:
    monkeypatch.setattr("mirror.http.pace._WINDOW", STALL)
    client, server = place
    if not first:
        server.answer = lambda _asked: (200, {}, b"ok")
        assert client.request("GET", server.url()).read(10) == b"ok"
    over = threading.Event()

    def answer(asked: Asked) -> Any:
        length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 1000000"
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n" + (b"F4240\r\n" if chunked else b""))
        with suppress(OSError):
            while not over.wait(0.05):
                asked.raw.wfile.write(b"x")
                asked.raw.wfile.flush()

    server.answer = answer
    try:
        with client.open(server.url()) as reader, pytest.raises(TransportError, match="kibibyte a second") as caught:
            reader.read(500_000)
    finally:
        over.set()
    assert caught.value.retryable


def test_a_download_that_we_read_slowly_ourselves_is_not_cut(
    place: tuple[HttpClient, Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.http.pace._WINDOW", 0.3)
    client, server = place
    server.answer = lambda _asked: (200, {}, bytes(20_000))
    with client.open(server.url()) as reader:
        for _ in range(20):
            assert reader.read(1000)
            time.sleep(0.03)
        assert reader.read() == b""


def test_a_registry_may_take_long_to_put_a_blob_into_place(
    place: tuple[HttpClient, Web], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = place

    def answer(asked: Asked) -> Any:
        _ = asked.body
        time.sleep(2 * STALL)
        return 201, {}, b""

    monkeypatch.setattr("mirror.http.pace._WINDOW", STALL)  # a head is no body, however long it takes
    server.answer = answer
    for _ in range(2):
        assert client.request("PUT", server.url(), body=io.BytesIO(b"blob"), length=4).status == 201

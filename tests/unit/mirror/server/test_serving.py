"""The HTTP server under a small application: limits, odd clients, TLS, stopping."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import select
import socket
import ssl
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization

from bundlectl.errors import ConfigError, UsageError
from mirror.server.selfsigned import self_signed
from mirror.server.serving import RegistryServer, TlsFiles, listen, parse_listen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bundlectl.events import Event


EVERY = "0.0.0.0"  # noqa: S104 -- never bound here


class Echo:
    """Answers with what it was asked, reads bodies under /read only."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.release = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.seen.append((environ["REQUEST_METHOD"], path))
        answer = b"ok"
        if path == "/read":
            answer = str(len(environ["wsgi.input"].read(10_000_000))).encode()
        if path == "/careless":
            with suppress(OSError, ValueError):
                environ["wsgi.input"].read(10_000_000)
        if path == "/forever":
            start_response("200 OK", [("Content-Length", str(1 << 40))])
            return self._forever()
        if path == "/crash":
            raise RuntimeError("application error")
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    def _forever(self) -> Iterator[bytes]:
        while True:
            yield b"x" * 1_000_000


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def server(echo: Echo, events: list[Event]) -> Iterator[RegistryServer]:
    with RegistryServer(echo, threads=4, listener=events.append) as running:
        yield running


def talk(server: RegistryServer, data: bytes) -> bytes:
    """Send raw bytes, end the sending side, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(data)
        with contextlib.suppress(OSError):  # the server may have hung up already
            sock.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while block := sock.recv(65536):
                answer += block
        return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)]


def get(server: RegistryServer, path: str = "/") -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def test_a_free_port_is_known_before_the_first_request(server: RegistryServer) -> None:
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    assert get(server) == b"ok"


def test_a_connection_is_kept_for_many_requests(server: RegistryServer, echo: Echo) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        for number in range(20):
            connection.request("GET", f"/{number}")
            assert connection.getresponse().read() == b"ok"
    assert len(echo.seen) == 20


def test_pipelined_requests_are_answered_in_order(server: RegistryServer, echo: Echo) -> None:
    one = b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
    assert statuses(talk(server, one + one.replace(b"/1 ", b"/2 "))) == [200, 200]
    assert echo.seen == [("GET", "/1"), ("GET", "/2")]


HEAD = b"POST /read HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\nhello",
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"Content-Length: 1_0\r\n\r\nhello",
        HEAD + b"Content-Length : 5\r\n\r\nhello",
        HEAD + b"Content-Length: 1\r\n 5\r\n\r\nhello",
        b"POST /read HTTP/1.1\r\n folded: 1\r\n\r\n",
        HEAD + b"X-Folded: 1\r\n 2\r\n\r\n",
        HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X-Name: 1\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X-Name: 1\0\r\n\r\n",
        b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /a\rb HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.+1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.-1\r\nHost: h\r\n\r\n",
        b"POST /read HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET //[ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_never_reaches_the_application(
    server: RegistryServer, echo: Echo, request_: bytes
) -> None:
    found = statuses(talk(server, request_))
    assert len(found) == 1
    assert found[0] in (400, 501)
    assert echo.seen == []


def test_a_header_with_an_underscore_does_not_stand_for_one_with_a_hyphen(server: RegistryServer) -> None:
    answer = talk(server, HEAD + b"Content-Length: 5\r\nContent_Length: 1\r\n\r\nhello")
    assert answer.endswith(b"\r\n\r\n5")


@pytest.mark.parametrize("chunk", [b"-1", b"+5", b"0x5", b" 5", b"1_0", b"", b"zz", b"f" * 20, b"5" + b"a" * 9000])
def test_a_malformed_chunk_ends_the_connection(server: RegistryServer, echo: Echo, chunk: bytes) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\nhello\r\n0\r\n\r\n" + hidden)
    assert 200 not in statuses(answer)
    assert ("GET", "/hidden") not in echo.seen


@pytest.mark.parametrize("path", [b"/read", b"/careless"])
@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nhello##", b"1;\nx"])
def test_nothing_behind_a_broken_body_is_a_request(
    server: RegistryServer, echo: Echo, broken: bytes, path: bytes
) -> None:
    head = HEAD.replace(b"/read", path) + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = talk(server, head + broken + b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n")
    assert len(statuses(answer)) == 1
    assert ("GET", "/hidden") not in echo.seen


def test_nothing_behind_a_body_that_came_too_late_is_a_request(
    server: RegistryServer, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.streams._SILENCE", 0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(HEAD.replace(b"/read", b"/careless") + b"Content-Length: 100\r\n\r\nhalf")
        time.sleep(0.5)
        with suppress(OSError):
            sock.sendall(b"x" * 96 + b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = sock.recv(65536)
        assert b"Connection: close" in answer
        assert until_closed(sock)
    assert ("GET", "/hidden") not in echo.seen


def test_chunks_and_trailers_are_read_and_the_next_request_begins_after_them(
    server: RegistryServer, echo: Echo
) -> None:
    body = b"5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: GET /hidden\r\n\r\n"
    following = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = talk(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + following)
    assert statuses(answer) == [200, 200]
    assert b"\r\n\r\n6HTTP" in answer
    assert echo.seen == [("POST", "/read"), ("GET", "/next")]


@pytest.mark.parametrize("coding", [b"Content-Length: 35\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n23\r\n"])
def test_a_body_that_nobody_read_is_no_request(server: RegistryServer, echo: Echo, coding: bytes) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: host\r\n\r\n"
    tail = b"\r\n0\r\n\r\n" if b"chunked" in coding else b""
    following = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    answer = talk(server, b"POST /ignored HTTP/1.1\r\nHost: h\r\n" + coding + hidden[:35] + tail + following)
    assert statuses(answer) == [200, 200]
    assert echo.seen == [("POST", "/ignored"), ("GET", "/next")]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_that_nobody_reads_is_neither_held_in_memory_nor_a_request(
    server: RegistryServer, echo: Echo, *, chunked: bool
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        coding = b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: 99999999999\r\n\r\n"
        sock.sendall(b"POST /ignored HTTP/1.1\r\nHost: h\r\n" + coding)
        block = b"100000\r\n" + b"x" * 0x100000 + b"\r\n" if chunked else b"x" * 0x100000
        try:
            for _ in range(8):
                sock.sendall(block)
        except OSError:
            pass
        answer = sock.recv(65536)
        assert statuses(answer) == [200]
        assert b"Connection: close" in answer
    assert echo.seen == [("POST", "/ignored")]


def test_headers_are_bounded(server: RegistryServer) -> None:
    assert statuses(talk(server, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")) == [414]
    many = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(70))
    assert statuses(talk(server, b"GET / HTTP/1.1\r\n" + many + b"\r\n")) == [413]


def test_a_client_that_waits_to_be_asked_is_told_to_continue(server: RegistryServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hello")
        assert statuses(sock.recv(65536)) == [200]


def test_clients_that_say_nothing_do_not_hold_up_the_others(server: RegistryServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(12)]
    try:
        assert get(server) == b"ok"
    finally:
        for sock in silent:
            sock.close()


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n"])
def test_clients_that_drip_do_not_hold_up_the_others(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr("mirror.server.connection._PROMPT", 0.1)
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(8)]
    over = threading.Event()

    def drip() -> None:
        while not over.wait(0.02):
            for sock in slow:
                with suppress(OSError):
                    sock.send(b"x")

    for sock in slow:
        sock.sendall(head)
    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        assert get(server) == b"ok"
    finally:
        over.set()
        dripping.join()
        for sock in slow:
            sock.close()


def test_no_connection_waits_behind_a_transfer_while_there_may_be_more_threads() -> None:
    together = threading.Barrier(40)

    def app(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        together.wait(20)  # broken, and so a 500, unless all forty are here at the same time
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with RegistryServer(app, threads=40) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(40)
            ]
            for sock in clients:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert [statuses(sock.recv(65536)) for sock in clients] == [[200]] * 40


def until_closed(sock: socket.socket) -> bool:
    """Whether the server ends a connection within some seconds."""
    sock.settimeout(10)
    deadline = time.monotonic() + 10
    try:
        while time.monotonic() < deadline:
            if not sock.recv(1_000_000):
                return True
    except ConnectionResetError:
        return True
    except TimeoutError:
        pass
    return False


def test_a_client_that_stops_in_the_middle_of_a_body_is_cut(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.streams._SILENCE", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        assert until_closed(sock)
    assert get(server) == b"ok"


@pytest.mark.parametrize("side", ["sends", "reads"])
def test_a_client_that_hardly_moves_is_cut_though_it_never_stops(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    monkeypatch.setattr("mirror.server.streams._WINDOW", 0.5)
    monkeypatch.setattr("mirror.server.streams._LEAST", 100_000_000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        body = HEAD + b"Content-Length: 100000\r\n\r\n"
        sock.sendall(body if side == "sends" else b"GET /forever HTTP/1.1\r\nHost: h\r\n\r\n")
        for _ in range(50):
            time.sleep(0.02)
            with suppress(BrokenPipeError, ConnectionResetError):
                if side == "sends":
                    sock.send(b"x")
                else:
                    sock.recv(64)
        assert until_closed(sock)
    assert get(server) == b"ok"


def test_a_client_that_is_slow_but_moves_is_served(server: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.server.streams._WINDOW", 0.5)
    monkeypatch.setattr("mirror.server.streams._LEAST", 3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
        for _ in range(20):
            time.sleep(0.06)
            sock.sendall(b"x" * 5)
        assert statuses(sock.recv(65536)) == [200]


def test_more_clients_than_the_server_takes_are_asked_to_come_back_and_idle_ones_make_room(echo: Echo) -> None:
    with RegistryServer(echo, threads=1) as server:
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(129)]
        try:
            answered, _, _ = select.select(held, [], [], 5)
            answers = [sock.recv(1000) for sock in answered]
            assert [statuses(answer) for answer in answers] == [[503]]
            assert b"Retry-After" in answers[0]
            time.sleep(1.1)
            assert get(server) == b"ok"
        finally:
            for sock in held:
                sock.close()


def test_an_answer_with_a_line_break_in_a_header_is_not_sent(events: list[Event]) -> None:
    def app(_: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-Name", "a\r\nSet-Cookie: evil=1"), ("Content-Length", "2")])
        return [b"ok"]

    with RegistryServer(app, threads=4, listener=events.append) as server:
        answer = talk(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert statuses(answer) == [500]
    assert b"evil" not in answer
    assert "line break" in str(events)


def test_a_transfer_gets_the_grace_to_end_by_itself(echo: Echo) -> None:
    server = RegistryServer(echo)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(HEAD + b"Content-Length: 10\r\n\r\nhalf")
        deadline = time.monotonic() + 5
        while not echo.seen and time.monotonic() < deadline:
            time.sleep(0.01)
        stopper = threading.Thread(target=server.stop, args=(5.0,))
        began = time.monotonic()
        stopper.start()
        time.sleep(0.3)
        sock.sendall(b"whole!")
        answer = sock.recv(65536)
        stopper.join(20)
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer
    assert time.monotonic() - began < 4


def test_a_socket_that_listens_can_be_handed_over(echo: Echo) -> None:
    sock = listen("127.0.0.1", 0)
    server = RegistryServer(echo)
    server.start(sock.dup())
    try:
        assert server.port == sock.getsockname()[1]
        assert get(server) == b"ok"
    finally:
        server.stop()
        sock.close()


def test_a_client_that_goes_away_is_not_worth_a_word(
    server: RegistryServer, events: list[Event], capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        sock.sendall(b"GET /forever HTTP/1.1\r\nHost: h\r\n\r\n")
        assert sock.recv(1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
    assert get(server) == b"ok"
    assert events == []
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_application_is_an_event_not_a_traceback(
    server: RegistryServer, events: list[Event], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 200 not in statuses(talk(server, b"GET /crash HTTP/1.1\r\nHost: h\r\n\r\n"))
    assert "application error" in str(events)
    assert capfd.readouterr() == ("", "")


def test_stopping_does_not_wait_for_idle_or_endless_connections(echo: Echo) -> None:
    server = RegistryServer(echo)
    server.start()
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    idle.request("GET", "/")
    idle.getresponse().read()
    endless = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    endless.sendall(b"GET /forever HTTP/1.1\r\nHost: h\r\n\r\n")
    endless.recv(1000)
    half = socket.create_connection(("127.0.0.1", server.port), timeout=5)
    half.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    stopper.join(20)
    assert not stopper.is_alive()
    server.stop()
    for connection in (idle, endless, half):
        connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_an_address_in_use_is_a_config_error(server: RegistryServer, echo: Echo) -> None:
    with pytest.raises(ConfigError, match="cannot listen"):
        RegistryServer(echo, port=server.port).start()


def test_tls_answers_whoever_trusts_the_certificate(echo: Echo, tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(cafile=str(files.certificate))
    with RegistryServer(echo, tls=files) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        with closing(http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=context)) as connection:
            for _ in range(3):
                connection.request("POST", "/read", body=b"x" * 100_000)
                assert connection.getresponse().read() == b"100000"


def test_a_client_that_does_not_speak_tls_holds_up_nobody(echo: Echo, events: list[Event], tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    context = ssl.create_default_context(cafile=str(files.certificate))
    with RegistryServer(echo, tls=files, threads=4, listener=events.append) as server:
        talk(server, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        silent = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        started = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        started.sendall(b"\x16\x03\x01")
        with closing(http.client.HTTPSConnection("localhost", server.port, timeout=5, context=context)) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"ok"
        silent.close()
        started.close()
    assert events == []


def test_old_tls_is_refused(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "127.0.0.1")
    assert files.context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("damage", ["absent", "nonsense", "other key", "password"])
def test_a_certificate_that_cannot_be_used_is_a_config_error(echo: Echo, tmp_path: Path, damage: str) -> None:
    files = self_signed(tmp_path / "a", "127.0.0.1")
    if damage == "absent":
        files.key.unlink()
    elif damage == "nonsense":
        files.certificate.write_text("nonsense")
    elif damage == "other key":
        files = TlsFiles(files.certificate, self_signed(tmp_path / "b", "127.0.0.1").key)
    else:
        _lock(files.key)
    with pytest.raises(ConfigError):
        RegistryServer(echo, tls=files).start()


def _lock(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(os.urandom(8)),
        )
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:5000", ("::1", 5000)),
        (":5000", (EVERY, 5000)),
    ],
)
def test_listen_addresses_are_read(text: str, expected: tuple[str, int]) -> None:
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "5000", "host", "host:", "host:x", "host:70000", "::1:5000", "h:-1", "h:\u0665"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_listen(text)


def test_every_address_is_shown_as_one_that_works(echo: Echo) -> None:
    assert RegistryServer(echo, host=EVERY, port=5000).url == "http://localhost:5000"
    assert RegistryServer(echo, host="::1", port=5000).url == "http://[::1]:5000"

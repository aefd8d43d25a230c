"""Where a server may send us, and what comes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import TransportError
from mirror.http import HostTransport, Transport
from mirror.http.addresses import is_private_literal, shown
from mirror.http.redirects import check_hop, follow, keeps_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.http import HttpClient
    from tests.unit.mirror.conftest import Web

PLAIN = Transport()
BASE = "https://harbor.test/v2/p/r/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://harbor.test/u/1?_state=a%2fb%3d&x=+", "https://harbor.test/u/1?_state=a%2fb%3d&x=+"),
        ("/v2/p/r/blobs/uploads/1?_state=A==", "https://harbor.test/v2/p/r/blobs/uploads/1?_state=A=="),
        ("1?a=b", "https://harbor.test/v2/p/r/blobs/uploads/1?a=b"),
        ("?a=http://x/y", "https://harbor.test/v2/p/r/blobs/uploads/?a=http://x/y"),
        ("//cdn.test/x", "https://cdn.test/x"),
        ("http://harbor.test/u/1?s=%2f", "https://harbor.test/u/1?s=%2f"),
        ("http://harbor.test:80/u/1", "https://harbor.test/u/1"),
        ("https://cdn.test/x", "https://cdn.test/x"),
    ],
)
def test_locations_are_resolved_and_otherwise_left_alone(location: str, url: str) -> None:
    assert follow(BASE, location, PLAIN) == url


def test_a_scheme_that_fell_on_a_port_of_its_own_keeps_tls() -> None:
    assert follow("https://h.test:8443/a", "http://h.test:8443/b?c", PLAIN) == "https://h.test:8443/b?c"


@pytest.mark.parametrize(
    "location", ["http://cdn.test/x", "http://harbor.test:8080/x", "ftp://harbor.test/x", "https://", "https://[/x"]
)
def test_leaving_tls_or_the_web_is_refused(location: str) -> None:
    with pytest.raises(TransportError):
        follow(BASE, location, PLAIN)


def test_a_host_that_the_user_calls_plain_may_be_plain() -> None:
    transport = Transport(hosts={"cdn.test": HostTransport(plain_http=True)})
    assert follow(BASE, "http://cdn.test/x", transport) == "http://cdn.test/x"


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "[::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "a.localhost",
        "localhost.",
        "0.0.0.0",  # noqa: S104 -- an address to refuse
        "100.64.0.1",
    ],
)
def test_an_inside_address_of_another_host_is_refused(host: str) -> None:
    with pytest.raises(TransportError, match="an address inside"):
        follow(BASE, f"https://{host}/x", PLAIN)


def test_an_inside_address_is_fine_where_we_are_there_already_or_the_user_named_it() -> None:
    check_hop("https://10.0.0.1/x", "https://10.0.0.1:9000/x", PLAIN)
    check_hop("http://127.0.0.1:1/x", "http://localhost:2/x", PLAIN)
    check_hop(BASE, "https://10.0.0.9/x", Transport(hosts={"10.0.0.9": HostTransport(skip_verify=True)}))
    with pytest.raises(TransportError):
        check_hop("https://10.0.0.1/x", "https://10.0.0.2/x", PLAIN)


@pytest.mark.parametrize(
    ("source", "target", "kept"),
    [
        ("https://a.test/x", "https://a.test/y", True),
        ("https://a.test/x", "https://a.test:443/y", True),
        ("http://a.test/x", "https://a.test/y", True),
        ("https://a.test/x", "http://a.test/y", False),
        ("https://a.test/x", "https://b.test/y", False),
        ("https://a.test/x", "https://a.test.evil/y", False),
        ("https://a.test/x", "https://sub.a.test/y", False),
        ("https://a.test/x", "https://a.test:8443/y", False),
        ("https://a.test/x", "https://a.test@evil.test/y", False),
    ],
)
def test_credentials_stay_with_their_origin(source: str, target: str, *, kept: bool) -> None:
    assert keeps_credentials(source, target) is kept


def test_a_redirect_is_followed_and_authorization_dropped_at_another_origin(
    client: HttpClient, make_web: Callable[..., Web]
) -> None:
    registry, storage = make_web(), make_web()
    registry.answer = lambda asked: (
        (307, {"Location": "/moved"}, b"")
        if asked.path == "/start"
        else (307, {"Location": storage.url("/blob?sig=1")}, b"")
    )
    storage.answer = lambda _asked: (200, {}, b"data")
    answer = client.request("GET", registry.url("/start"), headers={"Authorization": "Bearer t", "Range": "bytes=0-"})
    assert answer.read(10) == b"data"
    assert answer.url == storage.url("/blob?sig=1")
    assert [asked.headers["Authorization"] for asked in registry.asked] == ["Bearer t", "Bearer t"]
    assert storage.asked[0].headers["Authorization"] is None
    assert storage.asked[0].headers["Range"] == "bytes=0-"


def test_authorization_does_not_come_back_after_a_detour(client: HttpClient, make_web: Callable[..., Web]) -> None:
    registry, other = make_web(), make_web()
    registry.answer = lambda asked: (
        (302, {"Location": other.url("/x")}, b"") if asked.path == "/start" else (200, {}, b"")
    )
    other.answer = lambda _asked: (302, {"Location": registry.url("/back")}, b"")
    client.request("GET", registry.url("/start"), headers={"authorization": "Bearer t"})
    assert [asked.headers["Authorization"] for asked in registry.asked] == ["Bearer t", None]


def test_a_body_does_not_follow_to_another_origin(client: HttpClient, make_web: Callable[..., Web]) -> None:
    service, other = make_web(), make_web()
    service.answer = lambda _asked: (307, {"Location": other.url("/form")}, b"")
    answer = client.request("POST", service.url("/token"), body=b"grant_type=refresh_token&refresh_token=secret")
    assert (answer.status, other.asked) == (307, [])


@pytest.mark.parametrize("body", [b"", b"moved there"])
def test_a_connection_outlives_a_redirect(client: HttpClient, make_web: Callable[..., Web], body: bytes) -> None:
    registry, storage = make_web(), make_web()
    registry.answer = lambda _asked: (307, {"Location": storage.url("/blob")}, body)
    for _ in range(3):
        client.request("GET", registry.url("/blob"), stream=True).read(10)
    assert len({asked.raw.client_address for asked in registry.asked}) == 1


def test_a_circle_ends(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (302, {"Location": "/again"}, b"")
    with pytest.raises(TransportError, match="redirects without end"):
        client.request("GET", web.url())
    assert len(web.asked) == 10


def test_a_write_follows_only_a_redirect_that_keeps_its_method(client: HttpClient, web: Web) -> None:
    web.answer = lambda asked: (
        (201, {}, asked.body) if asked.path == "/there" else (int(asked.path[1:]), {"Location": "/there"}, b"")
    )
    assert client.request("PUT", web.url("/307"), body=b"x").status == 201
    assert web.asked[-1].body == b"x"
    assert client.request("POST", web.url("/302"), body=b"x").status == 302


@given(st.text(max_size=80))
def test_no_location_escapes_as_a_foreign_error(location: str) -> None:
    try:
        url = follow(BASE, location, PLAIN)
    except TransportError:
        return
    assert url.startswith("https://")


@given(st.text(max_size=80), st.text(max_size=40))
def test_what_is_shown_never_holds_password_or_query(path: str, secret: str) -> None:
    secret = "s3cret" + "".join(letter for letter in secret if letter not in "?#/")
    assert "s3cret" not in shown(f"https://user:{secret}@host.test/{path.replace('s3cret', '')}?{secret}")


@given(st.text(max_size=60))
def test_any_host_can_be_judged(host: str) -> None:
    is_private_literal(host)

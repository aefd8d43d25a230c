"""Rows 46, 60, 61, 69 and nginx's limits: what stands before everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from registry_fixtures.harbor import Settings
from tests.unit.registry_fixtures.harbor.conftest import Client, image

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture


@pytest.mark.parametrize("path", ["/v2/", "/api/v2.0/ping", "/service/token?service=x"])
def test_every_answer_hands_out_a_session_cookie_until_one_is_brought(anyone: Client, path: str) -> None:
    assert anyone.ask("GET", path).headers["Set-Cookie"].startswith("sid=")
    assert "Set-Cookie" not in anyone.ask("GET", path, headers={"Cookie": "sid=anything"}).headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v2/lab/app/blobs/uploads/"), ("PUT", "/v2/lab/app/manifests/v1"), ("POST", "/api/v2.0/projects")],
)
def test_a_change_that_brings_the_session_cookie_is_refused_for_want_of_a_csrf_token(
    admin: Client, method: str, path: str
) -> None:
    for cookie in ("sid=made-up", "a=b; sid="):
        reply = admin.ask(method, path, b"{}", headers={"Cookie": cookie})
        assert (reply.status, reply.code, reply.message) == (403, "FORBIDDEN", "CSRF token not found in request")
    assert admin.ask(method, path, b"{}", headers={"Cookie": "other=1; insid=2"}).status != 403
    assert admin.ask("GET", "/v2/", headers={"Cookie": "sid=made-up"}).status == 200


def test_the_request_id_is_echoed_or_made(anyone: Client) -> None:
    assert anyone.ask("GET", "/v2/", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    first, second = (anyone.ask("GET", "/v2/").headers["X-Request-Id"] for _ in range(2))
    assert first != second


def test_read_only_mode_refuses_every_change_before_it_asks_who_it_is(
    harbor: HarborFixture, anyone: Client, pusher: Client
) -> None:
    pusher.push_image("lab/app")
    harbor.settings.read_only = True
    for reply in (
        anyone.ask("POST", "/v2/nope/app/blobs/uploads/"),
        anyone.ask("DELETE", "/v2/lab/app/manifests/v1"),
        pusher.put("lab/app", "v2", image()),
        pusher.api("POST", "/projects", {"project_name": "x"}),
    ):
        assert (reply.status, reply.code) == (403, "DENIED")
        assert reply.message == "The system is in read only mode. Any modification is prohibited."
    assert pusher.ask("GET", "/v2/lab/app/manifests/v1").status == 200
    assert pusher.token("repository:lab/app:pull")["token"]
    assert anyone.ask("POST", "/service/token").status == 405
    assert "read_only" not in anyone.api("GET", "/systeminfo").json
    assert pusher.api("GET", "/systeminfo").json["read_only"] is True


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_outage_is_a_page_of_nginx(harbor: HarborFixture, anyone: Client, status: int) -> None:
    harbor.settings.outage = status
    for path in ("/v2/", "/api/v2.0/ping"):
        reply = anyone.ask("GET", path)
        assert (reply.status, reply.headers["Content-Type"]) == (status, "text/html")
        assert reply.body.startswith(b"<html>")
        assert "Set-Cookie" not in reply.headers


def test_a_header_line_over_8_kib_is_a_page_of_nginx(anyone: Client, pusher: Client) -> None:
    scopes = [f"repository:lab/a-{number}:pull" for number in range(150)]
    large = pusher.bearer(*scopes)
    assert len(large.authorization) > 8192
    reply = large.ask("GET", "/v2/")
    assert (reply.status, reply.headers["Content-Type"]) == (400, "text/html")
    assert pusher.bearer(*scopes[:50]).ask("GET", "/v2/").status == 200
    reply = anyone.ask("GET", f"/v2/?x={'y' * 8192}")
    assert (reply.status, reply.headers["Content-Type"]) == (414, "text/html")


def test_the_base_without_its_slash_is_moved(anyone: Client) -> None:
    reply = anyone.ask("GET", "/v2")
    assert (reply.status, reply.headers["Location"]) == (301, f"http://{anyone.host}/v2/")


def test_core_itself_has_no_such_limits(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(settings=Settings(nginx=False))
    robot = harbor.add_robot("x")
    client = Client(harbor.host).basic(robot.name, robot.secret)
    scopes = [f"repository:library/a-{number}:pull" for number in range(150)]
    assert client.bearer(*scopes).ask("GET", "/v2/").status == 200
    reply = client.ask("GET", "/v2")
    assert (reply.status, reply.challenge) == (401, "")
    assert reply.message.startswith("un-recognized request")

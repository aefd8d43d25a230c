"""Rows 11 to 15, and what logging in costs."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from registry_fixtures.harbor import LoginPace, Settings
from tests.unit.registry_fixtures.harbor.conftest import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture


def claims(token: dict[str, Any]) -> dict[str, Any]:
    text = token["token"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


@pytest.mark.parametrize(("query", "service"), [("?service=foo", "foo"), ("", "")])
def test_another_service_is_a_bad_request_in_plain_text(anyone: Client, query: str, service: str) -> None:
    reply = anyone.ask("GET", f"/service/token{query}")
    assert (reply.status, reply.body.decode().strip()) == (400, f"Unable to handle service: {service}".strip())
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_a_wrong_password_with_a_scope_gets_an_anonymous_token(anyone: Client) -> None:
    token = anyone.basic("admin", "wrong").token("repository:pub/app:pull", "repository:lab/app:pull")
    assert "sub" not in claims(token)
    assert [entry["actions"] for entry in claims(token)["access"]] == [["pull"], []]


def test_a_wrong_password_without_a_scope_is_unauthorized_without_a_word(anyone: Client) -> None:
    for somebody in (anyone, anyone.basic("admin", "wrong")):
        reply = somebody.ask("GET", "/service/token?service=harbor-registry")
        assert (reply.status, reply.body, reply.challenge) == (401, b"", None)


def test_posting_for_a_token_is_not_allowed(anyone: Client) -> None:
    reply = anyone.ask("POST", "/service/token", b"grant_type=password")
    assert (reply.status, reply.body.strip()) == (405, b"Method Not Allowed")


def test_a_token_comes_with_an_empty_access_token_and_half_an_hour(pusher: Client) -> None:
    token = pusher.token("repository:lab/app:pull")
    assert (token["access_token"], token["expires_in"]) == ("", 1800)
    assert token["issued_at"].endswith("Z")
    found = claims(token)
    assert found["sub"] == "robot$pusher"
    assert found["exp"] - found["iat"] == 1800
    assert claims(pusher.token())["access"] is None


def test_a_token_grants_all_that_one_may_do_whatever_was_asked(owner: Client) -> None:
    found = claims(owner.token("repository:lab/app:pull"))
    assert found["access"] == [{"type": "repository", "name": "lab/app", "actions": ["pull", "push", "delete"]}]


@pytest.mark.parametrize("scope", ["repository:nope/app:pull", "repository:HOST/lab/app:pull", "registry:catalog:*"])
def test_a_scope_of_nothing_known_grants_nothing(owner: Client, scope: str) -> None:
    found = claims(owner.token(scope.replace("HOST", owner.host)))
    assert found["access"][0]["actions"] == []


def test_several_scopes_fit_one_parameter(owner: Client) -> None:
    found = claims(owner.token("repository:lab/a:pull repository:pub/b:pull"))
    assert [entry["name"] for entry in found["access"]] == ["lab/a", "pub/b"]


def test_of_two_scopes_in_one_project_the_last_counts(harbor: HarborFixture, anyone: Client) -> None:
    robot = harbor.add_robot("x", rights=("repository:pull",))
    somebody = anyone.basic(robot.name, robot.secret)
    assert (
        somebody.bearer("repository:lab/a:pull", "repository:lab/b:pull").ask("GET", "/v2/lab/c/tags/list").status
        == 404
    )


def test_a_token_lives_a_minute_longer_than_it_says(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(settings=Settings(token_life=60))
    robot = harbor.add_robot("x")
    holder = Client(harbor.host).basic(robot.name, robot.secret).bearer("repository:library/app:pull")
    harbor.clock.advance(115)
    assert holder.ask("GET", "/v2/").status == 200
    harbor.clock.advance(10)
    assert holder.ask("GET", "/v2/").challenge == 'Basic realm="harbor"'


def test_a_token_outlives_the_robot_it_was_given_to(harbor: HarborFixture, pusher: Client) -> None:
    holder = pusher.bearer("repository:lab/app:pull,push")
    harbor.people.robots["robot$pusher"].disabled = True
    assert pusher.ask("GET", "/v2/").status == 401
    del harbor.people.robots["robot$pusher"]
    assert holder.ask("POST", "/v2/lab/app/blobs/uploads/").status == 202


def test_an_expired_robot_is_nobody(harbor: HarborFixture, anyone: Client) -> None:
    robot = harbor.add_robot("x", expires=int(harbor.clock.now()) + 100)
    somebody = anyone.basic(robot.name, robot.secret)
    assert somebody.ask("GET", "/v2/").status == 200
    harbor.clock.advance(200)
    assert somebody.ask("GET", "/v2/").status == 401


def test_a_token_is_not_an_identity_for_the_rest_api(admin: Client) -> None:
    assert admin.bearer().ask("HEAD", "/api/v2.0/projects?project_name=lab").status == 401


def test_an_altered_token_is_nobodys(pusher: Client) -> None:
    token = pusher.token("repository:lab/app:pull")["token"]
    head, body, signature = token.split(".")
    forged = ".".join((head, body[:-2] + ("AA" if body[-2:] != "AA" else "BB"), signature))
    reply = pusher.ask("GET", "/v2/lab/app/tags/list", headers={"Authorization": f"Bearer {forged}"})
    assert reply.status == 401


def test_people_wait_for_their_password_to_be_hashed_and_robots_do_not(
    harbor_factory: Callable[..., HarborFixture],
) -> None:
    harbor = harbor_factory(pace=LoginPace(human=0.8, lock=0))
    robot = harbor.add_robot("x")
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    begun = time.monotonic()
    assert admin.ask("GET", "/v2/").status == 200
    assert time.monotonic() - begun >= 0.8
    assert admin.bearer().ask("GET", "/v2/").status == 200
    begun = time.monotonic()
    assert Client(harbor.host).basic(robot.name, robot.secret).ask("GET", "/v2/").status == 200
    assert time.monotonic() - begun < 0.8


def test_a_wrong_password_is_held_and_the_right_one_refused_at_once_meanwhile(
    harbor_factory: Callable[..., HarborFixture],
) -> None:
    harbor = harbor_factory(pace=LoginPace(human=0, lock=1.0))
    anyone, took = Client(harbor.host), []

    def fail() -> None:
        begun = time.monotonic()
        assert anyone.basic("admin", "wrong").ask("GET", "/v2/").status == 401
        took.append(time.monotonic() - begun)

    failing = threading.Thread(target=fail)
    failing.start()
    time.sleep(0.2)
    begun = time.monotonic()
    assert anyone.basic("admin", "Harbor12345").ask("GET", "/v2/").status == 401
    assert time.monotonic() - begun < 0.7
    failing.join()
    assert took[0] >= 1.0
    assert anyone.basic("admin", "Harbor12345").ask("GET", "/v2/").status == 200


def test_a_wrong_robot_secret_costs_the_wait_but_does_not_lock_the_robot_out(
    harbor_factory: Callable[..., HarborFixture],
) -> None:
    harbor = harbor_factory(pace=LoginPace(human=0, lock=0.3))
    robot = harbor.add_robot("x")
    anyone = Client(harbor.host)
    begun = time.monotonic()
    assert anyone.basic(robot.name, "wrong").ask("GET", "/v2/").status == 401
    assert time.monotonic() - begun >= 0.3
    assert anyone.basic(robot.name, robot.secret).ask("GET", "/v2/").status == 200

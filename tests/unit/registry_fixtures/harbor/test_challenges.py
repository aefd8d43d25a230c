"""Rows 1 to 10, 16 to 18 of the behaviour table: who gets in, and what the others are told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from tests.unit.registry_fixtures.harbor.conftest import LAYER

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture
    from tests.unit.registry_fixtures.harbor.conftest import Client

BASIC = 'Basic realm="harbor"'
BLOB = f"/v2/lab/app/blobs/{Digest.of(LAYER)}"


def bearer(host: str, scope: str = "") -> str:
    challenge = f'Bearer realm="http://{host}/service/token",service="harbor-registry"'
    return f'{challenge},scope="{scope}"' if scope else challenge


def test_the_base_without_credentials_is_challenged_without_a_scope(anyone: Client) -> None:
    reply = anyone.ask("GET", "/v2/")
    assert (reply.status, reply.code, reply.message) == (401, "UNAUTHORIZED", "unauthorized: unauthorized")
    assert reply.challenge == bearer(anyone.host)
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_the_base_answers_a_robot_and_a_token_without_scopes(pusher: Client) -> None:
    for somebody in (pusher, pusher.bearer()):
        reply = somebody.ask("GET", "/v2/")
        assert (reply.status, reply.json) == (200, {})


def test_the_base_refuses_an_anonymous_token_and_a_wrong_password(anyone: Client) -> None:
    for somebody in (anyone.bearer("repository:pub/app:pull"), anyone.basic("admin", "wrong")):
        reply = somebody.ask("GET", "/v2/")
        assert (reply.status, reply.challenge) == (401, BASIC)


def test_a_bare_read_of_a_public_project_is_challenged_whatever_the_method(anyone: Client) -> None:
    for method in ("GET", "HEAD"):
        reply = anyone.ask(method, "/v2/pub/app/manifests/v1")
        assert (reply.status, reply.challenge) == (401, bearer(anyone.host, "repository:pub/app:pull"))
    said = "authorize header needed to send HEAD to repository"
    assert anyone.ask("GET", "/v2/pub/app/manifests/v1").message == f"{said}: {said}"


def test_an_anonymous_token_reads_a_public_project(anyone: Client, pusher: Client) -> None:
    pusher.push_image("pub/app")
    assert anyone.bearer("repository:pub/app:pull").ask("GET", "/v2/pub/app/manifests/v1").status == 200


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v2/lab/app/blobs/uploads/", "repository:lab/app:pull,push"),
        ("PUT", "/v2/lab/app/manifests/v1", "repository:lab/app:pull,push"),
        ("DELETE", "/v2/lab/app/manifests/v1", "repository:lab/app:delete"),
        (
            "POST",
            f"/v2/lab/app/blobs/uploads/?mount={Digest.of(LAYER)}&from=pub/app",
            "repository:lab/app:pull,push repository:pub/app:pull",
        ),
    ],
)
def test_a_bare_write_is_challenged_for_what_it_does(anyone: Client, method: str, path: str, scope: str) -> None:
    reply = anyone.ask(method, path)
    assert (reply.status, reply.challenge) == (401, bearer(anyone.host, scope))


def test_lacking_the_right_to_push_is_a_basic_challenge_and_a_doubled_message(
    harbor: HarborFixture, anyone: Client
) -> None:
    robot = harbor.add_robot("reader", rights=("repository:pull",))
    reader = anyone.basic(robot.name, robot.secret)
    said = "unauthorized to access repository: lab/app, action: push"
    for somebody in (reader, reader.bearer("repository:lab/app:pull,push")):
        reply = somebody.ask("POST", "/v2/lab/app/blobs/uploads/")
        assert (reply.status, reply.challenge, reply.code) == (401, BASIC, "UNAUTHORIZED")
        assert reply.message == f"{said}: {said}"


def test_a_missing_project_is_told_by_an_empty_challenge(anyone: Client, pusher: Client) -> None:
    for reply in (
        pusher.ask("GET", "/v2/nope/app/manifests/v1"),
        pusher.ask("POST", "/v2/nope/app/blobs/uploads/"),
        anyone.ask("POST", "/v2/nope/app/blobs/uploads/"),
    ):
        assert (reply.status, reply.challenge, reply.code) == (401, "", "UNAUTHORIZED")
        assert reply.message == "project nope not found: project nope not found"


@pytest.mark.parametrize("path", ["manifests/v1", "tags/list", f"referrers/{Digest.of(LAYER)}"])
def test_a_bare_read_of_a_missing_project_looks_like_any_other(anyone: Client, path: str) -> None:
    reply = anyone.ask("GET", f"/v2/nope/app/{path}")
    assert (reply.status, reply.challenge) == (401, bearer(anyone.host, "repository:nope/app:pull"))


def test_credentials_that_are_wrong_read_a_public_project_as_anybody_would(anyone: Client, pusher: Client) -> None:
    pusher.push_image("pub/app")
    for authorization in (anyone.basic("admin", "wrong").authorization, "Bearer rubbish", "Bearer a.b.c", "Nonsense"):
        reply = anyone.ask("GET", "/v2/pub/app/manifests/v1", headers={"Authorization": authorization})
        assert reply.status == 200
        reply = anyone.ask("GET", "/v2/lab/app/manifests/v1", headers={"Authorization": authorization})
        assert (reply.status, reply.challenge) == (401, BASIC)


def test_a_token_for_one_repository_serves_its_whole_project(pusher: Client) -> None:
    holder = pusher.bearer("repository:lab/a:pull")
    assert holder.ask("GET", "/v2/lab/zzz/manifests/v1").message == "repository lab/zzz not found"
    assert holder.ask("GET", "/v2/pub/zzz/manifests/v1").status == 401


def test_a_token_that_is_older_than_the_project_is_refused_there(harbor: HarborFixture, pusher: Client) -> None:
    old = pusher.bearer("repository:lab/app:pull")
    harbor.clock.advance(59)
    harbor.add_project("lab")
    assert old.ask("GET", "/v2/lab/app/tags/list").status == 404
    harbor.clock.advance(3)
    harbor.add_project("lab")
    reply = old.ask("GET", "/v2/lab/app/tags/list")
    assert (reply.status, reply.challenge) == (401, BASIC)
    assert pusher.bearer("repository:lab/app:pull").ask("GET", "/v2/lab/app/tags/list").status == 404


def test_the_age_of_a_token_counts_at_the_source_of_a_mount_too(harbor: HarborFixture, pusher: Client) -> None:
    old = pusher.bearer("repository:lab/app:pull,push", "repository:pub/app:pull")
    harbor.clock.advance(61)
    harbor.add_project("pub", public=True)
    reply = old.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={Digest.of(LAYER)}&from=pub/app")
    assert (reply.status, reply.challenge) == (401, BASIC)
    assert "pub/app" in reply.message


@pytest.mark.parametrize("path", ["/v2/foo/manifests/x", "/v2/foo/tags/list"])
def test_a_name_of_one_component_is_a_bad_request_for_everybody(anyone: Client, pusher: Client, path: str) -> None:
    for somebody in (anyone, pusher):
        reply = somebody.ask("GET", path)
        assert (reply.status, reply.code) == (400, "BAD_REQUEST")
        assert reply.message == "bad request: invalid repository name: foo"


def test_a_source_of_one_component_is_a_bad_request(pusher: Client) -> None:
    reply = pusher.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={Digest.of(LAYER)}&from=foo")
    assert (reply.status, reply.message) == (400, "bad request: invalid repository name: foo")


@pytest.mark.parametrize("path", ["/v2/lab/APP/manifests/v1", "/v2/lab/app/other", "/v2/lab/app/blobs/x"])
def test_a_path_of_another_shape_is_not_recognised_and_the_challenge_is_empty(pusher: Client, path: str) -> None:
    reply = pusher.ask("GET", path)
    assert (reply.status, reply.challenge) == (401, "")
    assert reply.message.startswith("un-recognized request: ")


@pytest.mark.parametrize(
    "path", ["/v2/lab/app/manifests/v1/more", "/v2/lab/app/manifests/", "/v2/lab/app/tags/list/more"]
)
def test_a_path_that_only_begins_as_one_is_let_in_and_not_found(pusher: Client, path: str) -> None:
    reply = pusher.ask("GET", path)
    assert (reply.status, reply.body) == (404, b"404 page not found\n")


def test_a_repository_may_have_the_words_of_the_api_in_its_path(pusher: Client) -> None:
    name = "lab/manifests/v1/blobs/tags/list/x"
    digest = pusher.push_image(name)
    assert pusher.ask("HEAD", f"/v2/{name}/blobs/{Digest.of(LAYER)}").status == 200
    assert pusher.ask("HEAD", f"/v2/{name}/manifests/{digest}").status == 200
    assert pusher.ask("GET", f"/v2/{name}/tags/list").json["tags"] == ["v1"]


def test_a_host_in_front_of_a_name_is_taken_for_the_project(pusher: Client) -> None:
    reply = pusher.ask("GET", "/v2/Docker.io:5000/app/manifests/v1")
    assert (reply.status, reply.message.partition(":")[0]) == (401, "project Docker.io")


def test_a_robot_of_a_project_that_may_push_may_pull_and_one_of_the_system_only_if_that_is_said(
    harbor: HarborFixture, anyone: Client
) -> None:
    for project, status in (("lab", 404), ("", 401)):
        robot = harbor.add_robot("pushing", project=project, rights=("repository:push",))
        somebody = anyone.basic(robot.name, robot.secret)
        assert somebody.ask("POST", "/v2/lab/app/blobs/uploads/").status == 202
        assert somebody.ask("GET", "/v2/lab/app/tags/list").status == status


def test_doubled_slashes_are_one(pusher: Client) -> None:
    assert pusher.ask("GET", "/v2//lab///app/tags/list").message == "repository lab/app not found"


def test_the_catalog_is_for_administrators_with_a_password(anyone: Client, admin: Client, pusher: Client) -> None:
    pusher.push_image("lab/app")
    assert admin.ask("GET", "/v2/_catalog").json == {"repositories": ["lab/app"]}
    for somebody in (anyone, pusher, admin.bearer("registry:catalog:*")):
        reply = somebody.ask("GET", "/v2/_catalog")
        assert (reply.status, reply.challenge) == (401, BASIC)


def test_the_realm_is_where_the_client_asked(harbor: HarborFixture, anyone: Client) -> None:
    reply = anyone.ask("GET", "/v2/", headers={"Host": "harbor.site.test"})
    assert reply.challenge == bearer("harbor.site.test")
    assert harbor.requests.count("GET", "/v2/", status=401) == 1


def test_roles_of_people_say_what_they_may(harbor: HarborFixture, anyone: Client) -> None:
    roles = {"boss": 1, "dev": 2, "guest": 3, "keeper": 4, "limited": 5}
    for name in (*roles, "stranger"):
        harbor.add_user(name, "Secret123")
    harbor.add_project("team", members=roles)
    may: dict[str, tuple[bool, ...]] = {}
    for name in (*roles, "stranger"):
        somebody = anyone.basic(name, "Secret123")
        asked = (
            somebody.ask("GET", "/v2/team/app/tags/list"),
            somebody.ask("POST", "/v2/team/app/blobs/uploads/"),
            somebody.ask("DELETE", f"/v2/team/app/manifests/{Digest.of(LAYER)}"),
        )
        may[name] = tuple(reply.status != 401 for reply in asked)
    assert may == {
        "boss": (True, True, True),
        "dev": (True, True, False),
        "guest": (True, False, False),
        "keeper": (True, True, True),
        "limited": (True, False, False),
        "stranger": (False, False, False),
    }

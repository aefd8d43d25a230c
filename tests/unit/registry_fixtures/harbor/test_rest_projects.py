"""Rows 62 to 67 and 71: projects by the REST API, and its conventions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from registry_fixtures.harbor import Settings
from tests.unit.registry_fixtures.harbor.conftest import LAYER, Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture


def creator(harbor: HarborFixture, client: Client, **more: Any) -> Client:
    robot = harbor.add_robot("creator", system_rights=("project:create",), **more)
    return client.basic(robot.name, robot.secret)


def test_a_project_that_exists_cannot_be_created_again(admin: Client) -> None:
    reply = admin.api("POST", "/projects", {"project_name": "lab"})
    assert (reply.status, reply.code, reply.message) == (409, "CONFLICT", "The project named lab already exists")


def test_of_several_creations_at_once_one_succeeds(admin: Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: admin.api("POST", "/projects", {"project_name": "new"}), range(6)))
    assert sorted(reply.status for reply in replies) == [201, 409, 409, 409, 409, 409]


@pytest.mark.parametrize(("by_name", "end"), [("true", "new"), ("false", None)])
def test_a_created_project_is_located_by_its_id_or_its_name(
    harbor: HarborFixture, admin: Client, by_name: str, end: str | None
) -> None:
    headers = {"Content-Type": "application/json", "X-Resource-Name-In-Location": by_name}
    reply = admin.ask("POST", "/api/v2.0/projects", b'{"project_name":"new"}', headers=headers)
    number = harbor.database.projects["new"].number
    assert (reply.status, reply.headers["Location"]) == (201, f"/api/v2.0/projects/{end or number}")


def test_asking_whether_a_project_exists_takes_a_login(anyone: Client, pusher: Client) -> None:
    assert pusher.api("HEAD", "/projects?project_name=lab").status == 200
    assert pusher.api("HEAD", "/projects?project_name=nope").status == 404
    for nobody in (anyone, anyone.basic("admin", "wrong")):
        assert nobody.api("HEAD", "/projects?project_name=lab").status == 401


def test_a_missing_project_is_hidden_from_all_but_administrators(anyone: Client, admin: Client, pusher: Client) -> None:
    replies = [somebody.api("GET", "/projects/nope") for somebody in (anyone, pusher, admin)]
    assert [(reply.status, reply.code) for reply in replies] == [
        (401, "UNAUTHORIZED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
    ]


def test_a_page_has_at_most_100_entries(admin: Client) -> None:
    reply = admin.api("GET", "/projects?page_size=101")
    assert (reply.status, reply.code) == (422, "UNPROCESSABLE_ENTITY")
    assert reply.message == "page_size in query should be less than or equal to 100"
    assert admin.api("GET", "/projects?page=x").status == 422


def test_pages_lead_on_by_relative_links(harbor: HarborFixture, admin: Client) -> None:
    for number in range(25):
        harbor.add_project(f"p{number:02}")
    reply = admin.api("GET", "/projects?name=p&page=2")
    assert (len(reply.json), reply.headers["X-Total-Count"]) == (10, "26")
    base = "/api/v2.0/projects?name=p"
    assert reply.headers["Link"] == (
        f'<{base}&page=1&page_size=10>; rel="prev" , <{base}&page=3&page_size=10>; rel="next"'
    )
    assert 'rel="next"' not in admin.api("GET", "/projects?name=p&page=3").headers["Link"]
    assert "Link" not in admin.api("GET", "/projects?name=pub").headers


def test_a_page_size_of_minus_one_gives_all_and_a_next_page_for_ever(harbor: HarborFixture, admin: Client) -> None:
    for number in range(15):
        harbor.add_project(f"p{number:02}")
    reply = admin.api("GET", "/projects?page_size=-1")
    assert len(reply.json) == 18
    assert reply.headers["Link"] == '</api/v2.0/projects?page=2&page_size=-1>; rel="next"'


@pytest.mark.parametrize("declared", ["text/plain", ""])
def test_a_body_that_is_not_declared_json_is_unprocessable(admin: Client, declared: str) -> None:
    headers = {"Content-Type": declared} if declared else {}
    reply = admin.ask("POST", "/api/v2.0/projects", b'{"project_name":"x"}', headers=headers)
    shown = declared or "application/octet-stream"
    assert (reply.status, reply.code) == (422, "UNPROCESSABLE_ENTITY")
    assert reply.message == f'unsupported media type "{shown}", only [application/json] are allowed'


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"project_name": "Bad Name"}, 400),
        ({"project_name": "x" * 256}, 422),
        ({"project_name": 5}, 422),
        ({"project_name": "new", "metadata": {"public": "maybe"}}, 400),
        ({"project_name": "new", "metadata": {"public": True}}, 422),
        ({"project_name": "new", "metadata": {"bogus": "x", "severity": "zzz", "auto_scan": "perhaps"}}, 201),
        ({"project_name": "new", "public": True}, 201),
    ],
)
def test_what_a_new_project_may_be_like(admin: Client, document: dict[str, Any], status: int) -> None:
    reply = admin.api("POST", "/projects", document)
    assert reply.status == status
    if status == 201:
        assert "bogus" not in admin.api("GET", "/projects/new").json["metadata"]


def test_malformed_json_is_unprocessable(admin: Client) -> None:
    reply = admin.ask("POST", "/api/v2.0/projects", b"{", headers={"Content-Type": "application/json"})
    assert reply.status == 422


def test_a_public_read_with_a_wrong_password_is_an_anonymous_one(anyone: Client) -> None:
    reply = anyone.basic("admin", "wrong").api("GET", "/projects")
    assert (reply.status, [project["name"] for project in reply.json]) == (200, ["library", "pub"])


def test_where_creation_is_restricted_robots_need_the_right_of_the_system(
    harbor: HarborFixture, anyone: Client, pusher: Client
) -> None:
    wanted = {"project_name": "new", "storage_limit": 1000}
    assert anyone.api("POST", "/projects", wanted).status == 401
    bound = harbor.add_robot("bound", project="lab")
    assert anyone.basic(bound.name, bound.secret).api("POST", "/projects", wanted).status == 403
    harbor.settings.project_creation_restriction = "adminonly"
    assert pusher.api("POST", "/projects", wanted).status == 403
    assert creator(harbor, anyone).api("POST", "/projects", wanted).status == 201
    found = harbor.database.projects["new"]
    assert (found.storage_limit, found.owner) == (1000, "admin")


def test_where_creation_is_open_any_robot_of_the_system_creates_but_sets_no_quota(
    harbor: HarborFixture, pusher: Client
) -> None:
    assert pusher.api("POST", "/projects", {"project_name": "new", "storage_limit": 1000}).status == 201
    assert harbor.database.projects["new"].storage_limit == -1


def test_people_create_projects_unless_that_is_restricted(harbor: HarborFixture, anyone: Client) -> None:
    harbor.add_user("ann", "Secret123")
    ann = anyone.basic("ann", "Secret123")
    assert ann.api("POST", "/projects", {"project_name": "hers", "storage_limit": 5}).status == 201
    assert harbor.database.projects["hers"].storage_limit == -1
    assert ann.ask("POST", "/v2/hers/app/blobs/uploads/").status == 202
    assert ann.api("POST", "/projects", {"project_name": "prox", "registry_id": 1}).status == 403
    harbor.settings.project_creation_restriction = "adminonly"
    assert ann.api("POST", "/projects", {"project_name": "more"}).status == 403


def test_a_new_project_gets_the_systems_quota(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(settings=Settings(storage_per_project=5000))
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    assert admin.api("POST", "/projects", {"project_name": "new"}).status == 201
    assert admin.api("GET", "/projects/new/summary").json["quota"]["hard"] == {"storage": 5000}


def test_a_project_tells_of_itself(admin: Client) -> None:
    admin.push_image("pub/app")
    found = admin.api("GET", "/projects/pub").json
    assert (found["name"], found["repo_count"], found["metadata"]) == ("pub", 1, {"public": "true"})
    assert (found["owner_name"], found["registry_id"], found["current_user_role_id"]) == ("admin", None, 1)
    assert found["creation_time"].endswith("Z")
    by_number = admin.api("GET", f"/projects/{found['project_id']}").json
    assert by_number == found


def test_a_name_of_digits_is_an_id_unless_it_is_called_a_name(harbor: HarborFixture, admin: Client) -> None:
    harbor.add_project("42")
    assert admin.api("GET", "/projects/42").status == 404
    reply = admin.ask("GET", "/api/v2.0/projects/42", headers={"X-Is-Resource-Name": "true"})
    assert reply.json["name"] == "42"


def test_the_summary_has_the_quota_for_who_may_read_it(harbor: HarborFixture, anyone: Client, pusher: Client) -> None:
    pusher.push_blob("lab/app", LAYER)
    assert pusher.api("GET", "/projects/lab/summary").status == 403
    robot = harbor.add_robot("half", rights=("project:read",))
    assert "quota" not in anyone.basic(robot.name, robot.secret).api("GET", "/projects/lab/summary").json
    robot = harbor.add_robot("full", rights=("project:read", "quota:read"))
    told = anyone.basic(robot.name, robot.secret).api("GET", "/projects/lab/summary").json
    assert told["quota"] == {"hard": {"storage": -1}, "used": {"storage": len(LAYER)}}


def test_a_project_with_repositories_cannot_be_deleted(admin: Client) -> None:
    admin.push_image("lab/app")
    assert admin.api("GET", "/projects/lab/_deletable").json.keys() == {"message"}
    reply = admin.api("DELETE", "/projects/lab")
    assert (reply.status, reply.code) == (412, "PRECONDITION")
    assert admin.api("DELETE", "/projects/lab/repositories/app").status == 200
    assert admin.api("GET", "/projects/lab/_deletable").json == {"deletable": True}
    assert admin.api("DELETE", "/projects/lab").status == 200
    assert admin.api("HEAD", "/projects?project_name=lab").status == 404


def test_changing_metadata_is_partial_and_keeps_nonsense(admin: Client) -> None:
    reply = admin.api("PUT", "/projects/lab", {"metadata": {"severity": "high", "public": "maybe", "bogus": "x"}})
    assert reply.status == 200
    assert admin.api("GET", "/projects/lab").json["metadata"] == {"public": "maybe", "severity": "high"}


def test_metadata_is_changed_one_key_at_a_time(admin: Client) -> None:
    path = "/projects/lab/metadatas/"
    assert admin.api("GET", path).json == {"public": "false"}
    assert admin.api("POST", path, {"severity": "low"}).status == 200
    assert admin.api("POST", path, {"severity": "low"}).status == 409
    assert admin.api("POST", path, {"a": "1", "b": "2"}).status == 400
    reply = admin.api("POST", path, {"auto_scan": "maybe"})
    assert (reply.status, reply.message) == (400, "invalid value: maybe")
    reply = admin.api("POST", path, {"bogus": "x"})
    assert (reply.status, reply.message) == (400, "invalid key: bogus")
    assert admin.api("PUT", f"{path}severity", {"severity": "high"}).status == 200
    assert admin.api("GET", f"{path}severity").json == {"severity": "high"}
    assert admin.api("DELETE", f"{path}severity").status == 200
    assert admin.api("GET", f"{path}severity").status == 404


def test_who_may_see_a_private_project_sees_it_listed(harbor: HarborFixture, anyone: Client, pusher: Client) -> None:
    harbor.add_user("ann", "Secret123")
    harbor.database.projects["lab"].members["ann"] = 3
    ann = anyone.basic("ann", "Secret123")
    for somebody in (ann, pusher):
        assert [row["name"] for row in somebody.api("GET", "/projects").json] == ["lab", "library", "pub"]
    assert [row["name"] for row in ann.api("GET", "/projects?public=false").json] == ["lab"]
    assert [row["name"] for row in ann.api("GET", "/projects?name=ub").json] == ["pub"]


def test_an_unknown_path_and_an_unknown_method_are_told_apart(admin: Client) -> None:
    reply = admin.api("GET", "/nothing")
    assert (reply.status, reply.message) == (404, "path /api/v2.0/nothing was not found")
    reply = admin.api("PATCH", "/projects")
    assert (reply.status, reply.code) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["Allow"] == "GET,HEAD,POST"

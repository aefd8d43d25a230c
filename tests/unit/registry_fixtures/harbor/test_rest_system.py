"""The rest of the REST API: the system, robots, quotas, rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.registry_fixtures.harbor.conftest import LAYER, Client

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture


def entry(kind: str = "project", namespace: str = "lab", *rights: str) -> dict[str, Any]:
    access = [dict(zip(("resource", "action"), right.split(":"), strict=True)) for right in rights]
    return {"kind": kind, "namespace": namespace, "access": access}


def test_anybody_may_ask_for_the_version_and_whether_it_lives(anyone: Client) -> None:
    assert anyone.ask("GET", "/api/version").json == {"version": "v2.0"}
    assert anyone.api("GET", "/ping").body == b"Pong"
    told = anyone.api("GET", "/health").json
    assert told["status"] == "healthy"
    assert {"name": "core", "status": "healthy"} in told["components"]


def test_the_systems_version_is_told_only_to_who_logged_in(anyone: Client, pusher: Client) -> None:
    told = anyone.api("GET", "/systeminfo").json
    assert told["auth_mode"] == "db_auth"
    assert "harbor_version" not in told
    told = pusher.api("GET", "/systeminfo").json
    assert told["harbor_version"].startswith("v2.16.0-")
    assert (told["read_only"], told["registry_url"]) == (False, pusher.host)


def test_robots_have_no_current_user(anyone: Client, admin: Client, pusher: Client) -> None:
    assert admin.api("GET", "/users/current").json["sysadmin_flag"] is True
    assert anyone.api("GET", "/users/current").status == 401
    assert pusher.api("GET", "/users/current").code == "PRECONDITION"


def test_the_disk_is_the_administrators_business(harbor: HarborFixture, admin: Client, pusher: Client) -> None:
    harbor.settings.volume_size = 1000
    pusher.push_blob("lab/app", bytes(100))
    assert admin.api("GET", "/systeminfo/volumes").json == {"storage": [{"total": 1000, "free": 900}]}
    reply = pusher.api("GET", "/systeminfo/volumes")
    assert (reply.status, reply.code, reply.message) == (403, "FORBIDDEN", "robot$pusher")
    assert admin.api("GET", "/systeminfo/getcert").status == 404


def test_search_finds_what_one_may_see(anyone: Client, admin: Client) -> None:
    admin.push_image("lab/tool")
    admin.push_image("pub/tool")
    found = anyone.api("GET", "/search?q=tool").json
    assert [row["repository_name"] for row in found["repository"]] == ["pub/tool"]
    assert [row["name"] for row in admin.api("GET", "/search?q=la").json["project"]] == ["lab"]


def test_statistics_count_what_one_may_see(anyone: Client, admin: Client) -> None:
    admin.push_image("lab/tool")
    told = admin.api("GET", "/statistics").json
    assert (told["private_repo_count"], told["total_project_count"]) == (1, 3)
    assert anyone.api("GET", "/statistics").status == 401


def test_the_configuration_can_be_changed(harbor: HarborFixture, admin: Client, pusher: Client) -> None:
    assert pusher.api("GET", "/configurations").status == 403
    assert admin.api("GET", "/configurations").json["token_expiration"] == {"value": 30, "editable": True}
    assert admin.api("PUT", "/configurations", {"read_only": True}).status == 200
    assert harbor.settings.read_only
    assert admin.api("PUT", "/configurations", {"read_only": False}).status == 200


def test_the_schedule_of_collections_says_whether_untagged_artifacts_go(admin: Client, pusher: Client) -> None:
    path = "/system/gc/schedule"
    assert pusher.api("GET", path).status == 403
    assert (admin.api("GET", path).status, admin.api("GET", path).body) == (200, b"")
    wanted = {"schedule": {"type": "Custom", "cron": "0 0 0 * * *"}, "parameters": {"delete_untagged": True}}
    assert admin.api("POST", path, wanted).status == 201
    told = admin.api("GET", path).json
    assert told["schedule"] == {"type": "Custom", "cron": "0 0 0 * * *"}
    assert '"delete_untagged":true' in told["job_parameters"]
    assert admin.api("PUT", path, {**wanted, "parameters": {"workers": 11}}).status == 400
    assert admin.api("GET", "/system/gc").json == []


def test_a_robot_is_created_with_a_prefix_and_a_secret_that_is_told_once(admin: Client, anyone: Client) -> None:
    wanted = {
        "name": "copier",
        "level": "project",
        "duration": 30,
        "permissions": [entry("project", "lab", "repository:pull", "repository:push")],
        "secret": "ignored",
    }
    reply = admin.api("POST", "/robots", wanted)
    assert (reply.status, reply.json["name"]) == (201, "robot$lab+copier")
    assert reply.headers["Location"] == f"/api/v2.0/robots/{reply.json['id']}"
    robot = anyone.basic(reply.json["name"], reply.json["secret"])
    assert robot.ask("POST", "/v2/lab/app/blobs/uploads/").status == 202
    assert robot.ask("POST", "/v2/pub/app/blobs/uploads/").status == 401
    shown = admin.api("GET", f"/robots/{reply.json['id']}").json
    assert (shown["level"], shown["duration"], "secret" in shown) == ("project", 30, False)
    assert admin.api("POST", "/robots", wanted).status == 409


@pytest.mark.parametrize(
    "change",
    [
        {"level": "other"},
        {"name": "Bad Name"},
        {"duration": 0},
        {"permissions": []},
        {"level": "project", "permissions": [entry("project", "lab"), entry("project", "pub")]},
    ],
)
def test_a_robot_that_makes_no_sense_is_a_bad_request(admin: Client, change: dict[str, Any]) -> None:
    wanted = {"name": "x", "level": "system", "duration": -1, "permissions": [entry("project", "*")]}
    assert admin.api("POST", "/robots", {**wanted, **change}).code == "BAD_REQUEST"


def test_a_robot_makes_no_robot_that_may_more(harbor: HarborFixture, anyone: Client, pusher: Client) -> None:
    maker = harbor.add_robot("maker", rights=("repository:pull",), system_rights=("robot:create",))
    somebody = anyone.basic(maker.name, maker.secret)
    wanted = {"name": "x", "level": "system", "duration": -1}
    more = [entry("project", "lab", "repository:pull", "repository:push")]
    assert somebody.api("POST", "/robots", {**wanted, "permissions": more}).code == "DENIED"
    less = [entry("project", "lab", "repository:pull")]
    assert somebody.api("POST", "/robots", {**wanted, "permissions": less}).status == 201
    assert pusher.api("POST", "/robots", {**wanted, "permissions": less}).status == 403


def test_a_robots_secret_is_changed_or_made_anew(harbor: HarborFixture, admin: Client, anyone: Client) -> None:
    robot = harbor.add_robot("x", project="lab")
    path = f"/robots/{robot.number}"
    assert admin.api("PATCH", path, {"secret": "tooweak"}).status == 400
    assert admin.api("PATCH", path, {"secret": "Str0ngEnough"}).json == {}
    assert anyone.basic(robot.name, "Str0ngEnough").ask("GET", "/v2/").status == 200
    made = admin.api("PATCH", path, {"secret": ""}).json["secret"]
    assert anyone.basic(robot.name, made).ask("GET", "/v2/").status == 200
    number = harbor.database.projects["lab"].number
    assert [row["name"] for row in admin.api("GET", f"/robots?q=Level=project,ProjectID={number}").json] == [robot.name]
    assert admin.api("GET", "/robots").json == []
    assert admin.api("DELETE", path).status == 200
    assert admin.api("GET", path).status == 404


def test_quotas_are_listed_by_project_and_set(harbor: HarborFixture, admin: Client, pusher: Client) -> None:
    pusher.push_blob("lab/app", LAYER)
    number = harbor.database.projects["lab"].number
    (found,) = admin.api("GET", f"/quotas?reference=project&reference_id={number}").json
    assert (found["ref"]["name"], found["used"]) == ("lab", {"storage": len(LAYER)})
    assert admin.api("PUT", f"/quotas/{found['id']}", {"hard": {"storage": 5}}).status == 200
    assert admin.api("GET", f"/quotas/{found['id']}").json["hard"] == {"storage": 5}
    assert pusher.api("GET", "/quotas").status == 403


def test_immutability_rules_are_added_changed_and_deleted(admin: Client) -> None:
    path = "/projects/lab/immutabletagrules"
    rule = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
    }
    assert admin.api("POST", path, rule).status == 201
    assert admin.api("POST", path, rule).status == 409
    assert admin.api("POST", path, {}).status == 400
    (found,) = admin.api("GET", path).json
    assert found["tag_selectors"] == rule["tag_selectors"]
    admin.push_image("lab/app")
    reply = admin.put("lab/app", "v1", b"")
    assert reply.status == 412
    one = f"{path}/{found['id']}"
    assert admin.api("PUT", one, {**rule, "id": 999}).status == 400
    assert admin.api("PUT", one, {**rule, "id": found["id"], "disabled": True}).status == 200
    assert admin.put("lab/app", "v1", b"").status == 400
    assert admin.api("DELETE", one).status == 200
    assert admin.api("GET", path).json == []


def test_a_retention_policy_is_found_by_the_id_in_the_metadata(harbor: HarborFixture, admin: Client) -> None:
    number = harbor.database.projects["lab"].number
    policy = {"algorithm": "or", "rules": [], "scope": {"level": "project", "ref": number}, "trigger": {}}
    assert admin.api("POST", "/retentions", policy).status == 201
    assert admin.api("POST", "/retentions", policy).status == 400
    identifier = admin.api("GET", "/projects/lab").json["metadata"]["retention_id"]
    assert admin.api("GET", f"/retentions/{identifier}").json == {**policy, "id": int(identifier)}
    harbor.set_retention("pub", policy)
    assert harbor.database.projects["pub"].metadata["retention_id"] != identifier
    assert admin.api("GET", "/retentions/999").status == 404

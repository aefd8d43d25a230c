"""Rules and limits of projects: immutable tags, retention, quotas."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.clock import stamp
from registry_fixtures.harbor.policy import immutable_rule
from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.projects import summary_quota

if TYPE_CHECKING:
    from registry_fixtures.harbor.database import Project
    from registry_fixtures.harbor.rest.call import Call
    from registry_fixtures.harbor.rest.routing import Routes

__all__ = ["rule_routes"]


def rule_routes() -> Routes:
    """The calls by path."""
    return {
        "GET /projects/{project}/immutabletagrules": _immutable_rules,
        "POST /projects/{project}/immutabletagrules": _add_immutable_rule,
        "PUT /projects/{project}/immutabletagrules/{rule}": _change_immutable_rule,
        "DELETE /projects/{project}/immutabletagrules/{rule}": _delete_immutable_rule,
        "GET /quotas": _quotas,
        "GET /quotas/{quota}": _quota,
        "PUT /quotas/{quota}": _set_quota,
        "GET /retentions/{retention}": _retention,
        "POST /retentions": _add_retention,
    }


def _immutable_rules(call: Call) -> Answer:
    return call.page(call.project("immutable-tag:list").immutable_rules)


def _add_immutable_rule(call: Call) -> Answer:
    project = call.project("immutable-tag:create")
    rule = {**immutable_rule(call.database.number("rule")), **_selectors(call.body())}
    if any(_selectors(rule) == _selectors(held) for held in project.immutable_rules):
        raise HarborError("CONFLICT", "conflict: the immutable rule already exists")
    project.immutable_rules.append(rule)
    location = f"{call.request.path}/{rule['id']}"
    return Answer.of(HTTPStatus.CREATED, headers={"Location": location})


def _change_immutable_rule(call: Call) -> Answer:
    project = call.project("immutable-tag:update")
    body, rule = call.body(), _rule(call, project)
    if body.get("id") != rule["id"]:
        raise HarborError(
            "BAD_REQUEST",
            "bad request: the immutable_rule_id doesn't match the id in the payload body of ImmutableRule",
        )
    rule.update(_selectors(body) | {"disabled": bool(body.get("disabled"))})
    return Answer.of(HTTPStatus.OK)


def _delete_immutable_rule(call: Call) -> Answer:
    project = call.project("immutable-tag:delete")
    project.immutable_rules.remove(_rule(call, project))
    return Answer.of(HTTPStatus.OK)


def _rule(call: Call, project: Project) -> dict[str, Any]:
    for rule in project.immutable_rules:
        if str(rule["id"]) == call.values["rule"]:
            return rule
    raise HarborError("NOT_FOUND", f"immutable rule {call.values['rule']} not found")


def _selectors(rule: dict[str, Any]) -> dict[str, Any]:
    tags, scopes = rule.get("tag_selectors"), rule.get("scope_selectors")
    if not tags or not isinstance(scopes, dict) or not scopes.get("repository"):
        raise HarborError("BAD_REQUEST", "bad request: a rule needs a tag selector and a repository selector")
    return {"tag_selectors": tags, "scope_selectors": scopes}


def _quotas(call: Call) -> Answer:
    call.system("quota:list")
    wanted = call.request.asked("reference_id")
    found = [
        _quota_json(project)
        for project in call.database.projects.values()
        if call.request.asked("reference") in ("", "project") and wanted in ("", str(project.number))
    ]
    return call.page(found)


def _quota(call: Call) -> Answer:
    call.system("quota:read")
    return json_answer(_quota_json(_quota_project(call)))


def _set_quota(call: Call) -> Answer:
    call.system("quota:update")
    hard = call.body().get("hard")
    limit = hard.get("storage") if isinstance(hard, dict) else None
    if not isinstance(limit, int):
        raise HarborError("BAD_REQUEST", "hard required in body")
    _quota_project(call).storage_limit = limit
    return Answer.of(HTTPStatus.OK)


def _quota_project(call: Call) -> Project:
    for project in call.database.projects.values():
        if str(project.number) == call.values["quota"]:
            return project
    raise HarborError("NOT_FOUND", f"quota {call.values['quota']} not found")


def _quota_json(project: Project) -> dict[str, Any]:
    """A quota. Here it has its project's id; in Harbor the two are counted apart."""
    return {
        "id": project.number,
        "ref": {"id": project.number, "name": project.name, "owner_name": project.owner},
        "creation_time": stamp(project.created),
        "update_time": stamp(project.created),
        **summary_quota(project),
    }


def _retention(call: Call) -> Answer:
    call.login()
    for project in call.database.projects.values():
        if project.retention and str(project.retention["id"]) == call.values["retention"]:
            call.require("tag-retention:read", project)
            return json_answer(project.retention)
    raise HarborError("NOT_FOUND", f"retention policy {call.values['retention']} not found")


def _add_retention(call: Call) -> Answer:
    call.login()
    body = call.body()
    scope = body.get("scope") or {}
    projects = [found for found in call.database.projects.values() if found.number == scope.get("ref")]
    if scope.get("level") != "project" or not projects:
        raise HarborError("BAD_REQUEST", f"bad request: invalid scope: {scope}")
    project = projects[0]
    call.require("tag-retention:create", project)
    if project.retention:
        raise HarborError(
            "BAD_REQUEST", f"project {project.name} already has retention policy {project.retention['id']}"
        )
    number = call.database.number("retention")
    project.retention = {**body, "id": number}
    project.metadata["retention_id"] = str(number)
    return Answer.of(HTTPStatus.CREATED, headers={"Location": f"/api/v2.0/retentions/{number}"})

"""Projects: list, look for, create, change, delete, and their metadata, quota and rules."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.clock import stamp
from registry_fixtures.harbor.database import Project
from registry_fixtures.harbor.identity import RobotIdentity
from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.call import unprocessable

if TYPE_CHECKING:
    from registry_fixtures.harbor.identity import Identity
    from registry_fixtures.harbor.people import People
    from registry_fixtures.harbor.rest.call import Call
    from registry_fixtures.harbor.rest.routing import Routes
    from registry_fixtures.harbor.settings import Settings

__all__ = ["METADATA_KEYS", "Projects", "summary_quota"]

METADATA_KEYS: Final = frozenset(
    {
        "auto_sbom_generation",
        "auto_scan",
        "enable_content_trust",
        "enable_content_trust_cosign",
        "max_upstream_conn",
        "prevent_vul",
        "proxy_cache_filter_kind",
        "proxy_cache_filter_pattern",
        "proxy_cache_local_on_not_found",
        "proxy_referrer_api",
        "proxy_speed_kb",
        "public",
        "retention_id",
        "reuse_sys_cve_allowlist",
        "severity",
    }
)
_BOOLEANS: Final = METADATA_KEYS & {
    "auto_sbom_generation",
    "auto_scan",
    "enable_content_trust",
    "enable_content_trust_cosign",
    "prevent_vul",
    "public",
    "reuse_sys_cve_allowlist",
}
_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_LONGEST_NAME: Final = 255
_SEVERITIES: Final = ("none", "low", "medium", "high", "critical")
_TRUTHS: Final = ("1", "t", "true", "0", "f", "false")
_UNDELETABLE: Final = "the project contains repositories, can not be deleted"
_ROLES: Final = {1: "project_admin", 2: "developer", 3: "guest", 4: "maintainer", 5: "limited_guest"}


class Projects:
    """Calls under ``/projects`` that are about the project itself."""

    def __init__(self, people: People, settings: Settings) -> None:
        self._people = people
        self._settings = settings

    def routes(self) -> Routes:
        """The calls by path."""
        return {
            "HEAD /projects": self._exists,
            "GET /projects": self._list,
            "POST /projects": self._create,
            "GET /projects/{project}": self._get,
            "PUT /projects/{project}": self._update,
            "DELETE /projects/{project}": self._delete,
            "GET /projects/{project}/_deletable": self._deletable,
            "GET /projects/{project}/summary": self._summary,
            "GET /projects/{project}/metadatas": self._metadatas,
            "POST /projects/{project}/metadatas": self._add_metadata,
            "GET /projects/{project}/metadatas/{key}": self._metadata,
            "PUT /projects/{project}/metadatas/{key}": self._set_metadata,
            "DELETE /projects/{project}/metadatas/{key}": self._drop_metadata,
        }

    def _exists(self, call: Call) -> Answer:
        call.login()
        name = call.request.asked("project_name")
        if not name:
            raise unprocessable("project_name in query is required")
        if name not in call.database.projects:
            raise HarborError("NOT_FOUND", f"project {name} not found")
        return Answer.of(HTTPStatus.OK)

    def _list(self, call: Call) -> Answer:
        wanted, public = call.request.asked("name"), call.request.asked("public")
        found = [
            self._json(project, call.identity)
            for project in sorted(call.database.projects.values(), key=lambda project: project.name)
            if _visible(call.identity, project)
            and wanted in project.name
            and public in ("", "true" if project.public else "false")
        ]
        return call.page(found, all_by_minus_one=True)

    def _create(self, call: Call) -> Answer:
        call.login()
        body = call.body()
        creator = call.identity.administrator or call.identity.may_system("project:create")
        self._check_creation(call.identity, creator=creator)
        name, metadata = _checked_name(body), _checked_metadata(body)
        if body.get("registry_id") and not creator:
            raise HarborError("FORBIDDEN", "Only system admin can create proxy cache project")
        if name in call.database.projects:
            raise HarborError("CONFLICT", f"The project named {name} already exists")
        limit = body.get("storage_limit")
        given = isinstance(limit, int) and limit != 0 and creator
        made = Project(
            number=call.database.number("project"),
            name=name,
            created=call.database.clock.now(),
            owner=call.identity.name if call.identity.kind == "local" else self._people.first_administrator(),
            metadata={"public": "false", **metadata},
            storage_limit=int(limit) if given and isinstance(limit, int) else self._settings.storage_per_project,
            upstream=int(body.get("registry_id") or 0),
        )
        call.database.projects[name] = made
        by_name = call.request.header("x-resource-name-in-location").lower() == "true"
        location = f"/api/v2.0/projects/{name if by_name else made.number}"
        return Answer.of(HTTPStatus.CREATED, headers={"Location": location})

    def _check_creation(self, identity: Identity, *, creator: bool) -> None:
        """Let people and robots of the system create projects, or where that is restricted those with the right.

        Raises:
            HarborError: 403.
        """
        robot = self._people.robots.get(identity.name) if identity.kind == "robot" else None
        if robot is not None and robot.level != "system":
            raise HarborError("FORBIDDEN", "Only system level robot can create project")
        if self._settings.project_creation_restriction == "adminonly" and not creator:
            raise HarborError("FORBIDDEN", "Only system admin can create project")

    def _get(self, call: Call) -> Answer:
        return json_answer(self._json(call.project("project:read"), call.identity))

    def _update(self, call: Call) -> Answer:
        project, body = call.project("project:update"), call.body()
        metadata = body.get("metadata") or {}
        if not all(isinstance(value, str) for value in metadata.values()):
            raise unprocessable('parsing project body from "" failed, because a metadata value is not a string')
        # Values are not looked at here: Harbor keeps nonsense.
        project.metadata.update({key: value for key, value in metadata.items() if key in METADATA_KEYS})
        if isinstance(body.get("cve_allowlist"), dict):
            project.cve_allowlist = body["cve_allowlist"]
        return Answer.of(HTTPStatus.OK)

    def _delete(self, call: Call) -> Answer:
        project = call.project("project:delete")
        if project.repositories:
            raise HarborError("PRECONDITION", f"precondition failed: {_UNDELETABLE}")
        del call.database.projects[project.name]
        return Answer.of(HTTPStatus.OK)

    def _deletable(self, call: Call) -> Answer:
        project = call.project("project:delete")
        return json_answer({"message": _UNDELETABLE} if project.repositories else {"deletable": True})

    def _summary(self, call: Call) -> Answer:
        project = call.project("project:read")
        told: dict[str, Any] = {"repo_count": len(project.repositories)}
        if call.identity.may("member:list", project):
            roles = list(project.members.values())
            told |= {f"{name}_count": roles.count(role) + (role == 1) for role, name in _ROLES.items()}
        if call.identity.may("quota:read", project):
            told["quota"] = summary_quota(project)
        if project.upstream:
            told["registry"] = {"id": project.upstream, "name": f"upstream-{project.upstream}"}
        return json_answer(told)

    def _metadatas(self, call: Call) -> Answer:
        return json_answer(call.project("metadata:list").metadata)

    def _metadata(self, call: Call) -> Answer:
        project, key = call.project("metadata:read"), call.values["key"]
        return json_answer({key: _held(project, key)})

    def _add_metadata(self, call: Call) -> Answer:
        project = call.project("metadata:create")
        key, value = _pair(call.body())
        if key not in METADATA_KEYS:
            raise HarborError("BAD_REQUEST", f"invalid key: {key}")
        if key in project.metadata:
            raise HarborError("CONFLICT", f"metadata {key} already exists")
        project.metadata[key] = value
        return Answer.of(HTTPStatus.OK)

    def _set_metadata(self, call: Call) -> Answer:
        project, key = call.project("metadata:update"), call.values["key"]
        named, value = _pair(call.body())
        if named != key:
            raise HarborError("BAD_REQUEST", f"key {key} not found in the request body")
        _held(project, key)
        project.metadata[key] = value
        return Answer.of(HTTPStatus.OK)

    def _drop_metadata(self, call: Call) -> Answer:
        project, key = call.project("metadata:delete"), call.values["key"]
        _held(project, key)
        del project.metadata[key]
        return Answer.of(HTTPStatus.OK)

    def _json(self, project: Project, identity: Identity) -> dict[str, Any]:
        role = 1 if identity.administrator or project.owner == identity.name else project.members.get(identity.name, 0)
        owner = self._people.users.get(project.owner)
        return {
            "project_id": project.number,
            "owner_id": owner.number if owner else 0,
            "owner_name": project.owner,
            "name": project.name,
            "registry_id": project.upstream or None,
            "creation_time": stamp(project.created),
            "update_time": stamp(project.created),
            "deleted": False,
            "togglable": True,
            "current_user_role_id": role,
            "current_user_role_ids": [role] if role else None,
            "repo_count": len(project.repositories),
            "metadata": project.metadata,
            "cve_allowlist": {"items": [], "project_id": project.number, **project.cve_allowlist},
        }


def summary_quota(project: Project) -> dict[str, Any]:
    """Limit and use of a project, in bytes."""
    return {"hard": {"storage": project.storage_limit}, "used": {"storage": project.used}}


def _visible(identity: Identity, project: Project) -> bool:
    if project.public or identity.administrator or project.owner == identity.name:
        return True
    if isinstance(identity, RobotIdentity):
        return any(held.namespace in ("*", project.name) for held in identity.robot.permissions)
    return identity.name in project.members


def _checked_name(body: dict[str, Any]) -> str:
    name = body.get("project_name")
    if not isinstance(name, str):
        raise unprocessable("project_name in body must be of type string")
    if len(name) > _LONGEST_NAME:
        raise unprocessable(f"project_name in body should be at most {_LONGEST_NAME} chars long")
    if not _NAME.fullmatch(name):
        raise HarborError("BAD_REQUEST", "project name is not in lower case or contains illegal characters")
    return name


def _checked_metadata(body: dict[str, Any]) -> dict[str, str]:
    """The metadata of a new project: what is unknown is dropped, and only ``public`` is looked at."""
    given = body.get("metadata") or {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise unprocessable('parsing project body from "" failed, because a metadata value is not a string')
    metadata = {key: value for key, value in given.items() if key in METADATA_KEYS}
    if isinstance(body.get("public"), bool) and "public" not in metadata:
        metadata["public"] = "true" if body["public"] else "false"
    public = metadata.get("public", "false")
    if public not in ("true", "false"):
        raise HarborError("BAD_REQUEST", f"metadata.public should only be 'true' or 'false', but got: '{public}'")
    if metadata.get("retention_id"):
        raise HarborError("BAD_REQUEST", "bad request: the retention_id of a new project should be empty")
    return metadata


def _pair(body: dict[str, Any]) -> tuple[str, str]:
    if len(body) != 1:
        raise HarborError("BAD_REQUEST", "only allow one key/value pair")
    ((key, value),) = body.items()
    if not isinstance(value, str):
        raise unprocessable("body in body must be of type string")
    lowered = value.lower()
    wrong = (key in _BOOLEANS and lowered not in _TRUTHS) or (key == "severity" and lowered not in _SEVERITIES)
    if wrong:
        raise HarborError("BAD_REQUEST", f"invalid value: {value}")
    return key, {"1": "true", "t": "true", "0": "false", "f": "false"}.get(
        lowered, lowered
    ) if key in _BOOLEANS else value


def _held(project: Project, key: str) -> str:
    if key not in project.metadata:
        raise HarborError("NOT_FOUND", f"metadata {key} not found")
    return project.metadata[key]

"""The system as a whole: health, version, configuration, search, who is asking, garbage collection."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.clock import stamp
from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.showing import repository_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor.rest.call import Call
    from registry_fixtures.harbor.rest.routing import Routes
    from registry_fixtures.harbor.settings import Settings

__all__ = ["System"]

_COMPONENTS: Final = ("core", "database", "jobservice", "portal", "redis", "registry", "registryctl")
_FREE: Final = 64 << 30


class System:
    """Calls that are about no project.

    Args:
        settings: of the installation.
        collect: runs a garbage collection; its argument says whether untagged artifacts go.
    """

    def __init__(self, settings: Settings, collect: Callable[[bool], int]) -> None:
        self._settings = settings
        self._collect = collect

    def routes(self) -> Routes:
        """The calls by path."""
        return {
            "GET /ping": _ping,
            "GET /health": _health,
            "GET /systeminfo": self._systeminfo,
            "GET /systeminfo/volumes": self._volumes,
            "GET /systeminfo/getcert": _certificate,
            "GET /statistics": _statistics,
            "GET /search": _search,
            "GET /users/current": _current_user,
            "GET /configurations": self._configurations,
            "PUT /configurations": self._configure,
            "GET /system/gc": _collections,
            "GET /system/gc/schedule": self._schedule,
            "POST /system/gc/schedule": self._set_schedule,
            "PUT /system/gc/schedule": self._set_schedule,
        }

    def _systeminfo(self, call: Call) -> Answer:
        told: dict[str, Any] = {
            "auth_mode": "db_auth",
            "banner_message": "",
            "oidc_provider_name": "",
            "primary_auth_mode": False,
            "self_registration": False,
        }
        if call.identity.name:
            told |= {
                "current_time": stamp(call.database.clock.now()),
                "external_url": call.request.url,
                "harbor_version": self._settings.version,
                "has_ca_root": False,
                "notification_enable": True,
                "project_creation_restriction": self._settings.project_creation_restriction,
                "read_only": self._settings.read_only,
                "registry_storage_provider_name": "filesystem",
                "registry_url": call.request.header("host"),
            }
        return json_answer(told)

    def _volumes(self, call: Call) -> Answer:
        call.system("system-volumes:read")
        used = sum(record.size for record in call.database.blobs.values())
        total = self._settings.volume_size or _FREE
        return json_answer({"storage": [{"total": total, "free": max(0, total - used)}]})

    def _configurations(self, call: Call) -> Answer:
        call.system("configuration:read")
        held = {
            "project_creation_restriction": self._settings.project_creation_restriction,
            "quota_per_project_enable": True,
            "read_only": self._settings.read_only,
            "robot_name_prefix": self._settings.robot_prefix,
            "storage_per_project": self._settings.storage_per_project,
            "token_expiration": self._settings.token_life // 60,
        }
        return json_answer({key: {"value": value, "editable": True} for key, value in held.items()})

    def _configure(self, call: Call) -> Answer:
        call.system("configuration:update")
        body = call.body()
        if isinstance(body.get("read_only"), bool):
            self._settings.read_only = body["read_only"]
        if isinstance(body.get("storage_per_project"), int):
            self._settings.storage_per_project = body["storage_per_project"]
        if body.get("project_creation_restriction") in ("everyone", "adminonly"):
            self._settings.project_creation_restriction = body["project_creation_restriction"]
        return Answer.of(HTTPStatus.OK)

    def _schedule(self, call: Call) -> Answer:
        call.system("garbage-collection:read")
        cron = self._settings.gc_schedule
        if not cron:
            return Answer.of(HTTPStatus.OK, headers={"Content-Type": "application/json"})
        untagged = str(self._settings.gc_delete_untagged).lower()
        parameters = f'{{"delete_untagged":{untagged},"dry_run":false,"time_window":2,"workers":1}}'
        schedule = {"type": "Custom", "cron": cron}
        return json_answer({"id": 1, "job_kind": cron, "job_parameters": parameters, "schedule": schedule})

    def _set_schedule(self, call: Call) -> Answer:
        call.system("garbage-collection:create")
        body = call.body()
        schedule, parameters = body.get("schedule") or {}, body.get("parameters") or {}
        workers = parameters.get("workers", 1)
        if not isinstance(workers, int) or not 1 <= workers <= 10:  # noqa: PLR2004 -- Harbor's range
            allowed = "Workers must be greater than 0 and less than or equal to 10."
            raise HarborError("BAD_REQUEST", f"Error: Invalid number of workers:{workers}. {allowed}")
        if schedule.get("type") == "Manual":
            if not parameters.get("dry_run"):
                self._collect(bool(parameters.get("delete_untagged")))
        else:
            self._settings.gc_schedule = "" if schedule.get("type") == "None" else str(schedule.get("cron", ""))
            self._settings.gc_delete_untagged = bool(parameters.get("delete_untagged"))
        if call.request.method == "PUT":
            return Answer.of(HTTPStatus.OK)
        return Answer.of(HTTPStatus.CREATED, headers={"Location": "/api/v2.0/system/gc/1"})


def _ping(call: Call) -> Answer:
    del call
    return Answer.of(HTTPStatus.OK, b"Pong", {"Content-Type": "text/plain"})


def _health(call: Call) -> Answer:
    del call
    return json_answer(
        {"status": "healthy", "components": [{"name": name, "status": "healthy"} for name in _COMPONENTS]}
    )


def _certificate(call: Call) -> Answer:
    del call
    raise HarborError("NOT_FOUND", "CA certificate not found")


def _statistics(call: Call) -> Answer:
    call.login()
    told: dict[str, int] = dict.fromkeys(
        ("private_project_count", "private_repo_count", "public_project_count", "public_repo_count"), 0
    )
    for project in call.database.projects.values():
        if call.identity.may("project:read", project):
            kind = "public" if project.public else "private"
            told[f"{kind}_project_count"] += 1
            told[f"{kind}_repo_count"] += len(project.repositories)
    told["total_project_count"] = told["private_project_count"] + told["public_project_count"]
    told["total_repo_count"] = told["private_repo_count"] + told["public_repo_count"]
    if call.identity.administrator:
        told["total_storage_consumption"] = sum(project.used for project in call.database.projects.values())
    return json_answer(told)


def _search(call: Call) -> Answer:
    wanted = call.request.asked("q")
    seen = [found for found in call.database.projects.values() if call.identity.may("project:read", found)]
    repositories = [
        {
            "artifact_count": row["artifact_count"],
            "project_id": project.number,
            "project_name": project.name,
            "project_public": project.public,
            "pull_count": row["pull_count"],
            "repository_name": row["name"],
        }
        for project in seen
        for row in (repository_json(project, held) for held in project.repositories.values())
        if wanted in row["name"]
    ]
    projects = [
        {"project_id": found.number, "name": found.name, "metadata": found.metadata}
        for found in seen
        if wanted in found.name
    ]
    return json_answer({"project": projects, "repository": repositories})


def _current_user(call: Call) -> Answer:
    call.login()
    if call.identity.kind != "local":
        raise HarborError("PRECONDITION", f"get current user not available for security context: {call.identity.kind}")
    told = {
        "username": call.identity.name,
        "sysadmin_flag": call.identity.administrator,
        "admin_role_in_auth": False,
        "email": "",
        "realname": call.identity.name,
    }
    return json_answer(told)


def _collections(call: Call) -> Answer:
    call.system("garbage-collection:list")
    return call.page([])

"""Robot accounts: creating one, listing them, changing a secret."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.clock import stamp
from registry_fixtures.harbor.identity import NEVER, Permission, Robot
from registry_fixtures.harbor.refusals import HarborError, json_answer
from registry_fixtures.harbor.rest.querying import read_conditions

if TYPE_CHECKING:
    from registry_fixtures.harbor.people import People
    from registry_fixtures.harbor.rest.call import Call
    from registry_fixtures.harbor.rest.routing import Routes
    from registry_fixtures.harbor.settings import Settings

__all__ = ["Robots", "make_secret"]

_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_SECRET: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9]).{8,128}")
_DAY: Final = 86400


class Robots:
    """Calls under ``/robots``."""

    def __init__(self, people: People, settings: Settings) -> None:
        self._people = people
        self._settings = settings

    def routes(self) -> Routes:
        """The calls by path."""
        return {
            "GET /robots": self._list,
            "POST /robots": self._create,
            "GET /robots/{robot}": self._get,
            "PATCH /robots/{robot}": self._refresh,
            "DELETE /robots/{robot}": self._delete,
        }

    def _list(self, call: Call) -> Answer:
        wanted = {key: text for key, (text, _) in read_conditions(call.request.asked("q")).items()}
        if wanted.get("Level") == "project":
            project = self._project(call, int(wanted.get("ProjectID", "0")))
            return call.page([_json(robot) for robot in self._people.robots.values() if robot.project == project])
        call.system("robot:list")
        return call.page([_json(robot) for robot in self._people.robots.values() if robot.level == "system"])

    def _create(self, call: Call) -> Answer:
        call.login()
        body = call.body()
        level, name, duration = body.get("level"), str(body.get("name", "")), body.get("duration", NEVER)
        permissions = _permissions(body)
        if level not in ("system", "project"):
            raise HarborError("BAD_REQUEST", f"bad request error level input: {level}")
        if not _NAME.fullmatch(name):
            raise HarborError("BAD_REQUEST", "robot name is not in lower case or contains illegal characters")
        if not isinstance(duration, int) or not (duration == NEVER or duration > 0):
            raise HarborError(
                "BAD_REQUEST",
                f"bad request error duration input: {duration}, "
                "duration must be either -1(Never) or a positive integer",
            )
        if level == "project" and len(permissions) != 1:
            raise HarborError("BAD_REQUEST", "bad request permission")
        project = permissions[0].namespace if level == "project" else ""
        self._allow(call, project, permissions)
        prefix = f"{self._settings.robot_prefix}{project}+" if project else self._settings.robot_prefix
        if f"{prefix}{name}" in self._people.robots:
            raise HarborError("CONFLICT", f"conflict: robot account {name} already exists")
        now = call.database.clock.now()
        robot = Robot(
            number=call.database.number("robot"),
            name=f"{prefix}{name}",
            secret=make_secret(),
            level=str(level),
            project=project,
            permissions=permissions,
            description=str(body.get("description", "")),
            created=now,
            expires=NEVER if duration == NEVER else int(now) + duration * _DAY,
        )
        self._people.robots[robot.name] = robot
        told = {
            "creation_time": stamp(now),
            "expires_at": robot.expires,
            "id": robot.number,
            "name": robot.name,
            "secret": robot.secret,
        }
        return json_answer(told, HTTPStatus.CREATED, {"Location": f"/api/v2.0/robots/{robot.number}"})

    def _get(self, call: Call) -> Answer:
        return json_answer(_json(self._robot(call, "robot:read")))

    def _refresh(self, call: Call) -> Answer:
        robot, secret = self._robot(call, "robot:update"), call.body().get("secret")
        if secret and not _SECRET.fullmatch(str(secret)):
            said = (
                "the secret must be 8-128, inclusively, characters long with at least 1 uppercase letter, "
                "1 lowercase letter and 1 number"
            )
            raise HarborError("BAD_REQUEST", said)
        robot.secret = str(secret) if secret else make_secret()
        return json_answer({} if secret else {"secret": robot.secret})

    def _delete(self, call: Call) -> Answer:
        del self._people.robots[self._robot(call, "robot:delete").name]
        return Answer.of(HTTPStatus.OK)

    def _robot(self, call: Call, right: str) -> Robot:
        call.login()
        for robot in self._people.robots.values():
            if str(robot.number) == call.values["robot"]:
                project = call.database.projects.get(robot.project)
                if project:
                    call.require(right, project)
                else:
                    call.system(right)
                return robot
        raise HarborError("NOT_FOUND", f"robot {call.values['robot']} not found")

    def _project(self, call: Call, number: int) -> str:
        for project in call.database.projects.values():
            if project.number == number:
                call.require("robot:list", project)
                return project.name
        raise HarborError("BAD_REQUEST", "must with project ID when to query project robots")

    def _allow(self, call: Call, project: str, permissions: tuple[Permission, ...]) -> None:
        """Let nobody make a robot in a place where they may not, nor one that may do more than they.

        Raises:
            HarborError: 401, 403.
        """
        if call.identity.administrator:
            return
        if project in call.database.projects:
            call.require("robot:create", call.database.projects[project])
        else:
            call.system("robot:create")
        if call.identity.kind == "robot":
            held = self._people.robots[call.identity.name].permissions
            if not all(_covered(wanted, held) for wanted in permissions):
                raise HarborError(
                    "DENIED",
                    "permission scope is invalid. It must be equal to or more restrictive than the creator "
                    f"robot's permissions: {call.identity.name}",
                )


def make_secret() -> str:
    """A secret of the form that Harbor makes."""
    return f"{secrets.token_hex(14)}Aa1x"


def _covered(wanted: Permission, held: tuple[Permission, ...]) -> bool:
    fitting = [
        permission.rights
        for permission in held
        if permission.kind == wanted.kind and permission.namespace in (wanted.namespace, "*")
    ]
    return wanted.rights <= frozenset().union(*fitting)


def _permissions(body: dict[str, Any]) -> tuple[Permission, ...]:
    given = body.get("permissions")
    if not isinstance(given, list) or not given:
        raise HarborError("BAD_REQUEST", "bad request empty permission")
    made = []
    for entry in given:
        access = entry.get("access") or []
        rights = frozenset(f"{item.get('resource')}:{item.get('action')}" for item in access)
        made.append(Permission(str(entry.get("kind")), str(entry.get("namespace")), rights))
    return tuple(made)


def _json(robot: Robot) -> dict[str, Any]:
    permissions = [
        {
            "kind": permission.kind,
            "namespace": permission.namespace,
            "access": [
                {"resource": right.partition(":")[0], "action": right.partition(":")[2]}
                for right in sorted(permission.rights)
            ],
        }
        for permission in robot.permissions
    ]
    return {
        "id": robot.number,
        "name": robot.name,
        "description": robot.description,
        "level": robot.level,
        "duration": NEVER if robot.expires == NEVER else max(1, (robot.expires - int(robot.created)) // _DAY),
        "editable": True,
        "disable": robot.disabled,
        "expires_at": robot.expires,
        "permissions": permissions,
        "creation_time": stamp(robot.created),
        "update_time": stamp(robot.created),
    }

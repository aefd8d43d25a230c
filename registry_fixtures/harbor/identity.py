"""Who is asking, and what that lets them do: users with roles, robots with access lists, bearer tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry_fixtures.harbor.database import Project

__all__ = [
    "NEVER",
    "SCANNER_PULL",
    "Anonymous",
    "Identity",
    "Permission",
    "Robot",
    "RobotIdentity",
    "TokenIdentity",
    "User",
    "UserIdentity",
]

NEVER: Final = -1
SCANNER_PULL: Final = "repository:scanner-pull"
_OLDER_THAN_PROJECT: Final = 60

_PUBLIC: Final = frozenset(
    {
        "accessory:list",
        "artifact-addition:read",
        "artifact:list",
        "artifact:read",
        "label:list",
        "label:read",
        "project:read",
        "repository:list",
        "repository:pull",
        "tag:list",
    }
)
_LIMITED: Final = (_PUBLIC - {"label:list", "label:read"}) | {"quota:read", "repository:read"}
_GUEST: Final = _LIMITED | {"label:list", "label:read", "member:list", "robot:list", "robot:read"}
_RETENTION: Final = frozenset(f"tag-retention:{action}" for action in ("create", "delete", "list", "read", "update"))
_DEVELOPER: Final = _GUEST | _RETENTION | {"artifact:create", "repository:push", "repository:update", "tag:create"}
_MAINTAINER: Final = _DEVELOPER | {
    "artifact:delete",
    "immutable-tag:create",
    "immutable-tag:delete",
    "immutable-tag:list",
    "immutable-tag:update",
    "metadata:read",
    "repository:delete",
    "tag:delete",
}
_ADMIN: Final = _MAINTAINER | {
    "member:create",
    "metadata:create",
    "metadata:delete",
    "metadata:update",
    "project:delete",
    "project:update",
    "robot:create",
    "robot:delete",
    "robot:update",
}
_ROLES: Final = {1: _ADMIN, 2: _DEVELOPER, 3: _GUEST, 4: _MAINTAINER, 5: _LIMITED}


class Identity(Protocol):
    """Somebody, as far as rights go. Rights are written ``resource:action``."""

    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """The account's name; empty for nobody."""
        ...

    @property
    def administrator(self) -> bool:
        """Whether everything is allowed."""
        ...

    def may(self, right: str, project: Project) -> bool:
        """Whether a right holds in a project."""
        ...

    def may_system(self, right: str) -> bool:
        """Whether a right holds for the system as a whole."""
        ...


@dataclass(slots=True)
class User:
    """A human account."""

    name: str
    password: str = field(repr=False)
    administrator: bool = False
    number: int = 0


@dataclass(frozen=True, slots=True)
class Permission:
    """What a robot may do somewhere: ``kind`` ``system`` has the namespace ``/``, ``project`` a name or ``*``."""

    kind: str
    namespace: str
    rights: frozenset[str]


@dataclass(slots=True, kw_only=True)
class Robot:
    """A robot account. ``name`` is what it logs in with, prefix included."""

    number: int
    name: str
    secret: str = field(repr=False)
    level: str = "system"
    project: str = ""
    """The project of one of level ``project``."""
    permissions: tuple[Permission, ...] = ()
    description: str = ""
    disabled: bool = False
    created: float = 0.0
    expires: int = NEVER
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Nobody: reads public projects, once challenged."""

    kind: ClassVar[str] = "anonymous"
    name: str = ""
    administrator: bool = False

    def may(self, right: str, project: Project) -> bool:
        """Whether a public project lets everybody."""
        return project.public and right in _PUBLIC

    def may_system(self, right: str) -> bool:  # noqa: ARG002 -- see Identity
        """Nothing of the system."""
        return False


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """A user who gave a password."""

    kind: ClassVar[str] = "local"
    user: User

    @property
    def name(self) -> str:
        """The user's name."""
        return self.user.name

    @property
    def administrator(self) -> bool:
        """Whether the user is a system administrator."""
        return self.user.administrator

    def may(self, right: str, project: Project) -> bool:
        """What the role in the project allows; administrators everything but to pass for a scanner."""
        if self.administrator:
            return right != SCANNER_PULL
        role = _ROLES[1] if project.owner == self.name else _ROLES.get(project.members.get(self.name, 0), frozenset())
        return right in role or (project.public and right in _PUBLIC)

    def may_system(self, right: str) -> bool:  # noqa: ARG002 -- see Identity
        """Administrators everything, others nothing."""
        return self.administrator


@dataclass(frozen=True, slots=True)
class RobotIdentity:
    """A robot that gave its secret."""

    kind: ClassVar[str] = "robot"
    robot: Robot
    administrator: bool = False

    @property
    def name(self) -> str:
        """The robot's name with prefix."""
        return self.robot.name

    def may(self, right: str, project: Project) -> bool:
        """What its access list says for the project; it reads public projects as anybody.

        A robot of a project that may push may pull too; one of the system only if that is said.
        """
        listed = {
            held
            for permission in self.robot.permissions
            if permission.kind == "project" and permission.namespace in ("*", project.name)
            for held in permission.rights
        }
        if self.robot.level == "project" and "repository:push" in listed:
            listed.add("repository:pull")
        return right in listed or (project.public and right in _PUBLIC)

    def may_system(self, right: str) -> bool:
        """What its access list says for the system."""
        return any(permission.kind == "system" and right in permission.rights for permission in self.robot.permissions)


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """The bearer of a token: only repository rights, by project, and never an administrator."""

    kind: ClassVar[str] = "v2token"
    name: str
    issued: float
    access: Mapping[str, frozenset[str]]
    administrator: bool = False

    def may(self, right: str, project: Project) -> bool:
        """What the token says of the project, unless the project is more than 60 s younger than the token."""
        if self.issued < project.created - _OLDER_THAN_PROJECT:
            return False
        resource, _, action = right.partition(":")
        return resource == "repository" and action in self.access.get(project.name, frozenset())

    def may_system(self, right: str) -> bool:  # noqa: ARG002 -- see Identity
        """Nothing of the system."""
        return False

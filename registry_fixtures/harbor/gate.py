"""The door of ``/v2``: who is asking, and the 401s with their challenges (decided before anything else)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from registry_fixtures.harbor.identity import Anonymous
from registry_fixtures.harbor.refusals import HarborError
from registry_fixtures.harbor.tokens import SERVICE

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Database
    from registry_fixtures.harbor.identity import Identity
    from registry_fixtures.harbor.people import People
    from registry_fixtures.harbor.tokens import TokenService

__all__ = ["Access", "Gate"]

_SCOPE: Final = {"pull": "pull", "push": "pull,push", "delete": "delete"}
_BASIC: Final = 'Basic realm="harbor"'


@dataclass(frozen=True, slots=True)
class Access:
    """A repository and what a request does to it."""

    repository: str
    action: str

    def __str__(self) -> str:
        return f"repository:{self.repository}:{_SCOPE[self.action]}"


class Gate:
    """Decides over requests to ``/v2``."""

    def __init__(self, database: Database, people: People, tokens: TokenService) -> None:
        self._database = database
        self._people = people
        self._tokens = tokens

    def identify(self, request: Request) -> Identity:
        """Who is asking: a token first, then a robot, then a user, else nobody."""
        authorization = request.header("authorization")
        if not authorization:
            return Anonymous()
        return self._tokens.read(authorization) or self._people.identify(authorization)

    def login(self, request: Request, identity: Identity) -> None:
        """Let through to ``/v2/`` whoever has a name.

        Raises:
            HarborError: 401.
        """
        if not identity.name:
            raise _unauthorized("unauthorized", self._challenge(request, []))

    def catalog(self, identity: Identity) -> None:
        """Let through to the catalog whoever may list it; a token never does.

        Raises:
            HarborError: 401, and always with the challenge for Basic.
        """
        if not (identity.administrator or identity.may_system("catalog:read")):
            raise _unauthorized("unauthorized to list catalog", _BASIC)

    def check(self, request: Request, identity: Identity, accesses: list[Access]) -> None:
        """Let through a request on repositories.

        Raises:
            HarborError: 401. Its challenge is for a Bearer when nothing was sent, for Basic when
                something was, and empty when the project does not exist.
        """
        bare = not request.header("authorization")
        for access in accesses:
            if bare and request.method in ("GET", "HEAD"):
                said = "authorize header needed to send HEAD to repository"
                raise _unauthorized(said, self._challenge(request, accesses))
            project = self._database.project_of(access.repository)
            if project is None:
                raise _unauthorized(f"project {access.repository.partition('/')[0]} not found", "")
            if not identity.may(f"repository:{access.action}", project):
                said = f"unauthorized to access repository: {access.repository}, action: {access.action}"
                raise _unauthorized(said, self._challenge(request, accesses))

    def unrecognized(self, request: Request) -> HarborError:
        """The 401 for a path that is none of the registry API."""
        return _unauthorized(f"un-recognized request: {request.method} {request.path}", "")

    def _challenge(self, request: Request, accesses: list[Access]) -> str:
        if request.header("authorization"):
            return _BASIC
        challenge = f'Bearer realm="{request.url}/service/token",service="{SERVICE}"'
        scope = " ".join(str(access) for access in accesses)
        return f'{challenge},scope="{scope}"' if scope else challenge


def _unauthorized(said: str, challenge: str) -> HarborError:
    headers = {"Www-Authenticate": challenge, "Docker-Distribution-Api-Version": "registry/2.0"}
    # Text and cause are the same, and Harbor writes both.
    return HarborError("UNAUTHORIZED", f"{said}: {said}", headers)

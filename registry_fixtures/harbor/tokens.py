"""Harbor's token service, and the tokens it gives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.identity import Anonymous, TokenIdentity
from registry_fixtures.harbor.people import basic_credentials
from registry_fixtures.harbor.refusals import json_answer

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Database
    from registry_fixtures.harbor.identity import Identity
    from registry_fixtures.harbor.people import People
    from registry_fixtures.harbor.settings import Settings

__all__ = ["SERVICE", "TokenService"]

SERVICE: Final = "harbor-registry"

_ACTIONS: Final = ("pull", "push", "delete", "scanner-pull")
_HEADER: Final = {"alg": "RS256", "kid": ":".join(["FIXT"] * 12), "typ": "JWT"}
_LEEWAY: Final = 60
_SIGNATURE: Final = 256
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class TokenService:
    """Makes and reads bearer tokens.

    A token has the form, the claims and the size of Harbor's own, but its signature is not RSA.

    Args:
        database: tells which projects exist.
        people: tells who is who.
        settings: tells how long a token is good for.
    """

    def __init__(self, database: Database, people: People, settings: Settings) -> None:
        self._settings = settings
        self._database = database
        self._people = people
        self._key = secrets.token_bytes(32)

    def answer(self, request: Request) -> Answer:
        """Answer ``/service/token``."""
        if request.method != "GET":
            return Answer.of(HTTPStatus.METHOD_NOT_ALLOWED, b"Method Not Allowed\n", _TEXT)
        service = request.asked("service")
        if service != SERVICE:
            return Answer.of(HTTPStatus.BAD_REQUEST, f"Unable to handle service: {service}\n".encode(), _TEXT)
        scopes = " ".join(value for key, value in request.query if key == "scope").split()
        credentials = basic_credentials(request.header("authorization"))
        identity = self._people.login(*credentials) if credentials else None
        if identity is None and not scopes:
            return Answer.of(HTTPStatus.UNAUTHORIZED)
        issued = int(self._database.clock.now())
        told = {
            "token": self._make(identity or Anonymous(), scopes, issued),
            "access_token": "",
            "expires_in": self._settings.token_life,
            "issued_at": datetime.fromtimestamp(issued, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return json_answer(told)

    def read(self, authorization: str) -> TokenIdentity | None:
        """Whose token a Bearer header carries; None when it is none of ours, altered, or over 60 s past its end."""
        scheme, _, text = authorization.partition(" ")
        signed, _, signature = text.strip().rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(signature.encode(), self._sign(signed).encode()):
            return None
        claims = json.loads(_unpack(signed.partition(".")[2]))
        if claims["exp"] + _LEEWAY < self._database.clock.now():
            return None
        # One entry a project, whatever the repository: of two scopes in one project the last counts.
        access = {entry["name"].partition("/")[0]: frozenset(entry["actions"]) for entry in claims["access"] or ()}
        return TokenIdentity(claims.get("sub", ""), claims["iat"], access)

    def _make(self, identity: Identity, scopes: list[str], issued: int) -> str:
        entries = [self._entry(identity, scope) for scope in scopes]
        claims: dict[str, Any] = {
            "iss": "harbor-token-issuer",
            "aud": [SERVICE],
            "exp": issued + self._settings.token_life,
            "nbf": issued,
            "iat": issued,
            "jti": secrets.token_hex(8),
            "access": entries or None,
        }
        if identity.name:
            claims["sub"] = identity.name
        signed = ".".join(_pack(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
        return f"{signed}.{self._sign(signed)}"

    def _entry(self, identity: Identity, scope: str) -> dict[str, Any]:
        """What a token says of a scope: all that the identity may do there, whatever was asked for."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        granted = actions.split(",") if (kind, name) == ("registry", "catalog") and identity.administrator else []
        # A scope with the registry's host in front names a project that does not exist.
        project = self._database.project_of(name)
        if kind == "repository" and project is not None and "/" in name:
            granted = [action for action in _ACTIONS if identity.may(f"repository:{action}", project)]
        return {"type": kind, "name": name, "actions": granted}

    def _sign(self, text: str) -> str:
        parts = range(_SIGNATURE // hashlib.sha256().digest_size)
        return _pack(b"".join(hmac.digest(self._key, bytes([part]) + text.encode(), "sha256") for part in parts))


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpack(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

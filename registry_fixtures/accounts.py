"""Who may do what at a made-up registry: Basic, or the token dance (distribution, "Token Authentication")."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from registry_fixtures.exchange import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from registry_fixtures.exchange import Request

__all__ = ["Accounts", "Gate", "Need"]

_ACTIONS: Final = frozenset({"pull", "push", "delete"})
_SERVICE: Final = "bundlectl-fixture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """The rules of a registry's door.

    ``scheme`` ``none`` lets everyone do everything. ``basic`` wants a password with each
    request. ``token`` wants a bearer token for exactly the repositories and actions of the
    request, to be had at ``/token``; a request without Authorization is always challenged, even
    where an anonymous token would do (as Harbor does).
    """

    scheme: Literal["none", "basic", "token"] = "none"
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Passwords by name."""
    readers: frozenset[str] = frozenset()
    """Users who may pull only."""
    anonymous_pull: bool = False
    token_life: float = 300
    """Seconds."""
    realm: str = ""
    """URL of the token service; ``/token`` at the registry itself when empty."""


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """A repository and the actions a request takes on it; an empty repository is the catalog."""

    repository: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"repository:{self.repository}:{','.join(self.actions)}" if self.repository else "registry:catalog:*"


@dataclass(frozen=True, slots=True)
class _Token:
    expires: float
    access: Mapping[str, frozenset[str]]


class Gate:
    """Decides over requests by the rules of ``Accounts``."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self._lock = threading.Lock()
        self._tokens: dict[str, _Token] = {}

    def expire_tokens(self) -> None:
        """Let every token that was handed out be worthless from now on."""
        with self._lock:
            self._tokens.clear()

    def refusal(self, request: Request, needs: Iterable[Need]) -> Answer | None:
        """The 401 for a request that may not do what it needs; None when it may."""
        needs = list(needs)
        if self.accounts.scheme == "none":
            return None
        scheme, _, value = request.header("authorization").partition(" ")
        if self.accounts.scheme == "basic":
            user = self._user(value) if scheme.lower() == "basic" else ""
            allowed = self._allowed(user)
            if (user or needs) and all(allowed.issuperset(need.actions) for need in needs) and user is not None:
                return None
            return _unauthorized(f'Basic realm="{_SERVICE}"')
        if scheme.lower() == "bearer" and self._holds(value, needs):
            return None
        realm = self.accounts.realm or f"{request.url}/token"
        challenge = f'Bearer realm="{realm}",service="{_SERVICE}"'
        scope = " ".join(str(need) for need in needs)
        if scope:
            challenge += f',scope="{scope}"'
        if scheme.lower() == "bearer":
            challenge += ',error="invalid_token"'
        return _unauthorized(challenge)

    def token(self, request: Request) -> Answer:
        """Answer a request to the token service (GET; ``scope`` may repeat and hold several)."""
        if request.method != "GET":
            return Answer.of(HTTPStatus.METHOD_NOT_ALLOWED)
        if request.asked("service") != _SERVICE:
            return Answer.of(HTTPStatus.BAD_REQUEST, b"unknown service", {"Content-Type": "text/plain"})
        scheme, _, value = request.header("authorization").partition(" ")
        user = self._user(value) if scheme.lower() == "basic" else ""
        if user is None:
            return _unauthorized(f'Basic realm="{_SERVICE}"')
        allowed = self._allowed(user)
        access: dict[str, frozenset[str]] = {}
        for scope in " ".join(value for key, value in request.query if key == "scope").split():
            kind, _, rest = scope.partition(":")
            repository, _, actions = rest.rpartition(":")
            if kind == "registry":
                access[""] = allowed
            elif kind == "repository":
                granted = allowed.intersection(actions.split(","))
                access[repository] = access.get(repository, frozenset()) | granted
        text = secrets.token_urlsafe(24)
        with self._lock:
            self._tokens[text] = _Token(time.monotonic() + self.accounts.token_life, access)
        answer = {
            "token": text,
            "access_token": "",
            "expires_in": int(self.accounts.token_life),
            "issued_at": datetime.now(UTC).isoformat(),
        }
        return Answer.of(HTTPStatus.OK, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _holds(self, text: str, needs: list[Need]) -> bool:
        with self._lock:
            token = self._tokens.get(text)
        if token is None or token.expires < time.monotonic():
            return False
        return all(token.access.get(need.repository, frozenset()).issuperset(need.actions) for need in needs)

    def _user(self, encoded: str) -> str | None:
        """The name in a Basic credential; None when the password is wrong."""
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return name if name and self.accounts.users.get(name) == password else None

    def _allowed(self, user: str | None) -> frozenset[str]:
        if user:
            return frozenset({"pull"}) if user in self.accounts.readers else _ACTIONS
        return frozenset({"pull"}) if self.accounts.anonymous_pull else frozenset()


def _unauthorized(challenge: str) -> Answer:
    body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]})
    headers = {
        "Content-Type": "application/json",
        "WWW-Authenticate": challenge,
        "Docker-Distribution-Api-Version": "registry/2.0",
    }
    return Answer.of(HTTPStatus.UNAUTHORIZED, body.encode(), headers)

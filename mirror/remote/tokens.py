"""Which ``Authorization`` a request to a registry carries (``wire.md`` 5.7)."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from bundlectl.errors import ContentError, RegistryError
from mirror.http.failures import RETRYABLE_STATUSES, retry_after
from mirror.remote.challenge import parse_challenges

if TYPE_CHECKING:
    from mirror.http.client import HttpClient
    from mirror.http.response import Response
    from mirror.remote.auth import Credential, CredentialStore

__all__ = ["CATALOG_SCOPE", "Authorizer", "pull_scope", "push_scope"]

_TOKEN_LIMIT: Final = 1024 * 1024
_DEFAULT_LIFE: Final = 60.0
_LONGEST_LIFE: Final = 86400.0
_SAFE_PART: Final = 0.9
"""A token is used for this part of its life: clocks differ, and requests take time."""
_REFUSAL_LIFE: Final = 5.0
"""Seconds for which a refused login is not tried again: Harbor locks a name for 1.5 s a try."""
_TRY_OTHERWISE: Final = frozenset({400, 401, 404, 405, 415})


CATALOG_SCOPE: Final = "registry:catalog:*"
"""The scope to list a registry's repositories."""


def pull_scope(repository: str) -> str:
    """The scope to read a repository."""
    return f"repository:{repository}:pull"


def push_scope(repository: str) -> str:
    """The scope to write a repository; registries want ``pull`` named with it."""
    return f"repository:{repository}:pull,push"


@dataclass(frozen=True, slots=True)
class _Realm:
    """Where a registry has its tokens made."""

    url: str
    service: str
    extra: tuple[str, ...] = ()
    """Scopes that are not about repositories and that it always wants (``aws`` at public.ecr.aws)."""


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: float


class Authorizer:
    """Credentials and tokens of one registry, shared by all threads.

    How the registry wants to be spoken to is learned from its first challenge; from then on
    requests carry their token at once.
    """

    def __init__(self, host: str, client: HttpClient, credentials: CredentialStore) -> None:
        self._host = host
        self._client = client
        self._credentials = credentials
        self._mode: _Realm | str | None = None
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._refused: dict[tuple[str, ...], tuple[RegistryError, float]] = {}

    def header(self, scopes: tuple[str, ...]) -> str | None:
        """The header to send before any challenge; None while the registry has not asked.

        Raises:
            RegistryError: a token was refused.
            TransportError: the token service cannot be reached.
            ConfigError: credentials cannot be read.
        """
        mode = self._mode
        if mode is None:
            return None
        if isinstance(mode, _Realm):
            return "Bearer " + self._token(mode, scopes, (), stale=None)
        credential = self.credential(scopes)
        return credential.basic if credential else None

    def answer(self, response: Response, base: str, scopes: tuple[str, ...], used: str | None) -> str | None:
        """The header for a second try after a 401; None when there is nothing better to send.

        Args:
            response: the 401.
            base: URL of the registry, against which the realm is judged.
            scopes: what the request needs.
            used: the header it carried.

        Raises:
            RegistryError, TransportError, ConfigError: see ``header``.
        """
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        bearer = next((item for item in challenges if item.scheme == "bearer" and item.parameters.get("realm")), None)
        asked: tuple[str, ...] = ()
        if bearer:
            url = bearer.parameters["realm"]
            self._client.check_hop(base, url)
            asked = tuple(bearer.parameters.get("scope", "").split())
            extra = tuple(scope for scope in asked if ":" not in scope)
            self._mode = _Realm(url, bearer.parameters.get("service", ""), extra)
        mode = self._mode
        basic_asked = any(item.scheme == "basic" for item in challenges)
        if isinstance(mode, _Realm) and not (basic_asked and not bearer and CATALOG_SCOPE in scopes):
            # Harbor refuses a token with a Basic challenge: it may be too old, so one fresh one.
            stale = used.removeprefix("Bearer ") if used else None
            return "Bearer " + self._token(mode, scopes, asked, stale=stale)
        if basic_asked:
            credential = self.credential(scopes)
            basic = credential.basic if credential else None
            if basic and basic != used:
                # Harbor lists its catalogue for no token at all; everything else it gives for one.
                self._mode = mode or "basic"
                return basic
        return None

    def credential(self, scopes: tuple[str, ...]) -> Credential | None:
        """Who we are for the repository of the first scope.

        Raises:
            ConfigError: credentials cannot be read.
        """
        repository = ""
        if scopes and scopes[0].startswith("repository:"):
            repository = scopes[0].split(":")[1]
        return self._credentials.lookup(self._host, repository)

    def _token(self, realm: _Realm, scopes: tuple[str, ...], asked: tuple[str, ...], *, stale: str | None) -> str:
        credential = self.credential(scopes)
        if credential and credential.registry_token:
            return credential.registry_token
        with self._lock:
            found = self._fresh(scopes, stale)
            lock = self._locks.setdefault(scopes, threading.Lock())
        if found:
            return found
        with lock:
            with self._lock:
                found = self._fresh(scopes, stale)
                error, until = self._refused.get(scopes, (None, 0.0))
            if found:
                return found
            if error and time.monotonic() < until:
                raise error
            try:
                token = self._fetch(realm, _union((*scopes, *asked, *realm.extra)), credential)
            except RegistryError as refused:
                if not refused.retryable:
                    with self._lock:
                        self._refused[scopes] = refused, time.monotonic() + _REFUSAL_LIFE
                raise
            with self._lock:
                self._tokens[scopes] = token
            return token.text

    def _fresh(self, scopes: tuple[str, ...], stale: str | None) -> str | None:
        """A token for these scopes, or one that may also push; never the stale one."""
        wider = tuple(f"{scope},push" if scope.endswith(":pull") else scope for scope in scopes)
        for key in (scopes, wider):
            token = self._tokens.get(key)
            if token and token.text != stale and time.monotonic() < token.until:
                return token.text
        return None

    def _fetch(self, realm: _Realm, scopes: tuple[str, ...], credential: Credential | None) -> _Token:
        if credential and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": realm.service,
                "client_id": "bundlectl",
                "scope": " ".join(scopes),
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._client.request(
                "POST", realm.url, headers=headers, body=urlencode(form).encode(), retry=True
            )
            if response.status not in _TRY_OTHERWISE:
                return self._read(response, credential)
        query = [("service", realm.service)] if realm.service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        basic = credential.basic if credential else None
        if basic:
            headers["Authorization"] = basic
        url = realm.url
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        return self._read(self._client.request("GET", url, headers=headers), credential)

    def _read(self, response: Response, credential: Credential | None) -> _Token:
        if response.status != 200:  # noqa: PLR2004
            raise self._refusal(response, credential)
        try:
            document: Any = json.loads(response.read(_TOKEN_LIMIT))
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise ContentError("the token service's answer is not a JSON object", artifact=self._host)
        # Harbor sends an empty access_token beside the real one.
        text = next((v for k in ("token", "access_token") if isinstance(v := document.get(k), str) and v), "")
        if not text or not text.isascii() or not text.isprintable():
            raise ContentError("the token service's answer holds no token", artifact=self._host)
        life = document.get("expires_in")
        if not isinstance(life, (int, float)) or isinstance(life, bool) or not life > 0:
            life = _DEFAULT_LIFE
        return _Token(text, time.monotonic() + min(life, _LONGEST_LIFE) * _SAFE_PART)

    def _refusal(self, response: Response, credential: Credential | None) -> RegistryError:
        if response.status in (401, 403):
            who = f" of {credential.username}" if credential and credential.username else ""
            return RegistryError(
                f"refused the credentials{who}" if credential else "gives no token without credentials",
                status=response.status,
                artifact=self._host,
                hint=f"log in again: docker login {self._host}" if credential else f"docker login {self._host}",
            )
        return RegistryError(
            f"the token service answered {response.status}",
            status=response.status,
            retry_after=retry_after(response.headers),
            artifact=self._host,
            retryable=response.status in RETRYABLE_STATUSES,
        )


def _union(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Each scope once, in order; one that another covers is left out."""
    kept: list[str] = []
    for scope in scopes:
        if not any(_covers(other, scope) for other in kept):
            kept.append(scope)
    return tuple(kept)


def _covers(wide: str, narrow: str) -> bool:
    if wide == narrow:
        return True
    one, _, have = wide.rpartition(":")
    other, _, want = narrow.rpartition(":")
    return bool(one) and one == other and set(want.split(",")) <= set(have.split(","))

"""Which ``Authorization`` a request to a registry carries (``wire.md`` 5.7)."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from bundlectl.errors import ContentError, RegistryError
from mirror.http.failures import RETRYABLE_STATUSES, retry_after
from mirror.profiles import RegistryProfile, recognize
from mirror.remote.challenge import parse_challenges

if TYPE_CHECKING:
    from mirror.http.client import HttpClient
    from mirror.http.response import Response
    from mirror.remote.auth import Credential, CredentialStore
    from mirror.remote.challenge import Challenge

__all__ = ["CATALOG_SCOPE", "Authorizer", "pull_scope", "push_scope"]

_UNAUTHORIZED: Final = 401
_TOKEN_LIMIT: Final = 1024 * 1024
_DEFAULT_LIFE: Final = 60.0
_LONGEST_LIFE: Final = 86400.0
_SAFE_PART: Final = 0.9
"""A token is used for this part of its life: clocks differ, and requests take time."""
_REFUSAL_LIFE: Final = 5.0
"""Seconds for which a refused login is not tried again: Harbor locks a name for 1.5 s a try."""
_TRY_OTHERWISE: Final = frozenset({400, 401, 404, 405, 415})
_SCOPES: Final = 50
"""Scopes in one token: a header line of more than 8 KiB is refused by what stands before Harbor."""
_LOCKED_LOGIN: Final = 2.0
"""Seconds after which a name is surely no longer locked by somebody's wrong password (Harbor: 1.5)."""
_YOUNG: Final = 50.0
"""Seconds; Harbor refuses a token that is 60 seconds older than the project, and a younger one never for its age."""

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
    text: str = field(repr=False)
    until: float
    since: float
    projects: frozenset[str] = frozenset()
    """What it is good for, where a token is good for whole projects."""
    holder: Credential | None = None


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
        self._profile = recognize(host)
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._refused: dict[tuple[str, ...], tuple[RegistryError, float]] = {}
        self._seen: dict[str, str] = {}

    @property
    def profile(self) -> RegistryProfile:
        """The product, as far as its host name and its challenges have told."""
        return self._profile

    @property
    def challenged(self) -> bool:
        """Whether the registry has asked for a login."""
        return self._mode is not None

    def forget(self) -> None:
        """Drop every token: Harbor takes none for a project that is younger than it."""
        with self._lock:
            self._tokens.clear()

    def learn(self, response: Response, base: str) -> None:
        """Take note of what a 401 asks for, so that the next request brings it at once.

        Raises:
            TransportError: it asks to go where nobody may go.
        """
        if any(item.scheme == "basic" for item in self._challenged(response, base)[0]):
            self._mode = self._mode or "basic"

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
        challenges, bearer = self._challenged(response, base)
        asked = tuple(bearer.parameters.get("scope", "").split()) if bearer else ()
        mode = self._mode
        basic_asked = any(item.scheme == "basic" for item in challenges)
        if isinstance(mode, _Realm) and not (basic_asked and not bearer and CATALOG_SCOPE in scopes):
            # Harbor refuses a token with a Basic challenge: it may be too old, so one fresh one.
            stale = used.removeprefix("Bearer ") if used else None
            if stale and self._is_final(stale):
                return None
            return "Bearer " + self._token(mode, scopes, asked, stale=stale)
        if basic_asked:
            credential = self.credential(scopes)
            basic = credential.basic if credential else None
            if basic and basic != used:
                # Harbor lists its catalogue for no token at all; everything else it gives for one.
                self._mode = mode or "basic"
                return basic
        return None

    def _challenged(self, response: Response, base: str) -> tuple[list[Challenge], Challenge | None]:
        """Learn from what a registry asks for: all of it, and the token among it."""
        challenges = parse_challenges(response.headers.get("WWW-Authenticate", ""))
        bearer = next((item for item in challenges if item.scheme == "bearer" and item.parameters.get("realm")), None)
        if bearer:
            url, service = bearer.parameters["realm"], bearer.parameters.get("service", "")
            self._client.check_hop(base, url)
            extra = tuple(scope for scope in bearer.parameters.get("scope", "").split() if ":" not in scope)
            self._profile = recognize(self._host, service)
            self._mode = _Realm(url, service, extra)
        return challenges, bearer

    def _is_final(self, text: str) -> bool:
        """Whether a refused token was so fresh that another one will be refused as well."""
        if not self._profile.one_token_a_project:
            return False
        with self._lock:
            token = next((token for token in self._tokens.values() if token.text == text), None)
        return token is not None and time.monotonic() - token.since < _YOUNG

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
        projects = _projects(scopes) if self._profile.one_token_a_project else frozenset()
        # Tokens that are good for projects are made one after the other: the next one may do for all who wait.
        line = ("projects", credential.username if credential else "") if projects else scopes
        with self._lock:
            found = self._fresh(scopes, projects, credential, stale)
            lock = self._locks.setdefault(line, threading.Lock())
        if found:
            return found
        with lock:
            with self._lock:
                found = self._fresh(scopes, projects, credential, stale)
                error, until = self._refused.get(line, (None, 0.0))
                wanted = self._with_known_projects(scopes, credential) if projects else _union((*scopes, *asked))
            if found:
                return found
            if error and time.monotonic() < until:
                raise error
            try:
                token = self._fetch(realm, _union((*wanted, *realm.extra)), credential)
            except RegistryError as refused:
                if not refused.retryable:
                    with self._lock:
                        self._refused[line] = refused, time.monotonic() + _REFUSAL_LIFE
                raise
            if projects:
                token = replace(token, projects=_projects(wanted), holder=credential)
            with self._lock:
                self._tokens[wanted if projects else scopes] = token
            return token.text

    def _with_known_projects(self, scopes: tuple[str, ...], credential: Credential | None) -> tuple[str, ...]:
        """One scope for each project: those of ``scopes``, then whatever else this account was seen to need."""
        for scope in scopes:
            self._seen.setdefault(_project(scope), scope)
        chosen = {_project(scope): scope for scope in reversed(scopes)}
        for project, scope in self._seen.items():
            if len(chosen) >= _SCOPES:
                break
            if project not in chosen and self.credential((scope,)) == credential:
                chosen[project] = scope
        return tuple(sorted(chosen.values()))

    def _fresh(
        self, scopes: tuple[str, ...], projects: frozenset[str], credential: Credential | None, stale: str | None
    ) -> str | None:
        """A token for these scopes, or one that may do more; never the stale one."""
        now = time.monotonic()
        if projects:
            held = (t for t in self._tokens.values() if t.projects >= projects and t.holder == credential)
            return next((t.text for t in held if t.text != stale and now < t.until), None)
        wider = tuple(f"{scope},push" if scope.endswith(":pull") else scope for scope in scopes)
        for key in (scopes, wider):
            token = self._tokens.get(key)
            if token and token.text != stale and now < token.until:
                return token.text
        return None

    def _fetch(self, realm: _Realm, scopes: tuple[str, ...], credential: Credential | None) -> _Token:
        """Have a token made, a second time where the first may have met a name that was locked.

        A wrong login gets an anonymous token from Harbor, which would fail much later and say something else.
        """
        known = credential is not None and credential.basic is not None and self._profile.degrades_logins
        refused: RegistryError | None = None
        try:
            token = self._ask(realm, scopes, credential)
            if not known or not _names_nobody(token.text):
                return token
        except RegistryError as error:
            if not known or error.status != _UNAUTHORIZED:
                raise
            refused = error
        self._client.pause(_LOCKED_LOGIN)
        token = self._ask(realm, scopes, credential)
        if _names_nobody(token.text):
            raise self._refused_login(_UNAUTHORIZED, credential) from refused
        return token

    def _ask(self, realm: _Realm, scopes: tuple[str, ...], credential: Credential | None) -> _Token:
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
        now = time.monotonic()
        return _Token(text, now + min(life, _LONGEST_LIFE) * _SAFE_PART, now)

    def _refusal(self, response: Response, credential: Credential | None) -> RegistryError:
        if response.status in (_UNAUTHORIZED, 403):
            return self._refused_login(response.status, credential)
        return RegistryError(
            f"the token service answered {response.status}",
            status=response.status,
            retry_after=retry_after(response.headers),
            artifact=self._host,
            retryable=response.status in RETRYABLE_STATUSES,
        )

    def _refused_login(self, status: int, credential: Credential | None) -> RegistryError:
        who = f" of {credential.username}" if credential and credential.username else ""
        return RegistryError(
            f"refused the credentials{who}" if credential else "gives no token without credentials",
            status=status,
            artifact=self._host,
            hint=f"log in again: docker login {self._host}" if credential else f"docker login {self._host}",
        )


def _project(scope: str) -> str:
    """The project of a ``repository:P/R:actions`` scope, empty for any other."""
    kind, _, rest = scope.partition(":")
    return rest.partition("/")[0] if kind == "repository" and "/" in rest else ""


def _projects(scopes: tuple[str, ...]) -> frozenset[str]:
    """The projects of scopes; none where one of them is not about a project."""
    found = frozenset(map(_project, scopes))
    return frozenset() if "" in found else found


def _names_nobody(token: str) -> bool:
    """Whether a JWT has no subject, as an anonymous one of Harbor's; its signature is not ours to check."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return False
    return isinstance(claims, dict) and not claims.get("sub")


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

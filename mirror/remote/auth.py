"""Credentials where docker and podman keep them (``wire.md`` 5.1 to 5.4)."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bundlectl.errors import ConfigError
from mirror.remote.keychain import ask_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Credential", "CredentialStore", "Provider"]

_HUB: Final = "docker.io"
_HUB_ALIASES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_HUB_KEY: Final = "https://index.docker.io/v1/"
_API_SUFFIXES: Final = ("/v1", "/v2")
_FILE_LIMIT: Final = 4 * 1024 * 1024
_PROVIDER_LIFE: Final = 1800.0
"""Seconds for which a provider's answer is believed; ECR's passwords last twelve hours."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who we are. An identity token stands in for the password (OAuth2 refresh token);
    a registry token is a ready bearer token.
    """  # noqa: D205 -- one thought

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str | None:
        """The value of a Basic ``Authorization`` header, if there is a password."""
        secret = self.password or self.identity_token
        if not secret:
            return None
        return "Basic " + base64.b64encode(f"{self.username or '<token>'}:{secret}".encode()).decode()


Provider: TypeAlias = "Callable[[str], Credential | None]"
"""Makes a credential for a host it knows (ECR), or None. Asked at most every half hour."""


class CredentialStore:
    """Looks credentials up. Thread-safe; files are read once, on first need.

    Args:
        files: docker ``config.json`` and containers ``auth.json`` files; the first that knows a
            host wins, absent ones are skipped.
        inline: JSON of the same shape (``DOCKER_AUTH_CONFIG``); goes before the files.
        explicit: by host, as given on the command line; goes before everything.
        providers: asked last, with the host.
    """

    def __init__(
        self,
        *,
        files: Sequence[Path] = (),
        inline: str = "",
        explicit: Mapping[str, Credential] | None = None,
        providers: Iterable[Provider] = (),
    ) -> None:
        self._files = tuple(files)
        self._inline = inline
        self._explicit = {_canonical(host): credential for host, credential in (explicit or {}).items()}
        self._providers = tuple(providers)
        self._lock = threading.RLock()
        self._configs: list[_Config] | None = None
        self._found: dict[tuple[str, str], tuple[Credential | None, float]] = {}

    def lookup(self, registry: str, repository: str = "") -> Credential | None:
        """The credential for a repository of a registry, None when there is none.

        Args:
            registry: ``host[:port]``.
            repository: path in it; keys of containers ``auth.json`` may name a part of it.

        Raises:
            ConfigError: a file is malformed, or a credential helper failed.
        """
        host = _canonical(registry)
        with self._lock:
            found, until = self._found.get((host, repository), (None, 0.0))
            if time.monotonic() >= until:
                found, life = self._search(host, repository)
                self._found[host, repository] = found, time.monotonic() + life
            return found

    def _search(self, host: str, repository: str) -> tuple[Credential | None, float]:
        if host in self._explicit:
            return self._explicit[host], float("inf")
        for config in self._read():
            found = config.lookup(host, repository)
            if found:
                return found, float("inf")
        return self._provided(host)

    def _provided(self, host: str) -> tuple[Credential | None, float]:
        key = (host, "\0provided")
        found, until = self._found.get(key, (None, 0.0))
        left = until - time.monotonic()
        if left > 0:
            return found, left
        found = next((answer for provider in self._providers if (answer := provider(host))), None)
        self._found[key] = found, time.monotonic() + _PROVIDER_LIFE
        return found, _PROVIDER_LIFE

    def _read(self) -> list[_Config]:
        if self._configs is None:
            configs = (
                [_Config(_parse(self._inline, "DOCKER_AUTH_CONFIG"), "DOCKER_AUTH_CONFIG")] if self._inline else []
            )
            for path in self._files:
                text = _text(path)
                if text is not None:
                    configs.append(_Config(_parse(text, str(path)), str(path)))
            self._configs = configs
        return self._configs


class _Config:
    """One file: per host a helper, else the file's store, else what the file itself holds."""

    def __init__(self, document: dict[str, Any], origin: str) -> None:
        self._origin = origin
        known = {"auths", "credHelpers", "credsStore"}
        flat = not known & document.keys() and any(isinstance(v, dict) and "auth" in v for v in document.values())
        self._auths = _section(document if flat else document.get("auths"))
        self._helpers = {_canonical(k): v for k, v in _section(document.get("credHelpers")).items() if v}
        store = document.get("credsStore")
        self._store = store if isinstance(store, str) else ""
        self._entries: dict[str, dict[str, Any]] = {}
        self._answers: dict[tuple[str, str], Credential | None] = {}
        for key, value in self._auths.items():
            if isinstance(value, dict):
                self._entries.setdefault(_canonical(key), value)

    def lookup(self, host: str, repository: str) -> Credential | None:
        helper = self._helpers.get(host)
        if isinstance(helper, str):
            return self._ask(helper, host)
        for key in _keys(host, repository):
            entry = self._entries.get(key)
            if entry and key != host:
                return self._read(entry, key)
        if self._store:
            found = self._ask(self._store, host)
            if found:
                return found
        entry = self._entries.get(host)
        return self._read(entry, host) if entry else None

    def _ask(self, helper: str, host: str) -> Credential | None:
        """Ask a helper, once for each host: it is a process, and knows nothing of repositories."""
        if (helper, host) not in self._answers:
            answer = ask_helper(helper, _HUB_KEY if host == _HUB else host)
            username, secret = answer or ("", "")
            known = Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)
            self._answers[helper, host] = known if answer else None
        return self._answers[helper, host]

    def _read(self, entry: dict[str, Any], key: str) -> Credential | None:
        def text(name: str) -> str:
            value = entry.get(name)
            return value if isinstance(value, str) else ""

        username, password = text("username"), text("password")
        if text("auth"):
            try:
                pair = base64.b64decode(text("auth"), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"the auth entry of {key} is not base64 of user:password", artifact=self._origin
                ) from error
            username, colon, password = pair.partition(":")
            if not colon:
                raise ConfigError(f"the auth entry of {key} has no colon", artifact=self._origin)
            password = password.strip("\0")
        token, ready = text("identitytoken"), text("registrytoken")
        if not (password or token or ready):
            return None
        return Credential(username, password, token, ready)


def _keys(host: str, repository: str) -> list[str]:
    """From the most specific key to the least: ``host/a/b``, ``host/a``, ``host``."""
    parts = repository.split("/") if repository else []
    return ["/".join([host, *parts[:count]]) for count in range(len(parts), -1, -1)]


def _canonical(key: str) -> str:
    """A key without scheme, API path and trailing slash; docker.io under its one name."""
    name = key.strip()
    scheme, separator, rest = name.partition("://")
    name = (rest if separator else scheme).rstrip("/")
    for suffix in _API_SUFFIXES:
        name = name.removesuffix(suffix)
    host, slash, path = name.partition("/")
    host = host.lower()
    return f"{_HUB if host in _HUB_ALIASES else host}{slash}{path}"


def _section(value: object) -> dict[str, Any]:
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, dict) else {}


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_LIMIT + 1)
        if len(raw) > _FILE_LIMIT:
            raise ConfigError(f"is larger than {_FILE_LIMIT} bytes", artifact=str(path))
        return raw.decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", artifact=str(path), hint="check its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8", artifact=str(path)) from error


def _parse(text: str, origin: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("is not JSON", artifact=origin, hint="docker login and podman login write it") from error
    if not isinstance(document, dict):
        raise ConfigError("is not a JSON object", artifact=origin)
    return document

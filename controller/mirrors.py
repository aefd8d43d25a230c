"""How the mirror is reached: the Secret ``registry-mirror-secret``, in AWS's format (``domain.md`` 5.10)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ConfigError
from bundlectl.operations.session import Connection, Session
from controller.api import path_of
from controller.charts import ChartFetcher
from controller.clusters import write_private
from controller.configuration import MIRROR_SECRET
from controller.values import HOME_NAMESPACE, namespace_of
from mirror.http.transport import HostTransport
from mirror.remote import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from controller.api import Api

__all__ = ["Mirror", "MirrorSettings", "Mirrors", "docker_login", "pull_data", "read_settings"]

_BELIEVED: Final = 20.0
"""Seconds for which a Secret is not read again: so soon does a new password count."""
_LIMIT: Final = 64 * 1024
_RETRIES: Final = 2
_PAUSE: Final = 2.0
_PATIENCE: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorSettings:
    """What the Secret says; all empty when there is none. ``authority`` is PEM."""

    endpoint: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    authority: str = ""
    insecure: bool = False

    @property
    def fingerprint(self) -> str:
        """A short hash of all of it."""
        parts = (self.endpoint, self.username, self.password, self.authority, str(self.insecure))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def pull_secret(self) -> dict[str, str] | None:
        """The data of a pull secret, in base64: docker's ``config.json``, the CA beside it; None without a login."""
        if not (self.endpoint and self.username and self.password):
            return None
        return pull_data({self.endpoint: docker_login(Credential(self.username, self.password))}, self.authority)


def pull_data(auths: Mapping[str, Any], authority: str) -> dict[str, str]:
    """What a pull secret holds: the logins as docker's ``config.json`` has them, and beside it the CA, where one is."""
    data = {".dockerconfigjson": json.dumps({"auths": auths}, sort_keys=True)}
    if authority:
        data["ca.crt"] = authority
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def docker_login(credential: Credential) -> dict[str, str]:
    """A login as docker's ``config.json`` has it."""
    auth = base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()
    return {"username": credential.username, "password": credential.password, "auth": auth}


@dataclass(frozen=True, slots=True)
class Mirror:
    """Open connections to the mirror."""

    settings: MirrorSettings
    session: Session
    charts: ChartFetcher


@dataclass(slots=True)
class _Known:
    mirror: Mirror
    until: float


class Mirrors:
    """Finds the mirror of a cluster. Thread-safe.

    Args:
        api: of the own cluster.
        own: its name.
        connection: how hosts are reached beside what the Secret says.
        folder: private, for charts and CAs.
    """

    def __init__(self, api: Api, own: str, connection: Connection, folder: Path) -> None:
        self._api = api
        self._own = own
        self._connection = connection
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._retired: dict[str, Mirror] = {}

    def get(self, cluster: str) -> Mirror:
        """The mirror that a cluster's packages come from: a workload cluster may have a Secret of its own.

        Raises:
            ClusterError: the API server does not answer.
            ConfigError: the Secret is malformed.
            StoreError: the CA cannot be written.
        """
        with self._lock:
            known = self._known.get(cluster)
            if known and time.monotonic() < known.until:
                return known.mirror
            settings = self._read(cluster)
            if known and known.mirror.settings == settings:
                known.until = time.monotonic() + _BELIEVED
                return known.mirror
            mirror = self._open(cluster, settings)
            if known:
                # Somebody may still read through these; those of the change before are closed now.
                earlier = self._retired.get(cluster)
                self._retired[cluster] = known.mirror
                if earlier:
                    earlier.session.close()
            self._known[cluster] = _Known(mirror, time.monotonic() + _BELIEVED)
            return mirror

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for mirror in (*(known.mirror for known in self._known.values()), *self._retired.values()):
                mirror.session.cancel()
                mirror.session.close()

    def _read(self, cluster: str) -> MirrorSettings:
        if cluster != self._own:
            found = self._api.find(path_of("v1", "secrets", namespace=namespace_of(cluster), name=MIRROR_SECRET))
            if found is not None:
                return read_settings(found)
        found = self._api.find(path_of("v1", "secrets", namespace=HOME_NAMESPACE, name=MIRROR_SECRET))
        return read_settings(found) if found is not None else MirrorSettings()

    def _open(self, cluster: str, settings: MirrorSettings) -> Mirror:
        connection = self._connection
        if settings.endpoint:
            authority = None
            if settings.authority:
                authority = self._folder / f"{cluster}-{settings.fingerprint}.crt"
                write_private(authority, settings.authority.encode())
            hosts = dict(connection.transport.hosts)
            given = hosts.get(settings.endpoint, HostTransport())
            hosts[settings.endpoint] = replace(
                given, ca_file=authority or given.ca_file, skip_verify=settings.insecure or given.skip_verify
            )
            explicit = dict(connection.explicit)
            if settings.username and settings.password:
                explicit[settings.endpoint] = Credential(settings.username, settings.password)
            connection = replace(connection, transport=replace(connection.transport, hosts=hosts), explicit=explicit)
        # A worker must not be held up for minutes: what fails comes back by the queue.
        transport = replace(connection.transport, retries=_RETRIES, max_wait=_PAUSE, read_timeout=_PATIENCE)
        session = Session(replace(connection, transport=transport))
        return Mirror(settings, session, ChartFetcher(session, self._folder / "charts"))


def read_settings(secret: Mapping[str, Any]) -> MirrorSettings:
    """Read the Secret.

    Raises:
        ConfigError: it is malformed, or too large.
    """
    data = secret.get("data") or {}

    def text(name: str) -> str:
        value = str(data.get(name, ""))
        try:
            if len(value) > _LIMIT:
                raise ValueError(f"{name} is too large")  # noqa: TRY301 -- told below like the others
            return base64.b64decode(value, validate=True).decode().strip()
        except (binascii.Error, ValueError) as error:
            raise ConfigError(f"{name} is not base64 of text", artifact=f"the Secret {MIRROR_SECRET}") from error

    endpoint = text("ENDPOINT").removeprefix("https://").partition("/")[0]
    if endpoint.endswith(":"):
        raise ConfigError(
            "ENDPOINT is a URL of another kind than https://",
            artifact=f"the Secret {MIRROR_SECRET}",
            hint="name the registry as HOST[:PORT]; it is reached over TLS",
        )
    return MirrorSettings(
        endpoint=endpoint,
        username=text("USERNAME"),
        password=text("PASSWORD"),
        authority=text("CACERTCONTENT"),
        insecure=text("INSECURE").lower() == "true",
    )

"""The clusters that packages go to: the own one, and workload clusters by the kubeconfig in a Secret."""

from __future__ import annotations

import base64
import binascii
import json
import os
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ConfigError, ContentError, MissingError
from bundles.tree import ListNode, MapNode, parse_tree
from controller.api import connect, path_of
from controller.configuration import plain_value
from mirror.filesystem import mapped_errors, write_all

if TYPE_CHECKING:
    from pathlib import Path

    from controller.api import Api

__all__ = ["Cluster", "Clusters", "installer_of", "kube_version", "read_kubeconfig", "write_private"]

_SECRETS: Final = "eksa-system"
_KEY: Final = "value"
_LIMIT: Final = 256 * 1024
_BELIEVED: Final = 60.0
"""Seconds for which a Secret is not read again."""
_ALLOWED: Final = {
    "cluster": {"server", "certificate-authority-data", "tls-server-name"},
    "user": {"token", "client-certificate-data", "client-key-data", "username", "password"},
    "context": {"cluster", "user", "namespace"},
}
"""What a kubeconfig from a Secret may say: nothing that runs a program or names a file of this machine."""


def read_kubeconfig(raw: bytes, *, origin: str) -> dict[str, Any]:
    """Read a kubeconfig that somebody put into the cluster.

    Args:
        raw: YAML.
        origin: for messages.

    Raises:
        ContentError: it is malformed, runs programs (``exec``, ``auth-provider``), names files, or is not HTTPS.
    """
    if len(raw) > _LIMIT:
        raise ContentError(f"the kubeconfig is larger than {_LIMIT} bytes", artifact=origin)
    root = parse_tree(raw, origin=origin).root
    for kind, allowed in _ALLOWED.items():
        entries = root.entries.get(f"{kind}s")
        for item in entries.items if isinstance(entries, ListNode) else ():
            body = item.entries.get(kind) if isinstance(item, MapNode) else None
            if not isinstance(body, MapNode):
                raise ContentError(f"the kubeconfig has a malformed {kind}", artifact=origin)
            for name in sorted(body.entries.keys() - allowed):
                raise ContentError(
                    f"the kubeconfig says {name[:80]}, which is not taken from a Secret",
                    artifact=origin,
                    hint=f"a {kind} may have {', '.join(sorted(allowed))}: no programs, no files of this machine",
                )
            if kind == "cluster" and not body.text("server").startswith("https://"):
                raise ContentError("the kubeconfig names a server without https://", artifact=origin)
    found = plain_value(root)
    return found if isinstance(found, dict) else {}


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, whole or not at all; its folder is private.

    Raises:
        StoreError: it cannot be written.
    """
    with mapped_errors(path, action="write"):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # 0600 from the start
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 -- both names are at hand as they are


def kube_version(api: Api) -> str:
    """The minor version of Kubernetes that a cluster runs, such as ``1.33``.

    Raises:
        ClusterError: no answer.
    """
    found = api.get("/version")
    major, minor = ("".join(c for c in str(found.get(name, "")) if c.isdecimal()) for name in ("major", "minor"))
    return f"{major}.{minor}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that packages are installed in."""

    api: Api
    kubeconfig: Path
    name: str
    version: str
    """Of Kubernetes: ``1.33``."""


@dataclass(slots=True)
class _Known:
    cluster: Cluster
    secret: str
    until: float


class Clusters:
    """Finds clusters by name. Thread-safe.

    Args:
        api: of the own cluster.
        own: its name.
        kubeconfig: that helm reaches it with.
        folder: private, for kubeconfigs of others.
    """

    def __init__(self, api: Api, own: str, kubeconfig: Path, folder: Path) -> None:
        self._api = api
        self.own = own
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def get(self, name: str) -> Cluster:
        """Connect to a cluster.

        Raises:
            MissingError: there is no Secret with its kubeconfig.
            ContentError, ConfigError: that cannot be used.
            ClusterError: an API server does not answer.
            StoreError: the kubeconfig cannot be written for helm.
        """
        with self._lock:
            known = self._known.get(name)
            if known and time.monotonic() < known.until:
                return known.cluster
            if name == self.own:
                found = _Known(Cluster(self._api, self._kubeconfig, name, kube_version(self._api)), "", 0.0)
            else:
                found = self._remote(name, known)
            found.until = time.monotonic() + _BELIEVED
            self._known[name] = found
            return found.cluster

    def close(self) -> None:
        """Close connections to other clusters."""
        with self._lock:
            for name, known in self._known.items():
                if name != self.own:
                    with suppress(BundlectlError):
                        known.cluster.api.close()

    def _remote(self, name: str, known: _Known | None) -> _Known:
        origin = f"the Secret {_SECRETS}/{name}-kubeconfig"
        secret = self._api.find(path_of("v1", "secrets", namespace=_SECRETS, name=f"{name}-kubeconfig"))
        if secret is None:
            raise MissingError(
                "is not there, and nothing else says how to reach the cluster",
                artifact=origin,
                hint="EKS Anywhere makes it for workload clusters that this cluster manages",
            )
        text = str((secret.get("data") or {}).get(_KEY, ""))
        if known and known.secret == text:
            return _Known(
                Cluster(known.cluster.api, known.cluster.kubeconfig, name, kube_version(known.cluster.api)), text, 0.0
            )
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ConfigError(f"has no {_KEY}", artifact=origin) from error
        document = read_kubeconfig(raw, origin=origin)
        path = self._folder / f"{name}.kubeconfig"
        write_private(path, json.dumps(document).encode())
        api = connect(document, name)
        return _Known(Cluster(api, path, name, kube_version(api)), text, 0.0)


def installer_of(namespace: str) -> str:
    """In whose name charts of a namespace's Packages are installed."""
    return f"system:serviceaccount:{namespace}:package-installer"

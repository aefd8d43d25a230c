"""The clusters that packages go to: the own one, and workload clusters by the kubeconfig in a Secret."""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ConfigError, ContentError, MissingError
from bundles.tree import ListNode, MapNode, parse_tree
from controller.api import path_of
from controller.configuration import plain_value
from controller.connecting import connect
from controller.encoding import encode_json
from controller.values import is_object_name
from mirror.filesystem import mapped_errors, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from controller.api import Api

__all__ = ["Cluster", "Clusters", "installer_of", "kube_version", "read_kubeconfig", "write_private"]

_SECRETS: Final = "eksa-system"
_KEY: Final = "value"
_LIMIT: Final = 256 * 1024
_BELIEVED: Final = 60.0
"""Seconds for which a Secret is not read again."""
_AVOIDED: Final = 10.0
"""Seconds for which a cluster that failed is not tried again: others have to wait for who tries."""
_KEPT: Final = 500
"""Clusters that are remembered, with those that there are not."""
_HURRY: Final = 5.0
"""Seconds that a cluster may take to say its version."""
_TOP: Final = {"apiVersion", "kind", "preferences", "current-context", "clusters", "users", "contexts"}
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
    for name in sorted(root.entries.keys() - _TOP):
        raise ContentError(f"the kubeconfig says {name[:80]}, which is not part of one", artifact=origin)
    for kind, allowed in _ALLOWED.items():
        entries = root.entries.get(f"{kind}s")
        if not isinstance(entries, ListNode):
            raise ContentError(f"the kubeconfig has no list of {kind}s", artifact=origin)
        for item in entries.items:
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
    """What is known of one cluster; whoever finds out more holds its lock, and no other one's."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    cluster: Cluster | None = None
    secret: str = ""
    failure: BundlectlError | None = None
    until: float = 0.0


class Clusters:
    """Finds clusters by name. Thread-safe; a cluster that does not answer holds up nobody who asks for another one.

    Args:
        api: of the own cluster.
        own: its name.
        kubeconfig: that helm reaches it with.
        folder: private, made when it is not there: kubeconfigs of others, and nothing else.
        clock: seconds, never going back.
    """

    def __init__(
        self, api: Api, own: str, kubeconfig: Path, folder: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self.own = own
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}

    def get(self, name: str) -> Cluster:
        """Connect to a cluster.

        Raises:
            MissingError: there is no Secret with its kubeconfig.
            ContentError, ConfigError: that cannot be used.
            ClusterError: an API server does not answer, or did not a moment ago.
            StoreError: the kubeconfig cannot be written for helm.
        """
        with self._lock:
            if name not in self._known and len(self._known) >= _KEPT:
                # Whoever calls the webhook may ask for any name.
                self._known = {each: known for each, known in self._known.items() if known.cluster is not None}
            known = self._known.setdefault(name, _Known())
        # Only who asks first waits for who tries; the others go by what was found last.
        if known.lock.acquire(blocking=known.cluster is None and known.failure is None):
            try:
                self._look(name, known)
            finally:
                known.lock.release()
        failure, cluster = known.failure, known.cluster
        if failure is not None:
            raise failure.with_traceback(None)
        if cluster is None:
            raise ConfigError("nothing says how to reach it", artifact=name)
        return cluster

    def close(self) -> None:
        """Close connections to other clusters."""
        with self._lock:
            others = [known.cluster for name, known in self._known.items() if name != self.own]
        for cluster in filter(None, others):
            with suppress(BundlectlError):
                cluster.api.close()

    def _look(self, name: str, known: _Known) -> None:
        if self._clock() < known.until:
            return
        try:
            known.cluster, known.failure = self._found(name, known), None
        except BundlectlError as error:
            known.failure = error
        known.until = self._clock() + (_AVOIDED if known.failure else _BELIEVED)

    def _found(self, name: str, known: _Known) -> Cluster:
        if name == self.own:
            return Cluster(self._api, self._kubeconfig, name, kube_version(self._api.within(_HURRY)))
        origin = f"the Secret {_SECRETS}/{name[:100]}-kubeconfig"
        if not is_object_name(name):
            # Whoever calls the webhook may ask for any name, and it becomes part of paths.
            raise MissingError("cannot be there: no cluster is called so", artifact=origin)
        secret = self._api.find(path_of("v1", "secrets", namespace=_SECRETS, name=f"{name}-kubeconfig"))
        if secret is None:
            raise MissingError(
                "is not there, and nothing else says how to reach the cluster",
                artifact=origin,
                hint="EKS Anywhere makes it for workload clusters that this cluster manages",
            )
        text = str((secret.get("data") or {}).get(_KEY, ""))
        if known.cluster is not None and known.secret == text:
            return replace(known.cluster, version=kube_version(known.cluster.api.within(_HURRY)))
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ConfigError(f"has no {_KEY}", artifact=origin) from error
        document = read_kubeconfig(raw, origin=origin)
        with mapped_errors(self._folder, action="make"):
            self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / f"{name}.kubeconfig"
        write_private(path, encode_json(document))
        api = connect(document, name, self._folder)
        found = Cluster(api, path, name, kube_version(api.within(_HURRY)))
        known.secret = text
        return found


def installer_of(namespace: str) -> str:
    """In whose name charts of a namespace's Packages are installed."""
    return f"system:serviceaccount:{namespace}:package-installer"

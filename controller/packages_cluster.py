"""A cluster as the commands use it: whole objects, reached by the kubeconfig of whoever runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

from bundlectl.errors import ConfigError, ContentError
from controller.api import APPLY, JSON_PATCH, MERGE, ClusterError, pages_of, path_of
from controller.clusters import Clusters, kube_version
from controller.connecting import connect_with_file
from controller.crds import PLURALS
from controller.objects import Places
from controller.releases import mark_ready, read_release
from controller.values import API_VERSION, HOME_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from controller.releases import Release
    from mirror.http.transport import Transport

__all__ = ["ClusterAccess", "package_path"]

_MANAGER: Final = "bundlectl"
_HINTS: Final = {
    0: "is {} for the cluster that is meant, and does its API server run? --kubeconfig names another",
    401: "the login in {} does not count, or not any more: log in again, or name another with --kubeconfig",
    403: "the user of {} may not: have that allowed, or name another with --kubeconfig",
}
"""By the status of HTTP, what to do; 0 is no answer."""
_MANAGED: Final = "it is reached as the Secret eksa-system/{}-kubeconfig says: does that still count, and from here?"
_REFUSED: Final = frozenset({400, 409, 422})


class ClusterAccess:
    """An open connection to an API server; to be closed.

    Args:
        kubeconfig: the file.
        transport: whose proxies stand before the API server, if any.
        managed: its name, where the kubeconfig is of the cluster that manages it, and no file of the user's.

    Raises:
        ConfigError: the package ``kubernetes`` is absent, or there is no such file, or it cannot be used.
    """

    def __init__(self, kubeconfig: Path, transport: Transport | None = None, *, managed: str = "") -> None:
        self.kubeconfig = kubeconfig.absolute()
        self._transport = transport
        self._managed = managed
        try:
            self._api = connect_with_file(self.kubeconfig, str(kubeconfig), transport)
        except ImportError as error:
            raise ConfigError(
                "a cluster is reached with the Python package kubernetes, which is not installed",
                hint="pip install 'bundlectl[controller]'",
            ) from error
        except ConfigError as error:
            error.hint = error.hint or "name a kubeconfig with --kubeconfig FILE or KUBECONFIG"
            raise
        # Of a file a path in the API would look like a folder.
        self._api.name = self._api.server
        self._places = Places(self._api)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._api.close()
        if isinstance(error, ClusterError) and error.hint is None and error.status in _HINTS:
            named = _MANAGED.format(self._managed) if self._managed else None
            error.hint = named or _HINTS[error.status].format(self.kubeconfig)

    def get(self, path: str) -> dict[str, Any] | None:
        """An object; None where there is none.

        Raises:
            ClusterError: refused, or no answer.
        """
        return self._api.find(path)

    def find(self, document: dict[str, Any], namespace: str = "") -> dict[str, Any] | None:
        """What the cluster has of an object; None where it has not got it.

        Args:
            document: the object.
            namespace: that it is in where it says none and its kind has one.

        Raises:
            ContentError: the cluster does not know its kind.
            ClusterError: refused, or no answer.
        """
        return self._api.find(self._places.path(document, namespace))

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a collection; none where the API does not know the kind.

        Raises:
            ClusterError: refused, or no answer.
        """
        found: list[dict[str, Any]] = []
        try:
            for page in pages_of(self._api, path):
                found += page.get("items") or []
        except ClusterError as error:
            if not error.missing:
                raise
        return found

    def create(self, document: dict[str, Any]) -> dict[str, Any]:
        """Create an object.

        Raises:
            ContentError: the API server or its admission does not take it, or there is one of that name.
            ClusterError: refused otherwise, or no answer.
        """
        path = self._places.path(document, "").rpartition("/")[0]
        return _taken(document, lambda: self._api.create(path, document))

    def apply(self, document: dict[str, Any]) -> dict[str, Any]:
        """Make the fields of ``document`` what they say there, and leave all others as they are.

        Args:
            document: an object, with what is to be set.

        Raises:
            ContentError: the API server or its admission does not take it.
            ClusterError: refused otherwise, or no answer.
        """
        path = self._places.path(document, "")
        query = {"fieldManager": _MANAGER, "force": "true"}
        return _taken(document, lambda: self._api.patch(path, document, APPLY, **query))

    def merge(self, path: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change some fields of an object that is there.

        Raises:
            ContentError: the API server or its admission does not take it.
            ClusterError: refused otherwise, or no answer.
        """
        return _taken({"metadata": {"name": path}}, lambda: self._api.patch(path, patch, MERGE, fieldManager=_MANAGER))

    def patch(self, path: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Change an object that is there step by step, all of them or none (RFC 6902).

        Raises:
            ContentError: a test among them does not hold, or the API server or its admission does not take it.
            ClusterError: refused otherwise, or no answer.
        """
        query = {"fieldManager": _MANAGER}
        return _taken({"metadata": {"name": path}}, lambda: self._api.patch(path, steps, JSON_PATCH, **query))

    def delete(self, path: str) -> bool:
        """Ask for an object to be deleted; whether there was one.

        Raises:
            ClusterError: refused, or no answer.
        """
        if self._api.find(path) is None:
            return False
        self._api.delete(path)
        return True

    def release(self, namespace: str, name: str) -> Release | None:
        """What helm has recorded of a release; None where there is none.

        Raises:
            ClusterError: refused, or no answer.
            ContentError: a record is not one.
        """
        return read_release(self._api, namespace, name, as_user="")

    def mark_ready(self, namespace: str, name: str, revision: int) -> None:
        """Note on a revision that all of it has been ready.

        Raises:
            ClusterError: refused, or no answer.
        """
        mark_ready(self._api, namespace, name, revision, as_user="")

    def workload(self, cluster: str, folder: Path) -> ClusterAccess:
        """A cluster that this one manages, by the kubeconfig that it has of it; to be closed.

        Args:
            cluster: its name.
            folder: private, where the kubeconfig is written for helm.

        Raises:
            MissingError: it has none.
            ContentError, ConfigError: that cannot be used.
            ClusterError: refused, or an API server does not answer.
        """
        clusters = Clusters(self._api, "", self.kubeconfig, folder)
        try:
            return ClusterAccess(clusters.get(cluster).kubeconfig, self._transport, managed=cluster)
        except ClusterError as error:
            if not str(error.artifact).startswith(self._api.name):
                error.hint = error.hint or _MANAGED.format(cluster)
            raise
        finally:
            clusters.close()

    def kube_version(self) -> str:
        """The minor version of the API server, such as ``1.33``.

        Raises:
            ClusterError: refused, or no answer.
        """
        return kube_version(self._api)


def package_path(kind: str, name: str = "", namespace: str = HOME_NAMESPACE) -> str:
    """Where an object of the kinds of packages stands in the API; without a name all of them in a namespace."""
    return path_of(API_VERSION, PLURALS[kind], namespace=namespace, name=name)


def _taken(document: Mapping[str, Any], call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it; what is refused for what it says is content that is not what it should be."""
    try:
        return call()
    except ClusterError as error:
        if error.status not in _REFUSED:
            raise
        named = "/".join(str(part) for part in (document.get("kind"), document["metadata"]["name"]) if part)
        raise ContentError(error.message, artifact=named) from error

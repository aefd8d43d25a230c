"""The objects of a release's manifest, and where each is in the API of its cluster."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from bundles.goscalars import resolve
from bundles.helm.yamlnodes import Listing, Table, read_yaml_documents
from controller.api import ClusterError

if TYPE_CHECKING:
    from bundles.helm.yamlnodes import Node
    from controller.api import Api

__all__ = ["Places", "read_objects", "shown"]

_KINDS: Final = 20_000


def read_objects(manifest: str, *, origin: str) -> list[dict[str, Any]]:
    """Read a manifest as helm keeps it; lists are taken apart, scalars have the types that Go gives them.

    Raises:
        ContentError: it is not YAML, or beyond a limit.
    """
    found: list[dict[str, Any]] = []
    for node in read_yaml_documents(manifest.encode(), origin=origin):
        document = _plain(node)
        if not isinstance(document, dict) or not document.get("kind"):
            continue
        items = document.get("items") if str(document["kind"]).endswith("List") else None
        found += [item for item in items if isinstance(item, dict)] if isinstance(items, list) else [document]
    return [item for item in found if item.get("kind") and _has_name(item.get("metadata"))]


def shown(document: dict[str, Any]) -> str:
    """The name of an object for people: ``Deployment/greeter``."""
    return f"{document.get('kind')}/{document['metadata']['name']}"


class Places:
    """Knows the kinds of a cluster. Thread-safe; what a kind is called in URLs is asked for once.

    Args:
        api: of the cluster.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def path(self, document: dict[str, Any], namespace: str) -> str:
        """Where an object is.

        Args:
            document: the object.
            namespace: that it is in where it says none and its kind has one.

        Raises:
            ContentError: the cluster does not know its kind.
            ClusterError: refused, or no answer.
        """
        version, kind = str(document.get("apiVersion", "")), str(document["kind"])
        plural, namespaced = self._kind(version, kind)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if not namespaced:
            return f"{root}/{plural}/{document['metadata']['name']}"
        where = document["metadata"].get("namespace") or namespace
        return f"{root}/namespaces/{where}/{plural}/{document['metadata']['name']}"

    def _kind(self, version: str, kind: str) -> tuple[str, bool]:
        with self._lock:
            found = self._kinds.get((version, kind))
            if found is None:
                root = f"/apis/{version}" if "/" in version else f"/api/{version}"
                try:
                    listed = self._api.get(root).get("resources") or []
                except ClusterError as error:
                    if not error.missing:
                        raise
                    listed = []
                for item in listed[:_KINDS]:
                    if "/" not in item["name"]:
                        self._kinds[version, item["kind"]] = (item["name"], bool(item["namespaced"]))
                found = self._kinds.get((version, kind))
            if found is None:
                raise ContentError(f"the cluster does not know the kind {kind} of {version}", artifact=self._api.name)
            return found


def _has_name(metadata: object) -> bool:
    return isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and bool(metadata["name"])


def _plain(node: Node) -> Any:  # noqa: ANN401 -- whatever YAML holds
    if isinstance(node, Table):
        return {key: _plain(child) for key, child in node.entries.items()}
    if isinstance(node, Listing):
        return [_plain(child) for child in node.entries]
    value = resolve(node.source) if node.plain else node.source
    return node.source if isinstance(value, float) and not math.isfinite(value) else value

"""Objects of one kind as the API server has them: listed, then watched, and listed again when that is needed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from controller.api import path_of
from controller.crds import PLURALS
from controller.values import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api

__all__ = ["Objects"]

_PAGE: Final = "500"
_PAUSE: Final = 1.0
_LONGEST: Final = 30.0


class Objects(threading.Thread):
    """A copy of all objects of a kind, kept up to date from `start` to `stop`. Thread-safe.

    Args:
        api: of the own cluster.
        kind: ``Package``, ``PackageBundle`` or ``PackageBundleController``.
        changed: called with the key of what changed, and with the object as it was and as it is (None: not there).
            On whatever thread told of it.
    """

    def __init__(
        self,
        api: Api,
        kind: str,
        changed: Callable[[str, dict[str, Any] | None, dict[str, Any] | None], None],
    ) -> None:
        super().__init__(name=f"watch-{PLURALS[kind]}", daemon=True)
        self._api = api
        self._plural = PLURALS[kind]
        self._path = path_of(API_VERSION, self._plural)
        self._changed = changed
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Any]] = {}
        self._stopped = threading.Event()
        self.listed = threading.Event()
        """Set once all objects are known."""
        self.trouble = ""
        """Why the last attempt ended, when it did not end by itself."""

    def get(self, key: str) -> dict[str, Any] | None:
        """An object by ``NAMESPACE/NAME``; nobody changes it."""
        with self._lock:
            return self._objects.get(key)

    def all(self, namespace: str = "") -> list[dict[str, Any]]:
        """All objects, or those of a namespace, sorted by key."""
        with self._lock:
            found = [key for key in self._objects if not namespace or key.startswith(f"{namespace}/")]
            return [self._objects[key] for key in sorted(found)]

    def path(self, key: str, subresource: str = "") -> str:
        """Where an object is in the API."""
        namespace, _, name = key.partition("/")
        return path_of(API_VERSION, self._plural, namespace=namespace, name=name, subresource=subresource)

    def put(self, document: dict[str, Any]) -> None:
        """Take what a write was answered with: the watch would tell of it later."""
        self._take(document)

    def stop(self) -> None:
        """Follow no more."""
        self._stopped.set()

    def run(self) -> None:
        """List and watch."""
        pause = _PAUSE
        while not self._stopped.is_set():
            try:
                version = self._list()
                pause, self.trouble = _PAUSE, ""
                while not self._stopped.is_set():
                    version = self._follow(version)
            except BundlectlError as error:
                # Versions that are too old are no trouble, and whatever it is: all is listed again.
                if not getattr(error, "gone", False):
                    self.trouble = str(error)
                    self._stopped.wait(pause)
                    pause = min(pause * 2, _LONGEST)

    def _list(self) -> str:
        found: dict[str, dict[str, Any]] = {}
        query = {"limit": _PAGE}
        while True:
            page = self._api.get(self._path, **query)
            for item in page.get("items") or ():
                found[_key(item)] = item
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                break
            query = {"limit": _PAGE, "continue": str(metadata["continue"])}
        with self._lock:
            absent = [key for key in self._objects if key not in found]
        for item in found.values():
            self._take(item)
        for key in absent:
            self._drop(key)
        self.listed.set()
        return str(metadata.get("resourceVersion", ""))

    def _follow(self, version: str) -> str:
        for event in self._api.watch(self._path, version):
            item = event.get("object") or {}
            version = str(item.get("metadata", {}).get("resourceVersion", version))
            if event.get("type") == "DELETED":
                self._drop(_key(item))
            elif event.get("type") in ("ADDED", "MODIFIED"):
                self._take(item)
            if self._stopped.is_set():
                break
        return version

    def _take(self, item: dict[str, Any]) -> None:
        item.get("metadata", {}).pop("managedFields", None)
        key = _key(item)
        with self._lock:
            before = self._objects.get(key)
            if before is not None and _version(item) <= _version(before):
                return
            self._objects[key] = item
        self._changed(key, before, item)

    def forget(self, key: str) -> None:
        """Take an object for gone: the API server said that it is not there."""
        self._drop(key)

    def _drop(self, key: str) -> None:
        with self._lock:
            before = self._objects.pop(key, None)
        if before is not None:
            self._changed(key, before, None)


def _key(item: dict[str, Any]) -> str:
    metadata = item.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _version(item: dict[str, Any]) -> int:
    """Versions are those of etcd, which grow (Kubernetes, KEP-5504)."""
    text = str(item.get("metadata", {}).get("resourceVersion", "0"))
    return int(text) if text.isdecimal() else 0

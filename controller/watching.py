"""Objects of one kind as the API server has them: listed, then watched, and listed again when that is needed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError
from controller.api import pages_of, path_of
from controller.crds import PLURALS
from controller.values import API_VERSION, is_object_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.api import Api

__all__ = ["Objects"]

_PAUSE: Final = 1.0
_LONGEST: Final = 30.0
_SOON: Final = 2.0
"""Seconds that an API server may take which waits for us itself."""
_AVOIDED: Final = 10.0
"""Seconds for which an API server that did not answer soon is not asked so again."""


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
        self._known_until = 0
        """The version up to which the API server has told of everything."""
        self._unasked_until = 0.0
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
        """Take what a write was answered with: the watch would tell of it later, or has told that it is gone again."""
        self._take(document, answered=True)

    def refresh(self, key: str) -> bool:
        """Ask the API server for an object that the watch may not have told of yet; whether another is known now.

        Raises:
            ClusterError: refused, or no answer soon.
        """
        # Whoever calls the webhook may ask for any name, and it becomes part of a path.
        namespace, _, name = key.partition("/")
        if not (is_object_name(namespace) and is_object_name(name)) or time.monotonic() < self._unasked_until:
            return False
        before = self.get(key)
        try:
            found = self._api.within(_SOON).find(self.path(key))
        except BundlectlError:
            # Reviews wait for each other: not each of them is to wait for this.
            self._unasked_until = time.monotonic() + _AVOIDED
            raise
        if found is not None:
            self.put(found)
        return self.get(key) is not before

    def stop(self) -> None:
        """Follow no more."""
        self._stopped.set()

    def run(self) -> None:
        """List and watch."""
        pause = _PAUSE
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                version = self._list()
                self.trouble = ""
                while not self._stopped.is_set():
                    began = time.monotonic()
                    version = self._follow(version)
                    if time.monotonic() - began < _PAUSE:
                        # Whoever ends each watch at once, a proxy perhaps, is not asked without end.
                        self._stopped.wait(_PAUSE)
            except Exception as error:  # noqa: BLE001 -- whatever it is: to follow no more, unseen, would be worse
                # Versions that are too old are no trouble. All is listed again.
                if not getattr(error, "gone", False):
                    told = "" if isinstance(error, BundlectlError) else f"{type(error).__name__}: "
                    self.trouble = f"{told}{error}"
                if time.monotonic() - began > pause:
                    pause = _PAUSE  # this time it went well for a while
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST)

    def _list(self) -> str:
        found: dict[str, dict[str, Any]] = {}
        version = ""
        for page in pages_of(self._api, self._path):
            for item in page.get("items") or ():
                found[_key(item)] = _slim(item)
            version = str((page.get("metadata") or {}).get("resourceVersion", ""))
        listed = _number(version)
        with self._lock:
            # Versions grow, unless etcd was restored from a backup: then what is known is not of this past.
            restored = listed < self._known_until
            self._known_until = listed
            absent = self._objects.keys() - found.keys()
        for item in found.values():
            self._take_listed(item, listed, restored=restored)
        for key in absent:
            self._drop(key, None if restored else listed)
        self.listed.set()
        return version

    def _follow(self, version: str) -> str:
        for event in self._api.watch(self._path, version):
            item = event.get("object") or {}
            version = str(item.get("metadata", {}).get("resourceVersion", version))
            self._known_until = _number(version)
            if event.get("type") == "DELETED":
                self._drop(_key(item), self._known_until)
            elif event.get("type") in ("ADDED", "MODIFIED"):
                self._take(item)
            if self._stopped.is_set():
                break
        return version

    def _take(self, item: dict[str, Any], *, answered: bool = False) -> None:
        """Take what a write or the watch tells of an object, if it is newer than what is known."""
        _slim(item)
        key = _key(item)
        with self._lock:
            before = self._objects.get(key)
            if before is None and answered and _version(item) <= self._known_until:
                return
            if before is not None and _version(item) <= _version(before):
                return
            self._objects[key] = item
        self._changed(key, before, item)

    def _take_listed(self, item: dict[str, Any], listed: int, *, restored: bool) -> None:
        """Take what a list says; also what is older than what is known, unless that is later than the list.

        In a cluster that was restored objects have older versions again, and its own version may have overtaken what
        was known by the time that it is asked (or was raised on purpose: ``etcdutl --bump-revision``).
        """
        key = _key(item)
        with self._lock:
            before = self._objects.get(key)
            if before is not None and (before == item or (_version(before) > listed and not restored)):
                return
            self._objects[key] = item
        self._changed(key, before, item)

    def forget(self, key: str) -> None:
        """Take an object for gone: the API server said that it is not there."""
        self._drop(key)

    def _drop(self, key: str, version: int | None = None) -> None:
        """Forget an object; not a later one of its name than what went by ``version``."""
        with self._lock:
            before = self._objects.get(key)
            if before is None or (version is not None and _version(before) > version):
                return
            del self._objects[key]
        self._changed(key, before, None)


def _key(item: dict[str, Any]) -> str:
    metadata = item.get("metadata", {})
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def _slim(item: dict[str, Any]) -> dict[str, Any]:
    """Without what nobody here reads, and which is the larger half of many an object."""
    item.get("metadata", {}).pop("managedFields", None)
    return item


def _version(item: dict[str, Any]) -> int:
    return _number(str(item.get("metadata", {}).get("resourceVersion", "")))


def _number(version: str) -> int:
    """Versions are those of etcd, which grow (Kubernetes, KEP-5504)."""
    return int(version) if version.isdecimal() else 0

"""What the routes of the server share: the store, and how clients' names are found in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from mirror.server.message import RefusedError

if TYPE_CHECKING:
    from mirror.layout.store import Store
    from mirror.oci.digest import Digest
    from mirror.server.describing import Description
    from mirror.server.limits import StoreGuard
    from mirror.server.message import Request
    from mirror.server.metrics import Metrics
    from mirror.server.remembered import ReadManifests

__all__ = ["FindFile", "ListNames", "Names", "ResolveName", "Service"]

ResolveName: TypeAlias = Callable[[str, str | None], Sequence[str]]
"""Repository path in the URL and ``ns`` query, to repositories of the store, the likeliest first."""

ListNames: TypeAlias = Callable[[], Sequence[str]]
"""The names under which clients can pull."""

FindFile: TypeAlias = Callable[[str], "tuple[Digest, int, str] | None"]
"""Path behind ``/files/``, to digest, size in bytes, and media type or title."""

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


class Names:
    """From a name in a URL to repositories of the store."""

    def __init__(self, resolve: ResolveName, names: ListNames) -> None:
        self._resolve = resolve
        self._names = names

    def readable(self, name: str, request: Request) -> list[str]:
        """Where to look for ``name``: what it stands for, then what was pushed under this very name."""
        return list(dict.fromkeys([*self._resolve(name, _namespace(request)), name]))

    def writable(self, name: str, request: Request) -> str:
        """Where a push to ``name`` goes."""
        return next(iter(self._resolve(name, _namespace(request))), name)

    def all(self) -> list[str]:
        """All names that can be pulled, sorted, each once."""
        return sorted(set(self._names()))


def _namespace(request: Request) -> str | None:
    """The upstream host that containerd names with ``?ns=`` when it asks a mirror."""
    namespace = request.parameter("ns")
    if namespace is None:
        return None
    if not _NAMESPACE.fullmatch(namespace):
        raise RefusedError(400, "NAME_INVALID", "ns is not a host name")
    return namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a route needs."""

    store: Store
    names: Names
    files: FindFile
    manifests: ReadManifests
    guard: StoreGuard
    description: Description | None
    metrics: Metrics

"""A registry over HTTP.

Nothing is imported here at once: the names below are found in their modules on first use, so
that a command line which only needs ``CredentialStore`` does not load HTTP.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mirror.remote.auth import Credential, CredentialStore
    from mirror.remote.repository import RemoteRegistry, RemoteRepository
    from mirror.remote.webfile import UrlRepository

__all__ = ["Credential", "CredentialStore", "RemoteRegistry", "RemoteRepository", "UrlRepository"]

_HOMES: Final = {
    "Credential": "auth",
    "CredentialStore": "auth",
    "RemoteRegistry": "repository",
    "RemoteRepository": "repository",
    "UrlRepository": "webfile",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 -- PEP 562: whatever the module holds
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found

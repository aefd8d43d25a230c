"""The embedded OCI registry: a WSGI callable over the store, and a server to run it."""

from __future__ import annotations

from mirror.server.app import AccessRecord, Registry, ServerOptions
from mirror.server.auth import Access, AccessPolicy, Users, access_policy, load_users
from mirror.server.serving import RegistryServer, TlsFiles, parse_listen

__all__ = [
    "Access",
    "AccessPolicy",
    "AccessRecord",
    "Registry",
    "RegistryServer",
    "ServerOptions",
    "TlsFiles",
    "Users",
    "access_policy",
    "load_users",
    "parse_listen",
]

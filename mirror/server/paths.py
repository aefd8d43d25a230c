"""URL paths of the registry API, read strictly (distribution-spec, "Endpoints")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bundlectl.errors import ContentError, UsageError
from mirror.oci.digest import Digest
from mirror.oci.reference import check_repository, check_tag
from mirror.server.message import RefusedError

__all__ = ["Kind", "Route", "parse_path", "repository_name", "tag_or_digest", "wanted_digest"]

Kind: TypeAlias = Literal["page", "health", "metrics", "file", "api", "catalog", "tags", "manifest", "blob", "uploads",
                          "upload", "referrers"]  # fmt: skip

_FIXED: Final[dict[str, Kind]] = {
    "/": "page",
    "/healthz": "health",
    "/metrics": "metrics",
    "/v2": "api",
    "/v2/": "api",
    "/v2/_catalog": "catalog",
}
_LEAVES: Final[dict[str, Kind]] = {"manifests": "manifest", "blobs": "blob", "referrers": "referrers"}
_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{8,128}")
_FILES: Final = "/files/"


@dataclass(frozen=True, slots=True)
class Route:
    """What a path names: ``name`` is the repository (or file path), ``leaf`` what is behind it."""

    kind: Kind
    name: str = ""
    leaf: str = ""


def parse_path(path: str) -> Route:
    """Read a decoded path.

    Repository names may contain ``manifests`` or ``blobs``, so a path is read from its end. A
    ``%2F`` of the client reaches this function undecoded and fails the name's grammar.

    Raises:
        RefusedError: 404 for no known endpoint, 400 for a name outside the grammar.
    """
    fixed = _FIXED.get(path)
    if fixed:
        return Route(fixed)
    if path.startswith(_FILES):
        return Route("file", path[len(_FILES) :])
    if not path.startswith("/v2/"):
        raise RefusedError(404, "UNSUPPORTED", "no such page")
    return _registry_route(path[len("/v2/") :])


def _registry_route(path: str) -> Route:
    head, _, leaf = path.rpartition("/")
    if leaf in ("uploads", "") and path.rstrip("/").endswith("/blobs/uploads"):
        trimmed = path.removesuffix("/")
        return Route("uploads", repository_name(trimmed.removesuffix("/blobs/uploads")))
    if head.endswith("/blobs/uploads"):
        if not _SESSION.fullmatch(leaf):
            raise RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "no such upload session")
        return Route("upload", repository_name(head.removesuffix("/blobs/uploads")), leaf)
    name, _, noun = head.rpartition("/")
    if noun == "tags" and leaf == "list" and name:
        return Route("tags", repository_name(name))
    kind = _LEAVES.get(noun)
    if kind is None or not name:
        raise RefusedError(404, "UNSUPPORTED", "no such endpoint of the registry API")
    return Route(kind, repository_name(name), leaf)


def repository_name(name: str) -> str:
    """Return ``name`` if it is a repository name.

    Raises:
        RefusedError: 400 NAME_INVALID.
    """
    try:
        return check_repository(name)
    except UsageError as error:
        raise RefusedError(400, "NAME_INVALID", error.message) from None


def wanted_digest(text: str) -> Digest:
    """Read a digest out of a path or a query.

    Raises:
        RefusedError: 400 DIGEST_INVALID.
    """
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise RefusedError(400, "DIGEST_INVALID", error.message) from None


def tag_or_digest(text: str, *, reading: bool) -> Digest | str:
    """Read the reference of a manifest.

    Args:
        text: the last element of the path.
        reading: whether something is looked for (what cannot exist is just absent) or written.

    Raises:
        RefusedError: neither a tag nor a digest: 404 for a reader, 400 for a writer.
    """
    try:
        return Digest.parse(text) if ":" in text else check_tag(text)
    except (ContentError, UsageError) as error:
        if reading:
            raise RefusedError(404, "MANIFEST_UNKNOWN", error.message) from None
        raise RefusedError(400, "DIGEST_INVALID" if ":" in text else "MANIFEST_INVALID", error.message) from None

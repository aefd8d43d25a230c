"""Reading: manifests, blobs, tags, referrers, the catalogue (distribution-spec, "Pull", "Content Discovery")."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from bundlectl.errors import ContentError, MissingError, StoreError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_INDEX, OCTET_STREAM
from mirror.server.message import BlobBody, Headers, RefusedError, Request, Response, json_response
from mirror.server.paths import Route, tag_or_digest, wanted_digest
from mirror.server.ranges import matches_etag, wanted_range

if TYPE_CHECKING:
    from mirror.layout.refs import Ref
    from mirror.oci.manifest import Manifest
    from mirror.server.service import Service

__all__ = [
    "blob_response",
    "get_blob",
    "get_catalog",
    "get_manifest",
    "get_referrers",
    "get_tags",
    "known_blob",
    "known_repository",
    "manifest_by_digest",
]

_PAGE_MAX: Final = 10_000
_TOUCHED: Final = 60.0  # seconds; less than anybody's `gc --grace`, and many HEADs cost one change on disk
_REFERRERS_BYTES: Final = 4 * 1024 * 1024
_READ_BYTES: Final = 32 * 1024 * 1024


def get_manifest(service: Service, request: Request, route: Route) -> Response:
    """Answer GET and HEAD of a manifest by tag or digest (end-3)."""
    reference = tag_or_digest(route.leaf, reading=True)
    for name in service.names.readable(route.name, request):
        try:
            if isinstance(reference, Digest):
                if request.method == "HEAD" and _size_of(service, request, reference) is None:
                    continue
                return _manifest_response(
                    request, *service.manifests.get(name, Descriptor("", reference, 0), named=False)
                )
            found = service.store.ref(name, reference)
            if found is None:
                continue
            if request.method == "HEAD":
                return _manifest_response(request, found.descriptor, None)
            _, raw = service.manifests.get(name, found.descriptor, named=True)
            return _manifest_response(request, found.descriptor, raw)
        except MissingError:
            continue
        except ContentError:
            if not isinstance(reference, Digest):
                raise
    raise RefusedError(
        404, "MANIFEST_UNKNOWN", f"{route.name} has no manifest {route.leaf}", detail={"reference": route.leaf}
    )


def manifest_by_digest(service: Service, name: str, digest: Digest) -> Manifest | None:
    """The manifest, or None when it is not in this repository of the store, or the digest is a layer's."""
    try:
        return service.store.repository(name).manifest(Descriptor("", digest, 0))
    except (MissingError, ContentError):
        return None


def _manifest_response(request: Request, descriptor: Descriptor, raw: bytes | None) -> Response:
    etag = f'"{descriptor.digest}"'
    headers: Headers = [("Docker-Content-Digest", str(descriptor.digest)), ("ETag", etag)]
    if matches_etag(request.header("If-None-Match"), etag):
        return Response(304, headers)
    headers.append(("Content-Type", descriptor.media_type))
    headers.append(("Content-Length", str(descriptor.size if raw is None else len(raw))))
    return Response(200, headers, raw or b"")


def get_blob(service: Service, request: Request, route: Route) -> Response:
    """Answer GET and HEAD of a blob, whichever repository it came in through (end-2)."""
    digest = wanted_digest(route.leaf)
    size = _size_of(service, request, digest)
    if size is None or not known_blob(service, request, route, digest):
        raise RefusedError(404, "BLOB_UNKNOWN", "the blob is not here", detail={"digest": str(digest)})
    return blob_response(service, request, digest, size, OCTET_STREAM)


def _size_of(service: Service, request: Request, digest: Digest) -> int | None:
    """The size of a blob or manifest, None when it is not there.

    Who asks with HEAD may be about to push something that names it, so `gc` spares it for a while.
    """
    if request.method == "HEAD":
        # A disk that takes nothing any more gives nothing to `gc` either, and can still be read.
        with suppress(StoreError):
            return service.store.touch(digest, within=_TOUCHED)
    return service.store.size(digest)


def known_blob(service: Service, request: Request, route: Route, digest: Digest) -> bool:
    """Whether a blob that the store has was not deleted from the repository."""
    return any(not service.store.is_forgotten(name, digest) for name in service.names.readable(route.name, request))


def blob_response(service: Service, request: Request, digest: Digest, size: int, media_type: str) -> Response:
    """Answer with content of the store, honouring ``Range`` on GET and ``If-None-Match``.

    Raises:
        RefusedError: 416; 404 when the blob is gone.
    """
    etag = f'"{digest}"'
    headers: Headers = [("Docker-Content-Digest", str(digest)), ("ETag", etag), ("Accept-Ranges", "bytes")]
    if matches_etag(request.header("If-None-Match"), etag):
        return Response(304, headers)
    headers.append(("Content-Type", media_type))
    if request.method == "HEAD":
        headers.append(("Content-Length", str(size)))
        return Response(200, headers)
    part = None
    if request.header("If-Range") in ("", etag):
        part = wanted_range(request.header("Range"), size)
    start, length = part or (0, size)
    headers.append(("Content-Length", str(length)))
    if part:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{size}"))
    try:
        reader = service.store.open_blob(digest, start)
    except MissingError:
        raise RefusedError(404, "BLOB_UNKNOWN", "the blob is gone", detail={"digest": str(digest)}) from None
    return Response(206 if part else 200, headers, BlobBody(reader, length, offset=start))


def known_repository(service: Service, name: str, request: Request) -> list[str]:
    """The repositories of the store behind ``name`` that hold anything."""
    present = set(service.store.repositories())
    return [candidate for candidate in service.names.readable(name, request) if candidate in present]


def get_tags(service: Service, request: Request, route: Route) -> Response:
    """List tags in lexical order, paged by ``n`` and ``last`` (end-8)."""
    tags: set[str] = set()
    for name in service.names.readable(route.name, request):
        tags.update(service.store.repository(name).tags())
    if not tags and not known_repository(service, route.name, request):
        raise RefusedError(404, "NAME_UNKNOWN", f"there is no repository {route.name}", detail={"name": route.name})
    page, headers = _page(request, sorted(tags), f"/v2/{route.name}/tags/list")
    return json_response({"name": route.name, "tags": page}, headers=headers)


def get_catalog(service: Service, request: Request, route: Route) -> Response:
    """List the repositories that can be pulled, paged like tags (Docker Registry HTTP API)."""
    del route
    page, headers = _page(request, service.names.all(), "/v2/_catalog")
    return json_response({"repositories": page}, headers=headers)


def _page(request: Request, items: list[str], path: str) -> tuple[list[str], Headers]:
    last = request.parameter("last")
    if last is not None:
        items = [item for item in items if item > last]
    wanted = request.parameter("n")
    if wanted is None:
        limit = len(items)
    elif wanted.isascii() and wanted.isdigit():
        limit = min(int(wanted[:9]), _PAGE_MAX)
    else:
        raise RefusedError(400, "PAGINATION_NUMBER_INVALID", "n is not a number", detail={"n": wanted[:100]})
    page = items[:limit]
    if not page or len(page) == len(items):
        return page, []
    return page, [_next_link(request, path, {"n": str(limit), "last": page[-1]})]


def _next_link(request: Request, path: str, parameters: dict[str, str]) -> tuple[str, str]:
    namespace = request.parameter("ns")
    if namespace is not None:
        parameters["ns"] = namespace
    return "Link", f'<{quote(path)}?{urlencode(parameters)}>; rel="next"'


def get_referrers(service: Service, request: Request, route: Route) -> Response:
    """List the manifests that refer to a digest, an empty index when there are none (end-12)."""
    subject = wanted_digest(route.leaf)
    found: dict[Digest, Ref] = {}
    for name in service.names.readable(route.name, request):
        for ref in service.store.referrers(name, subject):
            found.setdefault(ref.descriptor.digest, ref)
    wanted = request.parameter("artifactType")
    headers: Headers = [("OCI-Filters-Applied", "artifactType")] if wanted else []
    last = request.parameter("last")
    after = wanted_digest(last) if last else None
    ordered = sorted(found.values(), key=_referrer_order)
    if after:
        passed = _referrer_order(found[after]) if after in found else (False, after)
        ordered = [ref for ref in ordered if _referrer_order(ref) > passed]
    page, more = _referrers_page(service, ordered, wanted)
    if more:
        parameters = {"last": str(more), **({"artifactType": wanted} if wanted else {})}
        headers.append(_next_link(request, f"/v2/{route.name}/referrers/{subject}", parameters))
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page}
    return json_response(document, headers=headers, content_type=OCI_INDEX)


def _referrer_order(ref: Ref) -> tuple[bool, Digest]:
    """What a release brought comes first: nobody can push it off the first page, all that many clients read."""
    return ref.trust == "pushed", ref.descriptor.digest


def _referrers_page(
    service: Service, refs: list[Ref], artifact_type: str | None
) -> tuple[list[dict[str, object]], Digest | None]:
    """As many descriptors as fit into a response that every client reads, and is soon made; the last if more follow.

    Each is read out of its manifest, which whoever pushed it may have made 4 MiB large.
    """
    page: list[dict[str, object]] = []
    used = read = 0
    for position, ref in enumerate(refs):
        read += ref.descriptor.size
        if position and read > _READ_BYTES:
            return page, refs[position - 1].descriptor.digest
        descriptor = service.store.repository(ref.repository).described(ref.descriptor)
        if artifact_type and descriptor.artifact_type != artifact_type:
            continue
        value = descriptor.to_json()
        used += len(json.dumps(value)) + 2
        if page and used > _REFERRERS_BYTES:
            return page, refs[position - 1].descriptor.digest
        page.append(value)
    return page, None

"""Writing manifests and deleting them (distribution-spec, "Pushing Manifests", "Content Management")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError
from mirror.layout.refs import ProtectedError
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT, MANIFEST_TYPES, OCTET_STREAM
from mirror.server.message import Headers, RefusedError, Request, Response
from mirror.server.paths import Route, tag_or_digest, wanted_digest
from mirror.server.pull import known_blob, manifest_by_digest

if TYPE_CHECKING:
    from mirror.server.service import Service

__all__ = ["delete_blob", "delete_manifest", "put_manifest"]

_VAGUE_TYPES: Final = frozenset({"", "application/json", OCTET_STREAM})
_TAGS_MAX: Final = 32


def put_manifest(service: Service, request: Request, route: Route) -> Response:
    """Store a manifest by tag or digest (end-7a), with ``?tag=`` under several tags (end-7b)."""
    reference = tag_or_digest(route.leaf, reading=False)
    tags = _wanted_tags(request, reference)
    target = service.names.writable(route.name, request)
    raw = request.body().read_all(MANIFEST_LIMIT)
    if raw is None:
        raise RefusedError(413, "SIZE_INVALID", f"a manifest has at most {MANIFEST_LIMIT} bytes")
    manifest = _read_manifest(raw, request.header("Content-Type"), reference)
    _check_children(service, request, route, manifest)
    digest = manifest.descriptor.digest
    repository = service.store.repository(target, trust="pushed")
    try:
        if not tags:
            repository.put_manifest(manifest)
        for tag in tags:
            repository.put_manifest(manifest, tag=tag)
    except ProtectedError as error:
        raise _protected(error) from None
    except (ContentError, MissingError) as error:
        raise RefusedError(400, "MANIFEST_INVALID", error.message) from None
    headers: Headers = [
        ("Location", f"/v2/{route.name}/manifests/{digest}"),
        ("Docker-Content-Digest", str(digest)),
    ]
    if manifest.subject:
        headers.append(("OCI-Subject", str(manifest.subject.digest)))
    if isinstance(reference, Digest):
        headers += [("OCI-Tag", tag) for tag in tags]
    return Response(201, headers)


def _wanted_tags(request: Request, reference: Digest | str) -> list[str]:
    if isinstance(reference, str):
        return [reference]
    tags = list(dict.fromkeys(request.query.get("tag", [])))
    if len(tags) > _TAGS_MAX:
        raise RefusedError(414, "UNSUPPORTED", f"at most {_TAGS_MAX} tags at once")
    for tag in tags:
        if tag_or_digest(tag, reading=False) != tag:
            raise RefusedError(400, "MANIFEST_INVALID", f"{tag[:200]!r} is not a tag")
    return tags


def _read_manifest(raw: bytes, content_type: str, reference: Digest | str) -> Manifest:
    media_type = content_type.partition(";")[0].strip()
    if media_type not in MANIFEST_TYPES and media_type not in _VAGUE_TYPES:
        raise RefusedError(400, "MANIFEST_INVALID", f"{media_type[:100]!r} is not a manifest type")
    expected = reference if isinstance(reference, Digest) else None
    if expected and Digest.of(raw, expected.algorithm) != expected:
        raise RefusedError(400, "DIGEST_INVALID", "the manifest has another digest", detail={"digest": str(expected)})
    try:
        return Manifest.from_bytes(raw, media_type, expected=expected)
    except ContentError as error:
        raise RefusedError(400, "MANIFEST_INVALID", error.message) from None


def _check_children(service: Service, request: Request, route: Route, manifest: Manifest) -> None:
    """Refuse a manifest whose content is not here.

    The children of an index may be absent (bundlectl mirrors indexes whole and platforms
    selectively), and layers may be where their ``urls`` say.
    """
    if manifest.is_index:
        return
    missing = [
        {"digest": str(child.digest)}
        for child in manifest.children()
        if not child.urls
        and (service.store.size(child.digest) is None or not known_blob(service, request, route, child.digest))
    ]
    if missing:
        raise RefusedError(400, "MANIFEST_BLOB_UNKNOWN", "the manifest names content that is not here", detail=missing)


def _protected(error: ProtectedError) -> RefusedError:
    return RefusedError(403, "DENIED", f"{error}; {error.hint}" if error.hint else str(error))


def delete_manifest(service: Service, request: Request, route: Route) -> Response:
    """Delete a tag, or a manifest with all its tags (end-9)."""
    reference = tag_or_digest(route.leaf, reading=True)
    deleted = False
    for name in service.names.readable(route.name, request):
        repository = service.store.repository(name, trust="pushed")
        try:
            if isinstance(reference, str):
                if service.store.ref(name, reference) is None:
                    continue
                repository.delete_tag(reference)
            else:
                if manifest_by_digest(service, name, reference) is None:
                    continue
                repository.delete_manifest(reference)
        except ProtectedError as error:
            raise _protected(error) from None
        except MissingError:
            continue  # someone else was faster
        deleted = True
    if deleted:
        return Response(202)
    raise RefusedError(404, "MANIFEST_UNKNOWN", f"{route.name} has no manifest {route.leaf}")


def delete_blob(service: Service, request: Request, route: Route) -> Response:
    """Take a blob out of the repository (end-10): it is gone from there at once, its bytes with the next `gc`.

    All repositories of the store share their blobs, so others keep it.
    """
    digest = wanted_digest(route.leaf)
    deleted = False
    for name in service.names.readable(route.name, request):
        try:
            service.store.repository(name, trust="pushed").delete_blob(digest)
        except ProtectedError as error:
            raise _protected(error) from None
        except MissingError:
            continue
        deleted = True
    if deleted:
        return Response(202)
    raise RefusedError(404, "BLOB_UNKNOWN", "the blob is not here", detail={"digest": str(digest)})

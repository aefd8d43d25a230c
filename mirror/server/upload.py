"""Blob uploads (distribution-spec, "Pushing Blobs", "Mounting Blobs").

A session keeps every byte that arrived: a client that was cut asks for the session's range and
goes on from there. Any worker process may take any request of a session: the store's lock on it
sees to it that one at a time writes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, StoreError, TransportError
from mirror.server.message import Headers, RefusedError, Request, RequestBody, Response
from mirror.server.paths import Route, wanted_digest
from mirror.server.ranges import chunk_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.digest import Digest
    from mirror.server.service import Service

__all__ = ["delete_upload", "get_upload", "patch_upload", "post_upload", "put_upload"]

_ALGORITHMS: Final = frozenset({"sha256", "sha512"})


def post_upload(service: Service, request: Request, route: Route) -> Response:
    """Mount a blob, take one in a single request, or open a session (end-4, end-11)."""
    mount = request.parameter("mount")
    if mount is not None:
        # Wherever the blob is: `from` is a hint, for all repositories share the store's blobs.
        digest = wanted_digest(mount)
        if _link(service, request, route, digest):
            service.metrics.upload("mounted")
            return _created(route.name, digest)
    text = request.parameter("digest")
    wanted = wanted_digest(text) if text is not None and mount is None else None
    algorithm = request.parameter("digest-algorithm") or (wanted.algorithm if wanted else "sha256")
    if algorithm not in _ALGORITHMS:
        raise RefusedError(400, "DIGEST_INVALID", "digest-algorithm must be sha256 or sha512")
    session = service.store.begin_session(algorithm)
    service.metrics.upload("started")
    if wanted is None:
        return Response(202, _progress(route.name, session, 0))
    try:
        _receive(service, request.body(), route.name, session, None)
    except (RefusedError, StoreError):
        service.store.abort(session)  # its Location was never told to anyone
        raise
    return _finish(service, request, route, session, wanted)


def get_upload(service: Service, request: Request, route: Route) -> Response:
    """Tell how far a session is (end-13)."""
    del request
    return Response(204, _progress(route.name, route.leaf, _session_size(service, route.leaf)))


def patch_upload(service: Service, request: Request, route: Route) -> Response:
    """Append to a session, which with a ``Content-Range`` must stand at its start (end-5)."""
    size = _append(service, request, route)
    return Response(202, _progress(route.name, route.leaf, size))


def put_upload(service: Service, request: Request, route: Route) -> Response:
    """Append the last bytes, if any, and close a session under its digest (end-6)."""
    text = request.parameter("digest")
    if text is None:
        raise RefusedError(400, "DIGEST_INVALID", "the digest parameter is missing")
    digest = wanted_digest(text)
    _append(service, request, route)
    return _finish(service, request, route, route.leaf, digest)


def delete_upload(service: Service, request: Request, route: Route) -> Response:
    """Forget a session (end-14)."""
    del request
    _session_size(service, route.leaf)
    with _one_at_a_time():
        service.store.abort(route.leaf)
    service.metrics.upload("cancelled")
    return Response(204)


def _append(service: Service, request: Request, route: Route) -> int:
    """Receive a request's body into its session; return the session's new size."""
    size = _session_size(service, route.leaf)
    body = request.body()
    if body.length == 0:
        return size
    start = None
    chunk = chunk_range(request.header("Content-Range"))
    if chunk is not None:
        start, length = chunk
        if body.length is None:
            body = request.body(length)
        elif body.length != length:
            raise RefusedError(
                400,
                "SIZE_INVALID",
                f"Content-Range is {length} bytes long, Content-Length says {body.length}",
                headers=_progress(route.name, route.leaf, size),
            )
    return _receive(service, body, route.name, route.leaf, start)


def _receive(service: Service, body: RequestBody, name: str, session: str, start: int | None) -> int:
    try:
        with _one_at_a_time():
            return service.store.append(session, body, at=start)
    except TransportError as error:
        raise RefusedError(
            400,
            "BLOB_UPLOAD_INVALID",
            error.message,
            headers=_progress(name, session, _session_size(service, session)),
        ) from error
    except ContentError as error:  # it does not stand at ``start``
        headers = _progress(name, session, _session_size(service, session))
        raise RefusedError(416, "BLOB_UPLOAD_INVALID", error.message, headers=headers) from None
    except MissingError:
        raise _unknown_session() from None


def _finish(service: Service, request: Request, route: Route, session: str, digest: Digest) -> Response:
    try:
        with _one_at_a_time():
            service.store.finish(session, digest)
        _link(service, request, route, digest)
    except ContentError as error:  # the session is over
        service.metrics.upload("refused")
        raise RefusedError(400, "DIGEST_INVALID", error.message, detail={"digest": str(digest)}) from None
    except MissingError:
        raise _unknown_session() from None
    service.metrics.upload("finished")
    return _created(route.name, digest)


def _link(service: Service, request: Request, route: Route, digest: Digest) -> bool:
    """Whether the store has the blob, which is then one of the repository's, though it was deleted there before."""
    target = service.names.writable(route.name, request)
    return service.store.repository(target, trust="pushed").link_blob(digest) is not None


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Refuse a request to a session that another one keeps writing to, in whichever process."""
    try:
        yield
    except StoreError as error:
        if not error.retryable:
            raise
        raise RefusedError(409, "BLOB_UPLOAD_INVALID", error.message) from None


def _session_size(service: Service, session: str) -> int:
    try:
        return service.store.session_size(session)
    except MissingError:
        raise _unknown_session() from None


def _unknown_session() -> RefusedError:
    return RefusedError(404, "BLOB_UPLOAD_UNKNOWN", "no such upload session")


def _created(name: str, digest: Digest) -> Response:
    return Response(201, [("Location", f"/v2/{name}/blobs/{digest}"), ("Docker-Content-Digest", str(digest))])


def _progress(name: str, session: str, size: int) -> Headers:
    return [
        ("Location", f"/v2/{name}/blobs/uploads/{session}"),
        ("Range", f"0-{max(size - 1, 0)}"),
        ("Docker-Upload-UUID", session),
    ]

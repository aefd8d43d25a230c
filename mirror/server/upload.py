"""Blob uploads (distribution-spec, "Pushing Blobs", "Mounting Blobs").

A session keeps every byte that arrived: a client that was cut asks for the session's range and
goes on from there.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, TransportError
from mirror.server.message import Headers, RefusedError, Request, RequestBody, Response
from mirror.server.paths import Route, wanted_digest
from mirror.server.ranges import chunk_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.digest import Digest
    from mirror.server.service import Service

__all__ = ["SessionLocks", "delete_upload", "get_upload", "patch_upload", "post_upload", "put_upload"]

_WAIT: Final = 5.0
_ALGORITHMS: Final = frozenset({"sha256", "sha512"})


class SessionLocks:
    """One writer for each upload session; a second waits a few seconds for the first to notice its end."""

    def __init__(self, wait: float = _WAIT) -> None:
        self._wait = wait
        self._busy: set[str] = set()
        self._freed = threading.Condition()

    @contextmanager
    def holding(self, session: str) -> Iterator[None]:
        """Be the only writer of ``session``.

        Raises:
            RefusedError: 409, another request still writes to it.
        """
        with self._freed:
            if not self._freed.wait_for(lambda: session not in self._busy, self._wait):
                raise RefusedError(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
            self._busy.add(session)
        try:
            yield
        finally:
            with self._freed:
                self._busy.discard(session)
                self._freed.notify_all()


def post_upload(service: Service, request: Request, route: Route) -> Response:
    """Mount a blob, take one in a single request, or open a session (end-4, end-11)."""
    mount = request.parameter("mount")
    if mount is not None:
        digest = wanted_digest(mount)
        if service.store.size(digest) is not None:
            service.metrics.upload("mounted")
            return _created(route.name, digest)
    algorithm = request.parameter("digest-algorithm")
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise RefusedError(400, "DIGEST_INVALID", "digest-algorithm must be sha256 or sha512")
    text = request.parameter("digest")
    wanted = wanted_digest(text) if text is not None and mount is None else None
    session = service.store.begin_session()
    service.metrics.upload("started")
    if wanted is None:
        return Response(202, _progress(route.name, session, 0))
    try:
        _receive(service, request.body(), route.name, session, 0)
    except RefusedError:
        service.store.abort(session)  # its Location was never told to anyone
        raise
    return _finish(service, route.name, session, wanted)


def get_upload(service: Service, request: Request, route: Route) -> Response:
    """Tell how far a session is (end-13)."""
    del request
    return Response(204, _progress(route.name, route.leaf, _session_size(service, route.leaf)))


def patch_upload(service: Service, request: Request, route: Route) -> Response:
    """Append to a session, which with a ``Content-Range`` must stand at its start (end-5)."""
    with service.sessions.holding(route.leaf):
        size = _append(service, request, route)
    return Response(202, _progress(route.name, route.leaf, size))


def put_upload(service: Service, request: Request, route: Route) -> Response:
    """Append the last bytes, if any, and close a session under its digest (end-6)."""
    text = request.parameter("digest")
    if text is None:
        raise RefusedError(400, "DIGEST_INVALID", "the digest parameter is missing")
    digest = wanted_digest(text)
    with service.sessions.holding(route.leaf):
        _append(service, request, route)
        return _finish(service, route.name, route.leaf, digest)


def delete_upload(service: Service, request: Request, route: Route) -> Response:
    """Forget a session (end-14)."""
    del request
    with service.sessions.holding(route.leaf):
        _session_size(service, route.leaf)
        service.store.abort(route.leaf)
    service.metrics.upload("cancelled")
    return Response(204)


def _append(service: Service, request: Request, route: Route) -> int:
    """Receive a request's body into its session; return the session's new size."""
    size = _session_size(service, route.leaf)
    body = request.body()
    if body.length == 0:
        return size
    chunk = chunk_range(request.header("Content-Range"))
    if chunk is not None:
        start, length = chunk
        if start != size:
            raise RefusedError(
                416,
                "BLOB_UPLOAD_INVALID",
                f"the upload stands at {size}, the chunk starts at {start}",
                headers=_progress(route.name, route.leaf, size),
            )
        if body.length is None:
            body = request.body(length)
        elif body.length != length:
            raise RefusedError(
                400,
                "SIZE_INVALID",
                f"Content-Range is {length} bytes long, Content-Length says {body.length}",
                headers=_progress(route.name, route.leaf, size),
            )
    return _receive(service, body, route.name, route.leaf, size)


def _receive(service: Service, body: RequestBody, name: str, session: str, size: int) -> int:
    try:
        return service.store.append(session, body, at=size)
    except TransportError as error:
        raise RefusedError(
            400,
            "BLOB_UPLOAD_INVALID",
            error.message,
            headers=_progress(name, session, _session_size(service, session)),
        ) from error
    except ContentError as error:  # another process wrote to it meanwhile
        headers = _progress(name, session, _session_size(service, session))
        raise RefusedError(416, "BLOB_UPLOAD_INVALID", error.message, headers=headers) from None
    except MissingError:
        raise _unknown_session() from None


def _finish(service: Service, name: str, session: str, digest: Digest) -> Response:
    try:
        service.store.finish(session, digest)
    except ContentError as error:  # the session is over
        service.metrics.upload("refused")
        raise RefusedError(400, "DIGEST_INVALID", error.message, detail={"digest": str(digest)}) from None
    except MissingError:
        raise _unknown_session() from None
    service.metrics.upload("finished")
    return _created(name, digest)


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

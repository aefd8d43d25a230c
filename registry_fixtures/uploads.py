"""Upload sessions of the made-up registry (distribution-spec, "Pushing Blobs")."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from bundlectl.errors import ContentError
from registry_fixtures.exchange import Answer
from registry_fixtures.refusals import RefusedError, read_digest

if TYPE_CHECKING:
    from mirror.oci.digest import Digest
    from registry_fixtures.depot import Draft
    from registry_fixtures.exchange import Request
    from registry_fixtures.features import Features
    from registry_fixtures.holdings import Holdings

__all__ = ["Uploads"]

_BLOCK: Final = 1024 * 1024
_CHUNK: Final = re.compile(r"(\d+)-(\d+)")


@dataclass(slots=True)
class _Session:
    repository: str
    draft: Draft
    state: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    chunks: int = 0
    last_chunk: int = 0


class Uploads:
    """The sessions of one registry.

    Every answer of a session carries a new Location with a ``_state``; a Location that lost its
    query is refused, so a client that rebuilds URLs instead of keeping them is found out.
    """

    def __init__(self, holdings: Holdings, features: Features) -> None:
        self._holdings = holdings
        self._features = features
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @property
    def open_sessions(self) -> int:
        """Sessions that were begun and neither finished nor cancelled."""
        with self._lock:
            return len(self._sessions)

    def begin(self, request: Request, repository: str) -> Answer:
        """POST: mount, upload in one go, or start a session."""
        mounted = self._mount(request, repository)
        if mounted is not None:
            return mounted
        draft = self._holdings.depot.draft()
        session = _Session(repository, draft, secrets.token_urlsafe(8))
        if request.asked("digest") and self._features.single_post:
            try:
                self._receive(request, session)
            except RefusedError:
                draft.discard()
                raise
            return self._commit(request, session)
        identifier = secrets.token_hex(16)
        with self._lock:
            self._sessions[identifier] = session
        answer = self._progress(request, identifier, session, HTTPStatus.ACCEPTED)
        if self._features.chunk_min_length:
            answer.headers["OCI-Chunk-Min-Length"] = str(self._features.chunk_min_length)
        return answer

    def resume(self, request: Request, repository: str, identifier: str) -> Answer:
        """PATCH, PUT, GET, DELETE on a session's Location."""
        session = self._sessions.get(identifier)
        if session is None or session.repository != repository:
            raise RefusedError(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload session")
        if not request.asked("_state"):
            raise RefusedError(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_INVALID", "the Location was sent without its query")
        if self._features.fragile_uploads and request.asked("_state") != session.state:
            session.draft.discard()
            self._forget(identifier)
            raise RefusedError(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_INVALID", "a Location of an earlier answer")
        steps = {"PATCH": self._patch, "PUT": self._put, "GET": self._look, "DELETE": self._cancel}
        step = steps.get(request.method)
        if step is None:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", f"no {request.method} here")
        with session.lock:
            return step(request, identifier, session)

    def _look(self, request: Request, identifier: str, session: _Session) -> Answer:
        return self._progress(request, identifier, session, HTTPStatus.NO_CONTENT)

    def _cancel(self, request: Request, identifier: str, session: _Session) -> Answer:  # noqa: ARG002 -- one of the steps
        session.draft.discard()
        self._forget(identifier)
        return Answer.of(HTTPStatus.NO_CONTENT)

    def _mount(self, request: Request, repository: str) -> Answer | None:
        wanted, source = request.asked("mount"), request.asked("from")
        if not wanted or not self._features.mount:
            return None
        digest = read_digest(wanted)
        held = self._holdings.find(source)
        if held is None or digest not in held.blobs:
            return None
        self._holdings.link_blob(repository, digest)
        return _created(request, repository, digest)

    def _patch(self, request: Request, identifier: str, session: _Session) -> Answer:
        if request.header("content-type") not in ("", "application/octet-stream"):
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED", "a chunk is application/octet-stream")
        misplaced = self._misplaced(request, identifier, session)
        if misplaced is not None:
            return misplaced
        shortest = self._features.chunk_min_length
        if session.chunks and session.last_chunk < shortest:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "SIZE_INVALID", f"a chunk before the last had under {shortest} bytes"
            )
        self._receive(request, session)
        session.chunks += 1
        return self._progress(request, identifier, session, HTTPStatus.ACCEPTED)

    def _put(self, request: Request, identifier: str, session: _Session) -> Answer:
        misplaced = self._misplaced(request, identifier, session)
        if misplaced is not None:
            return misplaced
        self._receive(request, session)
        try:
            return self._commit(request, session)
        finally:
            self._forget(identifier)

    def _misplaced(self, request: Request, identifier: str, session: _Session) -> Answer | None:
        """The 416 for a Content-Range that does not begin where the session stands or lies about the length."""
        text = request.header("content-range")
        if not text:
            return None
        found = _CHUNK.fullmatch(text)
        length = request.header("content-length")
        right = found and int(found[1]) == session.draft.size
        if right and found and length and int(found[2]) - int(found[1]) + 1 != int(length):
            right = False
        if right:
            return None
        answer = self._progress(request, identifier, session, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        wrong = RefusedError(answer.status, "BLOB_UPLOAD_INVALID", f"Content-Range {text!r} does not fit").answer
        return Answer(answer.status, {**answer.headers, **wrong.headers}, wrong.body)

    def _receive(self, request: Request, session: _Session) -> None:
        """Append the request's body.

        Raises:
            RefusedError: it is too large for a PUT, or broke off; what came is kept.
        """
        begun = session.draft.size
        limit = self._features.put_limit if request.method in ("PUT", "POST") else None
        length = request.header("content-length")
        if limit is not None and length and int(length) > limit:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "a proxy's limit")
        while block := request.body.read(_BLOCK):
            session.draft.write(block)
        session.last_chunk = session.draft.size - begun
        session.state = secrets.token_urlsafe(8)
        if length and session.last_chunk != int(length):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "SIZE_INVALID", "the body is shorter than its Content-Length")

    def _commit(self, request: Request, session: _Session) -> Answer:
        """Finish the draft, or throw it away with a 400."""
        try:
            digest = self._digest(request)
            session.draft.finish(digest)
        except RefusedError:
            session.draft.discard()
            raise
        except ContentError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", error.message) from error
        self._holdings.link_blob(session.repository, digest)
        return _created(request, session.repository, digest)

    def _digest(self, request: Request) -> Digest:
        digest = read_digest(request.asked("digest"))
        if digest.algorithm == "sha512" and not self._features.sha512:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "sha512 is not supported here")
        return digest

    def _progress(self, request: Request, identifier: str, session: _Session, status: int) -> Answer:
        query = urlencode({"_state": session.state})
        path = f"/v2/{session.repository}/blobs/uploads/{identifier}?{query}"
        headers = {
            "Location": path if self._features.relative_locations else request.url + path,
            "Range": f"0-{max(0, session.draft.size - 1)}",
            "Docker-Upload-UUID": identifier,
        }
        return Answer.of(status, headers=headers)

    def _forget(self, identifier: str) -> None:
        with self._lock:
            self._sessions.pop(identifier, None)


def _created(request: Request, repository: str, digest: Digest) -> Answer:
    location = f"{request.url}/v2/{repository}/blobs/{digest}"
    return Answer.of(HTTPStatus.CREATED, headers={"Location": location, "Docker-Content-Digest": str(digest)})

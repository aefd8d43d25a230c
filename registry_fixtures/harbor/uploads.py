"""Uploads of blobs: sessions of the registry behind core (distribution 2.8), and core's bookkeeping around them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from bundlectl.errors import ContentError
from mirror.oci.digest import Digest
from registry_fixtures.exchange import Answer, HangUpError
from registry_fixtures.harbor.locations import outward
from registry_fixtures.harbor.quota import check_quota
from registry_fixtures.harbor.refusals import HarborError, backend_error, json_answer

if TYPE_CHECKING:
    from registry_fixtures.depot import Draft
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Database, Project
    from registry_fixtures.harbor.storage import Storage

__all__ = ["Uploads"]

_BLOCK: Final = 1024 * 1024
_LONGEST_NAME: Final = 245
_LONGEST_COLUMN: Final = 255
_HASH: Final = hashlib.sha256().digest_size


@dataclass(slots=True)
class _Session:
    repository: str
    draft: Draft
    accepted: int = 0
    """Bytes by PATCH, as core counts them."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class Uploads:
    """The sessions of one Harbor.

    Every Location carries the offset it stands for (``_state``, authenticated). One that is behind
    is refused; the session goes on for whoever has the newest.
    """

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)

    @property
    def open_sessions(self) -> int:
        """Sessions that were begun and neither finished nor cancelled."""
        with self._lock:
            return len(self._sessions)

    def begin(self, request: Request, project: Project, repository: str) -> Answer:
        """POST: mount, or start a session; a body and ``digest`` are not looked at."""
        _check_name(repository)
        wanted, source = request.asked("mount"), request.asked("from")
        digest = _digest_or_none(wanted)
        record = self._database.blobs.get(digest) if digest else None
        if not wanted:
            check_quota(project, 0)
        elif record is not None and digest not in project.blobs:
            check_quota(project, record.size)
        if digest is not None and source and self._storage.resolve(source, digest) is not None:
            return self._mount(request, project, repository, digest)
        while request.body.read(_BLOCK):
            pass
        identifier = secrets.token_hex(16)
        session = _Session(repository, self._storage.depot.draft())
        with self._lock:
            self._sessions[identifier] = session
        return self._progress(request, identifier, session, HTTPStatus.ACCEPTED)

    def resume(self, request: Request, project: Project, repository: str, identifier: str) -> Answer:
        """PATCH, PUT, GET, DELETE on a session's Location.

        Raises:
            HarborError: among others 404 for a Location that is not the newest.
        """
        digest = _final_digest(request) if request.method == "PUT" else None
        session = self._sessions.get(identifier)
        state = self._read_state(request.asked("_state"))
        if state is None or state[:2] != [repository, identifier]:
            raise backend_error("BLOB_UPLOAD_INVALID")
        if session is None or session.repository != repository:
            raise backend_error("BLOB_UPLOAD_UNKNOWN")
        with session.lock:
            if state[2] != session.draft.size:
                raise backend_error("BLOB_UPLOAD_INVALID")
            if digest is not None:
                return self._put(request, project, identifier, session, digest)
            if request.method == "PATCH":
                return self._patch(request, identifier, session)
            if request.method == "GET":
                return self._progress(request, identifier, session, HTTPStatus.NO_CONTENT)
            if request.method == "DELETE":
                session.draft.discard()
                self._forget(identifier)
                return Answer.of(HTTPStatus.NO_CONTENT, headers={"Docker-Upload-UUID": identifier})
        raise backend_error("UNSUPPORTED")

    def _mount(self, request: Request, project: Project, repository: str, digest: Digest) -> Answer:
        with self._database.lock:
            record = self._database.blobs.get(digest)
            self._storage.link(repository, digest, self._storage.resolve(request.asked("from"), digest))
            if record is None:
                # Storage knows a sha512 by another name than core does, and core looks for this one.
                raise HarborError("NOT_FOUND", f"blob {digest} not found")
            project.blobs.setdefault(digest, record.size)
        return _created(request, repository, digest)

    def _patch(self, request: Request, identifier: str, session: _Session) -> Answer:
        if request.header("content-type") not in ("", "application/octet-stream"):
            raise backend_error("UNKNOWN", {})
        self._receive(request, session)
        session.accepted = session.draft.size
        return self._progress(request, identifier, session, HTTPStatus.ACCEPTED)

    def _put(self, request: Request, project: Project, identifier: str, session: _Session, digest: Digest) -> Answer:
        declared = request.header("content-length")
        # Core believes the header, and knows only of PATCHes when there is none.
        size = (int(declared) if declared.isdecimal() else 0) or session.accepted
        if request.header("transfer-encoding"):
            size = 0
        if size and digest not in project.blobs:
            check_quota(project, size)
        record = self._database.blobs.get(digest)
        if record is not None and record.status == "deleting":
            raise HarborError("NOT_FOUND", f"the asking blob {digest} is in GC, mark it as non existing")
        self._receive(request, session)
        if session.draft.digest(digest.algorithm) != digest:
            raise backend_error("DIGEST_INVALID", {"Digest": str(digest), "Reason": {}})
        canonical = session.draft.digest()
        session.draft.finish()
        self._forget(identifier)
        with self._database.lock:
            self._storage.link(session.repository, digest, canonical)
            self._database.record_blob(project, canonical, size)
        return _created(request, session.repository, canonical)

    def _receive(self, request: Request, session: _Session) -> None:
        """Append the request's body; of one that breaks off, what came is kept and nobody is told where it stands.

        Raises:
            HangUpError: it broke off.
        """
        begun = session.draft.size
        length = request.header("content-length")
        while block := request.body.read(_BLOCK):
            session.draft.write(block)
        if length.isdecimal() and session.draft.size - begun != int(length):
            raise HangUpError

    def _progress(self, request: Request, identifier: str, session: _Session, status: int) -> Answer:
        state = self._write_state([session.repository, identifier, session.draft.size])
        path = f"/v2/{session.repository}/blobs/uploads/{identifier}?{urlencode({'_state': state})}"
        headers = {
            "Location": outward(request) + path,
            "Range": f"0-{max(0, session.draft.size - 1)}",
            "Docker-Upload-UUID": identifier,
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        return Answer.of(status, headers=headers)

    def _write_state(self, values: list[str | int]) -> str:
        text = json.dumps(values).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._key, text, "sha256") + text).decode()

    def _read_state(self, state: str) -> list[str | int] | None:
        """What a ``_state`` says: repository, session, offset; None for one that was not made here."""
        try:
            data = base64.urlsafe_b64decode(state)
        except (binascii.Error, ValueError):
            return None
        signature, text = data[:_HASH], data[_HASH:]
        if not hmac.compare_digest(signature, hmac.digest(self._key, text, "sha256")):
            return None
        values: list[str | int] = json.loads(text)
        return values

    def _forget(self, identifier: str) -> None:
        with self._lock:
            self._sessions.pop(identifier, None)


def _check_name(repository: str) -> None:
    """Fail as Harbor does for names that the blob cache's ``docker.io/`` makes too long.

    Raises:
        HarborError: 500, up to 255 characters with an empty document.
    """
    if len(repository) > _LONGEST_COLUMN:
        raise HarborError("UNKNOWN")
    if len(repository) > _LONGEST_NAME:
        raise HarborError.answering(json_answer({}, HTTPStatus.INTERNAL_SERVER_ERROR))


def _digest_or_none(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except ContentError:
        return None


def _final_digest(request: Request) -> Digest:
    """The ``digest`` that ends an upload.

    Raises:
        HarborError: 400, there is none or it is malformed.
    """
    text = request.asked("digest")
    if not text:
        raise HarborError("BAD_REQUEST", "bad request: exist blob require digest")
    digest = _digest_or_none(text)
    if digest is None:
        raise backend_error("DIGEST_INVALID", "digest parsing failed")
    return digest


def _created(request: Request, repository: str, digest: Digest) -> Answer:
    headers = {
        "Location": f"{outward(request)}/v2/{repository}/blobs/{digest}",
        "Docker-Content-Digest": str(digest),
        "Docker-Distribution-Api-Version": "registry/2.0",
    }
    return Answer.of(HTTPStatus.CREATED, headers=headers)

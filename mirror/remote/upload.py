"""Blobs on their way into a registry (``wire.md`` 1.12, 6.4, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from bundlectl.errors import BundlectlError, ContentError, RegistryError, TransportError
from mirror.oci.mediatype import OCTET_STREAM
from mirror.remote.call import Call
from mirror.remote.chunking import Piece, SourceReader, bytes_taken
from mirror.remote.errors import explain

if TYPE_CHECKING:
    from mirror.http.response import Response
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import Opener, Present
    from mirror.remote.connection import Address
    from mirror.verifying import Checkpoint

__all__ = ["RemoteUpload", "begin_blob", "has_blob"]

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_ELSEWHERE: Final = 416
_SESSION: Final = frozenset({200, 202, 204})
"""What a session answers that still stands."""
_NOT_WHOLE: Final = frozenset({405, 411, 413, 501})
"""What says that a blob cannot be sent in one request; 400 too, where no registry explains it."""
_TOOK_TOO_LONG: Final = frozenset({408, 502, 504})
"""What a proxy says that waited for the end of a large request in vain: as good as a broken connection."""
_COMMITTED: Final = frozenset({200, 201, 204})
_CHUNK_TAKEN: Final = _COMMITTED | {_ACCEPTED}
"""What a PATCH is answered with; only the PUT behind the last chunk commits, whatever it was."""
_NO_MOUNT: Final = frozenset({400, 401, 403, 404, 405, 501})
_RESTART: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})
_BROKEN_LIMIT: Final = 2


def has_blob(address: Address, descriptor: Descriptor) -> bool:
    """Whether the repository holds a blob.

    Raises:
        RegistryError: the registry refuses.
    """
    call = Call(method="HEAD", url=address.url(f"blobs/{descriptor.digest}"), scopes=address.pull)
    response = address.connection.send(call)
    if response.status == _OK:
        return True
    if response.status == _NOT_FOUND:
        return False
    raise address.refusal(response, address.artifact(str(descriptor.digest)))


def begin_blob(address: Address, descriptor: Descriptor, source: Address) -> Present | RemoteUpload:
    """Mount a blob or start its upload, in one request where the registry can.

    A mount from the repository itself asks "is it there, and if not, take it" at once. A
    registry that refuses the mount (Harbor: 401 for a source that may not be read) is asked in
    two steps.

    Raises:
        RegistryError: the registry refuses.
    """
    mounting = source.path != address.path
    query = urlencode({"mount": str(descriptor.digest), "from": source.path}, safe=":/")
    scopes = (*address.push, *source.pull) if mounting else address.push
    call = Call(method="POST", url=address.url(f"blobs/uploads/?{query}"), scopes=scopes, retry=True)
    refused: BundlectlError | None = None
    try:
        response = address.connection.send(call)
    except RegistryError as error:
        if error.status not in _NO_MOUNT or not mounting:
            raise
        refused = error
    else:
        if response.status == _CREATED and _same_digest(response, descriptor):
            return "mounted" if mounting else "present"
        upload = RemoteUpload(address, descriptor)
        if response.status == _ACCEPTED:
            upload.begun(response)
            return upload
        if response.status not in _NO_MOUNT and response.status != _CREATED:
            raise address.refusal(response, address.artifact(str(descriptor.digest)), reading=False)
        if response.status == _UNAUTHORIZED and not mounting:
            raise address.refusal(response, address.artifact(str(descriptor.digest)), reading=False)
    if has_blob(address, descriptor):
        return "present"
    upload = RemoteUpload(address, descriptor)
    try:
        upload.begin()
    except RegistryError as error:
        raise error from refused
    return upload


class RemoteUpload:
    """An upload session. In one request; in chunks where that fails, or failed for such a blob before.

    What breaks in one request is sent from its beginning again: registries keep nothing of it that could be built
    on. What breaks in chunks goes on where the registry says it stands, if it says so; else (Harbor
    forgets the session, ``wire.md`` 1.12) from its beginning too.
    """

    def __init__(self, address: Address, descriptor: Descriptor) -> None:
        self._address = address
        self._descriptor = descriptor
        self._artifact = address.artifact(str(descriptor.digest))
        self._limits = address.connection.body_limits
        self._location: str | None = None
        self._minimum = 0
        self._chunked = False
        self._broken = 0
        self._resumable = True
        self._suspicious = False
        self._since: Checkpoint | None = None
        self._at = 0
        self._beyond = 0
        self._sent = 0

    def offset(self) -> int:
        """Bytes that the registry has confirmed; only what went in chunks counts."""
        return self._at

    def begin(self) -> None:
        """Open a session.

        Raises:
            RegistryError: the registry refuses.
        """
        call = Call(method="POST", url=self._address.url("blobs/uploads/"), scopes=self._address.push, retry=True)
        response = self._address.connection.send(call)
        if response.status != _ACCEPTED:
            raise self._address.refusal(response, self._artifact, reading=False)
        self.begun(response)

    def begun(self, response: Response) -> None:
        """Take the session that a 202 opened."""
        self._location = self._next(response)
        self._minimum = response.number("OCI-Chunk-Min-Length") or 0
        self._since, self._at, self._beyond, self._sent = None, 0, 0, 0

    def write(self, opener: Opener) -> None:
        """Send the blob, or the rest of it, and commit it; its digest is checked on the way.

        Raises:
            ContentError: the source's blob is not what the descriptor says; nothing was committed.
            TransportError, RegistryError: ``retryable`` says whether to call it again.
        """
        if self._sent or self._location is None:
            # The last try may have arrived although its answer did not.
            if has_blob(self._address, self._descriptor):
                return
            if not self._recover():
                self.begin()
        try:
            response = self._transfer(opener)
            self._check(response)
        except BundlectlError as error:
            if self._since is None or not error.retryable:
                self._location = None
            raise
        if self._broken >= _BROKEN_LIMIT:
            self._limits.whole_broke(self._descriptor.size)
        self._location = None

    def cancel(self) -> None:
        """Abandon the session: registries purge it, and deleting it takes a right that robots lack."""
        self._location = None

    def _transfer(self, opener: Opener) -> Response:
        if not self._chunked and self._limits.takes_whole(self._descriptor.size):
            response = self._whole(opener)
            if response.status == _UNAUTHORIZED:
                # The token ran out meanwhile; it has been renewed.
                self.begin()
                response = self._whole(opener)
            if not self._is_refused_whole(response):
                return response
            by_size = response.status in (400, _TOO_LARGE)
            self._limits.whole_refused(self._descriptor.size if by_size else 0)
            self.begin()
        self._chunked = True
        return self._in_chunks(opener)

    def _whole(self, opener: Opener) -> Response:
        """Send everything with the request that commits it."""
        with SourceReader(opener(), self._descriptor) as source:
            self._sent = 1
            try:
                # A file leaves unread, and the registry hashes it; where it does not like it, we look ourselves.
                unread, self._suspicious = not self._suspicious, True
                size = self._descriptor.size
                response = self._put(Piece(source, size, unread=unread), size)
            except TransportError:
                if not source.failed:
                    self._count_broken()
                raise
        if response.status in _TOOK_TOO_LONG:
            self._count_broken()
        return response

    def _count_broken(self) -> None:
        self._broken += 1
        self._chunked = self._broken >= _BROKEN_LIMIT

    def _is_refused_whole(self, response: Response) -> bool:
        """Whether the size, or the form, of the request was what was refused, and not the blob."""
        if response.status == 400:  # noqa: PLR2004
            return not explain(response.excerpt(), response.headers.get("Content-Type", "")).code
        return response.status in _NOT_WHOLE

    def _in_chunks(self, opener: Opener) -> Response:
        """Send chunks and commit. Goes on after a broken one at once, as long as there is progress."""
        renewed = -1
        while True:
            before = self._at
            try:
                response = self._chunks(opener)
            except TransportError as error:
                if error.retryable and self._at > before and self._recover():
                    continue
                raise
            if response.status == _UNAUTHORIZED and renewed != self._at:
                renewed = self._at
            elif response.status == _TOO_LARGE and self._limits.chunk_refused(self._sent - self._at, self._minimum):
                pass  # it was refused before it reached the registry: the session still stands
            elif response.status == _ELSEWHERE and self._at + self._beyond < self._descriptor.size:
                stood = self._at + self._beyond
                if not (self._stands_at(response) or self._recover()) or self._at + self._beyond <= stood:
                    return response
            else:
                return response

    def _chunks(self, opener: Opener) -> Response:
        """Send from where the session stands: the answer that is no 202, or the one to the commit."""
        size = self._descriptor.size
        with SourceReader(opener(), self._descriptor, since=self._since, skip=self._beyond) as source:
            at = self._at + self._beyond
            while at < size:
                self._at, self._since, self._beyond = at, source.checkpoint(), 0
                length = min(self._limits.chunk(self._minimum), size - at)
                piece, self._sent = Piece(source, length), at + length
                call = Call(
                    method="PATCH",
                    url=self._location or "",
                    scopes=self._address.push,
                    headers={"Content-Type": OCTET_STREAM, "Content-Range": f"{at}-{at + length - 1}"},
                    body=piece,
                    length=length,
                    retry=False,
                )
                response = self._address.connection.send(call)
                if response.status not in _CHUNK_TAKEN:
                    return response
                self._location = self._next(response, default=self._location)
                at += length
            self._at, self._since, self._beyond = size, source.checkpoint(), 0
        return self._put(Piece(None, 0), 0)

    def _put(self, body: Piece, length: int) -> Response:
        location = (self._location or "").partition("#")[0]
        joint = "" if location.endswith(("?", "&")) else "&" if "?" in location else "?"
        call = Call(
            method="PUT",
            url=f"{location}{joint}digest={self._descriptor.digest}",
            scopes=self._address.push,
            headers={"Content-Type": OCTET_STREAM},
            body=body,
            length=length,
            retry=False,
        )
        return self._address.connection.send(call)

    def _recover(self) -> bool:
        """Ask the registry where a session stands that broke; False when nothing can be built on it."""
        if self._location is None or self._since is None or not self._resumable:
            return False
        call = Call(method="GET", url=self._location, scopes=self._address.push)
        response = self._address.connection.send(call)
        if response.status not in _SESSION:
            return False
        return self._stands_at(response)

    def _stands_at(self, response: Response) -> bool:
        """Take what an answer says of the session, if that can be: no less than it confirmed, no more than was sent."""
        taken = bytes_taken(response, least=self._at, most=self._sent)
        if taken is None or not self._resumable:
            return False
        self._location = self._next(response, default=self._location)
        self._beyond = taken - self._at
        return True

    def _next(self, response: Response, default: str | None = None) -> str:
        location = response.headers.get("Location") or default
        if not location:
            raise RegistryError(
                "the registry began an upload without saying where",
                status=response.status,
                artifact=self._artifact,
                hint="a proxy before it may drop the Location header",
            )
        return self._address.connection.resolve(response.url, location)

    def _check(self, response: Response) -> None:
        if response.status in _COMMITTED:
            if not _same_digest(response, self._descriptor):
                raise ContentError(
                    f"the registry stored it as {response.headers.get('Docker-Content-Digest', '')[:150]}",
                    artifact=self._artifact,
                    hint="this registry may not support sha512",
                )
            return
        error = self._address.refusal(response, self._artifact, reading=False)
        if isinstance(error, RegistryError) and (error.error_code in _RESTART or error.status == _ELSEWHERE):
            # What we sent was right, so something on the way was not: once more from the start.
            error.retryable = True
            self._resumable, self._since = False, None
        raise error


def _same_digest(response: Response, descriptor: Descriptor) -> bool:
    return response.headers.get("Docker-Content-Digest", "") in ("", str(descriptor.digest))

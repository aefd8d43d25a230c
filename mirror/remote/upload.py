"""Blobs on their way into a registry (``wire.md`` 1.12, 6.4, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

from bundlectl.errors import BundlectlError, ContentError, RegistryError, TransportError
from mirror.oci.mediatype import OCTET_STREAM
from mirror.remote.connection import Call
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from types import TracebackType

    from mirror.http.response import Response
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader, Opener, Present
    from mirror.remote.connection import Address

__all__ = ["RemoteUpload", "begin_blob", "has_blob"]

_OK: Final = 200
_CREATED: Final = 201
_ACCEPTED: Final = 202
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_TOO_LARGE: Final = 413
_COMMITTED: Final = frozenset({200, 201, 204})
_CHUNK_TAKEN: Final = _COMMITTED | {_ACCEPTED}
"""What a PATCH is answered with; only the PUT behind the last chunk commits, whatever it was."""
_NO_MOUNT: Final = frozenset({400, 401, 403, 404, 405, 501})
_RESTART: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"})
_BROKEN_LIMIT: Final = 2
_CHUNK: Final = 8 * 1024 * 1024
_SMALLEST_CHUNK: Final = 512 * 1024
_LARGEST_CHUNK: Final = 64 * 1024 * 1024


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
    """An upload session. Monolithic; in chunks after a 413 or a second broken connection.

    Registries keep nothing of a broken request that we could build on (``wire.md`` 1.12), so
    every try sends the blob from its beginning.
    """

    def __init__(self, address: Address, descriptor: Descriptor) -> None:
        self._address = address
        self._descriptor = descriptor
        self._artifact = address.artifact(str(descriptor.digest))
        self._location: str | None = None
        self._minimum = 0
        self._chunk = 0
        self._broken = 0

    def offset(self) -> int:
        """Zero: a registry resumes nothing."""
        return 0

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
        # A chunk is held in memory: a server's wish has a ceiling.
        self._minimum = min(response.number("OCI-Chunk-Min-Length") or 0, _LARGEST_CHUNK)

    def write(self, opener: Opener) -> None:
        """Send the blob and commit it; its digest is checked on the way.

        Raises:
            ContentError: the source's blob is not what the descriptor says; nothing was committed.
            TransportError, RegistryError: ``retryable`` says whether to call it again.
        """
        if self._location is None:
            # The last try may have arrived although its answer did not.
            if has_blob(self._address, self._descriptor):
                return
            self.begin()
        try:
            response = self._transfer(opener)
            if response.status == _UNAUTHORIZED:
                # The token ran out meanwhile; it has been renewed.
                self.begin()
                response = self._transfer(opener)
            if response.status == _TOO_LARGE and not self._chunk:
                self._chunk = max(_CHUNK, self._minimum)
                self.begin()
                response = self._transfer(opener)
            self._check(response)
        finally:
            self._location = None

    def cancel(self) -> None:
        """Abandon the session: registries purge it, and deleting it takes a right that robots lack."""
        self._location = None

    def _transfer(self, opener: Opener) -> Response:
        with _Source(opener(), self._descriptor) as source:
            if self._chunk:
                return self._patch(source)
            try:
                return self._put(source, self._descriptor.size)
            except TransportError:
                if not source.failed:
                    self._broken += 1
                    if self._broken >= _BROKEN_LIMIT:
                        self._chunk = max(_CHUNK, self._minimum)
                raise

    def _put(self, body: _Source | None, length: int) -> Response:
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

    def _patch(self, source: _Source) -> Response:
        at, pending = 0, b""
        while pending or (pending := source.fill(self._chunk)):
            piece = pending[: self._chunk]
            call = Call(
                method="PATCH",
                url=self._location or "",
                scopes=self._address.push,
                headers={"Content-Type": OCTET_STREAM, "Content-Range": f"{at}-{at + len(piece) - 1}"},
                body=piece,
                retry=False,
            )
            response = self._address.connection.send(call)
            floor = max(_SMALLEST_CHUNK, self._minimum)
            if response.status == _TOO_LARGE and len(piece) > floor:
                # It was refused before it reached the registry: the session still stands at ``at``.
                self._chunk = max(self._chunk // 4, floor)
                continue
            if response.status not in _CHUNK_TAKEN:
                return response
            self._location = self._next(response, default=self._location)
            at += len(piece)
            pending = pending[len(piece) :]
        return self._put(None, 0)

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
        if isinstance(error, RegistryError) and (error.error_code in _RESTART or error.status == 416):  # noqa: PLR2004
            # What we sent was right, so something on the way was not: once more from the start.
            error.retryable = True
        raise error


class _Source:
    """The verified source of an upload; remembers whether a failure was its own."""

    def __init__(self, reader: BlobReader, descriptor: Descriptor) -> None:
        self._reader = reader if isinstance(reader, VerifyingReader) else VerifyingReader(reader, descriptor)
        self.failed = False

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._reader.read(size)
        except BundlectlError:
            self.failed = True
            raise

    def fill(self, size: int) -> bytes:
        """Read exactly ``size`` bytes, fewer only at the end."""
        blocks: list[bytes] = []
        while size:
            block = self.read(size)
            if not block:
                break
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def _same_digest(response: Response, descriptor: Descriptor) -> bool:
    return response.headers.get("Docker-Content-Digest", "") in ("", str(descriptor.digest))

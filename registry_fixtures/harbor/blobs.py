"""Blobs on ``/v2``: HEAD, which also protects them from collection, and GET with ranges as Go's server has them."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.refusals import HarborError, backend_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mirror.oci.digest import Digest
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Database
    from registry_fixtures.harbor.settings import Settings
    from registry_fixtures.harbor.storage import Storage

__all__ = ["Blobs"]

_RANGE: Final = re.compile(r"\s*(\d*)\s*-\s*(\d*)\s*")
_TEXT: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}


class Blobs:
    """Answers ``/v2/P/R/blobs/DIGEST``."""

    def __init__(self, database: Database, storage: Storage, settings: Settings) -> None:
        self._database = database
        self._storage = storage
        self._settings = settings

    def head(self, repository: str, digest: Digest) -> Answer:
        """Say whether the repository holds a blob; the collection clock is set back even where it does not.

        Raises:
            HarborError: 404.
        """
        if not self._database.touch(digest):
            raise HarborError("NOT_FOUND", f"blob {digest} not found")
        canonical, size = self._find(repository, digest)
        return Answer(HTTPStatus.OK, {**_headers(canonical), "Content-Length": str(size)})

    def get(self, request: Request, repository: str, digest: Digest) -> Answer:
        """Send a blob or ranges of it.

        Raises:
            HarborError: 404.
        """
        canonical, size = self._find(repository, digest)
        elsewhere = self._settings.redirect_blobs
        if elsewhere:
            target = f"{elsewhere.rstrip('/')}/{canonical.algorithm}/{canonical.encoded}"
            return Answer.of(HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": target})

        def blocks(start: int, stop: int) -> Iterator[bytes]:
            return self._storage.depot.blocks(canonical, start, stop)

        return _serve(request, size, blocks, _headers(canonical))

    def delete(self, repository: str, digest: Digest) -> Answer:
        """Take a blob out of a repository (core hands this on to storage unseen).

        Raises:
            HarborError: 404.
        """
        canonical, _ = self._find(repository, digest)
        self._storage.unlink(repository, canonical)
        return Answer.of(HTTPStatus.ACCEPTED, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    def _find(self, repository: str, digest: Digest) -> tuple[Digest, int]:
        canonical = self._storage.resolve(repository, digest)
        size = self._storage.depot.size(canonical) if canonical else None
        if canonical is None or size is None:
            raise backend_error("BLOB_UNKNOWN", str(digest))
        return canonical, size


def _headers(digest: Digest) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000",
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": str(digest),
        "Docker-Distribution-Api-Version": "registry/2.0",
        "Etag": f'"{digest}"',
    }


def _serve(
    request: Request, size: int, blocks: Callable[[int, int], Iterator[bytes]], headers: dict[str, str]
) -> Answer:
    """Answer as ``http.ServeContent`` of Go does, which is what distribution uses."""
    etag = headers["Etag"]
    if request.header("if-none-match") == etag:
        return Answer(HTTPStatus.NOT_MODIFIED, {"Etag": etag})
    asked = request.header("range")
    if not asked or request.header("if-range") not in ("", etag):
        return Answer(HTTPStatus.OK, {**headers, "Content-Length": str(size)}, blocks(0, size))
    ranges = _ranges(asked, size)
    if ranges is None:
        return _unsatisfiable("invalid range", {})
    if not ranges:
        return _unsatisfiable("invalid range: failed to overlap", {"Content-Range": f"bytes */{size}"})
    if len(ranges) == 1:
        start, stop = ranges[0]
        part = {"Content-Range": f"bytes {start}-{stop - 1}/{size}", "Content-Length": str(stop - start)}
        return Answer(HTTPStatus.PARTIAL_CONTENT, {**headers, **part}, blocks(start, stop))
    boundary = secrets.token_hex(30)
    pieces: list[bytes] = []
    for start, stop in ranges:
        head = f"Content-Range: bytes {start}-{stop - 1}/{size}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
        pieces.append(f"{'' if not pieces else chr(13) + chr(10)}--{boundary}\r\n{head}".encode())
        pieces.append(b"".join(blocks(start, stop)))
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    several = {"Content-Type": f"multipart/byteranges; boundary={boundary}"}
    return Answer.of(HTTPStatus.PARTIAL_CONTENT, b"".join(pieces), {**headers, **several})


def _ranges(text: str, size: int) -> list[tuple[int, int]] | None:
    """Ranges as (start, stop) that overlap ``size`` bytes; None when the syntax is wrong."""
    unit, _, rest = text.partition("=")
    if unit != "bytes":
        return None
    found: list[tuple[int, int]] = []
    for part in filter(str.strip, rest.split(",")):
        match = _RANGE.fullmatch(part)
        if match is None or not (match[1] or match[2]):
            return None
        if not match[1]:
            found.append((max(0, size - int(match[2])), size))
            continue
        start, stop = int(match[1]), int(match[2]) + 1 if match[2] else size
        if match[2] and stop <= start:
            return None
        if start < size:
            found.append((start, min(size, stop)))
    return found


def _unsatisfiable(said: str, headers: dict[str, str]) -> Answer:
    return Answer.of(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"{said}\n".encode(), {**_TEXT, **headers})

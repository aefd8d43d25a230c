"""Files by URL: the made-up content delivery network and object storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mirror.oci.digest import Digest
from registry_fixtures.depot import BlobDepot
from registry_fixtures.exchange import Answer, Request, RequestLog, ranged
from registry_fixtures.faults import FaultPlan
from registry_fixtures.serving import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Cdn", "StoredFile", "cdn_path"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file: its bytes by digest in the depot, and what the server calls it."""

    digest: Digest
    content_type: str = "application/octet-stream"


def cdn_path(url: str) -> str:
    """The path of a URL's file on the ``Cdn``: ``/host/path``, a port joined by ``-``."""
    parts = urlsplit(url)
    return f"/{parts.netloc.replace(':', '-')}{unquote(parts.path)}"


class Cdn:
    """An HTTP file server in this process; paths are ``/host/path`` of the original URL.

    It refuses requests that carry Authorization with 400, as presigned object storage does, so
    a client that leaks a registry's credentials across a redirect is found out. Blobs of the
    depot are also to be had at ``/blobs/<algorithm>/<hex>`` (``Features.redirect_blobs``).
    """

    def __init__(
        self,
        files: Mapping[str, StoredFile] | None = None,
        *,
        depot: BlobDepot | None = None,
        faults: FaultPlan | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.files = dict(files or {})
        self.depot = depot or BlobDepot()
        self.faults = faults or FaultPlan()
        self.requests = log or RequestLog()

    def put(self, path: str, data: bytes, content_type: str = "application/octet-stream") -> Digest:
        """Store a file under ``/path`` (or under ``cdn_path`` of a URL) and return its digest."""
        digest = self.depot.put(data)
        self.files[cdn_path(path) if "://" in path else path] = StoredFile(digest, content_type)
        return digest

    def serve(self, *, port: int = 0, tls: tuple[Path, Path] | None = None) -> LoopbackServer:
        """Serve on 127.0.0.1 until the returned context manager is closed; ``.url`` says where."""
        return LoopbackServer(self.handle, faults=self.faults, log=self.requests, port=port, tls=tls)

    def handle(self, request: Request) -> Answer:
        """Answer one request, honestly."""
        if request.method not in ("GET", "HEAD"):
            return Answer.of(HTTPStatus.METHOD_NOT_ALLOWED)
        if request.header("authorization"):
            body = json.dumps({"error": "InvalidArgument: Only one auth mechanism allowed"}).encode()
            return Answer.of(HTTPStatus.BAD_REQUEST, body, {"Content-Type": "application/json"})
        stored = self.files.get(request.path) or _blob(request.path)
        size = self.depot.size(stored.digest) if stored else None
        if stored is None or size is None:
            return Answer.of(
                HTTPStatus.NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "text/xml"}
            )
        headers = {"Content-Type": stored.content_type, "ETag": f'"{stored.digest.encoded[:32]}"'}
        return ranged(request, size, lambda start, stop: self.depot.blocks(stored.digest, start, stop), headers)


def _blob(path: str) -> StoredFile | None:
    parts = path.split("/")
    if len(parts) != len(("", "blobs", "algorithm", "hex")) or parts[1] != "blobs":
        return None
    return StoredFile(Digest(parts[2], parts[3]))

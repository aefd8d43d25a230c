"""A client of the distribution-spec that hides nothing and repairs nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import random
import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

OCTETS = "application/octet-stream"
IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ACCEPT = f"{INDEX}, {IMAGE}"
CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def made_up(seed: object, size: int = 3000) -> bytes:
    """Bytes that no other seed gives."""
    return random.Random(str(seed)).randbytes(size)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    url: str

    @property
    def location(self) -> str:
        """Where the answer points, resolved against what was asked."""
        return urljoin(self.url, self.headers["Location"])

    @property
    def next(self) -> str | None:
        """The next page, if the answer has one."""
        link = self.headers["Link"]
        if link is None:
            return None
        match = re.fullmatch(r'<([^>]*)>\s*;\s*rel="?next"?', link.strip())
        assert match, f"not a link to a next page: {link}"
        return urljoin(self.url, match[1])

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The codes of the errors in the body, which has the shape that the specification gives."""
        assert self.headers["Content-Type"].partition(";")[0] == "application/json"
        errors = self.json()["errors"]
        assert errors
        assert all(isinstance(error["code"], str) for error in errors)
        assert {error["code"] for error in errors} <= CODES
        return [error["code"] for error in errors]


@dataclass
class Registry:
    """A registry under test.

    Args:
        url: its root.
        strict: whether everything that is optional is expected, too.
    """

    url: str
    strict: bool

    def ask(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        """Send one request; a body that is neither bytes nor None is streamed in chunked coding.

        Args:
            method: of HTTP.
            url: a path, or what a ``Location`` resolved to.
            body: bytes, None, or an iterable of bytes.
            headers: with ``_`` for ``-``.
        """
        whole = self.url.rstrip("/") + url if url.startswith("/") else url  # nothing is tidied up on the way
        parts = urlsplit(whole)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = body is not None and not isinstance(body, bytes)
        if chunked:
            named["Transfer-Encoding"] = "chunked"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        with closing(kind(parts.netloc, timeout=60)) as connection:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, body=body, headers=named, encode_chunked=chunked)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read(), whole)

    def expect(self, answer: Answer, wanted: int, *, refusals: tuple[int, ...] = ()) -> Answer:
        """Hold an answer to its status.

        Args:
            answer: to some request.
            wanted: what a registry with everything says.
            refusals: what a registry without this optional part may say; the test ends there.
        """
        if not self.strict and answer.status in refusals:
            pytest.skip(f"optional, and answered with {answer.status}")
        assert answer.status == wanted, (answer.status, answer.body[:500])
        return answer


def with_query(url: str, **parameters: str) -> str:
    """Add parameters behind those that are there, which stay byte for byte."""
    added = "&".join(f"{name.replace('_', '-')}={value}" for name, value in parameters.items())
    return f"{url}{'&' if urlsplit(url).query else '?'}{added}"


@dataclass
class Repository:
    """One repository of a registry under test."""

    registry: Registry
    name: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return self.registry.ask(method, f"/v2/{self.name}/{path}", body, **headers)

    def begin(self, query: str = "") -> str:
        """Begin an upload; return where it goes on."""
        answer = self.ask("POST", f"blobs/uploads/{query}", b"")
        self.registry.expect(answer, 202)
        return answer.location

    def push(self, data: bytes, algorithm: str = "sha256") -> str:
        """Push a blob in two requests; return its digest."""
        digest = digest_of(data, algorithm)
        location = self.begin(f"?digest-algorithm={algorithm}" if algorithm != "sha256" else "")
        answer = self.registry.ask("PUT", with_query(location, digest=digest), data, Content_Type=OCTETS)
        self.registry.expect(answer, 201)
        return digest

    def put(self, raw: bytes, reference: str, kind: str) -> Answer:
        return self.ask("PUT", f"manifests/{reference}", raw, Content_Type=kind)

    def get(self, reference: str, method: str = "GET") -> Answer:
        return self.ask(method, f"manifests/{reference}", Accept=ACCEPT)

    def _read(self, path: str) -> Iterator[tuple[str, Answer]]:
        """HEAD and GET, which give the same headers."""
        head = self.registry.expect(self.ask("HEAD", path, Accept=ACCEPT), 200)
        yield "HEAD", head
        get = self.registry.expect(self.ask("GET", path, Accept=ACCEPT), 200)
        yield "GET", get
        for name in ("Content-Type", "Content-Length", "Docker-Content-Digest", "ETag", "Accept-Ranges"):
            assert head.headers[name] == get.headers[name]

    def holds_blob(self, data: bytes, digest: str) -> None:
        """Hold that a blob is there, whole, with the headers that clients rely on."""
        for method, answer in self._read(f"blobs/{digest}"):
            assert answer.headers["Content-Length"] == str(len(data))
            assert answer.body == (data if method == "GET" else b"")
            if self.registry.strict or answer.headers["Docker-Content-Digest"]:
                assert answer.headers["Docker-Content-Digest"] == digest

    def holds_manifest(self, raw: bytes, reference: str, digest: str, kind: str) -> None:
        """Hold that a manifest is there, byte for byte, with the headers that clients rely on."""
        for method, answer in self._read(f"manifests/{reference}"):
            assert answer.headers["Content-Type"] == kind
            assert answer.headers["Content-Length"] == str(len(raw))
            assert answer.body == (raw if method == "GET" else b"")
            if self.registry.strict or answer.headers["Docker-Content-Digest"]:
                assert answer.headers["Docker-Content-Digest"] == digest

    def lacks(self, path: str) -> None:
        for method in ("HEAD", "GET"):
            assert self.ask(method, path, Accept=ACCEPT).status == 404

    def delete_blob(self, digest: str) -> None:
        """Delete a blob, which is gone at once."""
        self.registry.expect(self.ask("DELETE", f"blobs/{digest}"), 202, refusals=(400, 404, 405))
        self.lacks(f"blobs/{digest}")

    def delete_manifest(self, reference: str) -> None:
        """Delete a tag or a manifest, which is gone at once."""
        self.registry.expect(self.ask("DELETE", f"manifests/{reference}"), 202, refusals=(400, 404, 405))
        self.lacks(f"manifests/{reference}")

    def tags(self, query: str = "") -> list[str]:
        """All tags, page by page; a repository without any may say so in three ways."""
        found: list[str] = []
        url: str | None = f"/v2/{self.name}/tags/list{query}"
        while url:
            answer = self.registry.ask("GET", url)
            if answer.status == 404:
                return found
            assert answer.status == 200
            assert answer.json()["name"] == self.name
            found += answer.json()["tags"] or []
            url = answer.next
        return found

    def referrers(self, subject: str, query: str = "") -> list[dict[str, Any]]:
        """All referrers of a digest, page by page."""
        found: list[dict[str, Any]] = []
        for answer in self.referrer_pages(subject, query):
            found += answer.json()["manifests"]
        return found

    def referrer_pages(self, subject: str, query: str = "") -> Iterator[Answer]:
        url: str | None = f"/v2/{self.name}/referrers/{subject}{query}"
        while url:
            answer = self.registry.expect(self.registry.ask("GET", url), 200, refusals=(404,))
            assert answer.headers["Content-Type"] == INDEX
            assert (answer.json()["schemaVersion"], answer.json()["mediaType"]) == (2, INDEX)
            yield answer
            url = answer.next

"""A small, strict registry, the double that clients are tried against.

It speaks the OCI distribution-spec 1.1 and shares no code with ``mirror.server``, so that a
mistake in one does not hide in the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlencode

from bundlectl.errors import ContentError, UsageError
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import MANIFEST_LIMIT, MANIFEST_TYPES, OCI_INDEX
from mirror.oci.reference import check_repository, check_tag
from registry_fixtures.accounts import Accounts, Gate, Need
from registry_fixtures.depot import BlobDepot
from registry_fixtures.exchange import Answer, Request, RequestLog, ranged
from registry_fixtures.faults import FaultPlan
from registry_fixtures.features import Features
from registry_fixtures.holdings import Holdings
from registry_fixtures.refusals import RefusedError, read_digest
from registry_fixtures.serving import LoopbackServer
from registry_fixtures.uploads import Uploads

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.digest import Digest
    from registry_fixtures.holdings import RepositoryHoldings

__all__ = ["Registry", "ServedRegistry"]

_Route: TypeAlias = Callable[[Request, str, str], Answer]
_PATH: Final = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<rest>[^/]*)")
_ACTION: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_MISSING: Final = HTTPStatus.NOT_FOUND


class Registry:
    """A registry in this process, handling requests on its own or served on loopback.

    Args:
        holdings: its content; empty when None. Tests may look at and change it at any time.
        features: what it can do.
        accounts: who may do what.
        faults: what goes wrong on purpose; may be changed while it runs.
        log: where requests are written down; one of its own when None.
    """

    def __init__(
        self,
        holdings: Holdings | None = None,
        *,
        features: Features | None = None,
        accounts: Accounts | None = None,
        faults: FaultPlan | None = None,
        log: RequestLog | None = None,
    ) -> None:
        self.holdings = holdings or Holdings(BlobDepot())
        self.features = features or Features()
        self.gate = Gate(accounts or Accounts())
        self.faults = faults or FaultPlan()
        self.requests = log or RequestLog()
        self.uploads = Uploads(self.holdings, self.features)
        self._routes: dict[str, _Route] = {
            "blobs/uploads": self._upload,
            "blobs": self._blob,
            "manifests": self._manifest,
            "tags": self._tags,
            "referrers": self._referrers,
        }

    def serve(self, *, port: int = 0, tls: tuple[Path, Path] | None = None) -> ServedRegistry:
        """Serve on 127.0.0.1 until the returned context manager is closed; ``.host`` says where."""
        return ServedRegistry(self, port=port, tls=tls)

    def handle(self, request: Request) -> Answer:
        """Answer one request, honestly (faults are applied around this)."""
        if request.path == "/token":
            return self.gate.token(request)
        try:
            found = _PATH.fullmatch(request.path)
            return self._base(request) if found is None else self._routed(request, found)
        except RefusedError as error:
            return error.answer

    def _base(self, request: Request) -> Answer:
        """Answer what belongs to no repository."""
        if request.path in ("/v2/", "/v2"):
            ready = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}
            return self.gate.refusal(request, []) or Answer.of(HTTPStatus.OK, b"{}", ready)
        if request.path == "/v2/_catalog":
            return self.gate.refusal(request, [Need("", ("pull",))]) or self._catalog(request)
        raise RefusedError(_MISSING, "NOT_FOUND", "no such path")

    def _routed(self, request: Request, found: re.Match[str]) -> Answer:
        name = found["name"]
        refused = self.gate.refusal(request, self._needs(request, name))
        if refused is not None:
            return refused
        if request.method not in ("GET", "HEAD") and self.features.read_only:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "this registry is read-only")
        try:
            check_repository(name)
        except UsageError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "NAME_INVALID", error.message) from error
        return self._routes[found["kind"]](request, name, found["rest"])

    def _needs(self, request: Request, name: str) -> list[Need]:
        action = _ACTION.get(request.method)
        needs = [Need(name, (action,) if action else ("pull", "push"))]
        source = request.asked("from")
        if request.method == "POST" and request.asked("mount") and source and source != name:
            needs.append(Need(source, ("pull",)))
        return needs

    def _upload(self, request: Request, name: str, rest: str) -> Answer:
        if request.method == "POST" and not rest:
            return self.uploads.begin(request, name)
        return self.uploads.resume(request, name, rest)

    def _blob(self, request: Request, name: str, rest: str) -> Answer:
        digest = self._digest(rest)
        held = self.holdings.find(name)
        size = self.holdings.depot.size(digest) if held and digest in held.blobs else None
        if held is None or size is None:
            raise RefusedError(_MISSING, "BLOB_UNKNOWN", f"{digest} is not in {name}")
        if request.method == "DELETE":
            if not self.features.delete:
                raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "deleting is off")
            held.blobs.discard(digest)
            return Answer.of(HTTPStatus.ACCEPTED)
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", f"no {request.method} here")
        if self.features.redirect_blobs and request.method == "GET":
            target = f"{self.features.redirect_blobs.rstrip('/')}/{digest.algorithm}/{digest.encoded}"
            return Answer.of(HTTPStatus.TEMPORARY_REDIRECT, headers={"Location": target})
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": str(digest),
            "ETag": f'"{digest}"',
        }
        return ranged(request, size, lambda start, stop: self.holdings.depot.blocks(digest, start, stop), headers)

    def _manifest(self, request: Request, name: str, rest: str) -> Answer:
        if request.method == "PUT":
            return self._put_manifest(request, name, rest)
        held = self.holdings.find(name)
        if ":" in rest:
            self._digest(rest)
        manifest = held.find(rest) if held else None
        if held is None or manifest is None:
            code = "MANIFEST_UNKNOWN" if held else "NAME_UNKNOWN"
            raise RefusedError(_MISSING, code, f"{rest} is not in {name}")
        if request.method == "DELETE":
            return self._delete_manifest(held, manifest, rest)
        if request.method not in ("GET", "HEAD"):
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", f"no {request.method} here")
        descriptor = manifest.descriptor
        accepted = {item.partition(";")[0].strip() for item in request.header("accept").split(",")}
        if self.features.strict_accept and descriptor.media_type not in accepted:
            raise RefusedError(_MISSING, "MANIFEST_UNKNOWN", f"Accept does not list {descriptor.media_type}")
        headers = {
            "Content-Type": descriptor.media_type,
            "Docker-Content-Digest": str(descriptor.digest),
            "ETag": f'"{descriptor.digest}"',
        }
        if request.header("if-none-match") == headers["ETag"]:
            return Answer(HTTPStatus.NOT_MODIFIED, headers)
        return Answer.of(HTTPStatus.OK, manifest.raw, headers)

    def _put_manifest(self, request: Request, name: str, rest: str) -> Answer:
        raw = request.body.read(MANIFEST_LIMIT + 1)
        if len(raw) > MANIFEST_LIMIT:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "a manifest has at most 4 MiB")
        if request.header("content-length") not in ("", str(len(raw))):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "SIZE_INVALID", "the body is shorter than its Content-Length")
        media_type = request.header("content-type")
        if media_type not in MANIFEST_TYPES:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", f"{media_type!r} is no manifest's type")
        expected = self._digest(rest) if ":" in rest else None
        tag = None if expected else rest
        try:
            manifest = Manifest.from_bytes(raw, media_type, expected=expected)
            if tag is not None:
                check_tag(tag)
        except ContentError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", error.message) from error
        except UsageError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "TAG_INVALID", error.message) from error
        with self.holdings.lock:
            absent = self._absent(self.holdings.repository(name), manifest)
            if absent:
                raise RefusedError(HTTPStatus.BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", f"{name} has no {absent[0]}")
            self.holdings.put_manifest(name, raw, media_type, tag=tag, digest=expected)
        headers = {
            "Location": f"{request.url}/v2/{name}/manifests/{manifest.descriptor.digest}",
            "Docker-Content-Digest": str(manifest.descriptor.digest),
        }
        if manifest.subject is not None and self.features.referrers_api:
            headers["OCI-Subject"] = str(manifest.subject.digest)
        return Answer.of(HTTPStatus.CREATED, headers=headers)

    def _absent(self, held: RepositoryHoldings, manifest: Manifest) -> list[Digest]:
        """Children that the repository itself does not hold; foreign layers need not be held."""
        if manifest.is_index:
            missing = [child.digest for child in manifest.children() if child.digest not in held.manifests]
            return [] if self.features.sparse_indexes else missing
        return [child.digest for child in manifest.children() if child.digest not in held.blobs and not child.urls]

    def _delete_manifest(self, held: RepositoryHoldings, manifest: Manifest, rest: str) -> Answer:
        if not self.features.delete:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", "deleting is off")
        with self.holdings.lock:
            if rest in held.tags:
                if not self.features.delete_tags:
                    raise RefusedError(HTTPStatus.BAD_REQUEST, "UNSUPPORTED", "a tag cannot be deleted")
                del held.tags[rest]
            else:
                digest = manifest.descriptor.digest
                held.manifests.pop(digest, None)
                for tag in [tag for tag, found in held.tags.items() if found == digest]:
                    del held.tags[tag]
        return Answer.of(HTTPStatus.ACCEPTED)

    def _tags(self, request: Request, name: str, rest: str) -> Answer:
        held = self.holdings.find(name)
        if rest != "list" or held is None or not held.manifests:
            raise RefusedError(_MISSING, "NAME_UNKNOWN", f"{name} is not here")
        return self._page(request, "tags", sorted(held.tags), {"name": name})

    def _catalog(self, request: Request) -> Answer:
        if not self.features.catalog:
            raise RefusedError(_MISSING, "UNSUPPORTED", "there is no catalog")
        return self._page(request, "repositories", self.holdings.names(), {})

    def _page(self, request: Request, key: str, items: list[str], rest: dict[str, str]) -> Answer:
        """A page of names after ``last``, at most ``n`` and never more than the page size."""
        wanted = request.asked("n")
        if wanted and not wanted.isdecimal():
            raise RefusedError(HTTPStatus.BAD_REQUEST, "PAGINATION_NUMBER_INVALID", f"n={wanted!r}")
        count = min(int(wanted), self.features.page_size) if wanted else self.features.page_size
        after = [item for item in items if item > request.asked("last")]
        page = after[:count]
        headers = {"Content-Type": "application/json"}
        if page and len(after) > len(page):
            headers["Link"] = f'<{request.path}?{urlencode({"last": page[-1], "n": count})}>; rel="next"'
        return Answer.of(HTTPStatus.OK, json.dumps({**rest, key: page}).encode(), headers)

    def _referrers(self, request: Request, name: str, rest: str) -> Answer:
        if not self.features.referrers_api:
            raise RefusedError(_MISSING, "NOT_FOUND", "no such path")
        subject = self._digest(rest)
        held = self.holdings.find(name)
        with self.holdings.lock:
            found = held.referrers(subject) if held else []
        headers = {"Content-Type": OCI_INDEX}
        wanted = request.asked("artifactType")
        if wanted:
            headers["OCI-Filters-Applied"] = "artifactType"
            found = [entry for entry in found if entry.artifact_type == wanted]
        after = [entry for entry in found if str(entry.digest) > request.asked("last")]
        page = after[: self.features.page_size]
        if len(after) > len(page):
            query = {"last": str(page[-1].digest), **({"artifactType": wanted} if wanted else {})}
            headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
        entries = [entry.to_json() for entry in page]
        body = canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        return Answer.of(HTTPStatus.OK, body, headers)

    def _digest(self, text: str) -> Digest:
        digest = read_digest(text)
        if digest.algorithm == "sha512" and not self.features.sha512:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", "sha512 is not supported here")
        return digest


class ServedRegistry(LoopbackServer):
    """A registry on a loopback port: ``host``, ``url``, ``faults``, ``requests``, and its ``holdings``."""

    def __init__(self, registry: Registry, *, port: int = 0, tls: tuple[Path, Path] | None = None) -> None:
        super().__init__(registry.handle, faults=registry.faults, log=registry.requests, port=port, tls=tls)
        self.registry = registry
        self.holdings = registry.holdings

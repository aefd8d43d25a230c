"""The registry API, ``/v2``: which path is what, who may, and who answers."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mirror.oci.digest import Digest
from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.gate import Access
from registry_fixtures.harbor.listing import catalog, referrers, tags
from registry_fixtures.harbor.manifests import refuse_proxy
from registry_fixtures.harbor.refusals import HarborError, backend_error, json_answer

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.blobs import Blobs
    from registry_fixtures.harbor.database import Database, Project
    from registry_fixtures.harbor.gate import Gate
    from registry_fixtures.harbor.identity import Identity
    from registry_fixtures.harbor.manifests import Manifests
    from registry_fixtures.harbor.settings import Settings
    from registry_fixtures.harbor.uploads import Uploads

__all__ = ["Distribution"]

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# What Harbor takes for a name may begin with a host, which is then the project.
_NAME: Final = rf"(?P<name>(?:{_LABEL}(?:\.{_LABEL})*(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
_DIGEST: Final = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_SHAPES: Final = tuple(
    re.compile(rf"/v2/{_NAME}/{shape}")
    for shape in (
        r"(?P<kind>blobs)/uploads/?(?P<upload>[A-Za-z0-9_.=-]*)",
        rf"(?P<kind>blobs)/(?P<rest>{_DIGEST})",
        r"(?P<kind>manifests|referrers)/(?P<rest>[^/]+)",
        r"(?P<kind>tags)/list",
        # Harbor's own patterns are looser at the end: what they let in is then found nowhere.
        r"(?P<kind>manifests|referrers)/(?P<rest>.*)",
        r"(?P<kind>tags)/list(?P<rest>.*)",
    )
)
_AS_MANIFEST: Final = re.compile(rf"/v2/{_NAME}/manifests/.*")
_ACTIONS: Final = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


class Distribution:
    """Answers whatever is under ``/v2``."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        gate: Gate,
        *,
        manifests: Manifests,
        blobs: Blobs,
        uploads: Uploads,
    ) -> None:
        self._settings = settings
        self._chance = itertools.cycle((True, False))
        self._database = database
        self._gate = gate
        self._manifests = manifests
        self._blobs = blobs
        self._uploads = uploads

    def answer(self, request: Request) -> Answer:
        """Answer one request.

        Raises:
            HarborError: it is refused.
        """
        request = replace(request, path=re.sub("/{2,}", "/", request.path))
        identity = self._gate.identify(request)
        if request.path == "/v2/":
            self._gate.login(request, identity)
            return json_answer({}, HTTPStatus.OK, {"Docker-Distribution-Api-Version": "registry/2.0"})
        if request.path == "/v2/_catalog":
            self._gate.catalog(identity)
            return catalog(request, self._database)
        found = next(filter(None, (shape.fullmatch(request.path) for shape in _SHAPES)), None)
        if found is None:
            raise self._gate.unrecognized(request)
        return self._routed(request, identity, found)

    def _routed(self, request: Request, identity: Identity, found: re.Match[str]) -> Answer:
        name, parts = found["name"], found.groupdict()
        uploading = parts.get("upload")
        read = self._misread(request, found) or name
        accesses = [Access(_checked(read), _ACTIONS.get(request.method, "push"))]
        mounting = uploading is not None and read == name and request.asked("from")
        source = _checked(request.asked("from")) if mounting else ""
        if request.method == "POST" and source:
            accesses.append(Access(source, "pull"))
        self._gate.check(request, identity, accesses)
        project = self._database.project_of(name)
        if project is None:  # deleted this moment
            raise HarborError("NOT_FOUND", f"project {name.partition('/')[0]} not found")
        if uploading is not None:
            return self._upload(request, project, name, uploading)
        rest, kind = parts.get("rest") or "", found["kind"]
        if "/" in rest or (rest == "") != (kind == "tags"):
            return Answer.of(
                HTTPStatus.NOT_FOUND, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"}
            )
        if kind == "manifests":
            return self._manifest(request, identity, project, name, rest)
        if kind == "blobs" and request.method == "HEAD" and read != name:
            raise HarborError("NOT_FOUND", f"blob {request.path.removeprefix(f'/v2/{read}/manifests/')} not found")
        if kind == "blobs":
            return self._blob(request, name, _digest(rest))
        if request.method not in ("GET", "HEAD"):
            raise backend_error("UNSUPPORTED")
        with self._database.lock:
            return tags(request, project, name) if kind == "tags" else referrers(request, project, name, rest)

    def _misread(self, request: Request, found: re.Match[str]) -> str:
        """The repository that Harbor now takes the request to be about, having read it as a manifest's."""
        other = _AS_MANIFEST.fullmatch(request.path) if found["kind"] != "manifests" else None
        return other["name"] if other and self._settings.misread_paths and next(self._chance) else ""

    def _upload(self, request: Request, project: Project, name: str, identifier: str) -> Answer:
        if identifier:
            return self._uploads.resume(request, project, name, identifier)
        if request.method != "POST":
            raise backend_error("UNSUPPORTED")
        refuse_proxy(project)
        return self._uploads.begin(request, project, name)

    def _manifest(self, request: Request, identity: Identity, project: Project, name: str, reference: str) -> Answer:
        if request.method in ("GET", "HEAD"):
            return self._manifests.pull(request, identity, project, name, reference)
        if request.method == "PUT":
            return self._manifests.push(request, project, name, reference)
        if request.method == "DELETE":
            return self._manifests.delete(project, name, reference)
        raise backend_error("UNSUPPORTED")

    def _blob(self, request: Request, name: str, digest: Digest) -> Answer:
        if request.method == "HEAD":
            return self._blobs.head(name, digest)
        if request.method == "GET":
            return self._blobs.get(request, name, digest)
        if request.method == "DELETE":
            return self._blobs.delete(name, digest)
        raise backend_error("UNSUPPORTED")


def _checked(name: str) -> str:
    """A repository name of at least a project and one more part.

    Raises:
        HarborError: 400, with credentials or without.
    """
    if "/" not in name:
        raise HarborError("BAD_REQUEST", f"bad request: invalid repository name: {name}")
    return name


def _digest(text: str) -> Digest:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", text):
        raise backend_error("DIGEST_INVALID", "digest parsing failed")
    return Digest.parse(text)

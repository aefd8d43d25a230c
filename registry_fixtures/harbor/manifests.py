"""Manifests on ``/v2``: pull with its policies, push with its checks, delete."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, UsageError
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT, MANIFEST_TYPES
from mirror.oci.reference import check_tag
from registry_fixtures.exchange import Answer
from registry_fixtures.harbor.locations import outward
from registry_fixtures.harbor.policy import check_pull, immutable
from registry_fixtures.harbor.pushing import Artifacts, is_foreign
from registry_fixtures.harbor.refusals import HarborError, backend_error, backend_errors

if TYPE_CHECKING:
    from registry_fixtures.exchange import Request
    from registry_fixtures.harbor.database import Artifact, Database, Project, Repository
    from registry_fixtures.harbor.identity import Identity
    from registry_fixtures.harbor.settings import Settings
    from registry_fixtures.harbor.storage import Storage

__all__ = ["Manifests", "find_artifact", "refuse_proxy"]

_KINDS: Final = {True: "OCI index", False: "OCI manifest"}


class Manifests:
    """Answers ``/v2/P/R/manifests/REFERENCE``."""

    def __init__(self, database: Database, storage: Storage, artifacts: Artifacts, settings: Settings) -> None:
        self._database = database
        self._storage = storage
        self._artifacts = artifacts
        self._settings = settings

    def pull(self, request: Request, identity: Identity, project: Project, name: str, reference: str) -> Answer:
        """GET and HEAD.

        Raises:
            HarborError: 404, also for an Accept without the stored type; 412, a policy forbids it.
        """
        with self._database.lock:
            repository, artifact = find_artifact(project, name, reference)
            check_pull(request, identity, project, repository, artifact)
        descriptor = artifact.manifest.descriptor
        if request.header("if-none-match").strip('"') == str(descriptor.digest):
            return Answer(HTTPStatus.NOT_MODIFIED)
        if not self._settings.manifest_cache:
            _check_accept(request, artifact.manifest)
        if request.method == "GET":
            repository.pulls += 1
            artifact.pulled = self._database.clock.now()
        headers = {
            "Content-Type": descriptor.media_type,
            "Docker-Content-Digest": str(descriptor.digest),
            "Docker-Distribution-Api-Version": "registry/2.0",
            "Etag": f'"{descriptor.digest}"',
        }
        return Answer.of(HTTPStatus.OK, artifact.manifest.raw, headers)

    def push(self, request: Request, project: Project, name: str, reference: str) -> Answer:
        """PUT.

        Raises:
            HarborError: the refusals of core, then those of the registry behind it.
        """
        refuse_proxy(project)
        expected = _digest(reference) if ":" in reference else None
        tag = None if expected else _tag(reference)
        with self._database.lock:
            repository = project.repositories.get(name)
            if repository and tag in repository.tags and tag and immutable(project, repository, tag):
                said = f"Failed to process request due to '{repository.path}:{tag}' configured as immutable."
                raise HarborError("PRECONDITION", said)
        raw = request.body.read(MANIFEST_LIMIT + 1)
        if len(raw) > MANIFEST_LIMIT:
            raise HarborError("REQUEST_ENTITY_TOO_LARGE", "http: request body too large")
        manifest = _read(raw, request.header("content-type"))
        with self._database.lock:
            self._artifacts.check_quota(project, manifest)
            if expected is not None and expected != manifest.descriptor.digest:
                raise backend_error("DIGEST_INVALID")
            self._check_parts(name, manifest)
            self._storage.keep(name, manifest)
            self._artifacts.add(project, name, manifest, tag)
        headers = {
            "Location": f"{outward(request)}/v2/{name}/manifests/{manifest.descriptor.digest}",
            "Docker-Content-Digest": str(manifest.descriptor.digest),
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject.digest)
        return Answer.of(HTTPStatus.CREATED, headers=headers)

    def delete(self, project: Project, name: str, reference: str) -> Answer:
        """DELETE, by digest alone.

        Raises:
            HarborError: 400 for a tag, and what ``Artifacts.delete`` says.
        """
        digest = Digest.parse(reference) if _is_digest(reference) else None
        if digest is None:
            raise HarborError("UNSUPPORTED", f"unsupported digest {reference}: invalid checksum digest format")
        with self._database.lock:
            repository = project.repositories.get(name)
            if repository is None:
                raise HarborError("NOT_FOUND", f"artifact {name}@{digest} not found")
            self._artifacts.delete(project, repository, digest)
        return Answer.of(HTTPStatus.ACCEPTED)

    def _check_parts(self, name: str, manifest: Manifest) -> None:
        """Find in the repository's own storage what a manifest is made of.

        Raises:
            HarborError: 400 MANIFEST_BLOB_UNKNOWN with one error for each digest that is absent.
        """
        children = manifest.children()
        if manifest.is_index:
            absent = [part.digest for part in children if self._storage.manifest(name, part.digest) is None]
        else:
            needed = [part.digest for part in children if not (is_foreign(part) and part.urls)]
            absent = [digest for digest in needed if self._storage.resolve(name, digest) is None]
        if absent:
            raise backend_errors("MANIFEST_BLOB_UNKNOWN", [str(digest) for digest in dict.fromkeys(absent)])


def find_artifact(project: Project, name: str, reference: str) -> tuple[Repository, Artifact]:
    """The artifact behind a tag or a digest.

    Raises:
        HarborError: 404 NOT_FOUND.
    """
    repository = project.repositories.get(name)
    if repository is None:
        raise HarborError("NOT_FOUND", f"repository {name} not found")
    tag = repository.tags.get(reference)
    digest = tag.digest if tag else Digest.parse(reference) if _is_digest(reference) else None
    artifact = repository.artifacts.get(digest) if digest else None
    if artifact is None:
        separator = "@" if ":" in reference else ":"
        raise HarborError("NOT_FOUND", f"artifact {name}{separator}{reference} not found")
    return repository, artifact


def refuse_proxy(project: Project) -> None:
    """Let no push into a proxy-cache project.

    Raises:
        HarborError: 403 DENIED.
    """
    if project.upstream:
        raise HarborError("DENIED", f"denied: can not push artifact to a proxy project: {project.name}")


def _check_accept(request: Request, manifest: Manifest) -> None:
    """Refuse an Accept without the very type of an OCI manifest; patterns do not help (distribution 2.8)."""
    media_type = manifest.descriptor.media_type
    accepted = {item.partition(";")[0].strip() for item in request.header("accept").split(",")}
    if ".oci." in media_type and media_type not in accepted:
        kind = _KINDS[manifest.is_index]
        said = f"{kind} found, but accept header does not support {kind}{'es' if manifest.is_index else 's'}"
        raise backend_error("MANIFEST_UNKNOWN", message=said)


def _read(raw: bytes, content_type: str) -> Manifest:
    """Read what was pushed, by the type it was pushed as.

    Raises:
        HarborError: 400 MANIFEST_INVALID.
    """
    media_type = content_type.partition(";")[0].strip()
    if media_type not in MANIFEST_TYPES:
        # Everything unknown is read as Docker's schema 1, which is signed.
        raise _invalid("missing signature key")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _invalid(str(error)) from error
    declared = document.get("mediaType") if isinstance(document, dict) else None
    if declared != media_type and (declared or ".oci." not in media_type):
        raise _invalid(f"mediaType in manifest should be '{media_type}' not '{declared or ''}'")
    try:
        return Manifest.from_bytes(raw, media_type)
    except ContentError as error:
        raise _invalid(error.message) from error


def _invalid(cause: str) -> HarborError:
    return HarborError("MANIFEST_INVALID", f"unmarshal manifest failed: {cause}")


def _tag(text: str) -> str:
    try:
        return check_tag(text)
    except UsageError as error:
        raise HarborError("BAD_REQUEST", f"bad request: invalid tag name: {text}") from error


def _digest(text: str) -> Digest:
    """The digest to push by; storage knows sha256 alone.

    Raises:
        HarborError: 400 DIGEST_INVALID.
    """
    if not _is_digest(text) or not text.startswith("sha256:"):
        raise backend_error("DIGEST_INVALID")
    return Digest.parse(text)


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", text) is not None

"""Lists on ``/v2``: tags, the catalog, referrers."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_INDEX
from registry_fixtures.harbor.refusals import HarborError, json_answer

if TYPE_CHECKING:
    from registry_fixtures.exchange import Answer, Request
    from registry_fixtures.harbor.database import Artifact, Database, Project

__all__ = ["catalog", "referrers", "tags"]


def tags(request: Request, project: Project, name: str) -> Answer:
    """The tags of a repository, signatures' among them; of one emptied by deletes, none.

    Raises:
        HarborError: 404, nothing was ever pushed there; 400, ``n`` is not a number.
    """
    count = _count(request)
    repository = project.repositories.get(name)
    if count == 0:
        return json_answer({"name": name, "tags": []})
    if repository is None:
        raise HarborError("NOT_FOUND", f"repository {name} not found")
    return _page(request, count, sorted(repository.tags), {"name": name}, "tags")


def catalog(request: Request, database: Database) -> Answer:
    """The repositories that hold an artifact.

    Raises:
        HarborError: 400, ``n`` is not a number or ``last`` is none of them. Without ``n``, ``last`` is ignored.
    """
    count = _count(request)
    names = [held.name for held in database.repositories() if held.artifacts]
    if count is None:
        return json_answer({"repositories": names})
    last = request.asked("last")
    if last and last not in names:
        raise HarborError("BAD_REQUEST", f"the last: {last} should be a valid repository name.")
    return _page(request, count, names, {}, "repositories")


def referrers(request: Request, project: Project, name: str, reference: str) -> Answer:
    """An index of what refers to a digest: whatever has a record as its accessory, so also tag-scheme signatures.

    Raises:
        HarborError: 400, not a digest.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", reference):
        raise HarborError("BAD_REQUEST", f"unsupported digest {reference}: invalid checksum digest format")
    repository = project.repositories.get(name)
    subject = Digest.parse(reference)
    found = []
    for accessory in repository.accessories_of(subject) if repository else ():
        artifact = repository.artifacts.get(accessory.digest) if repository else None
        if artifact is not None:
            found.append(_entry(artifact))
    headers = {"Content-Type": OCI_INDEX, "X-Total-Count": str(len(found))}
    wanted = request.asked("artifactType")
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
        found = [entry for entry in found if entry.get("artifactType") == wanted]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
    return json_answer(document, HTTPStatus.OK, headers)


def _entry(artifact: Artifact) -> dict[str, Any]:
    descriptor = artifact.manifest.descriptor
    entry: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
        "artifactType": artifact.manifest.artifact_type,
    }
    if artifact.manifest.annotations:
        entry["annotations"] = artifact.manifest.annotations
    return entry


def _count(request: Request) -> int | None:
    """How many are asked for; None for all."""
    text = request.asked("n")
    if not text:
        return None
    if not text.isdecimal():
        raise HarborError("BAD_REQUEST", "the N must be a positive int type")
    return int(text)


def _page(request: Request, count: int | None, items: list[str], rest: dict[str, str], key: str) -> Answer:
    after = [item for item in items if item > request.asked("last")]
    page = after if count is None else after[:count]
    headers = {}
    if page and len(after) > len(page):
        headers["Link"] = f'<{request.path}?{urlencode({"last": page[-1], "n": count})}>; rel="next"'
    return json_answer({**rest, key: page}, HTTPStatus.OK, headers)

"""Repositories, artifacts, tags and accessories as the REST API writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from registry_fixtures.harbor.clock import stamp
from registry_fixtures.harbor.policy import immutable

if TYPE_CHECKING:
    from mirror.oci.digest import Digest
    from registry_fixtures.harbor.database import Accessory, Artifact, Project, Repository, Tag

__all__ = ["accessory_json", "artifact_json", "is_listed", "repository_json", "tag_json"]

_NEVER: Final = "0001-01-01T00:00:00.000Z"
_PLATFORM: Final = ("architecture", "os", "os.version", "os.features", "variant")


def repository_json(project: Project, repository: Repository) -> dict[str, Any]:
    """A repository; its name has the project in front."""
    return {
        "id": repository.number,
        "project_id": project.number,
        "name": repository.name,
        "description": repository.description,
        "artifact_count": sum(is_listed(repository, digest) for digest in repository.artifacts),
        "pull_count": repository.pulls,
        "creation_time": stamp(repository.created),
        "update_time": stamp(repository.created),
    }


def is_listed(repository: Repository, digest: Digest) -> bool:
    """Whether an artifact is in lists unasked: no accessory, and no child of an index unless tagged."""
    if digest in repository.accessories:
        return False
    return bool(repository.tags_of(digest)) or not repository.parents(digest)


def artifact_json(
    project: Project,
    repository: Repository,
    artifact: Artifact,
    *,
    tags: bool = True,
    accessories: bool = False,
    immutability: bool = False,
) -> dict[str, Any]:
    """An artifact, with its tags and accessories when they were asked for."""
    manifest = artifact.manifest
    row: dict[str, Any] = {
        "id": artifact.number,
        "type": artifact.type,
        "media_type": artifact.media_type,
        "manifest_media_type": manifest.descriptor.media_type,
        "artifact_type": manifest.artifact_type,
        "project_id": project.number,
        "repository_id": repository.number,
        "repository_name": repository.name,
        "digest": str(manifest.descriptor.digest),
        "size": artifact.size,
        "icon": "",
        "push_time": stamp(artifact.pushed),
        "pull_time": stamp(artifact.pulled) if artifact.pulled else _NEVER,
        "extra_attrs": artifact.extra_attrs or None,
        "annotations": manifest.annotations or None,
        "references": _references(repository, artifact) or None,
        "tags": None,
        "addition_links": _links(project, repository, artifact),
        "labels": None,
        "accessories": None,
    }
    digest = manifest.descriptor.digest
    if tags:
        named = [tag_json(project, repository, tag, immutability=immutability) for tag in repository.tags_of(digest)]
        row["tags"] = named or None
    if accessories:
        held = [accessory_json(repository, found) for found in repository.accessories_of(digest)]
        row["accessories"] = [found for found in held if found] or None
    return row


def tag_json(project: Project, repository: Repository, tag: Tag, *, immutability: bool = False) -> dict[str, Any]:
    """A tag; ``immutable`` is told only to who asks."""
    artifact = repository.artifacts.get(tag.digest)
    return {
        "id": tag.number,
        "repository_id": repository.number,
        "artifact_id": artifact.number if artifact else 0,
        "name": tag.name,
        "push_time": stamp(tag.pushed),
        "pull_time": _NEVER,
        "immutable": immutability and immutable(project, repository, tag.name),
    }


def accessory_json(repository: Repository, accessory: Accessory) -> dict[str, Any]:
    """An accessory; the subject's id is 0 while the subject is missing."""
    artifact, subject = repository.artifacts.get(accessory.digest), repository.artifacts.get(accessory.subject)
    return {
        "id": accessory.number,
        "artifact_id": artifact.number if artifact else 0,
        "subject_artifact_id": subject.number if subject else 0,
        "subject_artifact_digest": str(accessory.subject),
        "subject_artifact_repo": repository.name,
        "size": artifact.size if artifact else 0,
        "digest": str(accessory.digest),
        "type": accessory.type,
        "icon": "",
        "creation_time": stamp(accessory.created),
    }


def _references(repository: Repository, artifact: Artifact) -> list[dict[str, Any]]:
    if not artifact.manifest.is_index:
        return []
    entries = artifact.manifest.document.get("manifests") or []
    return [
        {
            "parent_id": artifact.number,
            "child_id": repository.artifacts[child].number if child in repository.artifacts else 0,
            "child_digest": str(child),
            "platform": {key: value for key, value in (entry.get("platform") or {}).items() if key in _PLATFORM},
            "annotations": entry.get("annotations"),
            "urls": entry.get("urls"),
        }
        for child, entry in zip(artifact.children, entries, strict=True)
    ]


def _links(project: Project, repository: Repository, artifact: Artifact) -> dict[str, Any]:
    names = {"IMAGE": ["build_history"], "CHART": ["values.yaml", "readme.md", "dependencies"]}.get(artifact.type, [])
    if artifact.manifest.is_index:
        names = []
    path = repository.path.replace("/", "%252F")
    base = f"/api/v2.0/projects/{project.name}/repositories/{path}/artifacts/{artifact.manifest.descriptor.digest}"
    return {name: {"absolute": False, "href": f"{base}/additions/{name}"} for name in names}

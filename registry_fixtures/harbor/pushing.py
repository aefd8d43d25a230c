"""What becomes of a manifest that is pushed, copied or deleted: artifacts, tags, accessories, counted blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_fixtures.harbor.database import Accessory, Artifact, BlobRecord, Repository, Tag
from registry_fixtures.harbor.kinds import accessory_type, artifact_type, attributes, signed_by_tag
from registry_fixtures.harbor.policy import immutable
from registry_fixtures.harbor.quota import check_quota
from registry_fixtures.harbor.refusals import HarborError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from registry_fixtures.harbor.database import Database, Project
    from registry_fixtures.harbor.storage import Storage

__all__ = ["Artifacts", "is_foreign", "media_type_of"]


class Artifacts:
    """Core's record of what is in the registry. Call with the database's lock held."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database = database
        self._storage = storage

    def check_quota(self, project: Project, manifest: Manifest) -> None:
        """Let through a manifest whose blobs, as far as they do not count yet, fit into the project.

        Raises:
            HarborError: 403 DENIED.
        """
        if manifest.descriptor.digest in project.blobs:
            return
        parts = [manifest.descriptor, *(part for part in manifest.children() if not is_foreign(part))]
        sizes = {part.digest: part.size for part in parts if part.digest not in project.blobs}
        check_quota(project, sum(sizes.values()))

    def add(self, project: Project, name: str, manifest: Manifest, tag: str | None = None) -> Artifact:
        """Record a manifest that storage took.

        Raises:
            HarborError: 404 NOT_FOUND, an index names a manifest that was deleted here though
                storage still has it; 500, the config of a known type is not JSON.
        """
        repository = project.repositories.get(name) or Repository(
            number=self._database.number("repository"), name=name, created=self._database.clock.now()
        )
        digest = manifest.descriptor.digest
        artifact = repository.artifacts.get(digest) or self._read(repository, manifest)
        project.repositories[name] = repository
        repository.artifacts[digest] = artifact
        self._database.blobs.setdefault(digest, BlobRecord(len(manifest.raw), self._database.clock.now()))
        self._database.touch(digest)
        self._database.trash.discard((name, digest))
        for part in artifact.blobs:
            record = self._database.blobs.get(part)
            project.blobs.setdefault(part, record.size if record else 0)
        if tag is not None:
            self.tag(repository, digest, tag)
        self._attach(repository, artifact, tag)
        return artifact

    def tag(self, repository: Repository, digest: Digest, name: str) -> Tag:
        """Let a tag name an artifact, wherever it pointed before."""
        found = repository.tags.get(name)
        if found is None or found.digest != digest:
            number = found.number if found else self._database.number("tag")
            found = Tag(number, name, digest, self._database.clock.now())
            repository.tags[name] = found
        return found

    def copy(self, source: Repository, artifact: Artifact, project: Project, name: str) -> None:
        """Copy an artifact with its children, its accessories and all its tags into another repository."""
        for child in artifact.children:
            self.copy(source, source.artifacts[child], project, name)
        manifest = artifact.manifest
        for part in artifact.blobs - {manifest.descriptor.digest}:
            self._storage.link(name, part)
        self._storage.keep(name, manifest)
        self.add(project, name, manifest)
        for tag in source.tags_of(manifest.descriptor.digest):
            self.add(project, name, manifest, tag.name)
        for accessory in source.accessories_of(manifest.descriptor.digest):
            self.copy(source, source.artifacts[accessory.digest], project, name)

    def delete(self, project: Project, repository: Repository, digest: Digest) -> None:
        """Delete an artifact with its tags, its accessories, and the children that nothing else holds.

        Raises:
            HarborError: 404, it is not there; 412, it is a child of an index, or a tag is immutable.
        """
        if digest not in repository.artifacts:
            raise HarborError("NOT_FOUND", f"artifact {repository.name}@{digest} not found")
        if repository.parents(digest):
            raise HarborError("VIOLATE_FOREIGN_KEY_CONSTRAINT", "the deleting artifact is referenced by others")
        for tag in repository.tags_of(digest):
            if immutable(project, repository, tag.name):
                said = f"the tag {tag.name} configured as immutable, cannot be deleted"
                raise HarborError("PRECONDITION", said)
        self.remove(project, repository, digest)

    def remove(self, project: Project, repository: Repository, digest: Digest) -> None:
        """Delete an artifact whatever holds it; the project's quota gets back what nothing needs any more."""
        released: set[Digest] = set()
        self._remove(repository, digest, released)
        for blob in released - project.needed():
            project.blobs.pop(blob, None)

    def _remove(self, repository: Repository, digest: Digest, released: set[Digest]) -> None:
        artifact = repository.artifacts.pop(digest)
        released |= artifact.blobs
        self._database.trash.add((repository.name, digest))
        repository.accessories.pop(digest, None)
        for tag in repository.tags_of(digest):
            del repository.tags[tag.name]
        for accessory in repository.accessories_of(digest):
            if accessory.digest in repository.artifacts:
                self._remove(repository, accessory.digest, released)
        for child in artifact.children:
            if child in repository.artifacts and not repository.parents(child) and not repository.tags_of(child):
                self._remove(repository, child, released)

    def _read(self, repository: Repository, manifest: Manifest) -> Artifact:
        for child in manifest.children() if manifest.is_index else ():
            if child.digest not in repository.artifacts:
                raise HarborError("NOT_FOUND", f"artifact {repository.name}@{child.digest} not found")
        media_type = media_type_of(manifest)
        counted = _counted(manifest)
        config = b"" if manifest.is_index else self._config(repository.name, manifest)
        children = manifest.children() if manifest.is_index else ()
        inner = [repository.artifacts[child.digest].size for child in children]
        return Artifact(
            number=self._database.number("artifact"),
            manifest=manifest,
            type=artifact_type(manifest, media_type),
            media_type=media_type,
            size=len(manifest.raw) + sum(inner or [part.size for part in counted]),
            blobs=frozenset({manifest.descriptor.digest, *(part.digest for part in counted)}),
            children=tuple(child.digest for child in children),
            extra_attrs={} if manifest.is_index else attributes(media_type, config),
            pushed=self._database.clock.now(),
        )

    def _config(self, repository: str, manifest: Manifest) -> bytes:
        digests = [part.digest for part in manifest.children()[:1] if manifest.document.get("config") is not None]
        found = [self._storage.resolve(repository, digest) for digest in digests]
        return b"".join(self._storage.depot.read(digest) for digest in found if digest)

    def _attach(self, repository: Repository, artifact: Artifact, tag: str | None) -> None:
        """Note that a manifest belongs to another, by cosign's tag or by its subject."""
        manifest = artifact.manifest
        signed = signed_by_tag(manifest, tag)
        if signed is not None:
            self._note(repository, artifact, signed, "signature.cosign")
        if manifest.subject is not None:
            kind = accessory_type(manifest, artifact.media_type)
            self._note(repository, artifact, manifest.subject.digest, kind)

    def _note(self, repository: Repository, artifact: Artifact, subject: Digest, kind: str) -> None:
        digest = artifact.manifest.descriptor.digest
        if digest not in repository.accessories:
            repository.accessories[digest] = Accessory(
                number=self._database.number("accessory"),
                digest=digest,
                subject=subject,
                type=kind,
                created=self._database.clock.now(),
            )


def is_foreign(part: Descriptor) -> bool:
    """Whether a layer lies elsewhere by its type, and need not be here."""
    return "foreign" in part.media_type or "nondistributable" in part.media_type


def media_type_of(manifest: Manifest) -> str:
    """The config's media type; an index's own."""
    config = manifest.document.get("config")
    return str(config.get("mediaType", "")) if isinstance(config, dict) else manifest.descriptor.media_type


def _counted(manifest: Manifest) -> list[Descriptor]:
    parts: Iterable[Descriptor] = () if manifest.is_index else manifest.children()
    return [part for part in parts if not is_foreign(part)]

"""What a made-up registry holds: repositories of blobs, manifests and tags."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bundlectl.errors import MissingError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_INDEX
from mirror.oci.reference import check_repository, check_tag

if TYPE_CHECKING:
    from registry_fixtures.depot import BlobDepot

__all__ = ["Holdings", "RepositoryHoldings", "referrer_descriptor"]


@dataclass(slots=True)
class RepositoryHoldings:
    """One repository: which blobs it links, its manifests, its tags."""

    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)

    def find(self, reference: str) -> Manifest | None:
        """The manifest behind a tag or a digest."""
        digest = self.tags.get(reference)
        if digest is None and ":" in reference:
            digest = Digest.parse(reference)
        return None if digest is None else self.manifests.get(digest)

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Manifests whose subject is ``subject``, sorted by digest."""
        found = [
            referrer_descriptor(manifest)
            for manifest in list(self.manifests.values())
            if manifest.subject is not None and manifest.subject.digest == subject
        ]
        return sorted(found, key=lambda descriptor: descriptor.digest)


class Holdings:
    """The repositories of one registry over a depot of blobs.

    Test code puts content in directly with ``put_blob`` and ``put_manifest``, which check
    nothing but digests: a registry that already holds something odd must be possible.
    """

    def __init__(self, depot: BlobDepot) -> None:
        self.depot = depot
        self.lock = threading.RLock()
        self._repositories: dict[str, RepositoryHoldings] = {}

    def repository(self, name: str) -> RepositoryHoldings:
        """The repository of that name, made when it does not exist.

        Raises:
            UsageError: not a repository name.
        """
        with self.lock:
            if name not in self._repositories:
                self._repositories[check_repository(name)] = RepositoryHoldings()
            return self._repositories[name]

    def find(self, name: str) -> RepositoryHoldings | None:
        """The repository of that name, if anything was ever put there."""
        return self._repositories.get(name)

    def names(self) -> list[str]:
        """Repositories that hold a manifest, sorted."""
        with self.lock:
            return sorted(name for name, held in self._repositories.items() if held.manifests)

    def put_blob(self, repository: str, data: bytes, *, digest: Digest | None = None) -> Digest:
        """Store a blob and link it into a repository."""
        found = self.depot.put(data, digest=digest)
        self.link_blob(repository, found)
        return found

    def link_blob(self, repository: str, digest: Digest) -> None:
        """Let a repository hold a blob that the depot already has."""
        with self.lock:
            self.repository(repository).blobs.add(digest)

    def put_manifest(
        self, repository: str, raw: bytes, media_type: str = "", *, tag: str | None = None, digest: Digest | None = None
    ) -> Manifest:
        """Store a manifest, and point ``tag`` at it.

        Raises:
            ContentError: not a manifest, or of another digest than ``digest``.
        """
        manifest = Manifest.from_bytes(raw, media_type, expected=digest)
        with self.lock:
            held = self.repository(repository)
            held.manifests[manifest.descriptor.digest] = manifest
            if tag is not None:
                held.tags[check_tag(tag)] = manifest.descriptor.digest
        return manifest

    def manifest(self, repository: str, reference: str) -> Manifest:
        """The manifest behind a tag or a digest.

        Raises:
            MissingError: there is none.
        """
        held = self.find(repository)
        found = held.find(reference) if held else None
        if found is None:
            raise MissingError("the fixture holds no such manifest", artifact=f"{repository}:{reference}")
        return found

    def duplicate(self, source: str, target: str) -> None:
        """Let repository ``target`` hold all that ``source`` holds."""
        with self.lock:
            held, other = self.repository(source), self.repository(target)
            other.blobs |= held.blobs
            other.manifests |= held.manifests
            other.tags |= held.tags

    def copy(self) -> Holdings:
        """Return holdings of the same content that can be changed apart; blobs are shared."""
        twin = Holdings(self.depot)
        with self.lock:
            for name, held in self._repositories.items():
                twin._repositories[name] = RepositoryHoldings(set(held.blobs), dict(held.manifests), dict(held.tags))
        return twin

    def write_fallback_tags(self) -> None:
        """Write the referrers tag of every subject, as for a registry without the referrers API.

        Distribution-spec, "Referrers Tag Schema": ``sha256-<hex>`` names an index of them.
        """
        with self.lock:
            for name, held in list(self._repositories.items()):
                subjects = {found.subject.digest for found in held.manifests.values() if found.subject}
                for subject in sorted(subjects):
                    entries = [descriptor.to_json() for descriptor in held.referrers(subject)]
                    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
                    self.put_manifest(name, canonical_json(index), tag=f"{subject.algorithm}-{subject.encoded}")


def referrer_descriptor(manifest: Manifest) -> Descriptor:
    """Describe a referrer as the referrers API lists it (distribution-spec, "Listing Referrers")."""
    descriptor = manifest.descriptor
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations=manifest.annotations,
        artifact_type=manifest.artifact_type,
    )

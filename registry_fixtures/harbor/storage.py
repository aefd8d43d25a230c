"""The storage of the registry behind core: blobs and manifests by digest in each repository, and no tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_fixtures.depot import BlobDepot
from registry_fixtures.holdings import Holdings

if TYPE_CHECKING:
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest

__all__ = ["Storage"]


class Storage:
    """What distribution 2.8 keeps. Blobs lie under their sha256; a sha512 is a second name for one."""

    def __init__(self) -> None:
        self.depot = BlobDepot()
        self.holdings = Holdings(self.depot)
        self._names: dict[tuple[str, Digest], Digest] = {}
        self._holders: dict[Digest, set[str]] = {}

    def link(self, repository: str, digest: Digest, canonical: Digest | None = None) -> None:
        """Let a repository hold a blob that the depot has under ``canonical`` (or under ``digest`` itself)."""
        self.holdings.link_blob(repository, canonical or digest)
        self._holders.setdefault(canonical or digest, set()).add(repository)
        if canonical is not None and canonical != digest:
            self._names[repository, digest] = canonical

    def resolve(self, repository: str, digest: Digest) -> Digest | None:
        """The sha256 under which a repository holds a blob; None when it does not."""
        canonical = self._names.get((repository, digest), digest)
        held = self.holdings.find(repository)
        return canonical if held and canonical in held.blobs else None

    def unlink(self, repository: str, digest: Digest) -> None:
        """Let a repository no longer hold a blob."""
        held = self.holdings.find(repository)
        if held:
            held.blobs.discard(digest)

    def manifest(self, repository: str, digest: Digest) -> Manifest | None:
        """A manifest by digest, also one that core no longer knows."""
        held = self.holdings.find(repository)
        return held.manifests.get(digest) if held else None

    def keep(self, repository: str, manifest: Manifest) -> None:
        """Store a manifest in a repository."""
        self.holdings.repository(repository).manifests[manifest.descriptor.digest] = manifest

    def drop_manifest(self, repository: str, digest: Digest) -> None:
        """Remove a manifest for good."""
        held = self.holdings.find(repository)
        if held:
            held.manifests.pop(digest, None)

    def drop_blob(self, digest: Digest) -> None:
        """Remove a blob from every repository."""
        for name in self._holders.pop(digest, ()):
            self.unlink(name, digest)

    def close(self) -> None:
        """Forget everything."""
        self.depot.close()

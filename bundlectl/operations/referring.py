"""Finding signatures, SBOMs and attestations: OCI referrers, and cosign's tags."""

from __future__ import annotations

from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError, RegistryError
from bundlectl.events import Notice
from bundles.lock import LockedReferrer
from mirror.graph import walk
from mirror.oci.reference import attached_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundlectl.operations.session import Session
    from mirror.graph import Tree
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.repository import ReadRepository

__all__ = ["ReferrerFinder"]

_COSIGN_SUFFIXES: Final = ("sig", "att", "sbom")
_DEPTH: Final = 4


class ReferrerFinder:
    """Finds what refers to manifests; one instance a run, so that tags are listed once a repository."""

    def __init__(self, session: Session) -> None:
        self._persist = session.persist
        self._listener = session.listener
        self._mutex = Mutex()
        self._turns: dict[str, Mutex] = {}
        self._cosign_tags: dict[str, dict[Digest, list[str]] | None] = {}

    def find(self, repository: ReadRepository, tree: Tree, sizes: dict[Digest, int]) -> tuple[LockedReferrer, ...]:
        """Pin what refers to any manifest of the tree, and what refers to that.

        A registry may list what does not name its subject: Harbor so lists what cosign tagged,
        which is found by its tag. Anything else of that kind is left out with a warning.

        Args:
            repository: where the tree was read.
            tree: of the subject.
            sizes: gets the size of everything that was found.

        Raises:
            TransportError, RegistryError, ContentError: a referrer cannot be read; it is never
                left out in silence.
        """
        found: dict[tuple[Digest, str | None], LockedReferrer] = {}
        unrelated: dict[Digest, Digest] = {}
        subjects = [item.descriptor.digest for item in tree.manifests]
        for _ in range(_DEPTH):
            fresh: list[Digest] = []
            for subject in subjects:
                for descriptor, tag in self._referrers_of(repository, subject, root=tree.root.descriptor.digest):
                    if (descriptor.digest, tag) in found:
                        continue
                    below = self._persist(lambda found=descriptor: walk(repository, found))  # type: ignore[misc]
                    if tag is None and (below.root.subject is None or below.root.subject.digest != subject):
                        unrelated[descriptor.digest] = subject
                        continue
                    sizes.update(below.sizes())
                    found[descriptor.digest, tag] = _pinned(below, descriptor, tag)
                    fresh.append(descriptor.digest)
            if not fresh:
                break
            subjects = fresh
        for digest in unrelated.keys() - {digest for digest, _ in found}:
            told = f"is listed as referring to {unrelated[digest]}, but does not say so; it is left out"
            self._listener(Notice("warning", told, f"{repository.name}@{digest}"))
        return tuple(found.values())

    def _referrers_of(
        self, repository: ReadRepository, subject: Digest, *, root: Digest
    ) -> list[tuple[Descriptor, str | None]]:
        pointed = self._persist(lambda: repository.referrers(subject))
        found: list[tuple[Descriptor, str | None]] = [(item, None) for item in pointed if item.is_manifest]
        for tag in self._cosign_tags_of(repository, subject, root=root):
            try:
                found.append((self._persist(lambda tag=tag: repository.resolve(tag)), tag))  # type: ignore[misc]
            except MissingError:
                continue
        return found

    def _cosign_tags_of(self, repository: ReadRepository, subject: Digest, *, root: Digest) -> list[str]:
        """The tags of cosign's scheme that exist for a manifest: one listing serves a repository."""
        with self._mutex:
            turn = self._turns.setdefault(repository.name, Mutex())
        with turn:
            if repository.name not in self._cosign_tags:
                tags = self._tags_of(repository)
                self._cosign_tags[repository.name] = _cosign_index(tags) if tags else None
            known = self._cosign_tags[repository.name]
        if known is not None:
            return known.get(subject, [])
        return (
            [f"{subject.algorithm}-{subject.encoded}.{suffix}" for suffix in _COSIGN_SUFFIXES]
            if subject == root
            else []
        )

    def _tags_of(self, repository: ReadRepository) -> list[str]:
        """All tags; none where they are not listed, the root's own are then asked for one by one.

        Some registries list no tags for strangers, and some have no such list, which looks as if there were no tags.
        """
        try:
            return self._persist(repository.tags)
        except RegistryError as error:
            # What may be otherwise in a moment is no answer: signatures would be left out in silence.
            if error.retryable:
                raise
            return []


def _cosign_index(tags: Iterable[str]) -> dict[Digest, list[str]]:
    index: dict[Digest, list[str]] = {}
    for tag in tags:
        subject = attached_to(tag)
        if subject is not None and tag.partition(".")[2] in _COSIGN_SUFFIXES:
            index.setdefault(subject, []).append(tag)
    return index


def _pinned(below: Tree, descriptor: Descriptor, tag: str | None) -> LockedReferrer:
    return LockedReferrer(
        digest=below.root.descriptor.digest,
        media_type=below.root.descriptor.media_type,
        artifact_type=descriptor.artifact_type or below.root.artifact_type,
        tag=tag,
        manifests=tuple(item.descriptor.digest for item in below.manifests),
        blobs=tuple(blob.digest for blob in below.blobs),
    )

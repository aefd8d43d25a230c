"""What a registry really holds: walked from every tag, and asked for blob by blob."""

from __future__ import annotations

from functools import partial
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, RegistryError
from bundlectl.events import Notice, PhaseStarted
from bundles.needs import tag_name
from mirror.copying.working import Workers
from mirror.oci.reference import is_attached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundlectl.operations.session import Session
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository

__all__ = ["RegistryStock"]

_MANIFEST_LIMIT: Final = 10_000
"""Manifests that one tag may lead to; far more than the referrers of any image."""


class RegistryStock:
    """What the tags of some repositories lead to, referrers too, as far as the registry answers. Thread-safe.

    What cannot be read (a repository that refuses, a tag of something that is no manifest) is told as a warning and
    left out: whoever can push one tag must not keep a site from saying what it has.

    Args:
        session: connections.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._mutex = Mutex()
        self._known: set[tuple[str, Digest]] = set()
        self._unreadable: set[Digest] = set()
        self._named: dict[str, Digest] = {}
        self._manifests: dict[Digest, ReadRepository] = {}
        self._listed: dict[Digest, list[tuple[ReadRepository, Descriptor]]] = {}
        self._present: set[Digest] = set()

    def walk(self, repositories: Sequence[ReadRepository]) -> int:
        """Read all manifests; return the number of tags.

        Raises:
            TransportError: the registry is out of reach.
            InterruptError: cancelled.
        """
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            tags = workers.map(self._tags, repositories)
            roots = [(repository, tag) for repository, found in zip(repositories, tags, strict=True) for tag in found]
            self._session.listener(PhaseStarted("reading", len(roots)))
            lane = workers.lane(self._read)
            for root in roots:
                workers.queue(lane, root)
            workers.drain()
        return len(roots)

    def settle(self) -> frozenset[Digest]:
        """Ask for every blob; return all that is there.

        Raises:
            TransportError, RegistryError: the registry does not say.
            InterruptError: cancelled.
        """
        with Workers(self._session.jobs, self._session.cancelled) as workers:
            lane = workers.lane(self._look)
            for digest in self._listed:
                workers.queue(lane, digest)
            workers.drain()
        return frozenset(self._present.union(self._manifests))

    def names(self) -> dict[str, Digest]:
        """Digests by the names that they have in an inventory, once `settle` has told what is there."""
        there = self._present.union(self._manifests)
        return {name: digest for name, digest in self._named.items() if digest in there}

    def absent(self) -> set[Digest]:
        """What is named and not there, or not what it should be, once `settle` has told what is there."""
        return self._unreadable.union(self._listed) - self._present - self._manifests.keys()

    def holder(self, digest: Digest) -> ReadRepository | None:
        """A repository that has a manifest or blob; None where none has.

        Raises:
            TransportError, RegistryError: the registry does not say.
        """
        if digest in self._manifests:
            return self._manifests[digest]
        for repository, blob in self._listed.get(digest, ()):
            if self._session.persist(partial(repository.has, blob)):
                return repository
        return None

    def _look(self, digest: Digest) -> None:
        if self.holder(digest) is not None:
            with self._mutex:
                self._present.add(digest)

    def _tags(self, repository: ReadRepository) -> list[str]:
        try:
            return self._session.persist(repository.tags)
        except (ContentError, RegistryError) as error:
            self._skip(error, repository.name)
            return []

    def _read(self, root: tuple[ReadRepository, str]) -> None:
        repository, tag = root
        try:
            descriptor = self._session.persist(partial(repository.resolve, tag))
            manifest = self._manifest(repository, descriptor)
            if manifest is None:
                self._give_up(descriptor.digest)
                return
            if not is_attached(tag):
                name, digest = tag_name(repository.name, tag, manifest)
                with self._mutex:
                    # Two release documents may have one URL; which of them counts must not depend on who is first.
                    self._named[name] = max(digest, self._named.get(name, digest))
            self._descend(repository, manifest, f"{repository.name}:{tag}")
        except MissingError:
            return  # deleted since it was listed
        except (ContentError, RegistryError) as error:
            self._skip(error, f"{repository.name}:{tag}")

    def _descend(self, repository: ReadRepository, root: Manifest, place: str) -> None:
        pending, count = [root], 0
        while pending:
            manifest = pending.pop()
            count += 1
            if count > _MANIFEST_LIMIT:
                raise ContentError(
                    f"leads to more than {_MANIFEST_LIMIT:,} manifests",
                    artifact=place,
                    hint="delete the tag, or leave out its repository by a longer prefix",
                )
            below = [child for child in manifest.children() if manifest.is_index and child.is_manifest]
            below += self._session.persist(partial(repository.referrers, manifest.descriptor.digest))
            fresh = [child for child in below if not self._is_known(repository, child.digest)]
            # What is not there below an index may be a platform that was not wanted.
            pending += [found for child in fresh if (found := self._manifest(repository, child))]

    def _manifest(self, repository: ReadRepository, descriptor: Descriptor) -> Manifest | None:
        """Read a manifest, and take note of what it lists; None where it is not there, or not what it should be."""
        try:
            manifest = self._session.persist(partial(repository.manifest, descriptor))
        except MissingError:
            return None
        except ContentError:
            self._give_up(descriptor.digest)
            return None
        with self._mutex:
            self._manifests.setdefault(descriptor.digest, repository)
            if (repository.name, descriptor.digest) not in self._known:
                self._known.add((repository.name, descriptor.digest))
                for child in manifest.children():
                    if not (manifest.is_index and child.is_manifest) and not child.urls:
                        self._listed.setdefault(child.digest, []).append((repository, child))
        return manifest

    def _is_known(self, repository: ReadRepository, digest: Digest) -> bool:
        with self._mutex:
            return (repository.name, digest) in self._known

    def _give_up(self, digest: Digest) -> None:
        with self._mutex:
            self._unreadable.add(digest)

    def _skip(self, error: ContentError | RegistryError, artifact: str) -> None:
        self._session.listener(Notice("warning", f"cannot be read, and is left out: {error.message}", artifact))

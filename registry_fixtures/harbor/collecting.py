"""Garbage collection: what it takes, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from registry_fixtures.harbor.database import Database, Project, Repository
    from registry_fixtures.harbor.pushing import Artifacts
    from registry_fixtures.harbor.storage import Storage

__all__ = ["Collector"]

_HOUR: Final = 3600


class Collector:
    """Removes what no artifact needs. It runs at once and to its end, where Harbor's runs beside pushes."""

    def __init__(self, database: Database, storage: Storage, artifacts: Artifacts) -> None:
        self._database = database
        self._storage = storage
        self._artifacts = artifacts

    def collect(self, *, window_hours: float, delete_untagged: bool = False) -> int:
        """Collect, and return how many blobs and manifests went.

        Args:
            window_hours: how long a blob was last written or asked for by HEAD, to be taken.
            delete_untagged: also delete artifacts without a tag that are neither an index's child nor
                an accessory, however young they are.
        """
        with self._database.lock:
            if delete_untagged:
                for project in self._database.projects.values():
                    for repository in project.repositories.values():
                        self._delete_untagged(project, repository)
            return self._sweep(self._database.clock.now() - window_hours * _HOUR)

    def _delete_untagged(self, project: Project, repository: Repository) -> None:
        for digest in list(repository.artifacts):
            held = digest in repository.artifacts and (
                repository.tags_of(digest) or repository.parents(digest) or digest in repository.accessories
            )
            if not held and digest in repository.artifacts:
                self._artifacts.remove(project, repository, digest)

    def _sweep(self, oldest: float) -> int:
        projects = self._database.projects.values()
        needed = {digest for project in projects for digest in project.needed()}
        gone = [
            digest
            for digest, record in self._database.blobs.items()
            if digest not in needed and record.touched < oldest
        ]
        for digest in gone:
            del self._database.blobs[digest]
            self._storage.drop_blob(digest)
            for project in projects:
                project.blobs.pop(digest, None)
        for repository, digest in [found for found in self._database.trash if found[1] in gone]:
            self._storage.drop_manifest(repository, digest)
            self._database.trash.discard((repository, digest))
        return len(gone)

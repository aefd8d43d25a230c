"""What a site has already: read where an archive left something out, and asked at the end of an import."""

from __future__ import annotations

from threading import Lock as Mutex
from typing import TYPE_CHECKING, Protocol

from bundlectl.errors import BundlectlError, InterruptError, MissingError
from bundlectl.operations.placing import place_documents
from bundlectl.operations.registry_stock import RegistryStock
from bundlectl.operations.rooting import is_artifact_intact, is_document_intact
from bundlectl.operations.verifying import VerifyReport, check_content
from bundles.plan import TargetPlan, UpstreamNaming
from mirror.copying.report import Failure
from mirror.oci.artifact import FILES_REPOSITORY, MANIFESTS_REPOSITORY
from mirror.oci.descriptor import Descriptor
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT, OCTET_STREAM
from mirror.oci.view import RepositoryView

if TYPE_CHECKING:
    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from bundles.plan import Naming, PlannedManifest
    from mirror.layout import Store
    from mirror.oci.digest import Digest
    from mirror.oci.repository import BlobReader, ReadRepository, Repository
    from mirror.remote import RemoteRegistry

__all__ = ["RegistryContent", "SiteContent", "StoreContent"]


class SiteContent(Protocol):
    """The target of an import, as a place to read from."""

    def open(self, name: str) -> ReadRepository:
        """The repository that stands there for the upstream repository ``name``."""
        ...

    def target(self, name: str) -> Repository:
        """The same repository, to write to."""
        ...

    def has(self, digest: Digest) -> bool:
        """Whether content of this digest is there, in any repository."""
        ...

    def check(self, lock: Lock) -> list[Failure]:
        """What of a lock is not there as it should be."""
        ...


class StoreContent:
    """A store; implements `SiteContent`.

    Args:
        store: open.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, name: str) -> ReadRepository:
        """The repository of the same name."""
        return self._store.repository(name)

    def target(self, name: str) -> Repository:
        """The repository of the same name."""
        return self._store.repository(name)

    def has(self, digest: Digest) -> bool:
        """Whether the store has it."""
        return self._store.size(digest) is not None

    def check(self, lock: Lock) -> list[Failure]:
        """Look whether everything is there, in its size and under its name."""
        plan = TargetPlan.of(lock, UpstreamNaming())
        gone = [
            item.artifact.reference for item in plan.artifacts if not is_artifact_intact(self._store, item, lock.blobs)
        ]
        gone += [item.manifest.url for item in plan.manifests if not self._has_document(item)]
        error = MissingError("is not whole in the store", hint="run the same command again")
        return [Failure.of(reference, error) for reference in gone]

    def _has_document(self, planned: PlannedManifest) -> bool:
        manifest = planned.manifest
        digest = manifest.oci_digest
        if digest is None:
            held = self._store.ref(planned.repository, planned.tags[0])
            digest = held.descriptor.digest if held else None
        return digest is not None and is_document_intact(self._store, planned, digest)


class RegistryContent:
    """A registry; implements `SiteContent`. Thread-safe.

    What is not in the repository that is asked may be in another one, from where another artifact brought it: then
    all repositories below the prefix are looked through, once.

    Args:
        registry: the target.
        naming: how things are called there.
        session: connections.
    """

    def __init__(self, registry: RemoteRegistry, naming: Naming, session: Session) -> None:
        self._registry = registry
        self._naming = naming
        self._session = session
        self._mutex = Mutex()
        self._names: set[str] = set()
        self._stock: RegistryStock | None = None

    def open(self, name: str) -> ReadRepository:
        """The repository that an upstream one is mapped to."""
        return _Anywhere(self.target(name), self)

    def target(self, name: str) -> Repository:
        """The repository that an upstream one is mapped to, to write to."""
        if name == FILES_REPOSITORY:
            path = self._naming.own(FILES_REPOSITORY)
        elif name == MANIFESTS_REPOSITORY:
            path = self._naming.own(self._registry.profile.documents)
        else:
            path = self._naming.repository(name)
        with self._mutex:
            self._names.add(path)
        return self._registry.repository(path)

    def has(self, digest: Digest) -> bool:
        """Whether any repository below the prefix has it."""
        return self.find(digest) is not None

    def find(self, digest: Digest) -> ReadRepository | None:
        """A repository that has a blob or manifest; None where none has."""
        with self._mutex:
            if self._stock is None:
                stock = RegistryStock(self._session)
                stock.walk([self._registry.repository(name) for name in sorted(self._names | self._listed())])
                self._stock = stock
        return self._stock.holder(digest)

    def _listed(self) -> set[str]:
        """All repositories that an inventory of the target speaks of, where the registry lists them."""
        own = {self._naming.own(FILES_REPOSITORY), self._naming.own(self._registry.profile.documents)}
        try:
            return own.union(self._session.persist(lambda: self._registry.repositories(self._naming.prefix)))
        except InterruptError:
            raise
        except BundlectlError:
            return own

    def check(self, lock: Lock) -> list[Failure]:
        """Ask for every tag, manifest and blob."""
        plan = place_documents(TargetPlan.of(lock, self._naming), lock, self._registry)
        report = VerifyReport(target=f"registry:{self._naming.registry}", deep=False)
        check_content(self._registry, lock, plan, report, session=self._session)
        return [
            Failure(item.reference, item.kind, item.message, exit_code=3 if item.kind == "different" else 4)
            for item in {finding.reference: finding for finding in report.findings}.values()
        ]


class _Anywhere(RepositoryView):
    """A repository of a registry; what it has not is looked for in the others."""

    def __init__(self, repository: ReadRepository, content: RegistryContent) -> None:
        super().__init__(repository)
        self._content = content

    def manifest(self, descriptor: Descriptor) -> Manifest:
        try:
            return self._repository.manifest(descriptor)
        except MissingError:
            pass
        try:
            return self._kept(descriptor)
        except MissingError:
            return self._elsewhere(descriptor).manifest(descriptor)

    def _kept(self, descriptor: Descriptor) -> Manifest:
        """A manifest that an earlier import kept as a blob, for want of what it names (`keep_parts`)."""
        with self._repository.open_blob(Descriptor(OCTET_STREAM, descriptor.digest, 0)) as reader:
            raw, data = b"", reader.read(MANIFEST_LIMIT)
            while data and len(raw) <= MANIFEST_LIMIT:
                raw, data = raw + data, reader.read(MANIFEST_LIMIT)
        return Manifest.from_bytes(raw, descriptor.media_type, expected=descriptor.digest)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        try:
            return self._repository.open_blob(descriptor, offset)
        except MissingError:
            return self._elsewhere(descriptor).open_blob(descriptor, offset)

    def _elsewhere(self, descriptor: Descriptor) -> ReadRepository:
        found = self._content.find(descriptor.digest)
        if found is None:
            raise MissingError("is not at the target", artifact=f"{self.name}@{descriptor.digest}")
        return found

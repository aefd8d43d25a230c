"""From a lock to roots for the copy engine: where each artifact is read, and where it goes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlsplit

from bundlectl.errors import ContentError, MissingError, TransportError
from bundlectl.operations.supplementing import SupplementedRepository
from bundles.plan import PACKAGE_BUNDLES_REPOSITORY, document_tag, upstream_name
from bundles.sources.layers import read_layer
from bundles.sources.packages import BundleRepository
from mirror.archive.repository import ArchiveRepository
from mirror.copying import Referrer, Root
from mirror.layout import Store
from mirror.memory import MemoryRepository
from mirror.oci.artifact import (
    FILES_REPOSITORY,
    MANIFESTS_REPOSITORY,
    describe_document,
    describe_package_bundle,
    wrap_file,
)
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCTET_STREAM
from mirror.remote import UrlRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundlectl.operations.locking import Locked
    from bundlectl.operations.request import Beside
    from bundlectl.operations.session import Session
    from bundles.artifact import TrustLevel
    from bundles.lock import LockedArtifact, LockedManifest
    from bundles.plan import PlannedArtifact, PlannedManifest, TargetPlan
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository, Repository

__all__ = ["Rooting", "is_artifact_intact", "is_document_intact"]

_DOCUMENT_LIMIT: Final = 16 * 1024 * 1024


class Rooting:
    """Turns a plan into roots; a context manager that keeps the stores it reads from open.

    It keeps nothing of the lock: while a plan of 50,000 blobs is copied, that would be a third of the memory.

    Args:
        locked: what is to be copied.
        session: connections.
        beside: opens where what an archive left out is read (``SourceRequest.beside``).
    """

    def __init__(self, locked: Locked, session: Session, *, beside: Beside | None = None) -> None:
        self._archives = {text: archive.volumes() for text, archive in locked.archives.items()}
        self._beside = beside
        self._platforms = locked.platforms
        self._holders = locked.stores
        self._raw = locked.raw
        self._session = session
        self._stack = ExitStack()
        self._stores: dict[str, Store] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stack.close()

    def roots(
        self,
        plan: TargetPlan,
        target: Callable[[str, TrustLevel], Repository],
        *,
        kept: Store | None = None,
        sizes: Mapping[Digest, int] | None = None,
    ) -> list[Root]:
        """All artifacts and release documents of a plan; nothing is asked of any source yet.

        Args:
            plan: names at the target.
            target: opens a repository there, for content of a trust level.
            kept: the target, where it is a store: there it costs nothing to look whether all is still there.
            sizes: bytes of every digest, to look with.
        """
        roots = [self._artifact(planned, target, kept, sizes or {}) for planned in plan.artifacts]
        return roots + [self._manifest(planned, target, kept) for planned in plan.manifests]

    def _artifact(
        self,
        planned: PlannedArtifact,
        target: Callable[[str, TrustLevel], Repository],
        kept: Store | None,
        sizes: Mapping[Digest, int],
    ) -> Root:
        artifact = planned.artifact
        return Root(
            label=artifact.reference,
            source=self.source(artifact),
            target=target(planned.repository, artifact.trust),
            descriptor=Descriptor("", planned.digest, 0),
            tags=(planned.tag,),
            platforms=self._platforms if artifact.type == "image" else (),
            referrers=tuple(
                Referrer(Descriptor("", item.digest, 0, artifact_type=item.artifact_type), item.tag)
                for item in artifact.referrers
            ),
            manifests=artifact.manifests,
            is_intact=partial(is_artifact_intact, kept, planned, sizes) if kept else None,
            is_chart=None if artifact.type == "file" else artifact.type == "chart",
        )

    def source(self, artifact: LockedArtifact) -> ReadRepository:
        """The repository that an artifact is read from; nothing is asked of it yet."""
        path = self._holders.get(artifact.identity)
        if path:
            name = FILES_REPOSITORY if artifact.type == "file" else upstream_name(artifact.reference)[0]
            return self._holder(path, name)
        if artifact.type == "file":
            wrapped = wrap_file(artifact.reference, artifact.digest, artifact.size, sha512=artifact.sha512)
            url = self._session.reach(artifact.reference)
            return UrlRepository(url, wrapped.manifest, wrapped.blobs, self._session.client)
        if artifact.chart_url:
            return MemoryRepository(artifact.reference, lambda: self._classic_chart(artifact))
        return self._session.source(upstream_name(artifact.reference)[0])

    def _classic_chart(self, artifact: LockedArtifact) -> tuple[Manifest, Mapping[Digest, bytes]]:
        from bundles.helm.archive import CHART_LIMIT  # noqa: PLC0415 -- 20 ms, only where there is such a chart
        from bundles.helm.conversion import convert  # noqa: PLC0415 -- see above

        url = artifact.chart_url or ""
        chart = convert(self._session.client.fetch(self._session.reach(url), limit=CHART_LIMIT), origin=url)
        return chart.manifest, chart.blobs

    def _manifest(
        self, planned: PlannedManifest, target: Callable[[str, TrustLevel], Repository], kept: Store | None
    ) -> Root:
        manifest = planned.manifest
        source, descriptor = self.document_source(manifest)
        return Root(
            label=manifest.url if not manifest.oci_digest else f"{manifest.url}:{document_tag(manifest)}",
            source=source,
            target=target(planned.repository, manifest.trust),
            descriptor=descriptor,
            tags=planned.tags,
            is_intact=partial(is_document_intact, kept, planned, descriptor.digest) if kept else None,
        )

    def document_source(self, manifest: LockedManifest) -> tuple[ReadRepository, Descriptor]:
        """The repository that a release document is read from, as an OCI artifact, and that artifact's manifest."""
        if manifest.oci_digest:
            return BundleRepository(self._carrier(manifest), manifest), Descriptor("", manifest.oci_digest, 0)
        wrapped = (
            describe_package_bundle(manifest.digest, manifest.size)
            if manifest.kind == "PackageBundle"
            else describe_document(manifest.digest, manifest.size, url=manifest.url)
        )
        source = MemoryRepository(
            manifest.url, lambda: (wrapped.manifest, {**wrapped.blobs, manifest.digest: self._document(manifest)})
        )
        return source, wrapped.manifest.descriptor

    def _store_of(self, manifest: LockedManifest) -> str | None:
        """The path of the store that a release document lies in; None where it is read from its origin."""
        return self._holders.get(("manifest", manifest.kind, str(manifest.digest)))

    def _carrier(self, manifest: LockedManifest) -> ReadRepository:
        """The repository that a package bundle lies in."""
        path = self._store_of(manifest)
        return self._holder(path, manifest.url) if path else self._session.repository(manifest.url)

    def document(self, manifest: LockedManifest) -> bytes:
        """The bytes of a release document that is locked.

        Raises:
            ContentError: it is no longer the one that was locked.
            MissingError, TransportError, RegistryError: it cannot be had.
        """
        if not manifest.oci_digest or str(manifest.digest) in self._raw:
            return self._document(manifest)
        repository = BundleRepository(self._carrier(manifest), manifest)
        held = repository.manifest(Descriptor("", manifest.oci_digest, 0))
        layer = next(child for child in held.children() if child.digest == manifest.digest)
        return read_layer(repository, layer, limit=_DOCUMENT_LIMIT, place=manifest.url)

    def _document(self, manifest: LockedManifest) -> bytes:
        raw = self._raw.get(str(manifest.digest))
        if raw is None:
            path = self._store_of(manifest)
            raw = self._from_store(manifest, path) if path else self._from_origin(manifest)
        if Digest.of(raw, manifest.digest.algorithm) != manifest.digest:
            raise ContentError(
                "is no longer the document that was locked", artifact=manifest.url, hint="make a new lock of it"
            )
        return raw

    def _from_store(self, manifest: LockedManifest, path: str) -> bytes:
        if manifest.size > _DOCUMENT_LIMIT:
            raise ContentError(f"has more than the {_DOCUMENT_LIMIT} bytes that are read", artifact=manifest.url)
        name = MANIFESTS_REPOSITORY if manifest.kind != "PackageBundle" else PACKAGE_BUNDLES_REPOSITORY
        with self._holder(path, name).open_blob(Descriptor(OCTET_STREAM, manifest.digest, manifest.size)) as reader:
            return reader.read(-1)

    def _from_origin(self, manifest: LockedManifest) -> bytes:
        if urlsplit(manifest.url).scheme in ("http", "https"):
            return self._session.client.fetch(self._session.reach(manifest.url), limit=_DOCUMENT_LIMIT)
        if manifest.url.startswith("s3://"):
            if self._session.connection.offline:
                raise TransportError(
                    "is not reached with --offline", artifact=manifest.url, hint="name a store that has the document"
                )
            from bundles.sources.s3 import read_s3  # noqa: PLC0415 -- boto3, only where it is asked for

            return read_s3(manifest.url)
        try:
            with Path(manifest.url).open("rb") as file:
                return file.read(_DOCUMENT_LIMIT)
        except OSError as error:
            raise MissingError(
                f"the release document cannot be read: {error.strerror}",
                artifact=manifest.url,
                hint="run from where the lock was made, or name the document beside the lock",
            ) from error

    def _holder(self, path: str, name: str) -> ReadRepository:
        """A repository of a store or an archive, by its upstream name."""
        if path not in self._archives:
            return self._store(path).repository(name)
        repository = ArchiveRepository(name, self._archives[path])
        return SupplementedRepository(repository, self._beside(name)) if self._beside else repository

    def _store(self, path: str) -> Store:
        if path not in self._stores:
            self._stores[path] = self._stack.enter_context(Store.open(Path(path), read_only=True))
        return self._stores[path]


def is_artifact_intact(store: Store, planned: PlannedArtifact, sizes: Mapping[Digest, int]) -> bool:
    """Whether a store has all of an artifact, under its name.

    Args:
        store: open.
        planned: the artifact.
        sizes: bytes of every digest.
    """
    artifact = planned.artifact
    held = store.repository(planned.repository, trust=artifact.trust)
    return (
        held.vouches(planned.digest, tag=planned.tag)
        and all(held.vouches(item.digest, tag=item.tag) for item in artifact.referrers)
        and all(store.size(digest) == sizes[digest] for digest in artifact.all_digests())
    )


def is_document_intact(store: Store, planned: PlannedManifest, digest: Digest) -> bool:
    """Whether a store has a release document, under its names; ``digest`` is that of the manifest it lies in."""
    held = store.repository(planned.repository, trust=planned.manifest.trust)
    return (
        all(held.vouches(digest, tag=tag) for tag in planned.tags)
        and store.size(digest) is not None
        and store.size(planned.manifest.digest) == planned.manifest.size
    )

"""What a store holds besides its collections, pinned as a lock pins it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from bundlectl.errors import ContentError, MissingError
from bundles.artifact import Excluded
from bundles.document import parse_document
from bundles.lock import LockedArtifact, LockedManifest, LockedReferrer
from bundles.plan import upstream_name
from bundles.sources.following import LOCKED_KINDS
from bundles.sources.layers import read_layer
from mirror.oci.artifact import (
    FILES_REPOSITORY,
    MANIFESTS_REPOSITORY,
    SHA512_ANNOTATION,
    TITLE_ANNOTATION,
    URL_ANNOTATION,
    file_tag,
    wrap_file,
)
from mirror.oci.reference import attached_to, by_digest_tag, is_attached

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundles.artifact import TrustLevel
    from mirror.layout import Ref, Store
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository

__all__ = ["Held", "LooseRefs"]

_HINT: Final = "download it again into this store"
_PACKAGE_BUNDLES: Final = "/eks-anywhere-packages-bundles"
_DOCUMENT_LIMIT: Final = 16 * 1024 * 1024
_DEPTH: Final = 8


@dataclass(slots=True)
class Held:
    """What was found; ``sizes`` has every digest that the artifacts need."""

    artifacts: list[LockedArtifact] = field(default_factory=list)
    manifests: list[LockedManifest] = field(default_factory=list)
    sizes: dict[Digest, int] = field(default_factory=dict)
    excluded: set[Excluded] = field(default_factory=set)


@dataclass(slots=True)
class _Present:
    """A root and what of it is in the store: an index may be sparse."""

    root: Manifest
    manifests: list[Digest] = field(default_factory=list)
    blobs: list[Digest] = field(default_factory=list)
    platforms: set[Any] = field(default_factory=set)


class LooseRefs:
    """Reads the refs of a store that no collection speaks of.

    Args:
        store: open.
        artifacts: those of the collections.
        manifests: likewise.
    """

    def __init__(self, store: Store, artifacts: Iterable[LockedArtifact], manifests: Iterable[LockedManifest]) -> None:
        self._store = store
        self._held = Held()
        self._documents = {item.digest for item in manifests}
        self._covered: set[tuple[str, str]] = set()
        for item in artifacts:
            if item.type == "file":
                self._covered.add((FILES_REPOSITORY, file_tag(item.reference)))
                continue
            name, tag, _ = upstream_name(item.reference)
            self._covered.add((name, tag or by_digest_tag(item.digest)))

    def read(self) -> Held:
        """Pin every ref that is not covered, left out where it was pushed or is attached to another.

        Raises:
            ContentError: content in the store is damaged or missing.
            StoreError: the store cannot be read.
        """
        for ref in self._store.refs():
            tag = ref.tag or by_digest_tag(ref.descriptor.digest)
            if (ref.repository, tag) in self._covered or is_attached(tag):
                continue
            if ref.trust == "pushed":
                self._held.excluded.add(Excluded(str(ref), "was pushed into the store; name it to take it along"))
                continue
            self._read(ref)
        return self._held

    def _read(self, ref: Ref) -> None:
        repository = self._store.repository(ref.repository)
        try:
            present = self._present(repository, ref.descriptor)
        except MissingError as error:
            raise ContentError(
                f"is incomplete: {error.message}", artifact=str(ref), hint="download it again into this store"
            ) from error
        if ref.repository == MANIFESTS_REPOSITORY or ref.repository.endswith(_PACKAGE_BUNDLES):
            self._document(ref, repository, present)
        elif ref.repository == FILES_REPOSITORY:
            self._file(ref, present)
        else:
            self._image(ref, repository, present)

    def _present(self, repository: ReadRepository, descriptor: Descriptor) -> _Present:
        present = _Present(repository.manifest(descriptor))
        self._visit(repository, present.root, present, 0)
        return present

    def _visit(self, repository: ReadRepository, manifest: Manifest, present: _Present, depth: int) -> None:
        if depth > _DEPTH:
            raise ContentError("the index is nested too deeply", artifact=repository.name, hint=_HINT)
        for child in manifest.children():
            if child.digest in present.manifests or child.digest in present.blobs:
                continue
            size = self._store.size(child.digest)
            if manifest.is_index and child.is_manifest:
                if size is not None:
                    self._visit(repository, repository.manifest(child), present, depth + 1)
                    if child.platform and child.platform.os != "unknown":
                        present.platforms.add(child.platform)
            elif size is not None:
                present.blobs.append(child.digest)
                self._held.sizes[child.digest] = size
            elif not child.urls:
                raise MissingError(f"{child.digest} is not in the store", artifact=repository.name, hint=_HINT)
        digest = manifest.descriptor.digest
        present.manifests.append(digest)
        self._held.sizes[digest] = manifest.descriptor.size

    def _image(self, ref: Ref, repository: ReadRepository, present: _Present) -> None:
        root = present.root.descriptor
        referrers = [
            self._referrer(repository, found, None)
            for digest in present.manifests
            for found in repository.referrers(digest)
            if found.is_manifest
        ]
        wanted = set(present.manifests)
        tags = (tag for tag in repository.tags() if attached_to(tag) in wanted)
        referrers += [self._referrer(repository, repository.resolve(tag), tag) for tag in tags]
        self._held.artifacts.append(
            LockedArtifact(
                type="chart" if present.root.is_chart else "image",
                name=ref.repository.rpartition("/")[2],
                reference=str(ref),
                digest=root.digest,
                size=sum(self._held.sizes[item] for item in (*present.manifests, *present.blobs)),
                media_type=root.media_type,
                trust=cast("TrustLevel", ref.trust),
                platforms=tuple(sorted(present.platforms)),
                manifests=tuple(present.manifests),
                blobs=tuple(present.blobs),
                referrers=tuple(referrers),
            )
        )

    def _referrer(self, repository: ReadRepository, descriptor: Descriptor, tag: str | None) -> LockedReferrer:
        present = self._present(repository, descriptor)
        return LockedReferrer(
            digest=present.root.descriptor.digest,
            media_type=present.root.descriptor.media_type,
            artifact_type=descriptor.artifact_type or present.root.artifact_type,
            tag=tag,
            manifests=tuple(present.manifests),
            blobs=tuple(present.blobs),
        )

    def _file(self, ref: Ref, present: _Present) -> None:
        url = present.root.annotations.get(URL_ANNOTATION)
        layers = [child for child in present.root.children() if child.annotations.get(TITLE_ANNOTATION)]
        if not url or len(layers) != 1:
            self._held.excluded.add(Excluded(str(ref), "is not a file of a release"))
            return
        layer = layers[0]
        sha512 = layer.annotations.get(SHA512_ANNOTATION)
        if wrap_file(url, layer.digest, layer.size, sha512=sha512).manifest.raw != present.root.raw:
            self._held.excluded.add(Excluded(str(ref), "is a file as another program wraps it"))
            return
        self._held.artifacts.append(
            LockedArtifact(
                type="file",
                name=layer.annotations[TITLE_ANNOTATION],
                reference=url,
                digest=layer.digest,
                size=layer.size,
                media_type=layer.media_type,
                trust=cast("TrustLevel", ref.trust),
                manifests=tuple(present.manifests),
                blobs=tuple(present.blobs),
                sha512=sha512,
            )
        )

    def _document(self, ref: Ref, repository: ReadRepository, present: _Present) -> None:
        layer = next((child for child in present.root.children() if child.annotations.get(TITLE_ANNOTATION)), None)
        if layer is None or layer.digest in self._documents:
            return
        self._documents.add(layer.digest)
        raw = read_layer(repository, layer, limit=_DOCUMENT_LIMIT, place=str(ref))
        document = parse_document(raw, origin=str(ref))
        kind = LOCKED_KINDS.get(document.type)
        if kind is None:
            self._held.excluded.add(Excluded(str(ref), f"a {document.kind} is not mirrored"))
            return
        is_bundle = ref.repository != MANIFESTS_REPOSITORY
        root = present.root.descriptor.digest
        tags = (tag for tag in repository.tags() if repository.resolve(tag).digest == root) if is_bundle else ()
        self._held.manifests.append(
            LockedManifest(
                kind=kind,
                name=document.name or (ref.tag or ""),
                url=ref.repository if is_bundle else present.root.annotations.get(URL_ANNOTATION, str(ref)),
                digest=document.digest,
                size=len(raw),
                trust=cast("TrustLevel", ref.trust),
                oci_digest=root if is_bundle else None,
                tags=tuple(tags),
            )
        )

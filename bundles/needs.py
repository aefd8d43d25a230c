"""What a site must have to have all of a lock: every name, and every digest with its size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bundles.plan import TargetPlan, UpstreamNaming
from mirror.oci.artifact import (
    FILES_REPOSITORY,
    URL_ANNOTATION,
    describe_document,
    describe_package_bundle,
    file_tag,
)
from mirror.oci.mediatype import FILE_ARTIFACT, RELEASE_MANIFEST_ARTIFACT
from mirror.oci.reference import by_digest_tag
from mirror.profiles import every_profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundles.artifact import ArtifactType
    from bundles.lock import Lock, LockedManifest
    from mirror.oci.artifact import WrappedArtifact
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest

__all__ = ["Named", "carried", "locked_names", "needed_sizes", "tag_name", "wrapped_document"]


@dataclass(frozen=True, slots=True)
class Named:
    """Something that has a name: an artifact by reference or URL, a release document by URL or path.

    A package bundle is an artifact of a registry: its reference has its tag, and ``digest`` is that of the manifest.
    An inventory knows neither ``type`` nor ``size`` (bytes).
    """

    name: str
    reference: str
    digest: Digest
    type: ArtifactType | Literal["document"] | None = None
    size: int | None = None


def locked_names(lock: Lock) -> Iterator[Named]:
    """All that a lock names, as a store that has it names it.

    Raises:
        UsageError: two package bundles have one name.
    """
    for item in lock.artifacts:
        yield Named(item.name, item.reference, item.digest, item.type, item.size)
    bundles = tuple(item for item in lock.manifests if item.kind == "PackageBundle")
    for planned in TargetPlan.of(replace(lock, artifacts=(), manifests=bundles), UpstreamNaming()).manifests:
        bundle = planned.manifest
        root = bundle.oci_digest or wrapped_document(bundle).manifest.descriptor.digest
        for tag in planned.tags:
            yield Named(bundle.name, f"{planned.repository}:{tag}", root, "document", bundle.size)
    for document in lock.manifests:
        if document.kind != "PackageBundle":
            yield Named(document.name, document.url, document.digest, "document", document.size)


def tag_name(repository: str, tag: str | None, manifest: Manifest) -> tuple[str, Digest]:
    """What a tag is called in an inventory, and the digest under it: of a file or release document, as upstream.

    Args:
        repository: with its host, where it has one.
        tag: None for content that is kept by its digest.
        manifest: that it points at.
    """
    root, url, layers = manifest.descriptor.digest, manifest.annotations.get(URL_ANNOTATION), manifest.children()[1:]
    if url and len(layers) == 1:
        # Whoever may push into a repository of their own must not give names to what is of upstream.
        is_file = manifest.artifact_type == FILE_ARTIFACT and _is_one_of(repository, {FILES_REPOSITORY})
        places = {profile.documents for profile in every_profile()}
        is_document = manifest.artifact_type == RELEASE_MANIFEST_ARTIFACT and _is_one_of(repository, places)
        if (is_file and tag == file_tag(url)) or is_document:
            return url, layers[0].digest
    if tag is None or tag == by_digest_tag(root):
        return f"{repository}@{root}", root
    return f"{repository}:{tag}", root


def _is_one_of(repository: str, ours: Iterable[str]) -> bool:
    """Whether a repository is called like one of ours, below whatever host and prefix."""
    return f"/{repository}".endswith(tuple(f"/{name}" for name in ours))


def needed_sizes(lock: Lock, carriers: Iterable[Manifest] = ()) -> dict[Digest, int]:
    """Bytes of everything, each digest once: what the artifacts need, and the release documents as they are kept.

    Args:
        lock: what is needed.
        carriers: the manifests around its package bundles (`carried`); without them only the bundles are counted.
    """
    sizes = dict(lock.blobs)
    wrapped = [wrapped_document(document) for document in lock.manifests if document.oci_digest is None]
    for item in wrapped:
        sizes.update((digest, len(data)) for digest, data in item.blobs.items())
    for manifest in (*(item.manifest for item in wrapped), *carriers):
        sizes.update((found.digest, found.size) for found in (manifest.descriptor, *manifest.children()))
    sizes.update((document.digest, document.size) for document in lock.manifests)
    return sizes


def carried(lock: Lock) -> list[LockedManifest]:
    """The package bundles that came in a manifest of their registry, whose size a lock does not say."""
    return [document for document in lock.manifests if document.oci_digest is not None]


def wrapped_document(document: LockedManifest) -> WrappedArtifact:
    """The artifact that a release document is kept in, unless a registry had it in one of its own."""
    if document.kind == "PackageBundle":
        return describe_package_bundle(document.digest, document.size)
    return describe_document(document.digest, document.size, url=document.url)

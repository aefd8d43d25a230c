"""What one manifest of the store is, for people: its kind, its size as it lies here, its platforms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import BundlectlError
from mirror.oci.mediatype import DOCKER_CONFIG, FILE_ARTIFACT, OCI_CONFIG, RELEASE_MANIFEST_ARTIFACT
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from mirror.layout.store import Store
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.server.describing import Allowance

__all__ = ["Contents", "read_contents"]

_KINDS: Final = {FILE_ARTIFACT: "file", RELEASE_MANIFEST_ARTIFACT: "release document"}
_IMAGE_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_CONFIG_LIMIT: Final = 1024 * 1024
_CHILDREN_MAX: Final = 64
"""Manifests of one index that are looked at: a page must not cost whatever somebody pushed."""

_SHOWN: Final = 100
_UNREAD: Final = "too large to look into here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A manifest with everything below it that is here.

    ``size`` in bytes, each blob once; ``platforms`` with whether their content is here, which a
    mirror of some platforms leaves out; ``whole`` is False where something cannot be read.
    """

    kind: str
    size: int = 0
    platforms: tuple[tuple[str, bool], ...] = ()
    whole: bool = True


def read_contents(store: Store, repository: str, descriptor: Descriptor, allowance: Allowance) -> Contents:
    """Look at a manifest; what is damaged, absent or beyond the allowance is told, not raised."""
    if not allowance.take(descriptor.size):
        return Contents(kind=_UNREAD, size=descriptor.size)
    try:
        manifest = store.repository(repository).manifest(descriptor)
    except BundlectlError:
        return Contents(kind="unreadable", whole=False)
    sizes = {manifest.descriptor.digest: manifest.descriptor.size}
    if not manifest.is_index:
        sizes.update(_below(manifest))
        return Contents(
            kind=_kind(manifest), size=sum(sizes.values()), platforms=_own_platform(store, manifest, allowance)
        )
    platforms: dict[str, bool] = {}
    whole = True
    for child in manifest.children()[:_CHILDREN_MAX]:
        size = store.size(child.digest)
        if child.platform and child.platform.os not in ("", "unknown"):
            platforms[str(child.platform)[:_SHOWN]] = size is not None
        if size is None:
            continue
        sizes[child.digest] = size
        if not allowance.take(size):
            continue
        try:
            sizes.update(_below(store.repository(repository).manifest(child)))
        except BundlectlError:
            whole = False
    return Contents(kind="image", size=sum(sizes.values()), platforms=tuple(sorted(platforms.items())), whole=whole)


def _below(manifest: Manifest) -> dict[Digest, int]:
    return {child.digest: child.size for child in manifest.children() if not child.urls}


def _kind(manifest: Manifest) -> str:
    if manifest.is_chart:
        return "chart"
    if manifest.descriptor.artifact_type:
        return _KINDS.get(manifest.descriptor.artifact_type, manifest.descriptor.artifact_type[:_SHOWN])
    return "image" if manifest.artifact_type in _IMAGE_CONFIGS else manifest.artifact_type[:_SHOWN] or "artifact"


def _own_platform(store: Store, manifest: Manifest, allowance: Allowance) -> tuple[tuple[str, bool], ...]:
    """The platform of an image, which only its config tells."""
    config = next((child for child in manifest.children() if child.media_type in _IMAGE_CONFIGS), None)
    if config is None or config.size > _CONFIG_LIMIT or not allowance.take(config.size):
        return ()
    try:
        with store.open_blob(config.digest) as reader:
            value = json.loads(reader.read(_CONFIG_LIMIT))
    except (BundlectlError, ValueError, RecursionError):
        return ()
    text = str(Platform.from_json(value))[:_SHOWN] if isinstance(value, dict) else ""
    return ((text, True),) if text else ()

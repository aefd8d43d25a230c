"""OCI artifacts that bundlectl makes: files of a release, and release documents.

Pure functions of their arguments: the same file at two sites is the same manifest, so a lock
need not list what is made here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from bundlectl.errors import ContentError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import (
    AWS_BUNDLE_CONFIG,
    EMPTY,
    EMPTY_DIGEST,
    FILE_ARTIFACT,
    OCI_LAYER,
    OCI_MANIFEST,
    OCTET_STREAM,
    RELEASE_MANIFEST_ARTIFACT,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FILES_REPOSITORY",
    "IMPORTS_REPOSITORY",
    "MANIFESTS_REPOSITORY",
    "SHA512_ANNOTATION",
    "TITLE_ANNOTATION",
    "URL_ANNOTATION",
    "WrappedArtifact",
    "describe_document",
    "describe_package_bundle",
    "file_tag",
    "wrap_document",
    "wrap_file",
    "wrap_package_bundle",
]

FILES_REPOSITORY: Final = "bundlectl/files"
MANIFESTS_REPOSITORY: Final = "bundlectl/manifests"
IMPORTS_REPOSITORY: Final = "bundlectl/imports"
"""What imports remember of a registry, in it; no content of the site."""

TITLE_ANNOTATION: Final = "org.opencontainers.image.title"
URL_ANNOTATION: Final = "dev.bundlectl.file.url"
SHA512_ANNOTATION: Final = "dev.bundlectl.file.sha512"
"""On a layer: the sha512 (hex) that its bytes must have besides their digest."""

_EMPTY_JSON: Final = b"{}"


@dataclass(frozen=True, slots=True)
class WrappedArtifact:
    """A manifest made by bundlectl, the layer it wraps, and the small blobs it needs."""

    manifest: Manifest
    layer: Descriptor
    blobs: Mapping[Digest, bytes]


def file_tag(url: str) -> str:
    """The tag of a file's artifact: ``u-`` and 40 hex digits of the sha256 of its URL (``cli.md``)."""
    return f"u-{hashlib.sha256(url.encode()).hexdigest()[:40]}"


def wrap_file(url: str, digest: Digest, size: int, *, sha512: str | None = None) -> WrappedArtifact:
    """Wrap one file of a release.

    Args:
        url: where the release says it is; the title is the last element of its path.
        digest: of the file's bytes.
        size: in bytes.
        sha512: hex, where the release states it; whoever stores the layer checks it too.

    Raises:
        ContentError: ``url`` is none.
    """
    title = _title(url) or "file"
    annotations = {TITLE_ANNOTATION: title}
    if sha512:
        annotations[SHA512_ANNOTATION] = sha512
    layer = Descriptor(OCTET_STREAM, digest, size, annotations=annotations)
    return _wrap(FILE_ARTIFACT, layer, {TITLE_ANNOTATION: title, URL_ANNOTATION: url}, {})


def wrap_document(raw: bytes, *, url: str) -> WrappedArtifact:
    """Wrap a release document, its bytes as received.

    Raises:
        ContentError: ``url`` is none.
    """
    return _with_layer(describe_document(Digest.of(raw), len(raw), url=url), raw)


def describe_document(digest: Digest, size: int, *, url: str) -> WrappedArtifact:
    """Wrap a release document whose bytes are not at hand; its layer is not among the blobs.

    Raises:
        ContentError: ``url`` is none.
    """
    title = _title(url) or "manifest.yaml"
    layer = Descriptor(OCTET_STREAM, digest, size, annotations={TITLE_ANNOTATION: title})
    annotations = {TITLE_ANNOTATION: title, URL_ANNOTATION: url}
    return _wrap(RELEASE_MANIFEST_ARTIFACT, layer, annotations, {})


def wrap_package_bundle(raw: bytes) -> WrappedArtifact:
    """Wrap a PackageBundle as AWS publishes it (ORAS 0.12: raw YAML under a tar media type)."""
    return _with_layer(describe_package_bundle(Digest.of(raw), len(raw)), raw)


def describe_package_bundle(digest: Digest, size: int) -> WrappedArtifact:
    """Wrap a PackageBundle whose bytes are not at hand; its layer is not among the blobs."""
    layer = Descriptor(OCI_LAYER, digest, size, annotations={TITLE_ANNOTATION: "bundle.yaml"})
    config = Descriptor(AWS_BUNDLE_CONFIG, Digest.parse(EMPTY_DIGEST), len(_EMPTY_JSON))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    return WrappedArtifact(Manifest.render(document), layer, {config.digest: _EMPTY_JSON})


def _title(url: str) -> str:
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError as error:
        raise ContentError(f"{url[:300]!r} is not a URL: {error}") from error


def _with_layer(wrapped: WrappedArtifact, raw: bytes) -> WrappedArtifact:
    return WrappedArtifact(wrapped.manifest, wrapped.layer, {**wrapped.blobs, wrapped.layer.digest: raw})


def _wrap(
    artifact_type: str, layer: Descriptor, annotations: Mapping[str, str], blobs: Mapping[Digest, bytes]
) -> WrappedArtifact:
    config = Descriptor(EMPTY, Digest.parse(EMPTY_DIGEST), len(_EMPTY_JSON))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.to_json(),
        "layers": [layer.to_json()],
        "annotations": dict(annotations),
    }
    return WrappedArtifact(Manifest.render(document), layer, {config.digest: _EMPTY_JSON, **blobs})

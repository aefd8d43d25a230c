"""Media types that bundlectl meets and writes (OCI image-spec, Docker v2.2, Helm, cosign)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCEPT_MANIFESTS",
    "AWS_BUNDLE_CONFIG",
    "COSIGN_SIMPLE_SIGNING",
    "DOCKER_CONFIG",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "EMPTY",
    "EMPTY_DIGEST",
    "FILE_ARTIFACT",
    "HELM_CHART",
    "HELM_CONFIG",
    "HELM_PROVENANCE",
    "INDEX_TYPES",
    "MANIFEST_LIMIT",
    "MANIFEST_TYPES",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_MANIFEST",
    "OCTET_STREAM",
    "RELEASE_MANIFEST_ARTIFACT",
]

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
OCTET_STREAM: Final = "application/octet-stream"

EMPTY: Final = "application/vnd.oci.empty.v1+json"
EMPTY_DIGEST: Final = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

HELM_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
HELM_PROVENANCE: Final = "application/vnd.cncf.helm.chart.provenance.v1.prov"
COSIGN_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"

FILE_ARTIFACT: Final = "application/vnd.bundlectl.file.v1"
RELEASE_MANIFEST_ARTIFACT: Final = "application/vnd.bundlectl.release-manifest.v1"
AWS_BUNDLE_CONFIG: Final = "application/vnd.unknown.config.v1+json"

INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES: Final = frozenset({OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST})

ACCEPT_MANIFESTS: Final = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"
"""Sent on every manifest request: Harbor answers 404 to an Accept that lacks the stored type."""

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes; the size that every registry must accept and Harbor refuses to exceed."""

"""What Harbor takes a manifest for: the type of an artifact, and the type of an accessory."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from mirror.oci.digest import Digest
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, HELM_CONFIG, OCI_CONFIG
from registry_fixtures.harbor.refusals import HarborError

if TYPE_CHECKING:
    from mirror.oci.manifest import Manifest

__all__ = ["COSIGN_SIGNATURE", "NOTATION_SIGNATURE", "accessory_type", "artifact_type", "attributes", "signed_by_tag"]

COSIGN_SIGNATURE: Final = "signature.cosign"
NOTATION_SIGNATURE: Final = "signature.notation"

_DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_TYPES: Final = {
    OCI_CONFIG: "IMAGE",
    _DOCKER_CONFIG: "IMAGE",
    HELM_CONFIG: "CHART",
    "application/vnd.cnab.manifest.v1": "CNAB",
    "application/vnd.wasm.config.v1+json": "WASM",
}
_NAMED: Final = re.compile(r"application/vnd\.[^.]*\.(.*)\.config\.[^.]*\+json")
_ACCESSORIES: Final = {
    "application/vnd.dev.cosign.artifact.sig.v1+json": COSIGN_SIGNATURE,
    "application/vnd.dev.sigstore.bundle.v0.3+json": COSIGN_SIGNATURE,
    "application/vnd.cncf.notary.signature": NOTATION_SIGNATURE,
    "application/vnd.goharbor.harbor.sbom.v1": "sbom.harbor",
}
_SIGNATURE_TAG: Final = re.compile(r"sha256-([0-9a-f]{64})\.sig")
_IMAGE_FIELDS: Final = ("architecture", "os", "author", "created", "config")


def artifact_type(manifest: Manifest, media_type: str) -> str:
    """The type that the REST API tells: ``IMAGE``, ``CHART``, the NAME in a config's type, or ``UNKNOWN``."""
    if manifest.is_index:
        return "IMAGE"
    if media_type in _TYPES:
        return _TYPES[media_type]
    named = _NAMED.fullmatch(media_type)
    return named[1].upper() if named else "UNKNOWN"


def attributes(media_type: str, config: bytes) -> dict[str, Any]:
    """What the REST API tells of a config (``extra_attrs``), for the types that Harbor reads.

    Raises:
        HarborError: 500, the config of such a type is not a JSON object.
    """
    if media_type not in _TYPES:
        return {}
    try:
        document = json.loads(config)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise HarborError("UNKNOWN")
    if _TYPES[media_type] != "IMAGE":
        return document
    return {key: document[key] for key in _IMAGE_FIELDS if document.get(key) is not None}


def signed_by_tag(manifest: Manifest, tag: str | None) -> Digest | None:
    """The subject of a signature under cosign's tag ``sha256-<hex>.sig``; None for anything else."""
    found = _SIGNATURE_TAG.fullmatch(tag or "")
    if found and any(layer.media_type == COSIGN_SIMPLE_SIGNING for layer in manifest.children()):
        return Digest("sha256", found[1])
    return None


def accessory_type(manifest: Manifest, media_type: str) -> str:
    """The type of a manifest with a subject, by its artifact type, or its config's where it has none."""
    return _ACCESSORIES.get(manifest.descriptor.artifact_type or media_type, "subject.accessory")

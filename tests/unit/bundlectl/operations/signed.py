"""Images in repositories, and signatures of every form beside them, also wrong ones."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, EMPTY, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from signing.cosign import SIGN_PREDICATE, SIGNATURE_ANNOTATION, SIGNATURE_ARTIFACT, signature_tag, simple_signing
from signing.envelope import BUNDLE_TYPE, IN_TOTO_TYPE, sign_dsse, statement
from signing.identity import NamedKey, TrustAnchors
from signing.keys.local import LocalSigner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.oci.repository import Repository
    from signing.signature import Signer

__all__ = [
    "ANCHORS",
    "NAMED",
    "OTHER",
    "SIGNER",
    "attach",
    "attach_bundle",
    "bundle",
    "layer",
    "push",
    "push_image",
    "put_tag",
]

SIGNER: Final = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
OTHER: Final = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
NAMED: Final = NamedKey("site.pub", SIGNER.public_key)
ANCHORS: Final = TrustAnchors(keys=(NAMED,))


def push(repository: Repository, data: bytes, media_type: str) -> Descriptor:
    descriptor = Descriptor(media_type, Digest.of(data), len(data))
    upload = repository.begin_blob(descriptor)
    if not isinstance(upload, str):
        upload.write(lambda: io.BytesIO(data[upload.offset() :]))
    return descriptor


def push_image(
    repository: Repository, content: bytes = b"an image", *, tag: str = "v1", config: str = OCI_CONFIG
) -> Descriptor:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": push(repository, b"{}", config).to_json(),
        "layers": [push(repository, content, OCI_LAYER).to_json()],
    }
    manifest = Manifest.render(document)
    repository.put_manifest(manifest, tag=tag)
    return manifest.descriptor


def layer(
    repository: Repository, image: Digest, signer: Signer = SIGNER, *, payload: bytes = b"", **changes: Any
) -> dict[str, Any]:
    """A layer of the tag scheme, as JSON."""
    payload = payload or simple_signing("registry.test/a/b", image)
    value = base64.b64encode(signer.sign_digest(Digest.of(payload)).value).decode()
    described = push(repository, payload, COSIGN_SIMPLE_SIGNING).to_json()
    return {**described, "annotations": {SIGNATURE_ANNOTATION: value}, **changes}


def put_tag(repository: Repository, image: Digest, *layers: Mapping[str, Any]) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": push(repository, b"{}", OCI_CONFIG).to_json(),
        "layers": list(layers),
    }
    manifest = Manifest.render(document)
    repository.put_manifest(manifest, tag=signature_tag(image))
    return manifest


def attach(
    repository: Repository, image: Descriptor, *layers: Mapping[str, Any], artifact_type: str, **more: Any
) -> Manifest:
    """Put a referrer of ``image``."""
    old = artifact_type == SIGNATURE_ARTIFACT
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": push(repository, b"{}", artifact_type if old else EMPTY).to_json(),
        "layers": list(layers),
        "subject": Descriptor(image.media_type, image.digest, image.size).to_json(),
        **({} if old else {"artifactType": artifact_type}),
        **more,
    }
    manifest = Manifest.render(document)
    repository.put_manifest(manifest)
    return manifest


def bundle(
    image: Digest, signer: Signer = SIGNER, *, predicate: str = SIGN_PREDICATE, kind: str = IN_TOTO_TYPE
) -> bytes:
    return sign_dsse(statement([("", image)], predicate, {}), kind, signer)


def attach_bundle(repository: Repository, image: Descriptor, raw: bytes, **more: Any) -> Manifest:
    described = push(repository, raw, BUNDLE_TYPE).to_json()
    return attach(repository, image, described, **{"artifact_type": BUNDLE_TYPE, **more})

"""What belongs to an image without being part of it: cosign tags, and referrers of OCI 1.1."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, EMPTY, OCI_CONFIG, OCI_MANIFEST
from registry_fixtures.noise import noise

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.oci.descriptor import Descriptor
    from registry_fixtures.holdings import Holdings
    from registry_fixtures.noise import Dice

__all__ = ["NOTATION", "SBOM", "Attacher"]

NOTATION: Final = "application/vnd.cncf.notary.signature"
SBOM: Final = "application/spdx+json"

_COSIGN_SHARE: Final = 0.25
_SBOM_SHARE: Final = 0.25
_NOTATION_SHARE: Final = 0.4


@dataclass(slots=True)
class Attacher:
    """Gives a share of the images signatures and SBOMs.

    A quarter has a cosign signature under ``sha256-<hex>.sig``, a quarter an SPDX document and
    two fifths a notation signature as referrers; an SBOM of an image with both is signed too, so
    that referrers of referrers occur. Shares are independent of one another.

    Args:
        sign: signs a cosign payload (DER, ECDSA over SHA-256); noise that no key verifies when None.
    """

    holdings: Holdings
    dice: Dice
    sign: Callable[[bytes], bytes] | None = None

    def attach(self, host: str, repository: str, subject: Descriptor) -> None:
        """Attach to an image what falls to it.

        Args:
            host: the upstream host, for the docker-reference of the payload.
            repository: the path in the holdings.
            subject: what the tag points at.
        """
        name = str(subject.digest)
        notation = self.dice.fraction("notation", repository, name) < _NOTATION_SHARE
        if self.dice.fraction("cosign", repository, name) < _COSIGN_SHARE:
            self.cosign(host, repository, subject)
        if notation:
            self.notation(repository, subject)
        if self.dice.fraction("sbom", repository, name) < _SBOM_SHARE:
            document = self.sbom(repository, subject)
            if notation:
                self.notation(repository, document)

    def cosign(self, host: str, repository: str, subject: Descriptor) -> Descriptor:
        """Sign by the tag scheme (cosign, "Signature Specification"); return the signature's descriptor."""
        path = repository.removeprefix(f"{host.replace(':', '-')}/")
        critical = {
            "identity": {"docker-reference": f"{host}/{path}"},
            "image": {"docker-manifest-digest": str(subject.digest)},
            "type": "cosign container image signature",
        }
        payload = json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()
        signature = self.sign(payload) if self.sign else next(noise(f"signature {subject.digest}", 71))
        layer = self._blob(repository, payload, COSIGN_SIMPLE_SIGNING)
        layer["annotations"] = {"dev.cosignproject.cosign/signature": base64.b64encode(signature).decode()}
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        config = {"architecture": "", "created": "0001-01-01T00:00:00Z", "os": "", "rootfs": rootfs, "config": {}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, json.dumps(config).encode(), OCI_CONFIG),
            "layers": [layer],
        }
        tag = f"{subject.digest.algorithm}-{subject.digest.encoded}.sig"
        return self.holdings.put_manifest(repository, json.dumps(manifest).encode(), tag=tag).descriptor

    def notation(self, repository: str, subject: Descriptor) -> Descriptor:
        """Attach a notation signature as a referrer, with notation's type as the config's (as notation writes it)."""
        envelope = {"payload": base64.b64encode(str(subject.digest).encode()).decode(), "signature": "bm90IHJlYWw"}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, b"{}", NOTATION),
            "layers": [self._blob(repository, json.dumps(envelope).encode(), "application/jose+json")],
            "subject": _plain(subject),
            "annotations": {"io.cncf.notary.x509chain.thumbprint#S256": "[]"},
        }
        return self.holdings.put_manifest(repository, json.dumps(manifest).encode()).descriptor

    def sbom(self, repository: str, subject: Descriptor) -> Descriptor:
        """Attach an SPDX document as a referrer with an ``artifactType``."""
        document = {"spdxVersion": "SPDX-2.3", "name": str(subject.digest), "packages": []}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SBOM,
            "config": self._blob(repository, b"{}", EMPTY),
            "layers": [self._blob(repository, json.dumps(document).encode(), SBOM)],
            "subject": _plain(subject),
            "annotations": {"org.opencontainers.image.created": "2024-05-01T00:00:00Z"},
        }
        return self.holdings.put_manifest(repository, json.dumps(manifest).encode()).descriptor

    def _blob(self, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
        digest = self.holdings.put_blob(repository, data)
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def _plain(subject: Descriptor) -> dict[str, Any]:
    return {"mediaType": subject.media_type, "digest": str(subject.digest), "size": subject.size}

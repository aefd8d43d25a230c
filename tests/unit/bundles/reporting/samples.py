"""Locks and reports made up for the tests, of any size and as hostile as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bundles.artifact import Excluded
from bundles.lock import Lock, LockedArtifact, LockedManifest, LockedReferrer, LockedSource
from bundles.reporting.attached import Attached
from bundles.reporting.placing import place_all
from bundles.reporting.report import Report, ReportedArtifact, ReportedDocument, Vouching
from bundles.reporting.summaries import SEVERITIES, BillOfMaterials, Vulnerabilities
from bundles.selection import Selection
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BUNDLES", "image", "lock_of", "report_of"]

BUNDLES: Final = "https://releases.example/bundles.yaml"


def digest(text: object) -> Digest:
    return Digest.of(str(text).encode())


def image(number: int, **more: Any) -> LockedArtifact:
    """An image of ten layers, two of which it shares with all others."""
    manifest = digest(f"manifest {number}")
    blobs = (digest("base"), digest("libc"), *(digest(f"layer {number}.{part}") for part in range(8)))
    values: dict[str, Any] = {
        "type": "image",
        "name": f"tool-{number}",
        "reference": f"registry.example/team/tool-{number}:v1.{number}",
        "digest": manifest,
        "size": 11,
        "media_type": OCI_MANIFEST,
        "trust": "declared",
        "platforms": (Platform("linux", "amd64"), Platform("linux", "arm64")),
        "components": (f"component-{number % 40:02}",),
        "found_in": (f"{BUNDLES}#spec.tools[{number}]",),
        "manifests": (manifest,),
        "blobs": blobs,
        "referrers": (LockedReferrer(digest=digest(f"sbom {number}"), media_type=OCI_MANIFEST),),
        **more,
    }
    return LockedArtifact(**values)


def lock_of(artifacts: Iterable[LockedArtifact], **more: Any) -> Lock:
    found = tuple(artifacts)
    document = LockedManifest(
        kind="Bundles",
        name="bundles-1",
        url=BUNDLES,
        digest=digest("bundles"),
        size=100,
        trust="signed",
        verified_by="aws",
    )
    values: dict[str, Any] = {
        "sources": (LockedSource("eks-a:v1", "Release", "v1"),),
        "selection": Selection().to_json(),
        "manifests": (document,),
        "artifacts": found,
        "blobs": {needed: 1000 for item in found for needed in item.all_digests()},
        "excluded": (Excluded("registry.example/left:v1", "not wanted"),),
        "weakened": ("nothing to speak of (flag --x)",),
        **more,
    }
    return Lock(**values)


def attached(number: int) -> tuple[Attached, ...]:
    bill = BillOfMaterials(format="SPDX 2.3", tool="syft-1", packages=200, licences=(("MIT", 120), ("Apache-2.0", 60)))
    scan = Vulnerabilities(format="Trivy", tool="trivy 0.60", counts=dict.fromkeys(SEVERITIES, number % 3))
    return (
        Attached(digest=digest(f"signature {number}"), kind="signature", what="cosign signature", says="key abc"),
        Attached(digest=digest(f"sbom {number}"), kind="sbom", what="SPDX attestation", summaries=(bill,)),
        Attached(digest=digest(f"scan {number}"), kind="vulnerabilities", what="scan", summaries=(scan,)),
    )


def report_of(lock: Lock, **more: Any) -> Report:
    """A report in which everything has three things attached."""
    artifacts = tuple(
        ReportedArtifact(
            artifact=item.artifact,
            recorded=item.artifact.trust,
            release=item.release,
            component=item.component,
            package=item.package,
            attached=attached(number),
        )
        for number, item in enumerate(place_all(lock))
    )
    values: dict[str, Any] = {
        "lock": lock,
        "sources": ("eks-a:v1",),
        "vouching": Vouching(digest=digest("lock"), made_here=True, says=None, verified_by=None, checked="Nothing."),
        "documents": tuple(ReportedDocument(document=item, recorded=item.trust) for item in lock.manifests),
        "artifacts": artifacts,
        **more,
    }
    return Report(**values)

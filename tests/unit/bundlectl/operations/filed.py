"""``files`` at a site, and what it left in its folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bundlectl.operations import FilesReport, write_files
from bundles.document import parse_document
from bundles.lock import Lock, LockedArtifact
from bundles.release import findings
from bundles.selection import Selection
from mirror.oci.artifact import wrap_file
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.bundlectl.operations.site import Site

RELEASE = "eks-a:v0.24.1"
CDN = "anywhere-assets.eks.amazonaws.com"
INDEX = f"{CDN}/releases/eks-a/manifest.yaml"
BUNDLES = f"{CDN}/releases/bundles/101/manifest.yaml"
OVA = f"{CDN}/releases/bundles/101/artifacts/ova/1-33/bottlerocket-v1.33.5-eks-d-1-33-12-eks-a-101-amd64.ova"
CERT_MANAGER = f"{CDN}/releases/bundles/101/artifacts/cert-manager/manifests/v1.18.2/cert-manager.yaml"
EKSD_RELEASE = "distro.eks.amazonaws.com/kubernetes-1-33/kubernetes-1-33-eks-12.yaml"
WORD = "eks-anywhere-downloads"
BASE = "https://files.site.example/eks-a"
OF_1_33 = {
    "1.33/cert-manager/cert-manager.yaml",
    "1.33/core-cluster-api/core-components.yaml",
    "1.33/core-cluster-api/metadata.yaml",
    "1.33/eks-anywhere-cluster-controller/eksa-components.yaml",
    "1.33/eks-distro/kubernetes-1-33-eks-12.yaml",
    "1.33/eks-distro/releases.distro.eks.amazonaws.com-v1alpha1.yaml",
}


def files(site: Site, *sources: str, to: Path | None = None, **more: Any) -> FilesReport:
    known = {key: more.pop(key) for key in ("layout", "base_url") if key in more}
    with site.session() as session:
        return write_files(site.request(*sources, **more), directory=to or out(site), session=session, **known)


def tree(site: Site, *sources: str, **more: Any) -> FilesReport:
    return files(site, *sources, to=site.folder / WORD, layout="eks-anywhere", **more)


def out(site: Site) -> Path:
    return site.folder / "out"


def listed(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def lock_of(site: Site, content: dict[str, bytes], *, sha512: str | None = None) -> str:
    """The path of a lock of files, whatever their URLs."""
    artifacts, sizes = [], {}
    for url, data in content.items():
        digest = Digest.of(data)
        wrapped = wrap_file(url, digest, len(data), sha512=sha512)
        root = wrapped.manifest.descriptor
        sizes.update(
            {root.digest: root.size, digest: len(data), **{key: len(raw) for key, raw in wrapped.blobs.items()}}
        )
        artifact = LockedArtifact(
            type="file",
            name="file",
            reference=url,
            digest=digest,
            size=len(data),
            media_type="application/octet-stream",
            trust="resolved",
            manifests=(root.digest,),
            blobs=(digest, *wrapped.blobs),
            sha512=sha512,
        )
        artifacts.append(artifact)
    lock = Lock(sources=(), selection=Selection().to_json(), manifests=(), artifacts=tuple(artifacts), blobs=sizes)
    path = site.folder / f"{Digest.of(lock.to_bytes()).encoded[:8]}.lock.json"
    path.write_bytes(lock.to_bytes())
    return str(path)


def uris(path: Path) -> list[str]:
    return [found.uri for found in findings(parse_document(path.read_bytes(), origin=str(path)))]

"""The tree that ``eksctl anywhere download artifacts`` makes, and ``--bundles-override`` reads (``domain.md`` 3.1).

    manifest.yaml
    bundle-release.yaml
    1.33/core-cluster-api/core-components.yaml

Unlike elsewhere, what belongs into it is a list: eksctl looks for these files and no others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from bundlectl.errors import ContentError
from bundles.artifact import Artifact
from bundles.release import findings
from bundles.rewriting import place_of
from bundles.tree import content_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bundles.document import Document
    from bundles.walk import Found

__all__ = ["BUNDLES_FILE", "DIRECTORY_WORD", "TreeFile", "tree_files"]

BUNDLES_FILE: Final = "bundle-release.yaml"
DIRECTORY_WORD: Final = "eks-anywhere-downloads"
"""What ``eksctl`` tells a path from a URL by, in ``eksD.manifestUrl``: a file with this word, a web server without."""

_PROVIDER_FILES: Final = ("components", "clusterTemplate", "metadata")
_CONTROLLER_FILES: Final = ("components", "metadata")
_COMPONENTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "bootstrap": ("capi-kubeadm-bootstrap", _CONTROLLER_FILES),
    "certManager": ("cert-manager", ("manifest",)),
    "cloudStack": ("cluster-api-provider-cloudstack", _CONTROLLER_FILES),
    "clusterAPI": ("core-cluster-api", _CONTROLLER_FILES),
    "controlPlane": ("capi-kubeadm-control-plane", _CONTROLLER_FILES),
    "docker": ("cluster-api-provider-docker", _PROVIDER_FILES),
    "eksD": ("eks-distro", ("components", "manifestUrl")),
    "eksa": ("eks-anywhere-cluster-controller", ("components",)),
    "etcdadmBootstrap": ("etcdadm-bootstrap-provider", _CONTROLLER_FILES),
    "etcdadmController": ("etcdadm-controller", _CONTROLLER_FILES),
    "kindnetd": ("kindnetd", ("manifest",)),
    "nutanix": ("cluster-api-provider-nutanix", _PROVIDER_FILES),
    "snow": ("cluster-api-provider-snow", _CONTROLLER_FILES),
    "tinkerbell": ("cluster-api-provider-tinkerbell", _PROVIDER_FILES),
    "vSphere": ("cluster-api-provider-vsphere", _PROVIDER_FILES),
}
"""Fields of a VersionsBundle: the folder of their files, and those of their fields that name one."""

_URLS: Final = ("https://", "http://")
_VERSION: Final = re.compile(r"[0-9]+\.[0-9]+", re.ASCII)
_FIELD: Final = re.compile(r"spec\.versionsBundles\[[0-9]+\]\.(?P<component>[A-Za-z]+)\.(?P<field>[A-Za-z]+)")


class TreeFile(NamedTuple):
    """One file of the tree, for one Kubernetes version.

    ``place`` is where the Bundles name it (``bundles.rewriting``); ``path`` has the version, the
    component and the name of the file, all three as the document writes them; ``artifact`` says for
    whom it is, so that it can be selected.
    """

    place: str
    path: tuple[str, str, str]
    artifact: Artifact

    @property
    def url(self) -> str:
        """Where it is upstream."""
        return self.artifact.reference


def tree_files(bundles: Document) -> list[TreeFile]:
    """The files of the tree, in the order of the document. Empty fields, placeholders and paths are passed over.

    Raises:
        ContentError: not Bundles; or a version that names a folder of the tree is none.
    """
    if bundles.type != "Bundles":
        raise ContentError(f"a {bundles.kind} has no such files", artifact=bundles.origin)
    return list(_files(bundles))


def _files(bundles: Document) -> Iterator[TreeFile]:
    for found in findings(bundles):
        match = _FIELD.fullmatch(found.path)
        folder, fields = _COMPONENTS.get(match["component"], ("", ())) if match else ("", ())
        if match and match["field"] in fields and found.uri.startswith(_URLS):
            version = next(iter(found.place.kube_versions), "")
            if not _VERSION.fullmatch(version):
                raise content_error(bundles.origin, found.line, found.path, f"is for Kubernetes {version[:40]!r}")
            artifact = _artifact(found, folder)
            yield TreeFile(place_of(found), (version, folder, artifact.name), artifact)


def _artifact(found: Found, folder: str) -> Artifact:
    return Artifact(
        type="file",
        name=found.uri.rpartition("/")[2],
        reference=found.uri,
        components=found.place.components | {folder},
        kube_versions=found.place.kube_versions,
        providers=found.place.providers,
        management=found.place.management,
    )

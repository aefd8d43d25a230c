"""Small documents of every kind, and the shared real ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.events import Event, Notice
from bundles.belief import Belief
from bundles.document import Document, parse_document
from bundles.release import Contents, contents
from bundles.schema import Model, parse_model
from bundles.verify import VerifiedDocument, accept

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
A = "a" * 64
B = "b" * 64
C512 = "c" * 128
UNCHECKED = Belief(mode="off")
"""For documents that nobody signed."""

BUNDLES = f"""\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
metadata:
  name: bundles-7
spec:
  number: 7
  cliMinVersion: v0.24.0
  cliMaxVersion: v0.24.9
  versionsBundles:
  - kubeVersion: "1.32"
    eksD:
      name: kubernetes-1-32-eks-4
      channel: 1-32
      kubeVersion: v1.32.1
      manifestUrl: https://distro.example/kubernetes-1-32/kubernetes-1-32-eks-4.yaml
      components: https://distro.example/crds/releases.yaml
      ova:
        bottlerocket:
          name: bottlerocket.ova
          uri: https://cdn.example/1-32/bottlerocket.ova
          sha256: {A}
          sha512: {C512}
          os: linux
          arch: [amd64]
    cilium:
      version: v1.17.0-0
      cilium:
        name: cilium
        uri: registry.example/eks/cilium/cilium:v1.17.0-0
        imageDigest: sha256:{A}
      helmChart:
        name: cilium-chart
        uri: registry.example/eks/cilium/cilium:1.17.0-0
        imageDigest: sha256:{B}
    certManager:
      controller:
        name: cert-manager-controller
        uri: registry.example/cert-manager/controller:v1
        imageDigest: sha256:{A}
    vSphere:
      manager:
        name: cpi
        uri: registry.example/vsphere/cpi:v1.32
        imageDigest: sha256:{B}
    tinkerbell:
      tinkerbellStack:
        hook:
          vmlinuz:
            arm:
              name: vmlinuz-aarch64
              uri: https://cdn.example/hook/vmlinuz-aarch64
    cloudStack:
      version: deprecated
      components:
        uri: <placeholder>
  - kubeVersion: "1.33"
    certManager:
      controller:
        name: cert-manager-controller
        uri: registry.example/cert-manager/controller:v1
        imageDigest: sha256:{A}
    vSphere:
      manager:
        name: cpi
        uri: registry.example/vsphere/cpi:v1.33
        imageDigest: sha256:{B}
"""

EKSD = f"""\
apiVersion: distro.eks.amazonaws.com/v1alpha1
kind: Release
metadata:
  name: kubernetes-1-32-eks-4
spec:
  channel: 1-32
  number: 4
status:
  date: 2025-01-01T00:00:00Z
  components:
  - name: kubernetes
    gitTag: v1.32.1
    assets:
    - name: kubectl.tar.gz
      type: Archive
      os: darwin
      arch: [arm64]
      archive:
        uri: https://distro.example/kubectl.tar.gz
        sha256: {A}
        sha512: {C512}
    - name: kube-apiserver-image
      type: Image
      os: linux
      arch: [amd64, arm64]
      image:
        uri: registry.example/eks-distro/kubernetes/kube-apiserver:v1.32.1
  - name: livenessprobe
    assets:
    - name: livenessprobe-image
      type: Image
      image:
        uri: registry.example/csi/livenessprobe:v2
        imageDigest: sha256:{B}
"""

PACKAGES = f"""\
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata:
  name: v1-33-120
  namespace: eksa-packages
spec:
  minControllerVersion: v0.4.4
  packages:
  - name: harbor
    workloadonly: true
    source:
      repository: harbor/harbor-helm
      versions:
      - name: 2.14.2+build.1
        digest: sha256:{A}
        images:
        - repository: harbor/harbor-core
          digest: sha256:{B}
"""

RELEASES = """\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Release
metadata:
  name: eks-anywhere
spec:
  latestVersion: v0.24.1
  releases:
  - version: v0.24.0
    number: 6
    bundleManifestUrl: https://cdn.example/bundles/6/manifest.yaml
  - version: v0.24.1
    number: 7
    date: 2026-08-13 23:35:22.1 +0000 UTC
    bundleManifestUrl: https://cdn.example/bundles/7/manifest.yaml
    eksABinary: {}
    eksACLI:
      linux:
        arm64:
          uri: https://cdn.example/eksctl-anywhere-v0.24.1-linux-arm64.tar.gz
"""


def document(text: str | bytes, origin: str = "eksa.yaml") -> Document:
    return parse_document(text if isinstance(text, bytes) else text.encode(), origin=origin)


def model(text: str, origin: str = "eksa.yaml") -> Model:
    return parse_model(document(text, origin))


def verified(text: str | bytes, origin: str = "eksa.yaml", *, belief: Belief = UNCHECKED) -> VerifiedDocument:
    found = document(text, origin)
    return accept(found, parse_model(found), belief=belief, listener=lambda _event: None)


def listed(text: str | bytes, origin: str = "eksa.yaml", **options: str | None) -> Contents:
    return contents(verified(text, origin), **options)


class Listening:
    """A listener that keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def __call__(self, event: Event) -> None:
        assert isinstance(event, Notice)
        self.notices.append(event)


def shared(name: str) -> bytes:
    """A real document; a test that needs one skips where they are absent, but fails on CI."""
    path = SHARED / name
    if not path.is_file():
        reason = f"the shared document {name} is not beside the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path.read_bytes()


def mappings(value: object) -> Iterator[dict[str, object]]:
    """Every mapping in a plain YAML value."""
    if isinstance(value, dict):
        yield value
        for child in value.values():
            yield from mappings(child)
    elif isinstance(value, list):
        for child in value:
            yield from mappings(child)

"""Small release documents, as AWS writes them."""

from __future__ import annotations

SHA = "sha256:" + "1" * 64


def release_index(version: str = "v0.24.1", number: int = 7, *, url: str = "", latest: str = "") -> bytes:
    url = url or f"https://anywhere-assets.eks.amazonaws.com/releases/bundles/{number}/manifest.yaml"
    cli = f"https://anywhere-assets.eks.amazonaws.com/releases/eks-a/{number}/cli-{version}.tar.gz"
    return f"""\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Release
metadata:
  name: eks-anywhere
spec:
  latestVersion: {latest or version}
  releases:
  - version: v0.1.0
    number: 1
    bundleManifestUrl: https://anywhere-assets.eks.amazonaws.com/releases/bundles/1/manifest.yaml
    eksACLI: {{linux: {{amd64: {{uri: "https://anywhere-assets.eks.amazonaws.com/old.tar.gz"}}}}}}
  - version: {version}
    number: {number}
    bundleManifestUrl: "{url}"
    eksACLI: {{linux: {{amd64: {{uri: "{cli}", sha256: "{"2" * 64}"}}}}}}
""".encode()


def bundles(number: int = 7, *, eksd: str = "kubernetes-1-33-eks-12", cli: str = "v0.24.1", name: str = "") -> bytes:
    channel = eksd.removeprefix("kubernetes-").partition("-eks-")[0]
    return f"""\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
metadata:
  name: {name or f"bundles-{number}"}
spec:
  number: {number}
  cliMinVersion: {cli}
  cliMaxVersion: {cli}
  versionsBundles:
  - kubeVersion: "1.33"
    eksD:
      name: {eksd}
      channel: {channel}
      kubeVersion: v1.33.1
      manifestUrl: https://distro.eks.amazonaws.com/kubernetes-{channel}/{eksd}.yaml
    eksa:
      clusterController: {{uri: "public.ecr.aws/eks-anywhere/controller:v1", imageDigest: "{SHA}"}}
""".encode()


def eksd(channel: str = "1-33", number: int = 12, *, name: str = "") -> bytes:
    return f"""\
apiVersion: distro.eks.amazonaws.com/v1alpha1
kind: Release
metadata:
  name: {name or f"kubernetes-{channel}-eks-{number}"}
spec:
  channel: {channel}
  number: {number}
status:
  components:
  - name: etcd
    assets:
    - name: etcd-image
      type: Image
      image: {{uri: "public.ecr.aws/eks-distro/etcd:v3", imageDigest: "{SHA}"}}
""".encode()


def channel_object(channel: str = "1-33", latest: object = 12) -> bytes:
    return f"""\
apiVersion: distro.eks.amazonaws.com/v1alpha1
kind: ReleaseChannel
metadata: {{name: "{channel}"}}
status: {{active: true, latestRelease: {latest}}}
""".encode()


def package_bundle(name: str = "v1-33-120") -> bytes:
    return f"""\
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata: {{name: {name}, namespace: eks-packages}}
spec:
  packages:
  - name: hello
    source:
      repository: hello
      versions:
      - name: 0.1.2
        digest: {SHA}
        images:
        - {{repository: hello-image, digest: "{SHA}"}}
""".encode()

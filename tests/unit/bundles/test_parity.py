"""The walk against upstream's own lists, and against a brute-force search of the real documents."""

from collections import Counter
from typing import Any

import pytest
import yaml

from bundles.packages import PACKAGE_IMAGE_REGISTRY, PACKAGE_REGISTRY
from bundles.schema import parse_model
from tests.unit.bundles.documents import document, listed, mappings, shared

SHARED_IMAGES = [
    "bootstrap.controller",
    "bootstrap.kubeProxy",
    "bottlerocketHostContainers.admin",
    "bottlerocketHostContainers.control",
    "bottlerocketHostContainers.kubeadmBootstrap",
    "certManager.acmesolver",
    "certManager.cainjector",
    "certManager.controller",
    "certManager.startupapicheck",
    "certManager.webhook",
    "cilium.cilium",
    "cilium.operator",
    "clusterAPI.controller",
    "clusterAPI.kubeProxy",
    "controlPlane.controller",
    "controlPlane.kubeProxy",
    "eksD.kindNode",
    "eksa.cliTools",
    "eksa.clusterController",
    "eksa.diagnosticCollector",
    "flux.sourceController",
    "flux.kustomizeController",
    "flux.helmController",
    "flux.notificationController",
    "etcdadmBootstrap.controller",
    "etcdadmBootstrap.kubeProxy",
    "etcdadmController.controller",
    "etcdadmController.kubeProxy",
    "haproxy.image",
    "packageController.packageController",
    "packageController.tokenRefresher",
    "upgrader.upgrader",
    "bottlerocketBootstrapContainers.multiNetworkBootstrap",
]
PROVIDER_IMAGES = [
    "docker.kubeProxy",
    "docker.manager",
    "vSphere.clusterAPIController",
    "vSphere.kubeProxy",
    "vSphere.kubeVip",
    "vSphere.manager",
    "snow.kubeVip",
    "snow.manager",
    "snow.bottlerocketBootstrapSnow",
    "tinkerbell.clusterAPIController",
    "tinkerbell.kubeVip",
    "tinkerbell.envoy",
    "tinkerbell.tinkerbellStack.actions.cexec",
    "tinkerbell.tinkerbellStack.actions.kexec",
    "tinkerbell.tinkerbellStack.actions.imageToDisk",
    "tinkerbell.tinkerbellStack.actions.ociToDisk",
    "tinkerbell.tinkerbellStack.actions.writeFile",
    "tinkerbell.tinkerbellStack.actions.reboot",
    "tinkerbell.tinkerbellStack.boots",
    "tinkerbell.tinkerbellStack.hook.bootkit",
    "tinkerbell.tinkerbellStack.hook.docker",
    "tinkerbell.tinkerbellStack.hook.kernel",
    "tinkerbell.tinkerbellStack.tink.tinkRelayInit",
    "nutanix.clusterAPIController",
    "nutanix.cloudProvider",
]
FORGOTTEN_UPSTREAM = ["packageController.credentialProviderPackage", "nutanix.kubeVip"]
CHARTS = [
    "cilium.helmChart",
    "packageController.helmChart",
    "tinkerbell.tinkerbellStack.tinkerbellChart",
    "tinkerbell.tinkerbellStack.tinkerbellCrds",
    "tinkerbell.tinkerbellStack.stack",
]
MANIFESTS = [
    "clusterAPI.components",
    "clusterAPI.metadata",
    "bootstrap.components",
    "bootstrap.metadata",
    "controlPlane.components",
    "controlPlane.metadata",
    "certManager.manifest",
    "docker.components",
    "docker.clusterTemplate",
    "docker.metadata",
    "vSphere.components",
    "vSphere.clusterTemplate",
    "vSphere.metadata",
    "tinkerbell.components",
    "tinkerbell.clusterTemplate",
    "tinkerbell.metadata",
    "nutanix.components",
    "nutanix.clusterTemplate",
    "nutanix.metadata",
    "snow.components",
    "snow.metadata",
    "kindnetd.manifest",
    "eksa.components",
    "etcdadmBootstrap.components",
    "etcdadmBootstrap.metadata",
    "etcdadmController.components",
    "etcdadmController.metadata",
    "eksD.components",
    "eksD.manifestUrl",
]
ARCHIVES = [
    *["eksD.etcdadm", "eksD.crictl", "eksD.imagebuilder", "eksD.containerd"],
    *(
        f"tinkerbell.tinkerbellStack.hook.{name}.{arch}"
        for name in ("initramfs", "vmlinuz", "iso")
        for arch in ("arm", "amd")
    ),
]


def at(value: Any, path: str) -> str:
    for part in path.split("."):
        value = value[part]
    return value if isinstance(value, str) else value["uri"]


@pytest.mark.parametrize(
    ("paths", "kind"),
    [
        (SHARED_IMAGES, "image"),
        (PROVIDER_IMAGES, "image"),
        (FORGOTTEN_UPSTREAM, "image"),
        (CHARTS, "chart"),
        (MANIFESTS, "file"),
        (ARCHIVES, "file"),
    ],
)
def test_everything_that_upstream_lists_is_found(paths: list[str], kind: str) -> None:
    raw = shared("eksa-bundles-main.yaml")
    places = {place: item for item in listed(raw).artifacts for place in item.found_in}
    for index, versions_bundle in enumerate(yaml.safe_load(raw)["spec"]["versionsBundles"]):
        for path in paths:
            artifact = places[f"eksa.yaml#spec.versionsBundles[{index}].{path}"]
            assert (artifact.type, artifact.reference) == (kind, at(versions_bundle, path))
            assert versions_bundle["kubeVersion"] in artifact.kube_versions


def test_upstreams_list_has_thirty_three_shared_images_and_five_charts() -> None:
    assert (len(SHARED_IMAGES), len(CHARTS)) == (33, 5)


@pytest.mark.parametrize(
    ("name", "uris", "counts"),
    [
        ("eksa-bundles-main.yaml", 749, {"image": 87, "chart": 5, "file": 51, "excluded": 35}),
        ("eksa-bundles-small.yaml", 361, {"image": 113, "chart": 3, "file": 73, "excluded": 83}),
        ("kubernetes-1-20-eks-1.yaml", 62, {"image": 17, "file": 45}),
        ("kubernetes-1-21-eks-4.yaml", 62, {"image": 17, "file": 45}),
        ("eksa-releases.yaml", 0, {"file": 2, "excluded": 2}),
        ("bundles-minimal.aws-kms-signed.yaml", 0, {}),
    ],
)
def test_every_uri_of_a_real_document_is_accounted_for(name: str, uris: int, counts: dict[str, int]) -> None:
    raw = shared(name)
    found = listed(raw)
    named = [str(node["uri"] or "") for node in mappings(yaml.safe_load(raw)) if "uri" in node]
    assert len(named) == uris
    kept = {item.reference for item in found.artifacts}
    left = Counter(item.reference for item in found.excluded)
    for uri, times in Counter(named).items():
        assert uri in kept or left[uri] == times, uri
    for node in mappings(yaml.safe_load(raw)):
        for key in ("bundleManifestUrl", "manifestUrl"):
            if isinstance(url := node.get(key), str):
                assert url in kept or url in left
    found_counts = Counter(item.type for item in found.artifacts) + Counter({"excluded": len(found.excluded)})
    assert dict(found_counts) == counts


def test_every_digest_of_a_real_document_is_kept() -> None:
    raw = shared("eksa-bundles-main.yaml")
    kept = {(item.reference, str(item.digest)) for item in listed(raw).artifacts}
    for node in mappings(yaml.safe_load(raw)):
        if "imageDigest" in node:
            assert (node["uri"], node["imageDigest"]) in kept
        elif "sha256" in node:
            assert (node["uri"], f"sha256:{node['sha256']}") in kept


def test_every_package_of_a_real_bundle_is_found() -> None:
    raw = shared("packagebundle-v1-24-116.aws-signed.yaml")
    found = listed(raw)
    expected = set()
    for package in yaml.safe_load(raw)["spec"]["packages"]:
        for version in package["source"]["versions"]:
            chart = f"{PACKAGE_REGISTRY}/{package['source']['repository']}:{version['name']}"
            expected.add(("chart", chart, version["digest"]))
            for image in version.get("images", []):
                digest = image["digest"]
                expected.add(("image", f"{PACKAGE_IMAGE_REGISTRY}/{image['repository']}@{digest}", digest))
    assert {item.identity for item in found.artifacts} == expected
    assert Counter(item.type for item in found.artifacts) == {"chart": 11, "image": 24}
    assert found.excluded == ()
    assert all(item.kube_versions == {"1.24"} for item in found.artifacts)


def test_no_field_of_todays_documents_is_unknown() -> None:
    for name in ("eksa-bundles-main.yaml", "kubernetes-1-21-eks-4.yaml", "packagebundle-v1-24-116.aws-signed.yaml"):
        assert parse_model(document(shared(name))).unknown == ()

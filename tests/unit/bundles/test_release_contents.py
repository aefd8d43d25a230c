"""What a release holds."""

import pytest

from bundlectl.errors import ContentError
from bundles.artifact import Artifact
from bundles.release import Contents
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from tests.unit.bundles.documents import BUNDLES, C512, EKSD, PACKAGES, RELEASES, A, B, listed

HEAD = """\
apiVersion: anywhere.eks.amazonaws.com/v1alpha1
kind: Bundles
spec:
  versionsBundles:
  - kubeVersion: '1.33'
"""


def one(found: Contents, reference: str) -> Artifact:
    (artifact,) = (item for item in found.artifacts if item.reference == reference)
    return artifact


def test_bundles_name_images_charts_and_files() -> None:
    found = listed(BUNDLES)
    assert [(item.type, item.reference) for item in found.artifacts] == [
        ("chart", "registry.example/eks/cilium/cilium:1.17.0-0"),
        ("file", "https://cdn.example/1-32/bottlerocket.ova"),
        ("file", "https://cdn.example/hook/vmlinuz-aarch64"),
        ("file", "https://distro.example/crds/releases.yaml"),
        ("file", "https://distro.example/kubernetes-1-32/kubernetes-1-32-eks-4.yaml"),
        ("image", "registry.example/cert-manager/controller:v1"),
        ("image", "registry.example/eks/cilium/cilium:v1.17.0-0"),
        ("image", "registry.example/vsphere/cpi:v1.32"),
        ("image", "registry.example/vsphere/cpi:v1.33"),
    ]


def test_an_image_carries_all_that_the_document_says_of_it() -> None:
    assert one(listed(BUNDLES), "registry.example/eks/cilium/cilium:v1.17.0-0") == Artifact(
        type="image",
        name="cilium",
        reference="registry.example/eks/cilium/cilium:v1.17.0-0",
        digest=Digest("sha256", A),
        components=frozenset({"cilium"}),
        kube_versions=frozenset({"1.32"}),
        found_in=frozenset({"eksa.yaml#spec.versionsBundles[0].cilium.cilium"}),
        trust="off",
    )


def test_a_file_carries_its_checksums_and_platform() -> None:
    ova = one(listed(BUNDLES), "https://cdn.example/1-32/bottlerocket.ova")
    assert (ova.digest, ova.sha512, ova.platforms) == (Digest("sha256", A), C512, (Platform("linux", "amd64"),))
    assert ova.providers == {"vsphere"}
    kernel = one(listed(BUNDLES), "https://cdn.example/hook/vmlinuz-aarch64")
    assert (kernel.digest, kernel.platforms) == (None, (Platform("linux", "arm64"),))
    assert kernel.providers == {"tinkerbell"}


def test_one_artifact_of_several_versions_is_listed_once() -> None:
    controller = one(listed(BUNDLES), "registry.example/cert-manager/controller:v1")
    assert controller.kube_versions == {"1.32", "1.33"}
    assert controller.found_in == {
        "eksa.yaml#spec.versionsBundles[0].certManager.controller",
        "eksa.yaml#spec.versionsBundles[1].certManager.controller",
    }


def test_management_components_come_from_the_first_versions_bundle() -> None:
    found = listed(BUNDLES)
    managed = {item.reference for item in found.artifacts if item.management}
    assert managed == {
        "registry.example/cert-manager/controller:v1",
        "registry.example/vsphere/cpi:v1.32",
        "https://cdn.example/hook/vmlinuz-aarch64",
        "https://distro.example/crds/releases.yaml",
        "https://distro.example/kubernetes-1-32/kubernetes-1-32-eks-4.yaml",
    }


def test_components_of_one_provider_say_so() -> None:
    providers = {item.reference: item.providers for item in listed(BUNDLES).artifacts}
    assert providers["registry.example/vsphere/cpi:v1.33"] == {"vsphere"}
    assert providers["registry.example/cert-manager/controller:v1"] == frozenset()


def test_placeholders_are_left_out_with_their_reason() -> None:
    (left,) = listed(BUNDLES).excluded
    assert (left.reference, left.found_in) == (
        "<placeholder>",
        "eksa.yaml#spec.versionsBundles[0].cloudStack.components",
    )
    assert left.reason == "a placeholder of a deprecated component"


def test_the_eks_d_release_is_named_and_is_a_document() -> None:
    found = listed(BUNDLES)
    (named,) = found.named
    assert (named.type, named.name, named.channel, named.kube_version) == (
        "EksdRelease",
        "kubernetes-1-32-eks-4",
        "1-32",
        "v1.32.1",
    )
    assert one(found, named.url).document
    assert not one(found, "https://distro.example/crds/releases.yaml").document


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("uri: ''", "empty"),
        ("uri:", "empty"),
        ("uri: <placeholder>", "a placeholder"),
        ("uri: config/clusterctl/metadata.yaml", "names a file on the machine that made the document"),
        ("uri: /tmp/image.tar", "names a file on the machine that made the document"),
        ("uri: ./downloads/image.tar", "names a file on the machine that made the document"),
        ("uri: file:///tmp/image.tar", "names a file on the machine that made the document"),
        ("uri: embed:///config/x.yaml", "is part of the eksctl-anywhere program"),
        ("uri: s3://bucket/x", "the scheme s3:// is not supported"),
        ("uri: 'https://'", "not a valid URL"),
        ("uri: 'https://host/a b'", "not a valid URL"),
        ("uri: 'https://user:secret@host/a'", "not a valid URL"),
        ("uri: nginx:1.2", "not a full reference: 'nginx:1.2' names no registry"),
        ("uri: 'registry.example/UPPER:1'", "not a full reference: 'UPPER' is not a repository name"),
        ("uri: registry.example/a", "names neither a tag nor a digest"),
    ],
)
def test_what_is_no_artifact_is_left_out_with_its_reason(field: str, reason: str) -> None:
    found = listed(HEAD + f"    cilium:\n      cilium:\n        {field}\n")
    assert found.artifacts == ()
    (left,) = found.excluded
    assert left.reason == reason
    assert left.found_in == "eksa.yaml#spec.versionsBundles[0].cilium.cilium"


def test_a_local_manifest_is_never_taken_for_an_image() -> None:
    found = listed(HEAD + "    kindnetd:\n      manifest:\n        uri: 1.33/kindnetd/kindnetd.yaml\n")
    assert found.artifacts == ()
    assert found.excluded[0].reason == "names a file on the machine that made the document"


@pytest.mark.parametrize(
    ("uri", "digest", "reference"),
    [
        (f"registry.example/a:1@sha256:{A}", "", "registry.example/a:1"),
        (f"registry.example/a@sha256:{A}", "", f"registry.example/a@sha256:{A}"),
        ("registry.example:5000/a", f"sha256:{A}", f"registry.example:5000/a@sha256:{A}"),
        (f"registry.example/a:1@sha256:{A}", f"sha256:{A}", "registry.example/a:1"),
    ],
)
def test_tag_and_digest_are_read_wherever_they_stand(uri: str, digest: str, reference: str) -> None:
    text = HEAD + f"    cilium:\n      cilium:\n        uri: {uri}\n"
    (artifact,) = listed(text + (f"        imageDigest: {digest}\n" if digest else "")).artifacts
    assert (artifact.reference, artifact.digest) == (reference, Digest("sha256", A))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("imageDigest: sha256:123", r"eksa.yaml:9: spec.versionsBundles\[0\].cilium.cilium.imageDigest: "),
        (f"imageDigest: sha256:{B}", "eksa.yaml:8: .* imageDigest is sha256:bbb"),
    ],
)
def test_a_wrong_digest_is_an_error_with_its_line(fields: str, message: str) -> None:
    text = HEAD + f"    cilium:\n      cilium:\n        uri: registry.example/a:1@sha256:{A}\n        {fields}\n"
    with pytest.raises(ContentError, match=message):
        listed(text)


@pytest.mark.parametrize("field", ["sha256: abc", "sha512: abc", f"sha256: {A.upper()}"])
def test_a_wrong_checksum_is_an_error_with_its_line(field: str) -> None:
    text = HEAD + f"    eksD:\n      crictl:\n        uri: https://h.example/x.tar.gz\n        {field}\n"
    with pytest.raises(ContentError, match=r"eksa.yaml:9: spec.versionsBundles\[0\].eksD.crictl.sha"):
        listed(text)


def test_a_file_with_a_sha512_alone_has_no_digest_yet() -> None:
    text = HEAD + f"    eksD:\n      crictl:\n        uri: https://h.example/x.tar.gz\n        sha512: {C512}\n"
    (artifact,) = listed(text).artifacts
    assert (artifact.digest, artifact.sha512) == (None, C512)


def test_fields_that_no_model_knows_are_walked_all_the_same() -> None:
    found = listed(
        HEAD
        + f"""\
    karpenter:
      controller:
        uri: registry.example/karpenter:v2
      helmChart:
        uri: registry.example/karpenter-chart:2
      other:
        description: Helm chart for karpenter
        uri: registry.example/karpenter-crds:2
      deep:
      - - installer:
            uri: https://h.example/installer.iso
            sha256: {A}
      docsUrl: https://h.example/policy.json
      description: https://h.example/not-an-artifact
  novel:
    uri: registry.example/novel:1
extra:
- uri: registry.example/extra:1
"""
    )
    assert [(item.type, item.reference) for item in found.artifacts] == [
        ("chart", "registry.example/karpenter-chart:2"),
        ("chart", "registry.example/karpenter-crds:2"),
        ("file", "https://h.example/installer.iso"),
        ("file", "https://h.example/policy.json"),
        ("image", "registry.example/extra:1"),
        ("image", "registry.example/karpenter:v2"),
        ("image", "registry.example/novel:1"),
    ]
    assert one(found, "registry.example/karpenter:v2").components == {"karpenter"}
    assert one(found, "https://h.example/installer.iso").found_in == {
        "eksa.yaml#spec.versionsBundles[0].karpenter.deep[0][0].installer"
    }


def test_a_provider_inside_of_another_is_itself() -> None:
    found = listed(HEAD + "    cloudStack:\n      nutanix:\n        kubeVip:\n          uri: registry.example/vip:1\n")
    assert (found.artifacts[0].providers, found.artifacts[0].components) == ({"nutanix"}, {"nutanix"})


def test_one_reference_with_two_digests_is_an_error() -> None:
    text = BUNDLES.replace(
        f"controller:v1\n        imageDigest: sha256:{A}", f"controller:v1\n        imageDigest: sha256:{B}", 1
    )
    with pytest.raises(ContentError, match="two digests"):
        listed(text)


def test_an_eks_d_release_names_its_assets() -> None:
    found = listed(EKSD)
    assert [(item.type, item.reference, item.name) for item in found.artifacts] == [
        ("file", "https://distro.example/kubectl.tar.gz", "kubectl.tar.gz"),
        ("image", "registry.example/csi/livenessprobe:v2", "livenessprobe-image"),
        ("image", "registry.example/eks-distro/kubernetes/kube-apiserver:v1.32.1", "kube-apiserver-image"),
    ]
    archive, probe, server = found.artifacts
    assert archive.platforms == (Platform("darwin", "arm64"),)
    assert archive.kube_versions == probe.kube_versions == {"1.32"}
    assert (probe.components, server.components) == ({"livenessprobe"}, {"kubernetes"})
    assert (probe.digest, server.digest) == (Digest("sha256", B), None)
    assert archive.found_in == {"eksa.yaml#status.components[0].assets[0].archive"}


def test_a_release_index_names_bundles_and_command_lines() -> None:
    found = listed(RELEASES)
    assert [item.reference for item in found.artifacts] == [
        "https://cdn.example/bundles/6/manifest.yaml",
        "https://cdn.example/bundles/7/manifest.yaml",
        "https://cdn.example/eksctl-anywhere-v0.24.1-linux-arm64.tar.gz",
    ]
    assert found.artifacts[2].platforms == (Platform("linux", "arm64"),)
    assert [(item.type, item.version, item.number) for item in found.named] == [
        ("Bundles", "v0.24.0", "6"),
        ("Bundles", "v0.24.1", "7"),
    ]


def test_one_release_of_an_index_is_listed_alone() -> None:
    found = listed(RELEASES, version="v0.24.0")
    assert [item.reference for item in found.artifacts] == ["https://cdn.example/bundles/6/manifest.yaml"]
    assert [item.version for item in found.named] == ["v0.24.0"]
    with pytest.raises(ContentError, match=r"has no release v9\.9\.9"):
        listed(RELEASES, version="v9.9.9")


def test_packages_are_charts_by_tag_and_images_by_digest() -> None:
    found = listed(PACKAGES)
    chart, image = found.artifacts
    assert (chart.reference, chart.digest, chart.name) == (
        "public.ecr.aws/eks-anywhere/harbor/harbor-helm:2.14.2_build.1",
        Digest("sha256", A),
        "harbor",
    )
    assert image.reference == f"783794618700.dkr.ecr.us-west-2.amazonaws.com/harbor/harbor-core@sha256:{B}"
    assert (image.name, image.components, image.kube_versions) == ("harbor-core", {"harbor"}, {"1.33"})
    assert image.found_in == {"eksa.yaml#spec.packages[0].source.versions[0].images[0]"}


def test_registries_of_packages_are_the_users_then_the_bundles_then_awss() -> None:
    text = PACKAGES.replace(
        "      repository: harbor/harbor-helm", "      registry: r.example/p\n      repository: harbor/harbor-helm"
    )
    chart, image = listed(text).artifacts
    assert chart.reference == "r.example/p/harbor/harbor-helm:2.14.2_build.1"
    assert image.reference.startswith("783794618700.dkr.ecr.")
    chart, image = listed(text, package_registry="mine.example/c", package_image_registry="mine.example/i").artifacts
    assert chart.reference == "mine.example/c/harbor/harbor-helm:2.14.2_build.1"
    assert image.reference == f"mine.example/i/harbor/harbor-core@sha256:{B}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("name: 2.14.2+build.1", "name: 'not a tag'"), "not a full reference"),
        (("repository: harbor/harbor-core", "repository: Harbor"), "not a full reference"),
        ((f"name: 2.14.2+build.1\n        digest: sha256:{A}", "name: ''"), "names neither a tag nor a digest"),
    ],
)
def test_packages_without_a_valid_name_are_left_out(change: tuple[str, str], reason: str) -> None:
    found = listed(PACKAGES.replace(*change))
    assert len(found.artifacts) == 1
    assert found.excluded[0].reason.startswith(reason)


def test_a_wrong_digest_of_a_package_is_an_error_with_its_line() -> None:
    with pytest.raises(ContentError, match=r"eksa.yaml:15: spec.packages\[0\].source.versions\[0\].digest"):
        listed(PACKAGES.replace(A, "xyz"))


def test_listing_is_the_same_every_time() -> None:
    assert listed(BUNDLES) == listed(BUNDLES)


def test_a_collection_names_no_artifacts_of_its_own() -> None:
    with pytest.raises(ContentError, match="names no artifacts"):
        listed("apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nspec: {sources: [x]}\n")


def test_urls_in_a_list_are_files_too() -> None:
    found = listed(HEAD + "    novel:\n      mirrors: [https://h.example/a.tgz, text]\n")
    assert [(item.type, item.reference, item.components) for item in found.artifacts] == [
        ("file", "https://h.example/a.tgz", {"novel"})
    ]

"""Typed models of AWS's documents."""

from typing import Any

import pytest

from bundlectl.errors import ContentError
from bundles.schema import model_class, parse_model
from bundles.schema.bundles import Bundles, VersionsBundle
from bundles.schema.eksa_release import EksaRelease
from bundles.schema.eksd_release import EksdRelease
from bundles.schema.fields import Struct, struct_fields
from bundles.schema.package_bundle import PackageBundle
from bundles.schema.shared import Chart, Image
from tests.unit.bundles.documents import BUNDLES, C512, EKSD, PACKAGES, RELEASES, A, B, document, model

HEAD = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nmetadata: {}\nspec:\n"


def bundles(text: str = BUNDLES) -> Bundles:
    found = model(text)
    assert isinstance(found, Bundles)
    return found


def test_bundles_are_read_into_their_model() -> None:
    found = bundles()
    assert (found.metadata.name, found.spec.number, found.spec.cli_max_version) == ("bundles-7", 7, "v0.24.9")
    first, second = found.spec.versions_bundles
    assert (first.kube_version, second.kube_version) == ("1.32", "1.33")
    assert first.cilium.cilium == Image(
        name="cilium", uri="registry.example/eks/cilium/cilium:v1.17.0-0", image_digest=f"sha256:{A}"
    )
    assert first.eks_d.ova.bottlerocket.sha512 == C512
    assert first.eks_d.ova.bottlerocket.arch == ("amd64",)
    assert first.tinkerbell.tinkerbell_stack.hook.vmlinuz.arm.name == "vmlinuz-aarch64"
    assert first.aws is None
    assert second.cilium.helm_chart.uri == ""
    assert found.unknown == found.warnings == ()


def test_the_other_kinds_are_read_into_theirs() -> None:
    eksd, packages, index = model(EKSD), model(PACKAGES), model(RELEASES)
    assert isinstance(eksd, EksdRelease)
    assert eksd.status.components[0].assets[0].archive is not None
    assert eksd.status.components[0].assets[0].image is None
    assert eksd.status.date == "2025-01-01T00:00:00Z"
    assert isinstance(packages, PackageBundle)
    (package,) = packages.spec.packages
    assert (package.workloadonly, package.source.versions[0].images[0].digest) == (True, f"sha256:{B}")
    assert isinstance(index, EksaRelease)
    assert index.spec.releases[1].eks_a_cli.linux.arm64.uri.endswith("linux-arm64.tar.gz")
    assert index.spec.releases[1].date == "2026-08-13 23:35:22.1 +0000 UTC"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("  number: abc\n", "eksa.yaml:5: spec.number: must be an integer, not text"),
        ('  number: "7"\n', "eksa.yaml:5: spec.number: must be an integer, not text"),
        ("  number: 7.5\n", "eksa.yaml:5: spec.number: must be an integer in plain decimal digits, not 7.5"),
        ("  number: 0x10\n", "eksa.yaml:5: spec.number: must be an integer in plain decimal digits, not 0x10"),
        ("  number: [7]\n", "eksa.yaml:5: spec.number: must be an integer, not a list"),
        ("  cliMinVersion: {}\n", "eksa.yaml:5: spec.cliMinVersion: must be text, not a map"),
        ("  versionsBundles: {}\n", "eksa.yaml:5: spec.versionsBundles: must be a list, not a map"),
        ("  versionsBundles:\n  - x\n", "eksa.yaml:6: spec.versionsBundles[0]: must be a map, not text"),
        (
            "  versionsBundles:\n  - cilium:\n      cilium:\n        arch: amd64\n",
            "eksa.yaml:8: spec.versionsBundles[0].cilium.cilium.arch: must be a list, not text",
        ),
        (
            "  versionsBundles:\n  - cilium:\n      cilium:\n        uri:\n          a: b\n",
            "eksa.yaml:8: spec.versionsBundles[0].cilium.cilium.uri: must be text, not a map",
        ),
        ("  Number: 7\n", "eksa.yaml:5: spec.Number: must be written number"),
        (
            "  versionsBundles:\n  - KubeVersion: x\n",
            "eksa.yaml:6: spec.versionsBundles[0].KubeVersion: must be written kubeVersion",
        ),
    ],
)
def test_a_wrong_type_or_case_names_file_line_and_field(body: str, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        model(HEAD + body)
    assert str(caught.value) == message


def test_letters_that_only_fold_to_the_right_ones_are_the_wrong_case_too() -> None:
    with pytest.raises(ContentError, match="must be written kubeVersion"):
        model(HEAD + "  versionsBundles:\n  - \u212aubeVersion: x\n")


def test_unknown_fields_are_collected_and_not_fatal() -> None:
    found = bundles(HEAD + "  versionsBundles:\n  - karpenter: {controller: {uri: x}}\n    cilium: {extra: 1}\n")
    assert found.unknown == ("spec.versionsBundles[0].karpenter", "spec.versionsBundles[0].cilium.extra")


def test_text_without_quotes_keeps_its_source_and_warns() -> None:
    found = bundles(HEAD + "  versionsBundles:\n  - kubeVersion: 1.30\n    endOfStandardSupport: 2026-07-28\n")
    (first,) = found.spec.versions_bundles
    assert (first.kube_version, first.end_of_standard_support) == ("1.30", "2026-07-28")
    (warning,) = found.warnings
    assert warning.startswith("eksa.yaml:6: spec.versionsBundles[0].kubeVersion: 1.30 is not in quotes: ")
    assert warning.endswith("taken as this text, other readers take it for a number")


def test_null_is_the_same_as_absent() -> None:
    found = bundles(
        HEAD + "  number:\n  cliMinVersion: null\n  versionsBundles:\n  - cilium: ~\n    aws:\n    eksD: {ova: null}\n"
        "  -\n"
    )
    assert found.spec.number == 0
    assert found.spec.cli_min_version == ""
    assert found.spec.versions_bundles == (VersionsBundle(), VersionsBundle())
    assert bundles(HEAD + "  versionsBundles:\n").spec.versions_bundles == ()


def test_a_lock_has_no_model_of_aws() -> None:
    with pytest.raises(ContentError, match="a Lock is not a document of AWS"):
        parse_model(document('{"apiVersion":"bundlectl.dev/v1alpha1","kind":"Lock"}'))


def leaves(kind: type[Struct], path: str = "") -> dict[str, type[Struct] | None]:
    found: dict[str, type[Struct] | None] = {}
    for name, spec in struct_fields(kind).items():
        here = f"{path}.{name}".lstrip(".")
        found[here] = spec.model
        if spec.model is not None:
            found |= leaves(spec.model, here)
    return found


@pytest.mark.parametrize("text", [BUNDLES, EKSD, PACKAGES, RELEASES])
def test_every_field_of_every_model_can_be_read(text: str) -> None:
    kind = model_class(document(text))
    empty = kind()
    for name, spec in struct_fields(kind).items():
        assert hasattr(empty, spec.attribute), name
    assert {"metadata.name", "metadata.labels", "apiVersion"} <= set(leaves(kind))
    assert "unknown" not in leaves(kind)


def test_a_model_is_immutable_and_compared_by_value() -> None:
    image = Image(name="a", arch=("amd64",))
    assert image == Image(name="a", arch=("amd64",))
    assert hash(image) == hash(Image(name="a", arch=("amd64",)))
    assert image != Image(name="b")
    assert Chart(name="a") != Image(name="a")
    assert repr(image) == "Image(name='a', arch=('amd64',))"
    assert not hasattr(image, "__dict__")
    with pytest.raises(AttributeError):
        image.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del image.name
    with pytest.raises(TypeError, match="nmae"):
        Image(nmae="a")  # type: ignore[call-arg]


def test_the_versions_bundle_has_the_fields_of_upstreams_type() -> None:
    names = """kubeVersion endOfStandardSupport eksD certManager clusterAPI bootstrap controlPlane vSphere
        cloudStack docker eksa cilium kindnetd flux packageController bottlerocketHostContainers
        bottlerocketBootstrapContainers etcdadmBootstrap etcdadmController tinkerbell haproxy snow nutanix
        upgrader aws"""
    assert set(struct_fields(VersionsBundle)) == set(names.split())
    found: dict[str, Any] = leaves(VersionsBundle)
    assert "tinkerbell.tinkerbellStack.actions.ociToDisk.imageDigest" in found
    assert "vSphere.clusterAPIController.uri" in found
    assert "certManager.ctl.osName" in found
    assert "eksD.raw.bottlerocket.sha512" in found

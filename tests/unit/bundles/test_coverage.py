"""What a signature covers: the level of artifacts and the list of gaps say the same as the canonical form."""

from __future__ import annotations

import base64

import pytest

from bundles.belief import Belief
from bundles.canonical import canonical_bytes
from bundles.coverage import covers, gaps
from bundles.release import contents
from bundles.schema import parse_model
from bundles.tree import MapNode, parse_tree
from bundles.verify import accept
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, A, B, Listening, document, shared
from tests.unit.bundles.signed_documents import BY_KEY, signed

CHART = "spec.packages[0].source.versions[0]"
IMAGE = f"{CHART}.images[0]"


def root(text: str) -> MapNode:
    return parse_tree(text.encode(), origin="made.yaml").root


def excluding(*selectors: str) -> str:
    text = base64.b64encode("".join(f"{line}\n" for line in selectors).encode()).decode()
    return PACKAGES.replace("metadata:\n", f"metadata:\n  annotations:\n    eksa.aws.com/excludes: {text}\n")


def levels(text: str | bytes, belief: Belief = BY_KEY) -> dict[str, str]:
    found = document(text)
    verified = accept(found, parse_model(found), belief=belief, listener=Listening())
    return {item.reference: item.trust for item in contents(verified).artifacts}


def test_charts_and_images_of_a_package_bundle_are_signed() -> None:
    assert set(levels(signed(PACKAGES)).values()) == {"signed"}
    real = levels(shared("packagebundle-v1-24-116.aws-signed.yaml"), Belief())
    assert len(real) > 20
    assert set(real.values()) == {"signed"}


def test_of_bundles_only_what_is_pinned_below_eksd_is_signed() -> None:
    text = BUNDLES.replace(
        "      ova:\n",
        f"      kindNode: {{uri: 'registry.example/kind:v1', imageDigest: 'sha256:{A}'}}\n"
        "      crictl: {uri: 'https://cdn.example/crictl.tar.gz'}\n"
        "      ova:\n",
    )
    assert levels(signed(text)) == {
        "registry.example/kind:v1": "signed",
        "https://cdn.example/1-32/bottlerocket.ova": "signed",
        "https://cdn.example/crictl.tar.gz": "resolved",
        "https://cdn.example/hook/vmlinuz-aarch64": "resolved",
        "https://distro.example/crds/releases.yaml": "resolved",
        "https://distro.example/kubernetes-1-32/kubernetes-1-32-eks-4.yaml": "resolved",
        "registry.example/cert-manager/controller:v1": "declared",
        "registry.example/eks/cilium/cilium:1.17.0-0": "declared",
        "registry.example/eks/cilium/cilium:v1.17.0-0": "declared",
        "registry.example/vsphere/cpi:v1.32": "declared",
        "registry.example/vsphere/cpi:v1.33": "declared",
    }


def test_nothing_of_an_eksd_release_is_signed_though_its_signature_holds() -> None:
    assert levels(signed(EKSD)) == {
        "https://distro.example/kubectl.tar.gz": "declared",
        "registry.example/csi/livenessprobe:v2": "declared",
        "registry.example/eks-distro/kubernetes/kube-apiserver:v1.32.1": "resolved",
    }


NOVEL = f"novel: {{uri: 'registry.example/novel:v1', imageDigest: 'sha256:{B}'}}"


@pytest.mark.parametrize(
    ("before", "indent"), [("  versionsBundles:\n", 2), ("    cilium:\n      version", 4), ("      ova:\n", 6)]
)
def test_what_stands_in_a_field_that_aws_does_not_know_is_declared_wherever_the_field_is(
    before: str, indent: int
) -> None:
    text = BUNDLES.replace(before, f"{' ' * indent}{NOVEL}\n{before}")
    assert levels(signed(text))["registry.example/novel:v1"] == "declared"


def test_with_verification_off_every_level_is_off() -> None:
    off = Belief(mode="off")
    for text in (BUNDLES, PACKAGES, EKSD):
        assert set(levels(text, off).values()) == {"off"}
    assert set(levels(signed(PACKAGES), off).values()) == {"off"}


@pytest.mark.parametrize(
    ("selectors", "covered"),
    [
        ((), {A, B}),
        ((".spec.packages[].source.registry", ".spec.packages[].source.repository"), {A, B}),
        ((".spec.packages[].source.versions[].digest",), {B}),
        ((".spec.packages[].source.versions[].images",), {A}),
        ((".spec.packages[].source.versions[].images[]",), {A}),
        ((".spec.packages[].source.versions[].images[].digest",), {A}),
        ((".spec.packages",), set()),
        ((".spec.packages[]",), set()),
        ((".spec",), set()),
        ((".spec[]",), set()),
        (('.spec["packages"]',), set()),
        (('."spec"."packages"[]["source"]',), set()),
        ((".spec.packages[].source.versions[][]",), set()),
        ((".spec.pack",), {A, B}),
    ],
)
def test_excludes_of_its_own_take_the_level_from_what_they_reach(selectors: tuple[str, ...], covered: set[str]) -> None:
    found = root(excluding(*selectors))
    assert {digest for digest, path in ((A, CHART), (B, IMAGE)) if covers("PackageBundle", found, path)} == covered
    # The canonical form, which knows nothing of levels, agrees.
    form = canonical_bytes(found, "PackageBundle", origin="made.yaml").decode()
    assert {digest for digest in (A, B) if f"sha256:{digest}" in form} == covered


@pytest.mark.parametrize(
    "path",
    [
        "spec.packages[0].source",
        "spec.packages[0].source.versions[0].novel",
        "status.spec.packages[0].source.versions[0]",
        "spec.novel[0].source.versions[0]",
        "spec.packages[0]",
        "",
    ],
)
def test_a_digest_elsewhere_in_a_package_bundle_is_covered_by_nothing(path: str) -> None:
    assert not covers("PackageBundle", root(PACKAGES), path)


@pytest.mark.parametrize(
    "path",
    [
        "spec.versionsBundles[0].eksD.kindNode",
        "spec.versionsBundles[12].eksD.ova.bottlerocket",
        "spec.versionsBundles[0].aws.novel",
    ],
)
def test_of_bundles_the_versions_are_covered(path: str) -> None:
    assert covers("Bundles", root(BUNDLES), path)


@pytest.mark.parametrize(
    "path",
    [
        "spec.versionsBundles[0].eksD.components",
        "spec.versionsBundles[0].eksD.manifestUrl",
        "spec.versionsBundles[0].eksa.cliTools",
        "spec.versionsBundles[0].cilium",
        "spec.versionsBundles[0].docker.manager",
        "spec.number",
        "metadata.annotations",
        "status",
    ],
)
def test_what_aws_leaves_out_of_bundles_is_not_covered(path: str) -> None:
    assert not covers("Bundles", root(BUNDLES), path)


def test_nothing_is_covered_in_other_kinds() -> None:
    for path in ("status.components[0].assets[0].image", "spec.image", ""):
        assert not covers("EksdRelease", root(EKSD), path)
        assert not covers("object", root(EKSD), path)


def test_every_gap_says_what_somebody_could_do_there() -> None:
    for kind, text in (("Bundles", BUNDLES), ("PackageBundle", PACKAGES), ("EksdRelease", EKSD), ("object", EKSD)):
        found = gaps(kind, root(text), ("spec.novel",))  # type: ignore[arg-type]
        assert len({gap.path for gap in found}) == len(found)
        assert all(gap.allows and not gap.path.startswith(".") for gap in found)
        assert ("spec.novel" in {gap.path for gap in found}) == (kind != "object")


def test_a_document_s_own_excludes_are_listed_among_its_gaps() -> None:
    found = {gap.path: gap.allows for gap in gaps("PackageBundle", root(excluding(".spec.packages[].name")), ())}
    assert found["spec.packages[].name"] == "left out by the document's own excludes"
    assert "spec.packages[].source.registry" not in found

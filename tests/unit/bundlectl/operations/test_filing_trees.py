"""``files --layout eks-anywhere``: the tree is that of eksctl, and AWS's signature holds on its Bundles."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, UsageError, VerificationError
from bundlectl.operations.request import SourceRequest
from bundlectl.operations.verifying_documents import document_verdict
from bundles.belief import Belief
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream
from tests.unit.bundlectl.operations.site import Site
from tests.unit.bundles.documents import shared
from tests.unit.bundles.signed_documents import BY_KEY, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry

from tests.unit.bundlectl.operations.filed import BASE, BUNDLES, OF_1_33, RELEASE, WORD, files, listed, out, tree, uris


def test_the_tree_is_that_of_eksctl(site: Site, held: str) -> None:
    report = tree(site, held)
    assert report.exit_code == 0
    of_1_32 = {name.replace("1.33/", "1.32/").replace("1-33-eks-12", "1-32-eks-26") for name in OF_1_33}
    assert listed(site.folder / WORD) == {"bundle-release.yaml", "manifest.yaml"} | OF_1_33 | of_1_32
    assert report.bundles_override == f"./{WORD}/bundle-release.yaml"
    assert (site.folder / WORD / "manifest.yaml").read_bytes() == site.source.upstream.document("Release").raw


def test_the_bundles_of_the_tree_point_into_it_and_nothing_else_is_changed(site: Site, held: str) -> None:
    tree(site, held)
    before = site.source.upstream.document("Bundles").raw.splitlines()
    after = (site.folder / WORD / "bundle-release.yaml").read_bytes().splitlines()
    changed = [line for old, line in zip(before, after, strict=True) if old != line]
    paths = {line.decode().split()[-1] for line in changed}
    assert paths == {f"{WORD}/{name}" for name in listed(site.folder / WORD) if "/" in name}


def test_the_tree_from_upstream_asks_for_nothing_else(site: Site) -> None:
    assert tree(site, RELEASE).exit_code == 0
    assert site.source.requests.count("*", "/v2/*") == 0
    assert site.source.requests.count("*", "*.ova") == 0
    assert site.source.requests.count("*", "*.tar.gz") == 0


def test_a_version_comes_with_what_the_first_one_gives_to_management_clusters(site: Site, held: str) -> None:
    report = tree(site, held, kube_versions=("1.33",))
    assert report.exit_code == 0
    found = listed(site.folder / WORD)
    assert found >= OF_1_33
    assert {item.reason for item in report.excluded} <= {"only Kubernetes 1.33 is wanted"}
    bundles = uris(site.folder / WORD / "bundle-release.yaml")
    assert {uri for uri in bundles if uri.startswith(WORD)} == {f"{WORD}/{name}" for name in found if "/" in name}


def test_components_can_be_chosen_by_either_name(site: Site, held: str) -> None:
    tree(site, held, include=("core-cluster-api", "eksD"), exclude=("*/crds/*",), kube_versions=("1.33",))
    of_1_33 = {name for name in listed(site.folder / WORD) if name.startswith("1.33")}
    assert of_1_33 == {name for name in OF_1_33 if "core-cluster-api" in name or "kubernetes-1-33" in name}


def test_the_selection_of_a_collection_holds_for_its_tree(site: Site) -> None:
    site.download(RELEASE, name="narrow", kube_versions=("1.33",))
    report = tree(site, f"store:{site.store}#narrow")
    assert report.exit_code == 0
    assert listed(site.folder / WORD) >= OF_1_33
    assert {item.reason for item in report.excluded} <= {"only Kubernetes 1.33 is wanted"}


def test_what_a_narrower_store_lacks_is_missing_and_the_bundles_are_not_written(site: Site) -> None:
    site.download(RELEASE, name="narrow", kube_versions=("1.33",), exclude=("*cert-manager.yaml",))
    report = tree(site, f"store:{site.store}")
    assert report.exit_code == 4
    assert any("--kube-version" in (item.hint or "") for item in report.failed)
    assert report.bundles_override is None
    assert "bundle-release.yaml" not in listed(site.folder / WORD)


def test_the_bundles_of_another_run_are_withdrawn_before_their_files_are_replaced(site: Site) -> None:
    assert tree(site, RELEASE).exit_code == 0
    site.source.faults.add(Fault(Refuse(404), path="*cert-manager.yaml"))
    assert tree(site, RELEASE).exit_code == 4
    assert "bundle-release.yaml" not in listed(site.folder / WORD)


def test_a_second_run_finds_everything_up_to_date(site: Site, held: str) -> None:
    tree(site, held)
    report = tree(site, held)
    assert (report.written, report.skipped) == (0, report.total)


@pytest.mark.parametrize("name", ["eks-a", "downloads", f"{WORD}:1", f"my {WORD}", f"{WORD}%2f"])
def test_a_folder_that_eksctl_would_take_for_a_url_is_refused(site: Site, name: str) -> None:
    with pytest.raises(UsageError, match="would not take"):
        files(site, RELEASE, to=site.folder / name, layout="eks-anywhere")
    assert not (site.folder / name).exists()


def test_behind_a_web_server_the_folder_may_have_any_name(site: Site, held: str) -> None:
    report = files(site, held, to=site.folder / "eks-a", layout="eks-anywhere", base_url=BASE)
    assert report.exit_code == 0
    assert report.bundles_override == f"{BASE}/bundle-release.yaml"
    bundles = uris(site.folder / "eks-a" / "bundle-release.yaml")
    assert f"{BASE}/1.33/eks-distro/kubernetes-1-33-eks-12.yaml" in bundles


def test_a_source_without_bundles_has_no_tree(site: Site) -> None:
    with pytest.raises(UsageError, match="no Bundles"):
        tree(site, "eks-d:1-33")


def test_two_releases_are_no_tree(site: Site) -> None:
    raw = site.source.upstream.document("Bundles").raw
    (site.folder / "one.yaml").write_bytes(raw)
    (site.folder / "two.yaml").write_bytes(raw + b"# another\n")
    with pytest.raises(UsageError, match="2 Bundles") as caught:
        tree(site, str(site.folder / "one.yaml"), str(site.folder / "two.yaml"))
    assert "store:DIR#NAME" in (caught.value.hint or "")


def test_a_signature_that_is_asked_for_is_checked_before_anything_is_written(site: Site) -> None:
    path = site.folder / "bundles.yaml"
    path.write_bytes(site.source.upstream.document("Bundles").raw)
    with pytest.raises(VerificationError):
        tree(site, str(path), belief=BY_KEY)
    assert not (site.folder / WORD).exists()


def made_bundles(site: Site, text: str) -> str:
    """The path of Bundles for Kubernetes 1.33 that name what ``text`` says."""
    path = site.folder / "made.yaml"
    head = "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nspec:\n  number: 1\n  versionsBundles:\n"
    path.write_text(f'{head}  - kubeVersion: "1.33"\n{text}')
    return str(path)


def test_placeholders_and_empty_fields_are_no_files(site: Site) -> None:
    url = site.put_file("kindnetd.yaml", b"kindnetd")
    source = made_bundles(
        site,
        "    cloudStack: {version: deprecated, components: {uri: <placeholder>}, metadata: {uri: ''}}\n"
        f"    kindnetd: {{manifest: {{uri: '{url}'}}}}\n    certManager: {{manifest: {{}}}}\n",
    )
    assert tree(site, source).exit_code == 0
    assert listed(site.folder / WORD) == {"bundle-release.yaml", "1.33/kindnetd/kindnetd.yaml"}


def test_cloudstack_is_there_where_a_release_has_it(site: Site) -> None:
    url = site.put_file("infrastructure-components.yaml", b"cloudstack")
    source = made_bundles(site, f"    cloudStack: {{components: {{uri: '{url}'}}}}\n")
    assert tree(site, source).exit_code == 0
    name = "1.33/cluster-api-provider-cloudstack/infrastructure-components.yaml"
    assert listed(site.folder / WORD) == {"bundle-release.yaml", name}


def test_two_files_of_one_name_in_one_component_are_told(site: Site) -> None:
    one, two = site.put_file("a/metadata.yaml", b"one"), site.put_file("b/metadata.yaml", b"two")
    source = made_bundles(site, f"    clusterAPI: {{components: {{uri: '{one}'}}, metadata: {{uri: '{two}'}}}}\n")
    report = tree(site, source)
    assert report.exit_code == 3
    assert any(item.reference == two and one in item.error for item in report.failed)
    assert "bundle-release.yaml" not in listed(site.folder / WORD)


def test_a_file_that_is_no_manifest_by_its_name_is_not_forgotten(site: Site) -> None:
    url = site.put_file("components", b"components")
    report = tree(site, made_bundles(site, f"    eksa: {{components: {{uri: '{url}'}}}}\n"))
    assert report.exit_code == 4
    assert url in {item.reference for item in report.failed}


@pytest.mark.parametrize("version", ["..", ".bundlectl-partial", "", "1.33/.."])
def test_no_version_leads_out_of_the_folder(site: Site, version: str) -> None:
    url = site.put_file("evil.yaml", b"evil")
    source = made_bundles(site, f"    kindnetd: {{manifest: {{uri: '{url}'}}}}\n")
    path = site.folder / "made.yaml"
    path.write_text(path.read_text().replace('"1.33"', f'"{version}"'))
    with pytest.raises(ContentError, match="is for Kubernetes"):
        tree(site, source)
    assert not list(site.folder.rglob("evil.yaml"))


# real documents


NAMES = """
    bundle-release.yaml
    1.36/core-cluster-api/core-components.yaml
    1.36/core-cluster-api/metadata.yaml
    1.36/capi-kubeadm-bootstrap/bootstrap-components.yaml
    1.36/capi-kubeadm-bootstrap/metadata.yaml
    1.36/capi-kubeadm-control-plane/control-plane-components.yaml
    1.36/capi-kubeadm-control-plane/metadata.yaml
    1.36/cert-manager/cert-manager.yaml
    1.36/cluster-api-provider-docker/infrastructure-components-development.yaml
    1.36/cluster-api-provider-docker/cluster-template-development.yaml
    1.36/cluster-api-provider-docker/metadata.yaml
    1.36/cluster-api-provider-vsphere/infrastructure-components.yaml
    1.36/cluster-api-provider-vsphere/cluster-template.yaml
    1.36/cluster-api-provider-vsphere/metadata.yaml
    1.36/cluster-api-provider-tinkerbell/infrastructure-components.yaml
    1.36/cluster-api-provider-tinkerbell/cluster-template.yaml
    1.36/cluster-api-provider-tinkerbell/metadata.yaml
    1.36/cluster-api-provider-nutanix/infrastructure-components.yaml
    1.36/cluster-api-provider-nutanix/cluster-template.yaml
    1.36/cluster-api-provider-nutanix/metadata.yaml
    1.36/cluster-api-provider-snow/infrastructure-components.yaml
    1.36/cluster-api-provider-snow/metadata.yaml
    1.36/kindnetd/kindnetd.yaml
    1.36/eks-anywhere-cluster-controller/eksa-components.yaml
    1.36/etcdadm-bootstrap-provider/bootstrap-components.yaml
    1.36/etcdadm-bootstrap-provider/metadata.yaml
    1.36/etcdadm-controller/bootstrap-components.yaml
    1.36/etcdadm-controller/metadata.yaml
    1.36/eks-distro/releases.distro.eks.amazonaws.com-v1alpha1.yaml
    1.36/eks-distro/kubernetes-1-36-eks-6.yaml
"""
"""The whole list of ``domain.md`` 3.1, for one Kubernetes version of today's Bundles."""


@pytest.fixture
def real(registry_factory: Callable[..., ServedRegistry], tmp_path: Path) -> Iterator[Callable[[bytes], Site]]:
    """A site whose upstream serves one Bundles document, which lies in ``bundles.yaml``."""
    with ExitStack() as stack:

        def make(raw: bytes) -> Site:
            upstream = stack.enter_context(Upstream.synthesise([raw]))
            served = stack.enter_context(upstream.serve())
            (tmp_path / "bundles.yaml").write_bytes(upstream.document("Bundles").raw)
            return stack.enter_context(Site(served, registry_factory(), tmp_path))

        yield make


def test_todays_bundles_give_exactly_the_files_of_eksctl(real: Callable[[bytes], Site]) -> None:
    site = real(shared("eksa-bundles-main.yaml"))
    report = tree(site, str(site.folder / "bundles.yaml"))
    assert report.exit_code == 0
    found = listed(site.folder / WORD)
    of_1_36 = {name for name in found if name.startswith("1.36/") or "/" not in name}
    assert of_1_36 == set(NAMES.split())
    versions = {name.partition("/")[0] for name in found if "/" in name}
    assert versions == {f"1.{minor}" for minor in range(30, 37)}
    assert len(found) == 1 + 7 * (len(NAMES.split()) - 1)


def test_one_version_and_provider_of_todays_bundles(real: Callable[[bytes], Site]) -> None:
    site = real(shared("eksa-bundles-main.yaml"))
    source = str(site.folder / "bundles.yaml")
    report = tree(site, source, kube_versions=("1.36",), providers=("vsphere",))
    assert report.exit_code == 0
    providers = {name for name in NAMES.split() if "/cluster-api-provider-" in name and "vsphere" not in name}
    found = listed(site.folder / WORD)
    assert {name for name in found if name.startswith("1.36/") or "/" not in name} == set(NAMES.split()) - providers
    assert {name.partition("/")[0] for name in found if "/" in name} == {"1.30", "1.36"}
    assert not any("kindnetd" in name for name in found if name.startswith("1.30/"))
    assert {item.reason.partition(" ")[0] for item in report.excluded} == {"only"}


def test_a_store_gives_the_tree_for_what_it_was_filled_for(real: Callable[[bytes], Site]) -> None:
    site = real(shared("eksa-bundles-main.yaml"))
    narrow = {"kube_versions": ("1.36",), "providers": ("vsphere",)}
    site.download(str(site.folder / "bundles.yaml"), name="one", include=("http*.yaml",), **narrow)
    assert tree(site, f"store:{site.store}#one").exit_code == 0
    named = listed(site.folder / WORD)
    assert tree(site, f"store:{site.store}", **narrow).exit_code == 0
    assert listed(site.folder / WORD) == named
    report = tree(site, f"store:{site.store}")
    assert report.exit_code == 4
    assert "bundle-release.yaml" not in listed(site.folder / WORD)


def test_awss_own_signature_holds_on_the_bundles_of_the_tree(real: Callable[[bytes], Site]) -> None:
    """AWS signed this document without what its signature leaves out: with that, it is still signed by AWS."""
    raw = shared("bundles-minimal.aws-kms-signed.yaml")
    raw += b"""\
    certManager:
      manifest:
        uri: https://anywhere-assets.eks.amazonaws.com/releases/bundles/1/cert-manager.yaml # one
    clusterAPI: {components: {uri: "https://anywhere-assets.eks.amazonaws.com/releases/bundles/1/core.yaml"}}
    eksD:
      components: https://distro.eks.amazonaws.com/crds/releases.yaml
      manifestUrl: https://distro.eks.amazonaws.com/kubernetes-1-31/kubernetes-1-31-eks-9.yaml
"""
    site = real(raw)
    aws = Belief()
    report = tree(site, str(site.folder / "bundles.yaml"), belief=aws)
    assert report.exit_code == 0
    place = site.folder / WORD / "bundle-release.yaml"
    written = place.read_bytes()
    assert b"https://" not in written
    verdict = document_verdict(written, str(place), SourceRequest(sources=(), belief=aws))
    assert verdict.verified
    assert f"{WORD}/1.31/cert-manager/cert-manager.yaml # one".encode() in written
    assert listed(site.folder / WORD) == {
        "bundle-release.yaml",
        "1.31/cert-manager/cert-manager.yaml",
        "1.31/core-cluster-api/core.yaml",
        "1.31/eks-distro/kubernetes-1-31-eks-9.yaml",
        "1.31/eks-distro/releases.yaml",
    }


@pytest.mark.parametrize("layout", ["url", "eks-anywhere"])
def test_what_a_site_signed_still_verifies_when_it_points_elsewhere(
    layout: str, registry_factory: Callable[..., ServedRegistry], tmp_path: Path
) -> None:
    def finish(kind: str, raw: bytes) -> bytes:
        return signed(raw) if kind in ("Bundles", "EksdRelease") else raw

    with (
        Upstream.synthesise(sample_documents(), finish=finish) as upstream,
        upstream.serve() as served,
        Site(served, registry_factory(), tmp_path) as site,
    ):
        report = files(site, RELEASE, layout=layout, base_url=BASE, belief=BY_KEY)
        assert report.exit_code == 0
        names = ["bundle-release.yaml"] if layout == "eks-anywhere" else [BUNDLES]
        for name in names:
            raw = (out(site) / name).read_bytes()
            assert BASE.encode() in raw
            assert document_verdict(raw, name, SourceRequest(sources=(), belief=BY_KEY)).verified

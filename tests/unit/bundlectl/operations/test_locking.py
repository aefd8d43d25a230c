"""What ends up in a lock."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, UsageError
from bundles.lock import Lock
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from registry_fixtures.attachments import Attacher
from registry_fixtures.charts import ChartImage, build_chart
from registry_fixtures.faults import Fault, FlipByte, Refuse
from registry_fixtures.noise import Dice
from tests.unit.bundlectl.operations.site import FILES_HOST

if TYPE_CHECKING:
    from tests.unit.bundlectl.operations.site import Site

EKSD = "eks-d:1-33"
EKSA = "eks-a:latest"
PACKAGES = "packages:1-33"
PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
METALLB = "chart:public.ecr.aws/eks-anywhere/metallb/metallb:0.15.2-70b02ec18b7ff0f0de3f2df9cba2a1fd0f2c5b80"


def references(lock: Lock, kind: str | None = None) -> set[str]:
    return {item.reference for item in lock.artifacts if kind in (None, item.type)}


def test_the_same_upstream_gives_the_same_bytes(site: Site) -> None:
    first, second = (site.lock(EKSA, PACKAGES).to_bytes() for _ in range(2))
    assert first == second
    assert Lock.from_bytes(first, origin="lock").to_bytes() == first


def test_every_artifact_of_the_release_is_pinned_with_all_it_needs(site: Site) -> None:
    lock = site.lock(EKSA)
    upstream = site.source.upstream
    assert {**upstream.images, **upstream.charts}.items() >= {
        (item.reference, item.digest) for item in lock.artifacts if item.type != "file" and "@" not in item.reference
    }
    for item in lock.artifacts:
        assert item.manifests
        assert item.all_digests() <= lock.blobs.keys()
    assert lock.unique_bytes() == sum(lock.blobs.values())


def test_all_artifacts_that_fail_are_named(site: Site) -> None:
    names = ("coredns", "etcd-io", "pause", "kube-apiserver", "livenessprobe")
    for name in names:
        site.source.faults.add(Fault(Refuse(404), path=f"*{name}*/manifests/*"))
    site.source.faults.add(Fault(Refuse(404), method="HEAD", path="*.tar.gz"))
    with pytest.raises(MissingError) as caught:
        site.lock(EKSD)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith("8 artifacts ")
    site.source.faults.clear()
    for reference in references(site.lock(EKSD)):
        assert reference in caught.value.message


def test_something_wrong_beats_something_missing(site: Site) -> None:
    site.source.faults.add(Fault(Refuse(404), path="*coredns*/manifests/*"))
    site.source.faults.add(Fault(FlipByte(5), method="GET", path="*pause*/manifests/*"))
    with pytest.raises(ContentError) as caught:
        site.lock(EKSD)
    assert caught.value.exit_code == 3
    assert "coredns" in caught.value.message
    assert "pause" in caught.value.message


def test_referrers_of_an_image_of_its_children_and_of_each_other_are_pinned(site: Site) -> None:
    holdings = site.source.registry.holdings
    host, _, path = PAUSE.partition("/")
    repository, _, tag = f"{host}/{path}".rpartition(":")
    index = holdings.manifest(repository, tag)
    child = index.children()[0]
    attacher = Attacher(holdings, Dice(1))
    own = attacher.cosign(host, repository, index.descriptor)
    below = attacher.cosign(host, repository, child)
    sbom = attacher.sbom(repository, child)
    signature = attacher.notation(repository, sbom)
    (image,) = site.lock(f"image:{PAUSE}").artifacts
    found = {item.digest: item.tag for item in image.referrers}
    assert {own.digest, below.digest, sbom.digest, signature.digest} <= found.keys()
    assert found[own.digest] == f"sha256-{index.descriptor.digest.encoded}.sig"
    assert found[below.digest] == f"sha256-{child.digest.encoded}.sig"


def signed(site: Site) -> str:
    """Sign an image upstream as cosign does, and return the tag of the signature."""
    host, _, path = PAUSE.partition("/")
    repository, _, tag = f"{host}/{path}".rpartition(":")
    holdings = site.source.registry.holdings
    index = holdings.manifest(repository, tag)
    Attacher(holdings, Dice(1)).cosign(host, repository, index.descriptor)
    return f"sha256-{index.descriptor.digest.encoded}.sig"


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_where_no_tags_are_listed_the_signature_of_an_image_is_found_by_its_tag(site: Site, status: int) -> None:
    tag = signed(site)
    site.source.faults.add(Fault(Refuse(status), path="*/tags/list"))
    (image,) = site.lock(f"image:{PAUSE}").artifacts
    assert tag in {item.tag for item in image.referrers}


def test_no_lock_comes_of_it_when_it_cannot_be_said_which_signatures_there_are(site: Site) -> None:
    signed(site)
    site.source.faults.add(Fault(Refuse(503), path="*/tags/list"))
    with pytest.raises(MissingError, match="503"):
        site.lock(f"image:{PAUSE}")


def test_referrers_are_left_out_on_request(site: Site) -> None:
    assert all(not item.referrers for item in site.lock(EKSD, referrers=False).artifacts)
    assert site.source.requests.count("*", "*/referrers/*") == 0


def test_the_images_of_a_chart_come_with_it_and_can_be_excluded(site: Site) -> None:
    everything = site.lock(METALLB)
    images = references(everything, "image")
    assert {name.partition("metallb/")[2].partition(":")[0].partition("@")[0] for name in images} == {
        "controller",
        "speaker",
    }
    part = site.lock(METALLB, exclude=("*/metallb/speaker*",))
    assert references(part, "image") == {name for name in images if "speaker" not in name}
    assert any("speaker" in item.reference for item in part.excluded)


def test_a_chart_of_a_classic_repository_is_pinned_by_its_reproducible_form(site: Site) -> None:
    _serve_chart(site)
    first = site.lock(f"chart:{FILES_HOST}/charts#web@1.2.3+b1")
    chart = next(item for item in first.artifacts if item.type == "chart")
    assert chart.reference == "files.example/charts/web:1.2.3_b1"
    assert chart.chart_url == f"{FILES_HOST}/charts/web-1.2.3.tgz"
    assert references(first, "image") == {PAUSE}
    assert site.lock(f"chart:{FILES_HOST}/charts#web@1.2.3+b1").to_bytes() == first.to_bytes()


def test_an_archive_that_is_not_what_its_index_states_is_refused(site: Site) -> None:
    _serve_chart(site, digest="0" * 64)
    with pytest.raises(ContentError, match="should have digest"):
        site.lock(f"chart:{FILES_HOST}/charts#web@1.2.3+b1")


@pytest.mark.parametrize("form", ["image", "chart"])
def test_a_chart_that_another_chart_names_is_one_artifact_with_one_digest(site: Site, form: str) -> None:
    reference = METALLB.removeprefix("chart:")
    digest = site.source.upstream.charts[reference]
    web = f"chart:{FILES_HOST}/charts#web@1.2.3+b1"
    _serve_chart(site, image=(reference, digest))
    lock = site.lock(web, f"{form}:{reference}")
    (found,) = [item for item in lock.artifacts if item.reference == reference]
    assert (found.type, found.digest) == ("chart", digest)
    assert any("web" in place for place in found.found_in)
    _serve_chart(site, image=(reference, Digest.of(b"another")))
    with pytest.raises(ContentError, match=f"is pinned to {digest}, but"):
        site.lock(web, f"{form}:{reference}")


def _serve_chart(site: Site, *, digest: str | None = None, image: tuple[str, Digest] | None = None) -> None:
    reference, pinned = image or (PAUSE, site.source.upstream.images[PAUSE])
    name, _, tag = reference.removeprefix("public.ecr.aws/").rpartition(":")
    images = [ChartImage(name, tag, pinned)]
    archive = build_chart("web", "1.2.3+b1", source_registry="public.ecr.aws", images=images)
    site.put_file("charts/web-1.2.3.tgz", archive)
    stated = digest or hashlib.sha256(archive).hexdigest()
    entry = f"- {{name: web, version: 1.2.3+b1, urls: [web-1.2.3.tgz], digest: {stated}}}"
    site.put_file("charts/index.yaml", f"apiVersion: v1\nentries:\n  web:\n  {entry}\n".encode())


def test_a_file_without_a_stated_digest_is_read_once_to_pin_it(site: Site) -> None:
    url = site.put_file("tool.bin", b"tool" * 100)
    (file,) = site.lock(f"file:{url}").artifacts
    assert (file.digest, file.size, file.trust) == (Digest.of(b"tool" * 100), 400, "resolved")
    assert site.source.requests.count("GET", "/files.example/tool.bin") == 1


def test_a_file_with_a_stated_digest_is_not_read(site: Site) -> None:
    site.lock(EKSD)
    assert site.source.requests.count("GET", "*.tar.gz") == 0
    assert site.source.requests.count("HEAD", "*.tar.gz") == 3


def test_one_reference_with_two_digests_is_refused(site: Site) -> None:
    one = site.lock_file(f"image:{PAUSE}")
    repository, _, tag = PAUSE.rpartition(":")
    held = site.source.registry.holdings.repository(repository)
    held.tags[tag] = held.manifests[held.tags[tag]].children()[0].digest
    other = site.lock_file(f"image:{PAUSE}")
    with pytest.raises(ContentError) as caught:
        site.lock(one, other)
    assert (caught.value.exit_code, caught.value.artifact) == (3, PAUSE)


def test_a_lock_as_source_gives_itself_without_a_request(site: Site) -> None:
    path = site.lock_file(EKSD)
    site.source.requests.clear()
    again = site.lock(path)
    assert site.source.requests.count() == 0
    assert references(again) == {item["reference"] for item in _document(path)["artifacts"]}


def _document(path: str) -> dict[str, list[dict[str, str]]]:
    document: dict[str, list[dict[str, str]]] = json.loads(Path(path).read_bytes())
    return document


def test_a_lock_that_is_locked_once_more_stays_the_same_but_for_its_sources(site: Site) -> None:
    path = site.lock_file(EKSD, platforms=(Platform.parse("linux/amd64"),), exclude=("*coredns*",))
    again = site.lock(path)
    before = Lock.from_bytes(Path(path).read_bytes(), origin=path)
    assert (again.artifacts, again.blobs, again.selection) == (before.artifacts, before.blobs, before.selection)


@pytest.mark.parametrize(
    ("chosen", "named", "gone"),
    [
        ({"kube_versions": ("1.33",)}, "v1.33.5-eks-d-1-33-12", "v1.32.9-eks-d-1-32-26"),
        ({"kube_versions": ("1.32",)}, "v1.32.9-eks-d-1-32-26", "v1.33.5-eks-d-1-33-12"),
        ({"providers": ("docker",)}, "kind/node", "vmlinuz"),
        ({"providers": ("tinkerbell",)}, "vmlinuz", "kube-vip/nothing"),
        ({"include": ("cilium",)}, "cilium/cilium:", "coredns"),
        ({"include": ("*/coredns*",)}, "coredns", "cilium"),
        ({"exclude": ("cilium",)}, "coredns", "cilium/cilium:"),
        ({"exclude": ("*.tar.gz",)}, "coredns", ".tar.gz"),
        ({"files": False}, "coredns", ".yaml"),
    ],
)
def test_what_is_not_selected_is_left_out_and_listed(
    site: Site, chosen: dict[str, object], named: str, gone: str
) -> None:
    lock = site.lock(EKSA, **chosen)
    everything = references(site.lock(EKSA))
    assert any(named in reference for reference in references(lock))
    assert not any(gone in reference for reference in references(lock))
    listed = {item.reference for item in lock.excluded}
    assert all(item.reason for item in lock.excluded)
    assert everything - references(lock) <= listed


def test_management_components_are_kept_whatever_kubernetes_version_is_wanted(site: Site) -> None:
    # They are named in the first VersionsBundle, and installed from there.
    both = {"eks-anywhere-packages", "cert-manager-controller", "cluster-api-controller"}
    for version in ("1.32", "1.33"):
        direct = references(site.lock(EKSA, kube_versions=(version,)))
        through = references(site.lock(site.lock_file(EKSA), kube_versions=(version,)))
        for found in (direct, through):
            assert all(any(name in reference for reference in found) for name in both)
        assert through == direct


def test_one_platform_leaves_the_children_of_the_others_out(site: Site) -> None:
    (image,) = site.lock(f"image:{PAUSE}", platforms=(Platform.parse("linux/arm64/v8"),), referrers=False).artifacts
    assert len(image.manifests) == 2
    assert [str(platform) for platform in image.platforms] == ["linux/arm64/v8"]


def test_a_platform_that_no_child_has_is_missing(site: Site) -> None:
    with pytest.raises(MissingError):
        site.lock(f"image:{PAUSE}", platforms=(Platform.parse("linux/s390x"),))


@pytest.mark.parametrize(
    "chosen", [{"platforms": (Platform.parse("linux/amd64"),)}, {"providers": ("vsphere",)}], ids=str
)
def test_what_a_lock_does_not_tell_cannot_be_chosen_from_it(site: Site, chosen: dict[str, object]) -> None:
    path = site.lock_file(EKSA)
    with pytest.raises(UsageError, match="cannot be chosen again"):
        site.lock(path, **chosen)


def test_a_lock_can_be_narrowed_by_name_and_without_referrers(site: Site) -> None:
    path = site.lock_file(EKSD)
    part = site.lock(path, include=("*pause*", "*etcd*"), files=False, referrers=False)
    assert references(part) == {
        name for name in references(site.lock(path), "image") if "pause" in name or "etcd" in name
    }
    assert all(not item.referrers for item in part.artifacts)
    assert (part.selection["referrers"], part.selection["files"]) == (False, False)
    assert set(part.blobs) == {digest for item in part.artifacts for digest in item.all_digests()}


def test_a_collection_names_sources_and_what_of_them_is_wanted(site: Site) -> None:
    path = site.folder / "site.yaml"
    path.write_text(
        "apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\nmetadata:\n  name: edge\nspec:\n"
        f"  sources: ['{EKSD}', 'image:{PAUSE}']\n"
        "  components:\n    exclude: ['*coredns*', '*.tar.gz']\n"
    )
    lock = site.lock(str(path))
    assert lock.name == "edge"
    assert not any("coredns" in name or name.endswith(".tar.gz") for name in references(lock))
    assert PAUSE in references(lock)


def test_nothing_to_lock_is_wrong_usage(site: Site) -> None:
    with pytest.raises(UsageError):
        site.lock()


def test_the_helper_archive_is_one(site: Site) -> None:
    _serve_chart(site)
    with site.session() as session:
        raw = session.client.fetch(session.reach(f"{FILES_HOST}/charts/web-1.2.3.tgz"), limit=1 << 20)
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        assert "web/Chart.yaml" in archive.getnames()

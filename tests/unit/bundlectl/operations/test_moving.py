"""``download`` and ``mirror``: what arrives, from where, and under which name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import BundlectlError, ContentError, RegistryError, StoreError, UsageError
from bundlectl.operations import Naming, gathering
from bundles.artifact import Artifact
from bundles.lock import Lock
from bundles.release import Contents
from bundles.sources import read_source
from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from registry_fixtures.charts import ChartImage, build_chart
from registry_fixtures.faults import Fault, FlipByte, Refuse
from tests.unit.bundlectl.operations.site import FILES_HOST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.bundlectl.operations.site import Site

EKSD = "eks-d:1-33"
PACKAGES = "packages:1-33"
PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
COREDNS = "public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12"
AMD64 = (Platform.parse("linux/amd64"),)


def tags(site: Site) -> set[str]:
    holdings = site.target.holdings
    return {f"{name}:{tag}" for name in holdings.names() for tag in holdings.repository(name).tags}


def test_what_was_downloaded_is_mirrored_without_upstream_and_verifies(site: Site) -> None:
    assert site.download(EKSD, PACKAGES).exit_code == 0
    assert site.verify_store().findings == []
    site.source.requests.clear()
    report = site.mirror(f"store:{site.store}")
    assert (report.exit_code, report.requests_source, site.source.requests.count()) == (0, 0, 0)
    assert site.verify(f"store:{site.store}").findings == []


def test_a_store_gives_the_same_target_as_upstream_does(site: Site) -> None:
    site.mirror(EKSD, PACKAGES)
    direct = tags(site)
    site.download(EKSD, PACKAGES)
    other = Naming.parse(f"{site.target.host}/again")
    assert site.mirror(f"store:{site.store}", naming=other).exit_code == 0
    assert {name.removeprefix("again/") for name in tags(site) - direct} == {
        name.removeprefix("eks/") for name in direct
    }


def test_one_collection_of_a_store_can_be_named(site: Site) -> None:
    site.download(f"image:{PAUSE}", name="one")
    site.download(f"image:{COREDNS}", name="two")
    assert site.mirror(f"store:{site.store}#two").artifacts_done == 1
    assert "eks/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12" in tags(site)
    assert not any("pause" in name for name in tags(site))
    assert site.mirror(f"store:{site.store}").artifacts_done == 1
    with pytest.raises(BundlectlError):
        site.mirror(f"store:{site.store}#three")


def test_everything_goes_where_the_rules_say(site: Site) -> None:
    assert site.mirror(EKSD, PACKAGES).exit_code == 0
    found = tags(site)
    assert "eks/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12" in found
    assert "eks/bundlectl/manifests:kubernetes-1-33-eks-12" in found
    assert {
        "eks/eks-anywhere/eks-anywhere-packages-bundles:v1-33-120",
        "eks/eks-anywhere/eks-anywhere-packages-bundles:v1-33-latest",
    } <= found
    assert any(name.startswith("eks/eks-anywhere/metallb/speaker:by-digest-sha256-") for name in found)
    urls = [item.reference for item in site.lock(EKSD).artifacts if item.type == "file"]
    assert len(urls) == 3
    assert {f"eks/bundlectl/files:u-{hashlib.sha256(url.encode()).hexdigest()[:40]}" for url in urls} <= found


def test_a_document_arrives_with_the_bytes_it_had(site: Site) -> None:
    site.mirror(EKSD)
    holdings = site.target.holdings
    layer = holdings.manifest("eks/bundlectl/manifests", "kubernetes-1-33-eks-12").children()[-1]
    raw = b"".join(holdings.depot.blocks(layer.digest, 0, layer.size))
    assert raw == site.source.upstream.document("EksdRelease", "kubernetes-1-33-eks-12").raw


def test_referrers_arrive_and_are_listed(site: Site) -> None:
    assert site.mirror(f"image:{PAUSE}").exit_code == 0
    (image,) = site.lock(f"image:{PAUSE}").artifacts
    held = site.target.holdings.repository("eks/eks-distro/kubernetes/pause")
    assert image.referrers
    assert {item.digest for item in image.referrers} <= held.manifests.keys()
    assert {item.tag for item in image.referrers if item.tag} <= held.tags.keys()


def test_a_second_run_from_a_lock_asks_the_source_nothing(site: Site) -> None:
    path = site.lock_file(EKSD)
    site.mirror(path)
    site.source.requests.clear()
    site.target.requests.clear()
    report = site.mirror(path)
    assert (report.artifacts_done, report.artifacts_skipped) == (0, report.artifacts_total)
    assert report.requests_source == 0
    assert site.source.requests.count() == 0
    assert {entry.method for entry in site.target.requests.entries()} <= {"HEAD", "GET"}


def test_a_plan_says_what_the_run_then_sends(site: Site) -> None:
    planned = site.plan(EKSD, PACKAGES)
    assert tags(site) == set()
    site.target.requests.clear()
    report = site.mirror(EKSD, PACKAGES)
    sent = sum(entry.received for entry in site.target.requests.entries("PUT", "*/blobs/*"))
    assert planned.estimate.artifacts == report.artifacts_done
    assert planned.estimate.bytes == report.bytes_total
    assert sent <= planned.estimate.bytes
    assert site.plan(EKSD, PACKAGES).estimate.bytes == 0


def test_a_lock_for_one_platform_copies_that_platform_alone(site: Site) -> None:
    path = site.lock_file(EKSD, platforms=AMD64)
    lock = Lock.from_bytes(site.folder.joinpath(path).read_bytes(), origin=path)
    assert site.download(path).exit_code == 0
    with Store.open(site.store, read_only=True) as store:
        assert all(store.size(digest) is not None for digest in lock.blobs)
        arm = Digest.parse(str(site.lock(f"image:{PAUSE}").artifacts[0].manifests[1]))
        assert arm not in lock.blobs
        assert store.size(arm) is None
    assert site.verify_store().findings == []


def test_one_platform_takes_the_tag_at_a_target_without_sparse_indexes(site: Site) -> None:
    report = site.mirror(f"image:{PAUSE}", platforms=AMD64, referrers=False)
    (image,) = site.lock(f"image:{PAUSE}", platforms=AMD64, referrers=False).artifacts
    assert report.exit_code == 0
    assert report.not_addressable == [f"{site.target.host}/eks/eks-distro/kubernetes/pause@{image.digest}"]


def test_two_artifacts_that_would_get_one_name_are_refused_with_a_way_out(site: Site) -> None:
    holdings = site.source.registry.holdings
    holdings.duplicate("public.ecr.aws/eks-distro/coredns/coredns", "quay.io/eks-distro/kubernetes/pause")
    twin = holdings.repository("quay.io/eks-distro/kubernetes/pause")
    twin.tags["v1.33.5-eks-1-33-12"] = twin.tags["v1.12.1-eks-1-33-12"]
    source = f"image:{site.source.registry_host}/quay.io/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
    rules = ["public.ecr.aws=quay.io"]
    with pytest.raises(UsageError) as caught:
        site.mirror(f"image:{PAUSE}", source, naming=Naming.parse(f"{site.target.host}/eks", rules))
    assert caught.value.exit_code == 2
    assert "--map" in (caught.value.hint or "")
    assert tags(site) == set()
    assert site.mirror(f"image:{PAUSE}", source).exit_code == 0


def test_a_classic_chart_goes_all_the_way(site: Site) -> None:
    name, _, tag = PAUSE.removeprefix("public.ecr.aws/").rpartition(":")
    image = ChartImage(name, tag, site.source.upstream.images[PAUSE])
    archive = build_chart("web", "1.2.3", source_registry="public.ecr.aws", images=[image])
    site.put_file("charts/web.tgz", archive)
    digest = hashlib.sha256(archive).hexdigest()
    entry = f"- {{name: web, version: 1.2.3, urls: [web.tgz], digest: {digest}}}"
    site.put_file("charts/index.yaml", f"apiVersion: v1\nentries:\n  web:\n  {entry}\n".encode())
    source = f"chart:{FILES_HOST}/charts#web@1.2.3"
    assert site.download(source).exit_code == 0
    assert site.mirror(f"store:{site.store}").exit_code == 0
    direct = Naming.parse(f"{site.target.host}/direct")
    assert site.mirror(source, naming=direct).exit_code == 0
    for prefix in ("eks", "direct"):
        chart = site.target.holdings.manifest(f"{prefix}/charts/web", "1.2.3")
        layer = chart.children()[-1]
        assert b"".join(site.target.holdings.depot.blocks(layer.digest, 0, layer.size)) == archive
        assert f"{prefix}/eks-distro/kubernetes/pause:{tag}" in tags(site)


def test_an_altered_classic_chart_is_not_what_was_locked(site: Site) -> None:
    archive = build_chart("web", "1.2.3", source_registry="public.ecr.aws")
    site.put_file("charts/web.tgz", archive)
    entry = "- {name: web, version: 1.2.3, urls: [web.tgz]}"
    site.put_file("charts/index.yaml", f"apiVersion: v1\nentries:\n  web:\n  {entry}\n".encode())
    path = site.lock_file(f"chart:{FILES_HOST}/charts#web@1.2.3")
    site.put_file("charts/web.tgz", build_chart("web", "1.2.3", source_registry="quay.io"))
    report = site.download(path)
    assert report.exit_code in (3, 4)
    assert site.verify_store().findings == []


def test_a_file_of_unknown_digest_is_fetched_once(site: Site) -> None:
    url = site.put_file("tool.bin", b"tool" * 1000)
    assert site.download(f"file:{url}").exit_code == 0
    assert site.source.requests.count("GET", "/files.example/tool.bin") == 1
    assert site.verify_store().findings == []


@pytest.mark.parametrize("stated", ["sha256", "none"])
def test_a_file_whose_sha512_is_wrong_is_exit_3_and_not_stored(
    site: Site, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    data = b"tool" * 1000
    url = site.put_file("tool.bin", data)
    artifact = Artifact(
        type="file",
        name="tool.bin",
        reference=url,
        digest=Digest.of(data) if stated == "sha256" else None,
        sha512="0" * 128,
    )
    _instead(monkeypatch, artifact)
    report = site.download(EKSD)
    assert (report.exit_code, [failure.reference for failure in report.failed]) == (3, [url])
    with Store.open(site.store, read_only=True) as store:
        assert store.size(Digest.of(data)) is None
        assert store.collections() == {}


def test_a_file_whose_sha256_is_wrong_is_exit_3_though_its_size_was_not_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = site.put_file("tool.bin", b"tool" * 1000)
    _instead(monkeypatch, Artifact(type="file", name="tool.bin", reference=url, digest=Digest.of(b"another")))
    site.source.faults.add(Fault(Refuse(405), method="HEAD", path="*tool.bin"))
    assert site.download(EKSD).exit_code == 3
    with Store.open(site.store, read_only=True) as store:
        assert store.stats().blobs == 0 or store.size(Digest.of(b"tool" * 1000)) is None


def _instead(monkeypatch: pytest.MonkeyPatch, artifact: Artifact) -> None:
    """Let the sources name this artifact alone."""

    def read(text: str, context: object) -> object:
        loaded = read_source(text, context)  # type: ignore[arg-type]
        return replace(loaded, contents=Contents((artifact,), (), ()), documents=())

    monkeypatch.setattr(gathering, "read_source", read)


def test_what_failed_keeps_the_collection_from_being_kept(site: Site) -> None:
    site.source.faults.add(Fault(FlipByte(9), method="GET", path="*etcd*.tar.gz"))
    report = site.download(EKSD)
    assert report.exit_code == 3
    with Store.open(site.store, read_only=True) as store:
        assert store.collections() == {}
    site.source.faults.clear()
    second = site.download(EKSD)
    assert (second.exit_code, second.artifacts_done) == (0, 1)
    with Store.open(site.store, read_only=True) as store:
        assert list(store.collections()) == ["kubernetes-1-33-eks-12"]


def test_a_target_that_cannot_be_reached_is_told_as_that(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}")
    with pytest.raises(BundlectlError) as caught:
        site.mirror(path, naming=Naming.parse("127.0.0.1:1/eks"))
    assert caught.value.exit_code == 1


def test_a_target_that_lets_nobody_in_is_told_as_that(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}")
    site.target.registry.faults.add(Fault(Refuse(401), path="/v2/*"))
    with pytest.raises(RegistryError):
        site.mirror(path)


def test_a_folder_that_is_no_store_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "something").write_text("else")
    with pytest.raises(StoreError):
        site.download(EKSD)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["something"]


def test_a_document_that_changed_since_it_was_locked_is_exit_3(site: Site) -> None:
    path = site.lock_file(EKSD)
    site.source.faults.add(Fault(FlipByte(30), method="GET", path="*kubernetes-1-33-eks-12.yaml"))
    report = site.download(path)
    assert report.exit_code == 3
    assert site.verify_store().findings == []


def test_a_report_counts_artifacts_blobs_and_bytes(site: Site) -> None:
    document = json.loads(json.dumps(site.download(EKSD).to_json()))
    artifacts, blobs = document["artifacts"], document["blobs"]
    assert artifacts["total"] == artifacts["done"] == 8 + 1
    assert blobs["total"] == blobs["transferred"] + blobs["present"]
    assert document["bytes"]["transferred"] <= document["bytes"]["total"]
    assert document["requests"]["source"] > 0
    assert (document["failed"], document["notAddressable"]) == ([], [])


def test_what_is_no_lock_is_refused_before_anything_else(site: Site) -> None:
    with pytest.raises(ContentError):
        site.download(_broken_lock(site))
    assert site.source.requests.count() == 0


def _broken_lock(site: Site) -> str:
    path = site.folder / "broken.lock.json"
    path.write_text('{"apiVersion":"bundlectl.dev/v1alpha1","kind":"Lock"}')
    return str(path)

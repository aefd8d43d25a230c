"""``verify``, ``diff``, ``serve`` and ``store``: looking at what there is."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import BundlectlError, ContentError, UsageError
from bundlectl.operations import Naming, ServeOptions, diff, list_store, serve, store_stats
from bundles.lock import Lock
from mirror.oci.digest import Digest
from mirror.oci.platform import Platform
from registry_fixtures.faults import Fault, FlipByte

if TYPE_CHECKING:
    from tests.unit.bundlectl.operations.site import Site

EKSD = "eks-d:1-33"
PACKAGES = "packages:1-33"
PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"


@pytest.fixture
def mirrored(site: Site) -> str:
    """A lock, everything of which is at the target."""
    path = site.lock_file(EKSD, PACKAGES)
    assert site.mirror(path).exit_code == 0
    return path


def test_a_target_that_has_everything_verifies(site: Site, mirrored: str) -> None:
    report = site.verify(mirrored)
    assert (report.exit_code, report.findings) == (0, [])
    assert report.artifacts > 16
    assert report.bytes > 0


def test_a_tag_that_is_gone_is_missing(site: Site, mirrored: str) -> None:
    del site.target.holdings.repository("eks/eks-distro/kubernetes/pause").tags["v1.33.5-eks-1-33-12"]
    report = site.verify(mirrored, deep=False)
    assert report.exit_code == 4
    assert [(finding.kind, finding.reference) for finding in report.findings] == [("missing", PAUSE)]


def test_a_tag_that_points_elsewhere_is_different(site: Site, mirrored: str) -> None:
    held = site.target.holdings.repository("eks/eks-distro/kubernetes/pause")
    held.tags["v1.33.5-eks-1-33-12"] = next(iter(set(held.manifests) - set(held.tags.values())))
    report = site.verify(mirrored, deep=False)
    assert report.exit_code == 3
    assert {finding.kind for finding in report.findings} == {"different"}


def test_a_blob_that_is_gone_is_missing(site: Site, mirrored: str) -> None:
    held = site.target.holdings.repository("eks/eks-distro/kubernetes/pause")
    held.blobs.pop()
    assert site.verify(mirrored, deep=False).exit_code == 4


def test_a_flipped_byte_is_found_by_reading_everything_back(site: Site, mirrored: str) -> None:
    site.target.registry.faults.add(Fault(FlipByte(3), method="GET", path="*pause/blobs/*"))
    assert site.verify(mirrored, deep=False).exit_code == 0
    report = site.verify(mirrored)
    assert report.exit_code == 3
    assert {finding.reference for finding in report.findings} == {PAUSE}


def test_different_beats_missing(site: Site, mirrored: str) -> None:
    holdings = site.target.holdings
    holdings.repository("eks/eks-distro/coredns/coredns").tags.clear()
    held = holdings.repository("eks/eks-distro/kubernetes/pause")
    held.tags["v1.33.5-eks-1-33-12"] = next(iter(set(held.manifests) - set(held.tags.values())))
    report = site.verify(mirrored, deep=False)
    assert report.exit_code == 3
    document = json.loads(json.dumps(report.to_json()))
    assert document["missing"]
    assert document["different"]


def test_a_document_that_is_gone_is_missing(site: Site, mirrored: str) -> None:
    site.target.holdings.repository("eks/bundlectl/manifests").tags.clear()
    report = site.verify(mirrored, deep=False)
    assert (report.exit_code, len(report.findings)) == (4, 1)


def test_a_target_is_compared_with_the_collections_of_a_store(site: Site, mirrored: str) -> None:
    site.download(mirrored, name="all")
    assert site.verify(f"store:{site.store}").exit_code == 0
    assert site.verify(f"store:{site.store}#all").exit_code == 0
    with pytest.raises(UsageError):
        site.verify(f"store:{site.store}#other")
    with pytest.raises(UsageError):
        site.verify(str(site.folder / "none.json"))


def test_one_platform_that_took_the_tag_of_its_index_is_no_difference(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}", platforms=(Platform.parse("linux/amd64"),), referrers=False)
    assert site.mirror(path).not_addressable
    assert site.verify(path).exit_code == 0
    site.source.requests.clear()
    second = site.mirror(path)
    assert (second.artifacts_skipped, len(second.not_addressable), site.source.requests.count()) == (1, 1, 0)


def test_a_store_verifies_until_a_byte_is_flipped_or_a_blob_is_gone(site: Site) -> None:
    site.download(EKSD)
    report = site.verify_store()
    assert (report.exit_code, report.deep) == (0, True)
    blobs = sorted((site.store / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    blobs[-1].chmod(0o600)
    blobs[-1].write_bytes(b"\0" + blobs[-1].read_bytes()[1:])
    assert site.verify_store().exit_code == 3
    blobs[-1].unlink()
    assert site.verify_store().exit_code == 4
    assert site.download(EKSD).exit_code == 0
    assert site.verify_store().exit_code == 0


def test_a_damaged_store_is_not_mirrored_and_a_download_mends_it(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    layer = max((site.store / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.chmod(0o600)
    layer.write_bytes(b"\0" + layer.read_bytes()[1:])
    report = site.mirror(f"store:{site.store}")
    assert report.exit_code == 3
    holdings = site.target.holdings
    assert PAUSE.rpartition(":")[2] not in {tag for name in holdings.names() for tag in holdings.repository(name).tags}
    layer.unlink()
    assert site.download(f"image:{PAUSE}").artifacts_done == 1
    assert site.mirror(f"store:{site.store}").exit_code == 0


def test_a_store_is_listed_and_counted(site: Site) -> None:
    site.download(EKSD, name="release")
    listing = list_store(site.store)
    assert [(name, count) for name, count, _ in listing.collections] == [("release", 8)]
    assert PAUSE in {str(ref) for ref in listing.refs}
    assert json.dumps(listing.to_json())
    assert store_stats(site.store).collections == 1


def test_a_difference_tells_added_removed_changed_and_the_bytes_to_fetch(site: Site) -> None:
    before = site.lock_file(EKSD, exclude=("*coredns*",))
    repository, _, tag = PAUSE.rpartition(":")
    holdings = site.source.registry.holdings
    holdings.duplicate("public.ecr.aws/eks-distro/etcd-io/etcd", repository)
    held = holdings.repository(repository)
    held.tags[tag] = held.tags["v3.5.21-eks-1-33-12"]
    one = site.lock_file(f"image:{PAUSE}")
    changed = site.lock(before, exclude=("*/pause*", "*livenessprobe*"))
    merged = Lock(
        sources=changed.sources,
        selection=changed.selection,
        manifests=changed.manifests,
        artifacts=(*changed.artifacts, *site.lock(one).artifacts),
        blobs={**changed.blobs, **site.lock(one).blobs},
    )
    after = site.folder / "after.lock.json"
    after.write_bytes(merged.to_bytes())
    with site.session() as session:
        found = diff(before, str(after), request=site.request(), session=session)
    assert found.added == ()
    assert ["livenessprobe" in item.reference for item in found.removed] == [True]
    assert [(old.reference, new.reference) for old, new in found.changed] == [(PAUSE, PAUSE)]
    # What the image changed to is there already, under another name.
    assert found.bytes == 0
    with site.session() as session:
        other = diff(str(after), before, request=site.request(), session=session)
        same = diff(before, before, request=site.request(), session=session)
    assert [item.reference for item in other.added] == [item.reference for item in found.removed]
    assert other.bytes > 0
    assert (same.added, same.removed, same.changed, same.bytes) == ((), (), (), 0)


def test_a_difference_of_what_contradicts_itself_is_refused(site: Site) -> None:
    (site.folder / "bad.lock.json").write_text("{}")
    with site.session() as session, pytest.raises(BundlectlError) as caught:
        diff(str(site.folder / "bad.lock.json"), EKSD, request=site.request(), session=session)
    assert isinstance(caught.value, ContentError | UsageError)


def _get(url: str, accept: str = "*/*") -> bytes:
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def test_everything_downloaded_answers_under_mapped_and_full_names_and_as_files(site: Site) -> None:
    site.download(EKSD, PACKAGES)
    lock = site.lock(EKSD, PACKAGES)
    manifests = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    manifests += "application/vnd.docker.distribution.manifest.list.v2+json, "
    manifests += "application/vnd.docker.distribution.manifest.v2+json"
    with serve(ServeOptions(store=site.store, listen="127.0.0.1:0")) as server:
        for artifact in lock.artifacts:
            if artifact.type == "file":
                raw = _get(f"{server.url}/files/{artifact.reference.partition('://')[2]}")
                assert Digest.of(raw) == artifact.digest
                continue
            name, _, tag = artifact.reference.rpartition("@" if "@" in artifact.reference else ":")
            host, _, path = name.partition("/")
            mapped = f"eks-anywhere/{path}" if host.startswith("7837") else path
            wanted = f"sha256:{tag.removeprefix('sha256:')}" if "@" in artifact.reference else tag
            for asked in (f"v2/{name}", f"v2/{mapped}"):
                raw = _get(f"{server.url}/{asked}/manifests/{wanted}", manifests)
                assert Digest.of(raw) == artifact.digest
            raw = _get(f"{server.url}/v2/{path}/manifests/{wanted}?ns={host}", manifests)
            assert Digest.of(raw) == artifact.digest
        with pytest.raises(urllib.error.HTTPError) as caught:
            _get(f"{server.url}/files/nowhere.example/none")
        assert caught.value.code == 404
        caught.value.close()


def test_a_served_store_is_a_source_and_a_target(site: Site) -> None:
    site.download(f"image:{PAUSE}")
    with serve(ServeOptions(store=site.folder / "other", listen="127.0.0.1:0")) as server:
        naming = Naming.parse(f"{server.url.partition('://')[2]}/eks")
        assert site.mirror(f"store:{site.store}", naming=naming).exit_code == 0
        assert site.verify(f"store:{site.store}", naming=naming).findings == []

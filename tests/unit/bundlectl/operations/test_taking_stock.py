"""What a site has is listed as it is, and what changes is told from that to the byte."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, StoreError, UsageError, VerificationError
from bundlectl.events import Notice
from bundlectl.operations import Difference, Inventory, diff, load_inventory, take_inventory
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.packing import Packing
from bundlectl.operations.rooting import Rooting
from bundles.inventory import sign_inventory
from bundles.needs import locked_names, tag_name
from bundles.plan import Naming
from mirror.layout import Store
from mirror.oci.artifact import file_tag, wrap_document
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCTET_STREAM
from mirror.oci.platform import Platform
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.features import Features
from signing.identity import TrustAnchors
from tests.unit.bundlectl.operations.signed import attach, push, push_image, put_tag
from tests.unit.bundlectl.operations.site import Site
from tests.unit.bundles.signed_documents import BY_KEY, KEY, SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

EKSD = "eks-d:1-33"
PACKAGES = "packages:1-33"
RELEASE = "eks-a:latest"
PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
NOW = dt.datetime(2026, 11, 26, 12, 0, 0, 999, dt.UTC)
AMD64 = (Platform.parse("linux/amd64"),)


def take(site: Site, source: str) -> Inventory:
    with site.session() as session:
        return take_inventory(source, session=session, issued=NOW)


def of_store(site: Site) -> Inventory:
    return take(site, f"store:{site.store}")


def of_registry(site: Site, prefix: str = "/eks") -> Inventory:
    return take(site, f"registry:{site.target.host}{prefix}")


def written(site: Site, inventory: Inventory, name: str = "site.inventory.json") -> str:
    path = site.folder / name
    path.write_bytes(inventory.to_bytes())
    return str(path)


def compare(site: Site, a: str, b: str) -> Difference:
    with site.session() as session:
        return diff(a, b, request=site.request(), session=session)


def warnings(site: Site) -> list[str]:
    return [f"{event.artifact}: {event.message}" for event in site.heard if isinstance(event, Notice)]


def exported(site: Site, source: str) -> dict[Digest, int]:
    """What an export of everything puts into blobs, in bytes."""
    with site.session() as session:
        locked = lock_sources(site.request(source), session=session)
        with Rooting(locked, session) as rooting:
            return Packing.of(locked.lock, rooting, session).sizes()


@pytest.fixture
def filled(site: Site) -> str:
    """A lock, everything of which is in the store and at the target."""
    path = site.lock_file(RELEASE, PACKAGES)
    assert site.download(path, name="release").exit_code == 0
    assert site.mirror(path).exit_code == 0
    return path


def test_the_inventory_of_a_store_has_every_name_and_digest_of_what_was_downloaded(site: Site, filled: str) -> None:
    lock = site.lock(filled)
    inventory = of_store(site)
    assert inventory.blobs == exported(site, filled).keys()
    assert inventory.refs == {item.reference: item.digest for item in locked_names(lock)}
    assert (inventory.name, inventory.issued) == ("store", NOW.replace(microsecond=0))
    assert Inventory.from_bytes(inventory.to_bytes(), origin="x") == inventory
    assert not [told for told in warnings(site) if "missing" in told]


def test_a_registry_that_was_mirrored_to_has_the_same_blobs_and_as_many_names(site: Site, filled: str) -> None:
    held, mirrored = of_store(site), of_registry(site)
    assert mirrored.blobs == held.blobs == exported(site, filled).keys()
    assert len(mirrored.refs) == len(held.refs)
    assert mirrored.name == f"{site.target.host}/eks"
    assert mirrored.refs[f"{site.target.host}/eks/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"] == held.refs[PAUSE]
    # Files and documents are called in both as upstream calls them.
    urls = {name for name in held.refs if "://" in name}
    assert urls
    assert urls == {name for name in mirrored.refs if "://" in name}
    assert of_registry(site, "") != mirrored
    assert of_registry(site, "").blobs == mirrored.blobs


def test_a_collection_is_an_inventory_of_its_own(site: Site) -> None:
    site.download(EKSD, name="release")
    site.download(PACKAGES, name="packages")
    one = take(site, f"store:{site.store}#packages")
    assert one.name == "packages"
    assert one.blobs == exported(site, PACKAGES).keys()
    assert one.refs.items() < of_store(site).refs.items()
    with pytest.raises(MissingError, match="holds no collection 'other'"):
        take(site, f"store:{site.store}#other")


def test_what_was_pushed_is_there_too_and_cannot_call_itself_a_file_of_upstream(site: Site) -> None:
    site.download(EKSD)
    before = of_store(site)
    name, (url, _) = "bundlectl/files", next(item for item in before.refs.items() if "://" in item[0])
    with Store.open(site.store) as store:
        pushed = push_image(store.repository("site/app", trust="pushed"), b"of the site")
        forged = push_image(store.repository(name, trust="pushed"), b"forged", tag=f"{file_tag(url)}-x")
    after = of_store(site)
    assert after.refs["site/app:v1"] == pushed.digest
    assert pushed.digest in after.blobs
    assert forged.digest in after.blobs
    assert {key: after.refs[key] for key in before.refs} == before.refs


@pytest.mark.parametrize("documents", ["bundlectl/manifests", "bundlectl/release-manifests"])
def test_a_document_is_called_as_upstream_wherever_a_product_keeps_it(documents: str) -> None:
    found = wrap_document(b"a document", url="https://site.example/a.yaml")
    url = ("https://site.example/a.yaml", Digest.of(b"a document"))
    for place in (documents, f"host:5000/{documents}", f"host:5000/eks/prefix/{documents}"):
        assert tag_name(place, "a", found.manifest) == url
    root = found.manifest.descriptor.digest
    assert tag_name(f"host:5000/x{documents}", "a", found.manifest) == (f"host:5000/x{documents}:a", root)


@pytest.mark.usefixtures("filled")
def test_what_lies_elsewhere_in_a_registry_cannot_call_itself_a_document_of_upstream(site: Site) -> None:
    before = of_registry(site, "")
    url = next(name for name in before.refs if name.endswith("manifest.yaml"))
    forged = wrap_document(b"forged", url=url)
    with site.session() as session:
        for place in ("team/app", "teambundlectl/manifests"):
            repository = session.target(site.target.host).repository(place)
            for data in forged.blobs.values():
                push(repository, data, OCTET_STREAM)
            repository.put_manifest(forged.manifest, tag="v1")
    after = of_registry(site, "")
    assert {name: after.refs[name] for name in before.refs} == before.refs
    assert after.refs[f"{site.target.host}/team/app:v1"] == forged.manifest.descriptor.digest


def test_what_a_store_lost_is_told_and_not_listed_and_all_else_is(site: Site) -> None:
    site.download(EKSD, name="release")
    everything = of_store(site)
    lock = site.lock(EKSD)
    large = sorted(lock.blobs, key=lambda digest: lock.blobs[digest])[-2:]
    with Store.open(site.store, read_only=True) as store:
        gone, short = (store.blob_path(digest) for digest in large)
    gone.unlink()
    short.chmod(0o600)
    short.write_bytes(short.read_bytes()[:-1])
    for source in (f"store:{site.store}", f"store:{site.store}#release"):
        site.heard.clear()
        left = take(site, source)
        assert left.blobs == everything.blobs - set(large)
        told = [line for line in warnings(site) if "missing or damaged" in line]
        assert len(told) == 1
        assert all(str(digest) in told[0] for digest in large)


def test_a_manifest_that_is_damaged_has_no_name_and_is_not_listed(site: Site) -> None:
    site.download(f"image:{PAUSE}", referrers=False)
    root = of_store(site).refs[PAUSE]
    with Store.open(site.store, read_only=True) as store:
        path = store.blob_path(root)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"2", b"3", 1))
    damaged = of_store(site)
    assert root not in damaged.blobs
    assert damaged.refs == {}


def test_platforms_that_were_not_downloaded_are_neither_listed_nor_missed(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}", platforms=AMD64, referrers=False)
    site.download(path, name="pause")
    inventory = of_store(site)
    assert inventory.blobs == site.lock(path).blobs.keys()
    assert inventory.refs.keys() == {PAUSE}
    assert not [told for told in warnings(site) if "missing" in told]


@pytest.fixture
def sparse(upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path) -> Iterator[Site]:
    """A site whose registry takes sparse indexes and lists no referrers."""
    target = registry_factory(features=Features(sparse_indexes=True, referrers_api=False))
    with Site(upstream_served, target, tmp_path) as place:
        yield place


def test_platforms_that_were_not_mirrored_are_neither_listed_nor_missed(sparse: Site) -> None:
    path = sparse.lock_file(f"image:{PAUSE}", platforms=AMD64, referrers=False)
    assert sparse.mirror(path).not_addressable == []
    inventory = of_registry(sparse)
    assert inventory.blobs == sparse.lock(path).blobs.keys()
    assert not [told for told in warnings(sparse) if "missing" in told]


@pytest.mark.parametrize("place", ["site", "sparse"])
def test_referrers_of_referrers_and_cosign_tags_are_listed_and_have_no_name(
    place: str, request: pytest.FixtureRequest
) -> None:
    site: Site = request.getfixturevalue(place)
    with site.session() as session:
        repository = session.target(site.target.host).repository("eks/app")
        image = push_image(repository)
        sbom = attach(repository, image, artifact_type="x/sbom")
        second = attach(repository, sbom.descriptor, artifact_type="x/signature")
        tagged = put_tag(repository, image.digest)
    inventory = of_registry(site)
    attached = {sbom.descriptor.digest, second.descriptor.digest, tagged.descriptor.digest}
    assert attached <= inventory.blobs
    assert inventory.refs == {f"{site.target.host}/eks/app:v1": image.digest}


def test_a_blob_that_a_registry_lost_is_told_and_not_listed(site: Site, filled: str) -> None:
    everything = of_registry(site)
    lock = site.lock(filled)
    pause = next(item for item in lock.artifacts if item.reference == PAUSE)
    lost = max(pause.blobs, key=lambda digest: lock.blobs[digest])
    for name in site.target.holdings.names():
        site.target.holdings.repository(name).blobs.discard(lost)
    site.heard.clear()
    assert of_registry(site).blobs == everything.blobs - {lost}
    assert [str(lost) in line for line in warnings(site)] == [True]


@pytest.mark.usefixtures("filled")
def test_a_manifest_that_a_registry_lost_is_not_listed_nor_what_only_it_leads_to(site: Site) -> None:
    everything = of_registry(site)
    held = site.target.holdings.repository("eks/eks-distro/kubernetes/pause")
    root = held.tags["v1.33.5-eks-1-33-12"]
    child = held.manifests[root].children()[0]
    del held.manifests[child.digest]
    left = of_registry(site)
    assert everything.blobs > left.blobs
    assert child.digest not in left.blobs
    assert root in left.blobs


@pytest.mark.usefixtures("filled")
def test_a_repository_that_may_not_be_read_is_told_and_the_others_are_listed(site: Site) -> None:
    everything = of_registry(site)
    for path in ("*etcd-io/etcd/tags/list*", "*/pause/manifests/*"):
        site.target.registry.faults.add(Fault(Refuse(403, code="DENIED"), path=path))
    site.heard.clear()
    left = of_registry(site)
    assert {name.rpartition("/")[2].partition(":")[0] for name in everything.refs.keys() - left.refs} == {
        "etcd",
        "pause",
    }
    assert left.blobs < everything.blobs
    assert sum("cannot be read, and is left out" in told for told in warnings(site)) >= 2


@pytest.mark.usefixtures("filled")
def test_a_tag_that_is_no_manifest_is_told_and_the_others_are_listed(site: Site) -> None:
    everything = of_registry(site)
    site.target.registry.faults.add(
        Fault(Refuse(200, body=b"{}", content_type="text/html"), path="*/pause/manifests/*")
    )
    site.target.registry.faults.add(
        Fault(Refuse(200, body=b"[]", content_type="application/json"), path="*etcd-io/etcd/referrers/*")
    )
    site.heard.clear()
    left = of_registry(site)
    assert {name.rpartition("/")[2].partition(":")[0] for name in everything.refs.keys() - left.refs} == {"pause"}
    assert left.blobs < everything.blobs
    told = [text.partition(": cannot be read, and is left out")[0] for text in warnings(site)]
    assert {"pause", "etcd"} <= {place.rpartition("/")[2].partition(":")[0] for place in told}


def test_content_by_digest_alone_has_one_name_in_stores_and_registries(site: Site) -> None:
    digest = site.lock(f"image:{PAUSE}").artifacts[0].digest
    reference = f"{PAUSE.rpartition(':')[0]}@{digest}"
    path = site.lock_file(f"image:{reference}", referrers=False)
    site.download(path, name="pause")
    site.mirror(path)
    assert of_store(site).refs == {reference: digest}
    repository = f"{site.target.host}/eks/eks-distro/kubernetes/pause"
    assert of_registry(site).refs == {f"{repository}@{digest}": digest}
    for inventory in (of_store(site), of_registry(site)):
        found = compare(site, written(site, inventory), path)
        assert (found.added, found.removed, found.changed, found.bytes) == ((), (), (), 0)


def test_an_inventory_is_taken_of_nothing_but_a_site(site: Site) -> None:
    for source in (EKSD, f"image:{PAUSE}", "archive:x", "some/path", "store", "registry", "store:", "registry:"):
        with pytest.raises(UsageError, match="taken of a site"):
            take(site, source)
    with pytest.raises(StoreError):
        take(site, f"store:{site.folder / 'none'}")
    with pytest.raises(MissingError):
        of_registry(site)
    with Store.open(site.store, create=True):
        pass
    with pytest.raises(MissingError, match="holds nothing yet"):
        of_store(site)


# What an inventory is for


@pytest.mark.parametrize("kind", [of_store, of_registry])
def test_nothing_is_to_be_fetched_for_what_a_site_has(
    site: Site, filled: str, kind: Callable[[Site], Inventory]
) -> None:
    found = compare(site, written(site, kind(site)), filled)
    assert (found.added, found.removed, found.changed, found.bytes) == ((), (), (), 0)


@pytest.mark.parametrize("maps", [(), ("public.ecr.aws=aws", "docker.io=hub/x")])
def test_the_bytes_to_fetch_are_those_that_an_export_would_write(site: Site, maps: tuple[str, ...]) -> None:
    site.mirror(EKSD, naming=Naming.parse(f"{site.target.host}/deep/er", maps))
    had = of_registry(site, "/deep/er")
    new = site.lock_file(RELEASE, PACKAGES)
    found = compare(site, written(site, had), new)
    assert found.bytes == sum(size for digest, size in exported(site, new).items() if digest not in had.blobs)
    assert found.bytes
    assert {item.type for item in found.added} == {"image", "chart", "file", "document"}
    assert not found.changed
    assert not found.removed


@pytest.mark.usefixtures("filled")
def test_a_tag_that_moved_is_a_change_under_the_name_that_upstream_has(site: Site) -> None:
    repository, _, tag = PAUSE.rpartition(":")
    holdings = site.source.registry.holdings
    holdings.duplicate("public.ecr.aws/eks-distro/etcd-io/etcd", repository)
    held = holdings.repository(repository)
    had = of_registry(site)
    before = held.tags[tag]
    held.tags[tag] = held.tags["v3.5.21-eks-1-33-12"]
    after = site.lock_file(f"image:{PAUSE}")
    found = compare(site, written(site, had), after)
    assert [(old.digest, new.reference, new.digest) for old, new in found.changed] == [(before, PAUSE, held.tags[tag])]
    assert found.added == ()
    assert len(found.removed) == len(had.refs) - 1
    # All of it is there, under another name.
    assert found.bytes == 0
    assert found.to_json()["changed"][0]["digest"] == {"from": str(before), "to": str(held.tags[tag])}
    assert {item["type"] for item in found.to_json()["removed"]} == {None}


def test_among_several_prefixes_the_name_with_the_right_digest_counts(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}")
    site.mirror(path, naming=Naming.parse(f"{site.target.host}/a"))
    site.mirror(path, naming=Naming.parse(f"{site.target.host}/b"))
    held = site.target.holdings.repository("a/eks-distro/kubernetes/pause")
    held.tags["v1.33.5-eks-1-33-12"] = next(iter(set(held.manifests) - set(held.tags.values())))
    found = compare(site, written(site, of_registry(site, "")), path)
    assert (found.added, found.changed, found.bytes) == ((), (), 0)
    assert [item.reference.partition("/")[2].partition("/")[0] for item in found.removed] == ["a"]


def test_two_locks_are_compared_without_asking_anybody_and_documents_are_part_of_them(site: Site) -> None:
    old, new = site.lock_file(EKSD), site.lock_file(RELEASE, PACKAGES)
    site.source.requests.clear()
    found = compare(site, old, new)
    assert site.source.requests.count() == 0
    added = {item.reference: item.type for item in found.added}
    assert {item.url for item in site.lock(new).manifests if item.kind in ("Bundles", "Release")} < added.keys()
    assert added["public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles:v1-33-latest"] == "document"
    assert found.bytes


def test_what_cannot_be_asked_for_where_no_bundle_is_to_be_had_is_told(site: Site) -> None:
    site.download(EKSD)
    had, lock = written(site, of_store(site)), site.lock_file(PACKAGES)
    exact = compare(site, had, lock).bytes
    site.source.faults.add(Fault(Refuse(404), path="*packages-bundles/manifests/*"))
    site.heard.clear()
    found = compare(site, had, lock)
    assert exact
    assert found.bytes
    assert 0 < exact - found.bytes < 2_000
    assert [told for told in warnings(site) if "the bytes lack the manifest around" in told]


def test_what_an_inventory_would_cost_is_unknown_unless_it_is_nothing(site: Site, filled: str) -> None:
    had = written(site, of_store(site))
    part = site.lock_file(EKSD)
    assert compare(site, part, had).bytes is None
    assert compare(site, filled, had).bytes == 0
    assert compare(site, had, had).bytes == 0


def test_inventories_are_read_from_files_signed_and_compressed(site: Site) -> None:
    site.download(EKSD)
    inventory = of_store(site)
    plain, signed = inventory.to_bytes(), sign_inventory(inventory, SIGNER)
    anchors = TrustAnchors(keys=(KEY,))
    path = site.folder / "any"
    for raw in (plain, gzip.compress(plain), signed, gzip.compress(signed)):
        path.write_bytes(raw)
        assert load_inventory(path, None) == (inventory, None, Digest.of(plain))
        assert compare(site, str(path), f"store:{site.store}").bytes == 0
    read, proof, _ = load_inventory(path, anchors)
    assert read == inventory
    assert proof is not None
    assert proof.identity == KEY
    path.write_bytes(plain)
    with pytest.raises(VerificationError, match="not signed"):
        load_inventory(path, anchors)
    with site.session() as session, pytest.raises(VerificationError, match="not signed"):
        diff(str(path), f"store:{site.store}", request=site.request(belief=BY_KEY), session=session)


def test_what_is_no_inventory_is_refused_as_what_it_is(site: Site) -> None:
    for missing in ("none", "a\0b"):
        with pytest.raises(MissingError):
            load_inventory(Path(missing), None)
    with pytest.raises(UsageError):
        load_inventory(Path("/dev/zero"), None)
    lock = site.lock_file(EKSD)
    with pytest.raises(ContentError, match="is not an inventory"):
        load_inventory(Path(lock), None)
    signature = f"{site.signed_lock(EKSD)}.sigstore.json"
    with pytest.raises(ContentError, match="not an inventory of this version"):
        compare(site, signature, lock)

"""What travels with an artifact, or under its type, without being judged by itself cannot be something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, VerificationError
from bundlectl.events import Notice
from bundles.belief import Belief
from mirror.layout import Store
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import HELM_CHART, HELM_CONFIG, OCI_INDEX, OCI_MANIFEST
from registry_fixtures.features import Features
from tests.unit.bundlectl.operations.signed import attach, layer, push, push_image, put_tag
from tests.unit.bundlectl.operations.site import Site
from tests.unit.bundlectl.operations.test_policies_in_force import policy
from tests.unit.bundles.signed_documents import SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import Repository
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

IMAGES_BY_SITE = policy("{match: ['*'], signedBy: [site]}", otherwise="refuse")
CHARTS_ARE_FREE = policy(
    "{match: ['*'], types: [image], signedBy: [site]}",
    "{match: ['*'], types: [chart], trust: resolved}",
    otherwise="refuse",
)


class Place:
    """A signed image and an unsigned one in a repository of a site."""

    def __init__(self, site: Site, repository: Repository) -> None:
        self.site = site
        self.repository = repository
        self.name = f"{site.target.host}/src/app"
        self.good = push_image(repository, b"good", tag="v1")
        put_tag(repository, self.good.digest, layer(repository, self.good.digest, SIGNER))
        self.evil = push_image(repository, b"evil", tag="evil")

    def forged(self, change: Callable[[dict[str, Any]], None]) -> str:
        """Lock the signed image, let ``change`` have its artifact, and return the path of the lock."""
        document = json.loads(self.site.lock(f"image:{self.name}:v1", policies=(IMAGES_BY_SITE,)).to_bytes())
        change(document["artifacts"][0])
        for item in (self.evil, *self.repository.manifest(self.evil).children()):
            document["blobs"][str(item.digest)] = item.size
        path = self.site.folder / "forged.lock.json"
        path.write_bytes(canonical_json(document))
        return str(path)

    def add_referrer(self, found: dict[str, Any], **more: Any) -> None:
        """Pin the unsigned image as a referrer."""
        entry = {
            "digest": str(self.evil.digest),
            "mediaType": self.evil.media_type,
            "manifests": [str(self.evil.digest)],
            "blobs": sorted(str(child.digest) for child in self.repository.manifest(self.evil).children()),
            **more,
        }
        found["referrers"] = sorted([*found["referrers"], entry], key=lambda item: item["digest"])

    def written(self) -> list[str]:
        """What was put into the target's own repositories."""
        return [entry.path for entry in self.site.target.requests.entries("PUT", "/v2/eks/*")]


@pytest.fixture
def place(site: Site) -> Iterator[Place]:
    with site.session() as session:
        yield Place(site, session.target(site.target.host).repository("src/app"))


@pytest.mark.parametrize("form", ["v2", "sha256-{good}", "sha512-{good}.sig", "sha256-{good}.", ""])
def test_a_lock_cannot_give_a_tag_of_its_own_to_what_it_calls_a_signature(place: Place, form: str) -> None:
    tag = form.format(good=place.good.digest.encoded)
    forged = place.forged(lambda found: place.add_referrer(found, tag=tag))
    with pytest.raises(ContentError, match=r"no tag of a signature|referrers.*tag"):
        place.site.mirror(forged, policies=(IMAGES_BY_SITE,), belief=Belief())
    with pytest.raises(ContentError, match=r"no tag of a signature|referrers.*tag"):
        place.site.download(forged, policies=(IMAGES_BY_SITE,), belief=Belief(), name="x")
    assert place.written() == []


def test_what_a_lock_calls_a_referrer_must_refer_to_the_artifact_or_nothing_of_it_is_moved(place: Place) -> None:
    forged = place.forged(place.add_referrer)
    report = place.site.mirror(forged, policies=(IMAGES_BY_SITE,), belief=Belief())
    assert report.exit_code == 3
    assert "refers to nothing of it" in report.failed[0].error
    assert place.written() == []
    report = place.site.download(forged, policies=(IMAGES_BY_SITE,), belief=Belief(), name="x")
    assert report.exit_code == 3
    with Store.open(place.site.store, read_only=True) as store:
        assert list(store.refs()) == []


def test_referrers_of_the_artifact_and_of_each_other_are_moved(place: Place) -> None:
    sbom = attach(place.repository, place.good, artifact_type="x/sbom")
    second = attach(place.repository, sbom.descriptor, artifact_type="x/signature")
    lock = place.site.lock_file(f"image:{place.name}:v1")
    assert place.site.mirror(lock).exit_code == 0
    digests = {path.rpartition("/")[2] for path in place.written()}
    assert {str(sbom.descriptor.digest), str(second.descriptor.digest)} <= digests


@pytest.fixture
def listing(
    upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path
) -> Iterator[Place]:
    """As `place`, in a registry that lists both the signature and the unsigned image as referrers, as Harbor might."""
    target = registry_factory(features=Features(referrers_api=False))
    with Site(upstream_served, target, tmp_path) as site, site.session() as session:
        found = Place(site, session.target(target.host).repository("src/app"))
        signature = found.repository.resolve(f"sha256-{found.good.digest.encoded}.sig")
        sbom = attach(found.repository, found.good, artifact_type="x/sbom").descriptor
        entries = [item.to_json() for item in (signature, found.evil, sbom)]
        index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        found.repository.put_manifest(index, tag=f"sha256-{found.good.digest.encoded}")
        yield found


def test_what_a_registry_lists_without_it_naming_its_subject_is_left_out_with_a_warning(listing: Place) -> None:
    lock = listing.site.lock(f"image:{listing.name}:v1")
    tag = f"sha256-{listing.good.digest.encoded}.sig"
    assert sorted(item.tag or "" for item in lock.artifacts[0].referrers) == ["", tag]
    assert listing.evil.digest not in lock.blobs
    warned = [item.artifact for item in listing.site.heard if isinstance(item, Notice) and "left out" in item.message]
    assert warned == [f"{listing.name}@{listing.evil.digest}"]
    path = listing.site.folder / "own.lock.json"
    path.write_bytes(lock.to_bytes())
    assert listing.site.mirror(str(path), policies=(IMAGES_BY_SITE,)).exit_code == 0


def test_a_signature_that_a_registry_listed_too_is_still_moved_by_its_tag(listing: Place) -> None:
    """Locks that were made before say of Harbor's cosign signatures both: a tag, and a referrer without a subject."""
    document = json.loads(listing.site.lock(f"image:{listing.name}:v1").to_bytes())
    (tagged,) = [item for item in document["artifacts"][0]["referrers"] if "tag" in item]
    untagged = {key: value for key, value in tagged.items() if key != "tag"}
    referrers = [*document["artifacts"][0]["referrers"], untagged]
    document["artifacts"][0]["referrers"] = sorted(referrers, key=lambda item: (item["digest"], item.get("tag", "")))
    path = listing.site.folder / "old.lock.json"
    path.write_bytes(canonical_json(document))
    assert listing.site.mirror(str(path)).exit_code == 0


def chart(repository: Repository, config: str = HELM_CONFIG) -> Descriptor:
    manifest = Manifest.render(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": push(repository, b'{"name":"x","version":"1.0.0"}', config).to_json(),
            "layers": [push(repository, b"an archive", HELM_CHART).to_json()],
        }
    )
    repository.put_manifest(manifest, tag="chart")
    return manifest.descriptor


def test_an_index_with_a_chart_in_it_is_an_image_under_every_policy(place: Place) -> None:
    children = [place.evil.to_json(), chart(place.repository).to_json()]
    for child, architecture in zip(children, ("amd64", "s390x"), strict=True):
        child["platform"] = {"os": "linux", "architecture": architecture}
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
    place.repository.put_manifest(index, tag="both")
    source = f"image:{place.name}:both"
    assert [item.type for item in place.site.lock(source).artifacts] == ["image"]
    with pytest.raises(VerificationError, match="not signed by site"):
        place.site.lock(source, policies=(CHARTS_ARE_FREE,))
    with pytest.raises(ContentError, match="not a Helm chart"):
        place.site.lock(f"chart:{place.name}:both")


def test_an_image_with_a_chart_s_layer_is_no_chart(place: Place) -> None:
    chart(place.repository, "application/vnd.oci.image.config.v1+json")
    assert [item.type for item in place.site.lock(f"image:{place.name}:chart").artifacts] == ["image"]
    with pytest.raises(ContentError, match="not a Helm chart"):
        place.site.lock(f"chart:{place.name}:chart")


def test_a_lock_that_calls_an_image_a_chart_moves_nothing_of_it(place: Place) -> None:
    def rename(found: dict[str, Any]) -> None:
        children = place.repository.manifest(place.evil).children()
        found |= {
            "type": "chart",
            "reference": f"{place.name}:evil",
            "digest": str(place.evil.digest),
            "size": place.evil.size + sum(child.size for child in children),
            "manifests": [str(place.evil.digest)],
            "blobs": sorted(str(child.digest) for child in children),
            "referrers": [],
        }

    report = place.site.mirror(place.forged(rename), policies=(CHARTS_ARE_FREE,), belief=Belief())
    assert report.exit_code == 3
    assert "is no chart, and the lock says otherwise" in report.failed[0].error
    assert place.written() == []

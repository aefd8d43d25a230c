"""A whole release goes from upstream into a real registry, and the programs of the trade read it back."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from mirror.oci.artifact import file_tag
from mirror.oci.digest import Digest
from tests.interop.journey import BUNDLES, EKSD, PACKAGE_BUNDLE, PACKAGES, PREFIX, Site, site
from tests.interop.programs import docker_registry, embedded_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from registry_fixtures.files import MadeFile
    from tests.interop.programs import Program

SCALE = 1e-5
SAMPLE = 6
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@dataclass(frozen=True)
class Journey:
    """A release that was locked, downloaded and mirrored; what the commands reported."""

    site: Site
    store: Path
    host: str
    downloaded: Any
    mirrored: Any


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("journey")
    with (
        site(folder, (BUNDLES, EKSD, PACKAGE_BUNDLE), scale=SCALE) as place,
        docker_registry(folder / "registry") as host,
    ):
        store = folder / "store"
        download = ("download", place.lock, "--store", store, "-o", "json", *place.origins)
        mirror = ("mirror", f"store:{store}", "--to", f"{host}/{PREFIX}", "-o", "json")
        yield Journey(place, store, host, place.ours.document(*download), place.ours.document(*mirror))


@pytest.fixture
def served(journey: Journey, tmp_path: Path) -> Iterator[str]:
    """``bundlectl serve`` over the downloaded store."""
    with embedded_registry(tmp_path / "serve", journey.store, "--read-only") as host:
        yield host


def by_type(journey: Journey, kind: str) -> list[Any]:
    return [artifact for artifact in journey.site.locked()["artifacts"] if artifact["type"] == kind]


def sample(items: list[Any]) -> list[Any]:
    """A few, spread over all."""
    return items[:: max(1, len(items) // SAMPLE)][:SAMPLE]


def ask(host: str, repository: str, reference: str) -> str:
    """The digest under which a registry has a manifest."""
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    accept += "application/vnd.docker.distribution.manifest.list.v2+json, "
    accept += "application/vnd.docker.distribution.manifest.v2+json"
    url = f"http://{host}/v2/{repository}/manifests/{reference}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers["Docker-Content-Digest"])


def test_everything_the_release_names_was_locked_fetched_and_mirrored(journey: Journey) -> None:
    upstream, total = journey.site.upstream, len(journey.site.locked()["artifacts"])
    assert {item["reference"] for item in by_type(journey, "chart")} == set(upstream.charts)
    assert {item["reference"] for item in by_type(journey, "file")} >= set(release_files(journey))
    tagged = {item["reference"]: item["digest"] for item in by_type(journey, "image")}
    assert {name: tagged.get(name) for name in upstream.images} == {n: str(d) for n, d in upstream.images.items()}
    for report in (journey.downloaded, journey.mirrored):
        assert report["failed"] == []
        assert report["artifacts"]["failed"] == 0
        assert report["artifacts"]["total"] >= total


def test_the_mirror_and_the_store_verify_deeply(journey: Journey) -> None:
    target = f"registry:{journey.host}/{PREFIX}"
    for against in (journey.site.lock, journey.store):
        report = journey.site.ours.document("verify", target, "--against", against, "--deep", "-o", "json")
        assert report["verified"], report
    assert journey.site.ours.document("verify", f"store:{journey.store}", "-o", "json")["verified"]


def test_a_second_mirror_uploads_nothing_and_asks_the_source_nothing(journey: Journey) -> None:
    site = journey.site
    again = site.ours.document(
        "mirror", site.lock, "--to", f"{journey.host}/{PREFIX}", "-o", "json", *site.origins, "--verify", "off"
    )
    assert again["blobs"]["transferred"] == 0
    assert again["blobs"]["mounted"] == 0
    assert again["bytes"]["transferred"] == 0
    assert again["artifacts"]["skipped"] == again["artifacts"]["total"]
    assert again["requests"]["source"] == 0


def test_crane_reads_and_hashes_images_back_from_the_mirror(journey: Journey, crane: Program) -> None:
    for artifact in sample(by_type(journey, "image")):
        name = journey.site.target(artifact["reference"]).partition("@")[0]
        crane.run("validate", "--remote", f"{journey.host}/{without_tag(name)}@{artifact['digest']}")


def test_skopeo_copies_images_out_of_the_mirror(journey: Journey, skopeo: Program, tmp_path: Path) -> None:
    for number, artifact in enumerate(tagged_images(journey)):
        source = f"docker://{journey.host}/{journey.site.target(artifact['reference'])}"
        skopeo.run("copy", "--all", *PLAIN, source, f"dir:{tmp_path / str(number)}")
        raw = (tmp_path / str(number) / "manifest.json").read_bytes()
        assert str(Digest.of(raw)) == artifact["digest"]


def test_skopeo_reads_the_store_itself_by_full_references(journey: Journey, skopeo: Program, distribution: str) -> None:
    # Its layout reader passes over entries of Docker's media types; serve and mirror have those.
    images = [item for item in by_type(journey, "image") if "@" not in item["reference"]]
    for artifact in sample([item for item in images if item["mediaType"].startswith("application/vnd.oci.")]):
        target = f"docker://{distribution}/from-store/{journey.site.target(artifact['reference'])}"
        skopeo.run("copy", "--all", *PLAIN, f"oci:{journey.store}:{artifact['reference']}", target)
        assert ask(distribution, *target.removeprefix(f"docker://{distribution}/").rsplit(":", 1)) == artifact["digest"]


def test_helm_pulls_charts_from_the_mirror_and_from_serve(
    journey: Journey, served: str, helm: Program, tmp_path: Path
) -> None:
    for number, artifact in enumerate(sample(by_type(journey, "chart"))):
        name, _, version = artifact["reference"].rpartition(":")
        path = journey.site.target(name)
        for place in (f"{journey.host}/{path}", f"{served}/{path.removeprefix(f'{PREFIX}/')}"):
            folder = tmp_path / f"{number}-{place.partition('/')[0].replace(':', '-')}"
            folder.mkdir()
            helm.run("pull", f"oci://{place}", "--version", version, "--plain-http", "--destination", folder)
            assert [path.suffix for path in folder.iterdir()] == [".tgz"]


def test_serve_answers_for_what_was_downloaded(
    journey: Journey, served: str, crane: Program, skopeo: Program, tmp_path: Path
) -> None:
    for number, artifact in enumerate(tagged_images(journey)):
        path = journey.site.target(artifact["reference"]).removeprefix(f"{PREFIX}/")
        assert crane.run("digest", f"{served}/{path}").strip() == artifact["digest"]
        crane.run("validate", "--remote", f"{served}/{path}")
        skopeo.run("copy", "--all", *PLAIN, f"docker://{served}/{path}", f"oci:{tmp_path / str(number)}:x")
    for artifact in by_type(journey, "image") + by_type(journey, "chart"):
        path = journey.site.target(artifact["reference"]).removeprefix(f"{PREFIX}/").partition("@")[0]
        assert ask(served, without_tag(path), artifact["digest"]) == artifact["digest"]


def test_the_package_controller_finds_every_chart_and_image_in_one_place(journey: Journey) -> None:
    document = yaml.safe_load(journey.site.upstream.document("PackageBundle").raw)
    wanted = set()
    for package in document["spec"]["packages"]:
        for version in package["source"]["versions"]:
            wanted.add((package["source"]["repository"], version["digest"]))
            wanted.update((image["repository"], image["digest"]) for image in version.get("images", []))
    assert wanted
    for repository, digest in sorted(wanted):
        assert ask(journey.host, f"{PREFIX}/{PACKAGES}/{repository}", digest) == digest


def test_the_package_bundle_stands_under_both_tags_byte_for_byte(journey: Journey, crane: Program) -> None:
    repository = f"{PREFIX}/{PACKAGES}/eks-anywhere-packages-bundles"
    digests = {ask(journey.host, repository, tag) for tag in ("v1-24-116", "v1-24-latest")}
    assert len(digests) == 1
    manifest = crane.document("manifest", f"{journey.host}/{repository}:v1-24-latest")
    layer = manifest["layers"][0]["digest"]
    raw = journey.site.upstream.document("PackageBundle").raw
    assert crane.run("blob", f"{journey.host}/{repository}@{layer}").encode() == raw


def test_files_and_documents_are_artifacts_of_the_mirror(journey: Journey, crane: Program) -> None:
    for url, made in sample(sorted(release_files(journey).items())):
        manifest = crane.document("manifest", f"{journey.host}/{PREFIX}/bundlectl/files:{file_tag(url)}")
        assert manifest["layers"][0]["digest"] == str(made.digest)
    tags = crane.run("ls", f"{journey.host}/{PREFIX}/bundlectl/manifests").split()
    names = {m["name"] for m in journey.site.locked()["manifests"] if m["kind"] != "PackageBundle"}
    assert names <= set(tags)


def test_signatures_travel_with_their_images(journey: Journey) -> None:
    attached = [
        (journey.site.target(artifact["reference"]), referrer)
        for artifact in journey.site.locked()["artifacts"]
        for referrer in artifact["referrers"]
    ]
    assert attached
    for name, referrer in attached:
        repository = without_tag(name.partition("@")[0])
        assert ask(journey.host, repository, referrer.get("tag") or referrer["digest"]) == referrer["digest"]


def test_a_moved_tag_is_found_and_put_right(journey: Journey, crane: Program) -> None:
    first, second = tagged_images(journey)[:2]
    name = f"{journey.host}/{journey.site.target(first['reference'])}"
    crane.run("copy", f"{journey.host}/{journey.site.target(second['reference'])}", name)
    command = ("verify", f"registry:{journey.host}/{PREFIX}", "--against", journey.site.lock, "-o", "json")
    outcome = journey.site.ours.attempt(*command)
    assert outcome.returncode == 3
    assert first["reference"] in {item["reference"] for item in json.loads(outcome.stdout)["different"]}
    journey.site.ours.run("mirror", f"store:{journey.store}", "--to", f"{journey.host}/{PREFIX}")
    assert journey.site.ours.document(*command)["verified"]


def release_files(journey: Journey) -> dict[str, MadeFile]:
    """Files that the three documents and the EKS-D releases behind them name; the release index is not among them."""
    return {url: made for url, made in journey.site.upstream.files.items() if "/eksctl-anywhere-" not in url}


def tagged_images(journey: Journey) -> list[Any]:
    return sample([item for item in by_type(journey, "image") if "@" not in item["reference"]])


def without_tag(name: str) -> str:
    """A path without its tag; there is no port in it."""
    return name.partition(":")[0]

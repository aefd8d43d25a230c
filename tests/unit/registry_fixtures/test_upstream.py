from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bundlectl.errors import UsageError
from mirror.oci.digest import Digest
from mirror.oci.mediatype import DOCKER_LIST, DOCKER_MANIFEST, HELM_CHART, OCI_INDEX, OCI_MANIFEST
from registry_fixtures.attachments import NOTATION, SBOM
from registry_fixtures.features import Features
from registry_fixtures.samples import sample_documents
from registry_fixtures.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.manifest import Manifest
    from registry_fixtures.upstream import Served
    from tests.unit.registry_fixtures.conftest import Ask

SUM = re.compile(r"[0-9a-f]{64,128}")


def _leaf_images(upstream: Upstream, reference: str) -> list[Manifest]:
    repository, _, tag = reference.rpartition(":")
    manifest = upstream.holdings.manifest(repository, tag)
    if not manifest.is_index:
        return [manifest]
    return [upstream.holdings.manifest(repository, str(child.digest)) for child in manifest.children()]


def _chart_files(upstream: Upstream, reference: str) -> dict[str, Any]:
    repository, _, tag = reference.rpartition(":")
    manifest = upstream.holdings.manifest(repository, tag)
    layer = manifest.children()[1]
    assert layer.media_type == HELM_CHART
    with tarfile.open(fileobj=io.BytesIO(upstream.holdings.depot.read(layer.digest)), mode="r:gz") as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def _uses(document: object) -> list[dict[str, Any]]:
    """Every mapping with a ``uri``."""
    if isinstance(document, dict):
        return [
            *([document] if "uri" in document else []),
            *[use for value in document.values() for use in _uses(value)],
        ]
    return [use for item in document for use in _uses(item)] if isinstance(document, list) else []


def _check_documents(upstream: Upstream) -> int:
    """Compare every digest that a document states with what is there; return how many there are."""
    checked = 0
    for document in upstream.documents:
        for use in _uses(yaml.load(document.raw, Loader=yaml.CSafeLoader)):
            uri = use["uri"]
            if use.get("imageDigest", "").startswith("sha256:"):
                assert str({**upstream.images, **upstream.charts}[uri]) == use["imageDigest"]
                checked += 1
            if "sha256" in use:
                assert upstream.files[uri].digest.encoded == use["sha256"]
                checked += 1
            if "sha512" in use:
                assert upstream.files[uri].sha512 == use["sha512"]
                checked += 1
    return checked


def _assert_only_digests_differ(before: str, after: str) -> None:
    assert SUM.sub("", before) == SUM.sub("", after)
    changed = [line for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0) if line[0] in "+-"]
    assert all("sha" in line or "igest" in line for line in changed[2:])


def test_the_digests_of_every_document_fit_what_is_there(upstream: Upstream) -> None:
    assert _check_documents(upstream) > 60


def test_nothing_but_digests_changes_in_the_text(upstream: Upstream) -> None:
    for path, document in zip(sample_documents(), upstream.documents, strict=False):
        _assert_only_digests_differ(path.read_text(), document.raw.decode())


def test_every_layer_is_the_gzip_tar_that_its_config_says(upstream: Upstream) -> None:
    depot = upstream.holdings.depot
    for reference in upstream.images:
        for image in _leaf_images(upstream, reference):
            config, *layers = image.children()
            document = json.loads(depot.read(config.digest))
            assert len(document["rootfs"]["diff_ids"]) == len(layers) == len(document["history"])
            for layer, diff_id in zip(layers, document["rootfs"]["diff_ids"], strict=True):
                data = depot.read(layer.digest)
                assert (Digest.of(data), len(data)) == (layer.digest, layer.size)
                inner = gzip.decompress(data)
                assert f"sha256:{hashlib.sha256(inner).hexdigest()}" == diff_id
                with tarfile.open(fileobj=io.BytesIO(inner)) as archive:
                    assert len(archive.getmembers()) == 1


def test_images_come_in_several_shapes(upstream: Upstream) -> None:
    kinds = {upstream.holdings.manifest(*r.rsplit(":", 1)).descriptor.media_type for r in upstream.images}
    assert kinds == {OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST}


def test_an_image_of_one_architecture_has_one_platform(upstream: Upstream) -> None:
    (image,) = _leaf_images(upstream, "public.ecr.aws/bottlerocket/bottlerocket-admin:v0.21.1")
    config = json.loads(upstream.holdings.depot.read(image.children()[0].digest))
    assert config["architecture"] == "amd64"


def test_repositories_share_base_layers(upstream: Upstream) -> None:
    layers = [
        {layer.digest for image in _leaf_images(upstream, reference) for layer in image.children()[1:]}
        for reference in upstream.images
    ]
    assert len(set().union(*layers)) < 0.8 * sum(map(len, layers))


def test_some_images_have_signatures_and_referrers(upstream: Upstream) -> None:
    holdings = upstream.holdings
    names = holdings.names()
    signed = [tag for name in names for tag in holdings.repository(name).tags if tag.endswith(".sig")]
    referrers = [m for name in names for m in holdings.repository(name).manifests.values() if m.subject]
    assert signed
    assert {manifest.artifact_type for manifest in referrers} == {NOTATION, SBOM}
    known = {manifest.descriptor.digest for name in names for manifest in holdings.repository(name).manifests.values()}
    assert all(manifest.subject.digest in known for manifest in referrers if manifest.subject)


def test_a_packages_chart_names_the_images_of_the_bundle(upstream: Upstream) -> None:
    bundle = yaml.safe_load(upstream.document("PackageBundle").raw)
    version = bundle["spec"]["packages"][1]["source"]["versions"][0]
    files = _chart_files(upstream, f"public.ecr.aws/eks-anywhere/metallb/metallb:{version['name']}")
    requires = yaml.safe_load(files["metallb/requires.yaml"])
    assert [{k: i[k] for k in ("digest", "repository")} for i in requires["spec"]["images"]] == version["images"]
    assert requires["spec"]["dependencies"] == ["hello-eks-anywhere"]
    values = yaml.safe_load(files["metallb/values.yaml"])
    host = "783794618700.dkr.ecr.us-west-2.amazonaws.com"
    assert values["sourceRegistry"] == host
    image = values["controller"]["image"]
    assert str(upstream.images[f"{host}/{image['repository']}:{image['tag']}"]) == image["digest"]


def test_a_chart_of_the_bundles_names_the_images_of_its_component(upstream: Upstream) -> None:
    files = _chart_files(upstream, "public.ecr.aws/eks/cilium/cilium:1.17.8-0")
    assert yaml.safe_load(files["cilium/Chart.yaml"])["version"] == "1.17.8-0"
    values = yaml.safe_load(files["cilium/values.yaml"])
    named = {
        f"{values['sourceRegistry']}/{block['image']['repository']}:{block['image']['tag']}": block["image"]["digest"]
        for block in values.values()
        if isinstance(block, dict)
    }
    assert set(named) == {
        "public.ecr.aws/eks/cilium/cilium:v1.17.8-0",
        "public.ecr.aws/eks/cilium/operator-generic:v1.17.8-0",
    }
    assert all(str(upstream.images[reference]) == digest for reference, digest in named.items())


def test_a_chart_manifest_has_no_media_type_field(upstream: Upstream) -> None:
    assert "mediaType" not in upstream.holdings.manifest("public.ecr.aws/eks/cilium/cilium", "1.17.8-0").document


def test_the_package_bundle_lies_under_two_tags_as_its_own_bytes(upstream: Upstream) -> None:
    repository = "public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles"
    tags = upstream.holdings.repository(repository).tags
    assert set(tags) == {"v1-33-120", "v1-33-latest"}
    layer = upstream.holdings.manifest(repository, "v1-33-latest").document["layers"][0]
    raw = upstream.holdings.depot.read(Digest.parse(layer["digest"]))
    assert raw == upstream.document("PackageBundle").raw


def test_placeholders_stay(upstream: Upstream) -> None:
    assert upstream.document("Bundles").raw.count(b"uri: <placeholder>") == 4


def test_the_documents_that_others_point_at_are_served(upstream_served: Served, ask: Ask) -> None:
    upstream = upstream_served.upstream
    index = yaml.safe_load(upstream.document("Release").raw)
    url = index["spec"]["releases"][1]["bundleManifestUrl"]
    found = ask(upstream_served.cdn_url, "GET", upstream_served.url(url).removeprefix(upstream_served.cdn_url))
    assert found.body == upstream.document("Bundles").raw
    for bundle in yaml.safe_load(found.body)["spec"]["versionsBundles"]:
        url = upstream_served.url(bundle["eksD"]["manifestUrl"]).removeprefix(upstream_served.cdn_url)
        eksd = yaml.safe_load(ask(upstream_served.cdn_url, "GET", url).body)
        assert eksd["metadata"]["name"] == bundle["eksD"]["name"]
        assert eksd["spec"]["buildRepoCommit"] == bundle["eksD"]["gitCommit"]
        tags = {component["name"]: component["gitTag"] for component in eksd["status"]["components"]}
        assert tags["kubernetes"] == bundle["eksD"]["kubeVersion"]
    channel = ask(upstream_served.cdn_url, "GET", "/distro.eks.amazonaws.com/releasechannels/1-33.yaml")
    assert yaml.safe_load(channel.body)["status"]["latestRelease"] == 12


def test_images_and_files_are_reached_by_the_origins(upstream_served: Served, ask: Ask) -> None:
    upstream, origins = upstream_served.upstream, upstream_served.origin_map
    host, _, prefix = origins["public.ecr.aws"].partition("/")
    found = ask(host, "GET", f"/v2/{prefix}/eks/cilium/cilium/manifests/v1.17.8-0")
    assert Digest.of(found.body) == upstream.images["public.ecr.aws/eks/cilium/cilium:v1.17.8-0"]
    for url, made in upstream.files.items():
        site = "/".join(url.split("/", 3)[:3])
        base, _, path = origins[site].removeprefix("http://").partition("/")
        body = ask(base, "GET", f"/{path}{url.removeprefix(site)}").body
        assert (len(body), Digest.of(body)) == (made.size, made.digest)
        assert hashlib.sha512(body).hexdigest() == made.sha512
    assert upstream_served.requests.count("GET", status=200) == 1 + len(upstream.files)


def test_checksum_files_lie_beside_what_has_checksums(upstream_served: Served, ask: Ask) -> None:
    path = (
        "/distro.eks.amazonaws.com/kubernetes-1-33/releases/12/artifacts/etcd/v3.5.21/etcd-linux-amd64-v3.5.21.tar.gz"
    )
    made = upstream_served.upstream.files[f"https:/{path}"]
    found = ask(upstream_served.cdn_url, "GET", f"{path}.sha512")
    assert found.body.decode() == f"{made.sha512}  {path.rpartition('/')[2]}\n"


def test_a_served_upstream_is_read_only_and_keeps_its_changes_to_itself(upstream: Upstream, ask: Ask) -> None:
    with upstream.serve() as served:
        assert ask(served.registry_host, "POST", "/v2/public.ecr.aws/a/b/blobs/uploads/").status == 405
        served.registry.holdings.put_blob("x/y", b"data")
    assert upstream.holdings.find("x/y") is None


def test_without_the_referrers_api_the_fallback_tags_are_there(upstream: Upstream, ask: Ask) -> None:
    with upstream.serve(features=Features(referrers_api=False)) as served:
        holdings = served.registry.holdings
        repository = next(
            n for n in holdings.names() if any(m.subject for m in holdings.repository(n).manifests.values())
        )
        subject = next(m.subject.digest for m in holdings.repository(repository).manifests.values() if m.subject)
        found = ask(served.registry_host, "GET", f"/v2/{repository}/manifests/sha256-{subject.encoded}")
        listed = {entry["digest"] for entry in json.loads(found.body)["manifests"]}
        assert listed == {str(entry.digest) for entry in upstream.holdings.repository(repository).referrers(subject)}
        assert listed


def test_the_same_seed_makes_the_same_upstream_and_another_seed_another(upstream: Upstream) -> None:
    with Upstream.synthesise(sample_documents()) as again, Upstream.synthesise(sample_documents(), seed=1) as other:
        assert again.images == upstream.images
        assert [d.raw for d in again.documents] == [d.raw for d in upstream.documents]
        assert not set(other.images.values()) & set(upstream.images.values())


def test_large_blobs_go_to_the_folder_and_leave_with_the_upstream(tmp_path: Path) -> None:
    document = sample_documents()[3]
    with Upstream.synthesise([document], scale=1e-2, directory=tmp_path) as upstream:
        assert max(path.stat().st_size for path in tmp_path.iterdir()) > 100_000
        with Upstream.synthesise([document], scale=1e-2) as twin:
            folder = twin.holdings.depot.folder()
            assert twin.images == upstream.images
        assert not folder.exists()


def test_a_document_can_be_finished_before_it_is_served() -> None:
    def sign(kind: str, raw: bytes) -> bytes:
        return raw + f"# signed {kind}\n".encode()

    with Upstream.synthesise(sample_documents(), finish=sign) as upstream:
        assert upstream.document("EksdRelease").raw.endswith(b"# signed EksdRelease\n")


def test_two_documents_of_one_place_are_refused() -> None:
    document = sample_documents()[1]
    with pytest.raises(UsageError, match="one place"):
        Upstream.synthesise([document, document])


def test_a_source_registry_of_a_package_holds_chart_and_images() -> None:
    raw = (
        sample_documents()[3]
        .read_bytes()
        .replace(
            b"source:\n      repository: hello",
            b"source:\n      registry: reg.example:5000/pre\n      repository: hello",
        )
    )
    with Upstream.synthesise([raw]) as upstream:
        assert any(reference.startswith("reg.example:5000/pre/hello-eks-anywhere:") for reference in upstream.charts)
        assert "reg.example-5000/pre/hello-eks-anywhere" in upstream.holdings.names()
        assert _check_documents(upstream) == 0
        with upstream.serve() as served:
            assert served.origin_map["reg.example:5000"].endswith("/reg.example-5000")


def test_an_image_named_by_digest_gets_the_new_digest_in_its_uri() -> None:
    text = sample_documents()[1].read_text()
    old = "sha256:" + "9" * 64
    text = text.replace(
        "uri: public.ecr.aws/eks-anywhere/kube-vip/kube-vip:v1.0.0-eks-a-101", f"uri: public.ecr.aws/x/y@{old}"
    )
    with Upstream.synthesise([text.encode()]) as made:
        uses = [u for u in _uses(yaml.safe_load(made.document("Bundles").raw)) if "/x/y@" in u["uri"]]
        digest = uses[0]["uri"].partition("@")[2]
        assert digest == uses[0]["imageDigest"] != old
        assert made.holdings.manifest("public.ecr.aws/x/y", digest)


@pytest.mark.parametrize(
    ("name", "images", "charts", "stated"),
    [
        ("eksa-bundles-main.yaml", 87 + 7 * 4 + 1, 5, 455 + 56 + 7 * 9),
        ("eksa-bundles-small.yaml", 113 + 4 + 1, 3, 100),
        ("kubernetes-1-21-eks-4.yaml", 17, 0, 90),
        ("packagebundle-v1-24-116.aws-signed.yaml", 24, 11, 0),
    ],
)
def test_an_upstream_is_made_of_every_real_document(
    shared_data: Path, name: str, images: int, charts: int, stated: int
) -> None:
    path = shared_data / name
    with Upstream.synthesise([path]) as upstream:
        assert len(upstream.images) == images
        assert len(upstream.charts) == charts
        assert _check_documents(upstream) >= stated
        _assert_only_digests_differ(path.read_text(), upstream.documents[0].raw.decode())
        with upstream.serve() as served:
            assert served.origins

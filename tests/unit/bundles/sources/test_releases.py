from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError, TransportError, UsageError, VerificationError
from bundles.sources import read_source

from .documents import SHA, bundles, channel_object, eksd, package_bundle, release_index

if TYPE_CHECKING:
    from pathlib import Path

    from bundles.sources.context import Loaded, SourceContext

    from .conftest import Site

INDEX = "/anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"
BUNDLES = "/anywhere-assets.eks.amazonaws.com/releases/bundles/7/manifest.yaml"
EKSD = "/distro.eks.amazonaws.com/kubernetes-1-33/kubernetes-1-33-eks-12.yaml"
CHANNEL = "/distro.eks.amazonaws.com/releasechannels/1-33.yaml"


@pytest.fixture(autouse=True)
def _upstream(site: Site) -> None:
    site.files.update({INDEX: release_index(), BUNDLES: bundles(), EKSD: eksd(), CHANNEL: channel_object()})


def references(loaded: Loaded) -> set[str]:
    return {artifact.reference for artifact in loaded.contents.artifacts}


@pytest.mark.parametrize("version", ["v0.24.1", "latest"])
def test_a_release_leads_to_its_bundles_and_their_eks_d_releases(version: str, context: SourceContext) -> None:
    loaded = read_source(f"eks-a:{version}", context)

    assert (loaded.kind, loaded.name, loaded.number) == ("Release", "v0.24.1", 7)
    assert [(entry.kind, entry.name) for entry in loaded.documents] == [
        ("Release", "eks-anywhere"),
        ("Bundles", "bundles-7"),
        ("EksDistroRelease", "kubernetes-1-33-eks-12"),
    ]
    assert loaded.documents[2].url == ("https://distro.eks.amazonaws.com/kubernetes-1-33/kubernetes-1-33-eks-12.yaml")
    assert references(loaded) >= {
        "public.ecr.aws/eks-anywhere/controller:v1",
        "public.ecr.aws/eks-distro/etcd:v3",
        "https://anywhere-assets.eks.amazonaws.com/releases/eks-a/7/cli-v0.24.1.tar.gz",
    }
    assert "https://anywhere-assets.eks.amazonaws.com/old.tar.gz" not in references(loaded)
    assert all(artifact.followed for artifact in loaded.contents.artifacts if artifact.document)


def test_a_release_is_followed_even_where_documents_are_not(context: SourceContext) -> None:
    assert len(read_source("eks-a:latest", replace(context, follow=False)).documents) == 3


def test_no_follow_stays_with_the_index(context: SourceContext, site: Site) -> None:
    loaded = read_source("eks-a:v0.24.1", replace(context, follow=False, no_follow=True))

    assert len(loaded.documents) == 1
    assert site.requests == [INDEX]
    assert [artifact.followed for artifact in loaded.contents.artifacts if artifact.document] == [False]


@pytest.mark.parametrize(
    "other",
    [bundles(8), bundles(7, name="bundles-8"), bundles(7, cli="v0.25.0"), eksd(), package_bundle()],
)
def test_bundles_that_are_not_those_of_the_entry_are_not_believed(
    other: bytes, context: SourceContext, site: Site
) -> None:
    site.files[BUNDLES] = other

    with pytest.raises(VerificationError):
        read_source("eks-a:v0.24.1", context)


def test_an_eks_d_release_that_bundles_do_not_mean_is_not_believed(context: SourceContext, site: Site) -> None:
    site.files[EKSD] = eksd("1-32", 12)

    with pytest.raises(VerificationError):
        read_source("eks-a:v0.24.1", context)


def test_a_version_that_is_none_is_wrong_usage_and_one_that_is_not_there_is_missing(context: SourceContext) -> None:
    with pytest.raises(UsageError):
        read_source("eks-a:24", context)
    with pytest.raises(MissingError, match=r"v0\.99\.0"):
        read_source("eks-a:v0.99.0", context)


def test_an_entry_of_a_development_build_says_what_to_do(context: SourceContext, site: Site) -> None:
    site.files[INDEX] = release_index(url="embed:///config/bundle-release.yaml")

    with pytest.raises(ContentError) as caught:
        read_source("eks-a:v0.24.1", context)

    assert "Bundles manifest" in (caught.value.hint or "")


def test_an_index_of_another_kind_is_refused(context: SourceContext, site: Site) -> None:
    site.files[INDEX] = bundles()

    with pytest.raises(ContentError, match="list of EKS-A releases"):
        read_source("eks-a:latest", context)


def test_the_index_may_be_a_file(context: SourceContext, tmp_path: Path) -> None:
    path = tmp_path / "index.yaml"
    path.write_bytes(release_index())

    assert read_source("eks-a:latest", replace(context, release_url=str(path))).number == 7


@pytest.mark.parametrize(("status", "error"), [(404, MissingError), (410, MissingError), (403, TransportError)])
def test_an_index_that_cannot_be_had_ends_it(
    status: int, error: type[Exception], context: SourceContext, site: Site
) -> None:
    site.files[INDEX] = status

    with pytest.raises(error) as caught:
        read_source("eks-a:latest", context)

    assert caught.value.exit_code == (4 if status != 403 else 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("source", ["eks-d:1-33-eks-12", "eks-d:1-33"])
def test_an_eks_d_release_is_found_by_name_or_as_the_newest_of_its_channel(source: str, context: SourceContext) -> None:
    loaded = read_source(source, context)

    assert (loaded.kind, loaded.name, loaded.number) == ("Release", "kubernetes-1-33-eks-12", 12)
    assert references(loaded) == {"public.ecr.aws/eks-distro/etcd:v3"}


@pytest.mark.parametrize(
    "wrong", [b"a: b", channel_object("1-32"), channel_object(latest="x"), channel_object(latest=0), b"<html>"]
)
def test_a_channel_that_is_none_is_refused(wrong: bytes, context: SourceContext, site: Site) -> None:
    site.files[CHANNEL] = wrong

    with pytest.raises(ContentError):
        read_source("eks-d:1-33", context)


@pytest.mark.parametrize("other", [eksd("1-32"), eksd("1-33", 11), eksd("1-33", 11, name="kubernetes-1-33-eks-12")])
def test_another_eks_d_release_under_the_name_asked_for_is_refused(
    other: bytes, context: SourceContext, site: Site
) -> None:
    site.files[EKSD] = other

    with pytest.raises((ContentError, VerificationError)):
        read_source("eks-d:1-33-eks-12", context)


@pytest.mark.parametrize(
    ("source", "tags"), [("packages:1-33", ("v1-33-120", "v1-33-latest")), ("packages:v1-33-120", ("v1-33-120",))]
)
def test_a_package_bundle_is_read_out_of_its_registry(
    source: str, tags: tuple[str, ...], context: SourceContext, site: Site
) -> None:
    manifest = site.put_package_bundle(package_bundle(), "v1-33-latest", "v1-33-120")

    loaded = read_source(source, context)

    (entry,) = loaded.documents
    assert (entry.kind, entry.name, entry.tags) == ("PackageBundle", "v1-33-120", tags)
    assert entry.url == "public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles"
    assert entry.oci_digest == manifest.descriptor.digest
    assert references(loaded) == {
        "public.ecr.aws/eks-anywhere/hello:0.1.2",
        f"783794618700.dkr.ecr.us-west-2.amazonaws.com/hello-image@{SHA}",
    }


def test_package_registries_of_the_user_are_taken(context: SourceContext, site: Site) -> None:
    site.put_package_bundle(package_bundle(), "v1-33-latest", repository="mine/eks-anywhere-packages-bundles")
    mine = replace(context, package_registry=f"{site.address}/mine", package_image_registry="images.example/x")

    loaded = read_source("packages:1-33", mine)

    assert references(loaded) == {f"{site.address}/mine/hello:0.1.2", f"images.example/x/hello-image@{SHA}"}


@pytest.mark.parametrize("name", ["v1-33-121", "v1-32-120", "x"])
def test_a_tag_that_was_moved_to_another_bundle_is_not_believed(name: str, context: SourceContext, site: Site) -> None:
    site.put_package_bundle(package_bundle(name), "v1-33-120", "v1-32-latest")

    with pytest.raises(VerificationError):
        read_source("packages:v1-33-120", context)


def test_the_newest_bundle_of_a_channel_must_be_of_that_channel(context: SourceContext, site: Site) -> None:
    site.put_package_bundle(package_bundle("v1-32-120"), "v1-33-latest")

    with pytest.raises(VerificationError):
        read_source("packages:1-33", context)


def test_a_bundle_that_was_altered_on_the_way_is_refused(context: SourceContext, site: Site) -> None:
    site.put_package_bundle(package_bundle(), "v1-33-latest")
    for path, data in list(site.files.items()):
        if isinstance(data, bytes) and b"kind: PackageBundle" in data:
            site.files[path] = data.replace(b"hello", b"hullo")

    with pytest.raises(ContentError, match="should have digest"):
        read_source("packages:1-33", context)


def test_a_tag_without_layers_or_with_another_document_is_refused(context: SourceContext, site: Site) -> None:
    repository = "eks-anywhere/eks-anywhere-packages-bundles"
    site.put_manifest(
        repository, {"schemaVersion": 2, "config": site.put_blob(repository, b"{}"), "layers": []}, "v1-33-latest"
    )
    with pytest.raises(ContentError, match="no layer"):
        read_source("packages:1-33", context)

    site.put_package_bundle(bundles(), "v1-33-latest")
    with pytest.raises(ContentError, match="PackageBundle was expected"):
        read_source("packages:1-33", context)


def test_a_bundle_that_is_not_there_is_missing(context: SourceContext) -> None:
    with pytest.raises(MissingError):
        read_source("packages:1-33", context)


def test_a_registry_is_listed_below_its_prefix(context: SourceContext, site: Site) -> None:
    site.files["/v2/_catalog"] = b'{"repositories": ["eks/a", "eks/b", "eksx/c"]}'
    cosign = "sha256-" + "1" * 64
    site.files["/v2/eks/a/tags/list"] = (
        f'{{"name": "eks/a", "tags": ["v2", "v1", "{cosign}", "{cosign}.sig"]}}'.encode()
    )
    site.files["/v2/eks/b/tags/list"] = b'{"name": "eks/b", "tags": ["x"]}'

    loaded = read_source(f"registry:{site.address}/eks", context)

    assert references(loaded) == {f"{site.address}/eks/{name}" for name in ("a:v1", "a:v2", "b:x")}
    assert loaded.kind == "registry"


def test_an_empty_prefix_of_a_registry_is_missing(context: SourceContext, site: Site) -> None:
    site.files["/v2/_catalog"] = b'{"repositories": ["eksx/c"]}'

    with pytest.raises(MissingError):
        read_source(f"registry:{site.address}/eks", context)

from __future__ import annotations

from typing import Any

import pytest

from bundlectl.errors import ContentError, MissingError, UsageError
from mirror.layout import LayoutRepository, ProtectedError, Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_LAYER, OCI_MANIFEST
from mirror.oci.reference import by_digest_tag
from mirror.oci.repository import Deletable, ReadRepository, Repository

NAME = "public.ecr.aws/eks-anywhere/kind"


def test_it_speaks_the_protocols(repository: LayoutRepository) -> None:
    readable: ReadRepository = repository
    writable: Repository = repository
    assert readable is writable
    assert isinstance(repository, Deletable)
    assert repository.name == NAME


def test_a_tagged_manifest_is_found_by_tag_and_digest(store: Store, repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    assert repository.resolve("v1") == image.descriptor
    assert repository.manifest(image.descriptor).raw == image.raw
    assert repository.manifest(Descriptor("", image.descriptor.digest, 0)).raw == image.raw
    assert repository.has(image.descriptor)
    assert repository.tags() == ["v1"]
    ref = store.ref(NAME, "v1")
    assert ref
    assert (str(ref), ref.trust) == (f"{NAME}:v1", "signed")
    assert store.ref(NAME, str(image.descriptor.digest)) == ref
    assert store.repositories() == [NAME]


def test_a_by_digest_tag_keeps_by_digest(store: Store, repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    tag = by_digest_tag(image.descriptor.digest)
    repository.put_manifest(image, tag=tag)
    assert [str(ref) for ref in store.refs()] == [f"{NAME}@{image.descriptor.digest}"]
    assert repository.resolve(tag) == image.descriptor
    assert repository.tags() == [tag]


def test_a_by_digest_tag_of_something_else_is_refused(repository: LayoutRepository, content: Any) -> None:
    with pytest.raises(ContentError, match="another digest"):
        repository.put_manifest(content.image(b"a"), tag=by_digest_tag(Digest.of(b"other")))


def test_a_manifest_without_tag_is_stored_without_a_ref(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image)
    assert store.refs() == []
    assert repository.has(image.descriptor)


@pytest.mark.parametrize("tag", [None, "sha256-abc.sbom"])
def test_a_manifest_with_a_subject_is_a_referrer_tagged_or_not(
    repository: LayoutRepository, content: Any, tag: str | None
) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    sbom = content.image(b"sbom", subject=image, artifactType="application/spdx+json", annotations={"made": "today"})
    repository.put_manifest(sbom, tag=tag)
    (found,) = repository.referrers(image.descriptor.digest)
    assert found == sbom.descriptor
    assert (found.artifact_type, found.annotations) == ("application/spdx+json", {"made": "today"})


def test_referrers_belong_to_their_repository(store: Store, repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    repository.put_manifest(content.image(b"sbom", subject=image))
    assert len(repository.referrers(image.descriptor.digest)) == 1
    assert store.repository("a.example/other").referrers(image.descriptor.digest) == []
    assert [ref.trust for ref in store.referrers(NAME, image.descriptor.digest)] == ["signed"]


def test_a_manifest_whose_layer_is_absent_is_refused(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    document = dict(image.document)
    document["layers"] = [Descriptor(OCI_LAYER, Digest.of(b"absent"), 6).to_json()]
    with pytest.raises(MissingError, match=str(Digest.of(b"absent"))):
        repository.put_manifest(Manifest.render(document), tag="v1")
    assert repository.tags() == []


def test_a_manifest_that_misstates_a_size_is_refused(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    document = dict(image.document)
    document["layers"] = [Descriptor(OCI_LAYER, Digest.of(b"layer"), 6).to_json()]
    with pytest.raises(ContentError, match="6 bytes"):
        repository.put_manifest(Manifest.render(document), tag="v1")


def test_a_layer_with_urls_and_children_of_an_index_may_be_absent(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    document = dict(image.document)
    document["layers"] = [Descriptor(OCI_LAYER, Digest.of(b"far"), 3, urls=("https://far.example/x",)).to_json()]
    repository.put_manifest(Manifest.render(document), tag="foreign")
    repository.put_manifest(content.index(image), tag="sparse")
    assert repository.tags() == ["foreign", "sparse"]


def test_a_deleted_tag_leaves_the_manifest(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    repository.delete_tag("v1")
    assert repository.tags() == []
    assert repository.manifest(image.descriptor) == image
    with pytest.raises(MissingError):
        repository.delete_tag("v1")


def test_a_deleted_manifest_is_gone_with_its_tags_until_it_is_stored_again(
    repository: LayoutRepository, store: Store, content: Any
) -> None:
    image = content.image(b"layer")
    other = store.repository("a.example/other")
    for tag in ("v1", "v2"):
        repository.put_manifest(image, tag=tag)
    other.put_manifest(image, tag="v1")
    repository.delete_manifest(image.descriptor.digest)
    assert repository.tags() == []
    assert not repository.has(image.descriptor)
    with pytest.raises(MissingError):
        repository.manifest(image.descriptor)
    with pytest.raises(MissingError):
        repository.delete_manifest(image.descriptor.digest)
    assert other.resolve("v1") == image.descriptor
    assert other.has(image.descriptor)
    repository.put_manifest(image)
    assert repository.has(image.descriptor)


def test_a_deleted_referrer_is_no_longer_listed(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    sbom = content.image(b"sbom", subject=image)
    repository.put_manifest(sbom)
    repository.delete_manifest(sbom.descriptor.digest)
    assert repository.referrers(image.descriptor.digest) == []


def test_a_push_cannot_move_a_downloaded_tag(store: Store, repository: LayoutRepository, content: Any) -> None:
    first, second = content.image(b"one"), content.image(b"two")
    repository.put_manifest(first, tag="v1")
    pushing = store.repository(NAME, trust="pushed")
    with pytest.raises(ProtectedError):
        pushing.put_manifest(second, tag="v1")
    pushing.put_manifest(second, tag="mine")
    pushing.put_manifest(first, tag="mine")
    assert repository.resolve("v1") == first.descriptor
    assert repository.resolve("mine") == first.descriptor


def test_an_absent_tag_says_what_to_do(repository: LayoutRepository) -> None:
    with pytest.raises(MissingError) as raised:
        repository.resolve("v9")
    assert raised.value.artifact == f"{NAME}:v9"
    assert raised.value.hint


def test_a_damaged_manifest_is_a_content_error_with_the_way_out(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    path = store.blob_path(image.descriptor.digest)
    path.write_bytes(image.raw.replace(b"config", b"cOnfig"))
    with pytest.raises(ContentError, match="damaged") as raised:
        repository.manifest(image.descriptor)
    assert str(path) in str(raised.value.hint)
    assert raised.value.artifact == f"{NAME}@{image.descriptor.digest}"


def test_a_manifest_of_another_size_is_a_content_error(repository: LayoutRepository, content: Any) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    with pytest.raises(ContentError, match="bytes"):
        repository.manifest(Descriptor(OCI_MANIFEST, image.descriptor.digest, 5))


def test_has_compares_sizes(repository: LayoutRepository, content: Any) -> None:
    blob = content.blob(b"data")
    assert repository.has(blob)
    assert not repository.has(Descriptor(OCI_LAYER, blob.digest, 5))
    assert not repository.has(Descriptor(OCI_LAYER, Digest.of(b"nothing"), 7))


def test_blobs_are_shared_by_all_repositories(store: Store, content: Any) -> None:
    blob = content.blob(b"data")
    assert store.repository("a.example/one").begin_blob(blob, mount_from="two") == "present"
    with store.repository("a.example/two").open_blob(blob, 2) as reader:
        assert reader.read() == b"ta"


@pytest.mark.parametrize(
    "name", ["../etc", "a.example/x:v1", "a.example/x@sha256:00", "UPPER", "a//b", "", "/a", "a/../b"]
)
def test_what_is_no_repository_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        store.repository(name)


@pytest.mark.parametrize("tag", ["../x", "a/b", "-x", "a" * 129, "x\n"])
def test_what_is_no_tag_is_refused(repository: LayoutRepository, content: Any, tag: str) -> None:
    with pytest.raises(UsageError):
        repository.put_manifest(content.image(b"a"), tag=tag)


def test_an_unknown_trust_level_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="trust level"):
        store.repository(NAME, trust="maybe")


def test_sha512_manifests_are_kept(store: Store, repository: LayoutRepository, content: Any) -> None:
    plain = content.image(b"layer")
    manifest = Manifest.from_bytes(plain.raw, expected=Digest.of(plain.raw, "sha512"))
    repository.put_manifest(manifest, tag=by_digest_tag(manifest.descriptor.digest))
    assert repository.manifest(manifest.descriptor).raw == plain.raw
    (ref,) = store.refs()
    assert ref.tag is None


def test_a_deleted_blob_is_gone_from_one_repository(store: Store, content: Any) -> None:
    pushed = store.repository("some/repo", trust="pushed")
    blob = content.blob(b"layer")
    pushed.delete_blob(blob.digest)
    assert store.is_forgotten("some/repo", blob.digest)
    assert not store.is_forgotten("other/repo", blob.digest)
    assert store.size(blob.digest) == blob.size
    with pytest.raises(MissingError):
        pushed.delete_blob(blob.digest)
    assert pushed.link_blob(blob.digest) == blob.size
    assert not store.is_forgotten("some/repo", blob.digest)


def test_what_is_not_there_cannot_be_deleted_or_linked(store: Store) -> None:
    pushed = store.repository("some/repo", trust="pushed")
    with pytest.raises(MissingError):
        pushed.delete_blob(Digest.of(b"absent"))
    assert pushed.link_blob(Digest.of(b"absent")) is None


def test_a_manifest_is_not_deleted_as_a_blob(store: Store, content: Any) -> None:
    pushed = store.repository("some/repo", trust="pushed")
    image = content.image(b"layer")
    pushed.put_manifest(image, tag="v1")
    pushed.put_manifest(content.image(b"signature", subject=image))
    for manifest in (image.descriptor, pushed.referrers(image.descriptor.digest)[0]):
        with pytest.raises(MissingError):
            pushed.delete_blob(manifest.digest)
    assert pushed.tags() == ["v1"]


@pytest.mark.parametrize("named", ["tag", "index", "referrer"])
def test_a_push_cannot_delete_a_blob_that_a_release_needs(
    store: Store, repository: LayoutRepository, content: Any, named: str
) -> None:
    image = content.image(b"layer", subject=content.image(b"subject") if named == "referrer" else None)
    repository.put_manifest(image, tag="v1" if named == "tag" else None)
    if named == "index":
        repository.put_manifest(content.index(image), tag="v1")
    pusher = store.repository(NAME, trust="pushed")
    layer = image.children()[1].digest
    with pytest.raises(ProtectedError, match="needs it"):
        pusher.delete_blob(layer)
    store.repository("other/repo", trust="pushed").delete_blob(layer)
    repository.delete_blob(layer)
    assert store.is_forgotten(NAME, layer)


def test_a_push_cannot_delete_the_platforms_of_a_release(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    platform = content.image(b"layer")
    repository.put_manifest(platform)
    inner = content.index(platform)
    repository.put_manifest(inner)
    repository.put_manifest(content.index(inner), tag="v1")
    pusher = store.repository(NAME, trust="pushed")
    for manifest in (platform, inner):
        with pytest.raises(ProtectedError, match="needs it"):
            pusher.delete_manifest(manifest.descriptor.digest)
    assert repository.manifest(platform.descriptor) == platform
    repository.delete_manifest(platform.descriptor.digest)
    with pytest.raises(MissingError):
        repository.manifest(platform.descriptor)


def test_a_release_brings_back_all_of_it_that_a_push_deleted_while_it_came(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    platform = content.image(b"layer")
    layer = platform.children()[1].digest
    repository.put_manifest(platform)
    pusher = store.repository(NAME, trust="pushed")
    pusher.delete_manifest(platform.descriptor.digest)
    pusher.delete_blob(layer)
    index = content.index(platform)
    pusher.put_manifest(index, tag="pushed")
    assert store.is_forgotten(NAME, platform.descriptor.digest)
    repository.put_manifest(index, tag="v1")
    assert not store.is_forgotten(NAME, platform.descriptor.digest)
    assert not store.is_forgotten(NAME, layer)


def test_a_manifest_brings_back_the_blobs_that_it_names(store: Store, content: Any) -> None:
    pushed = store.repository("some/repo", trust="pushed")
    image = content.image(b"layer")
    layer = image.children()[1].digest
    pushed.delete_blob(layer)
    pushed.put_manifest(image, tag="v1")
    assert not store.is_forgotten("some/repo", layer)

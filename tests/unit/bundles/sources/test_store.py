from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, MissingError, StoreError
from bundles.belief import Belief
from bundles.lock import Lock, LockedArtifact, LockedManifest, LockedSource
from bundles.selection import Selection
from bundles.sources import read_source
from bundles.sources.store import split_store
from mirror.layout import Store
from mirror.oci.artifact import (
    FILES_REPOSITORY,
    MANIFESTS_REPOSITORY,
    URL_ANNOTATION,
    file_tag,
    wrap_document,
    wrap_file,
)
from mirror.oci.artifact import wrap_package_bundle as wrap_bundle
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import HELM_CHART, HELM_CONFIG, OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import by_digest_tag

from .documents import bundles, package_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.sources.context import SourceContext

PACKAGES = "public.ecr.aws/eks-anywhere/eks-anywhere-packages-bundles"


class Filler:
    """Puts content into a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def blob(self, data: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
        digest = self.store.put(data)
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}

    def image(
        self,
        repository: str,
        *tags: str,
        content: str = "x",
        config: str = "application/vnd.oci.image.config.v1+json",
        subject: Manifest | None = None,
        trust: str = "declared",
    ) -> Manifest:
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(b"{}", config),
            "layers": [self.blob(content.encode(), HELM_CHART if config == HELM_CONFIG else "application/x-layer")],
        }
        if subject:
            document["subject"] = subject.descriptor.to_json()
        return self.manifest(repository, document, *tags, trust=trust)

    def manifest(self, repository: str, document: dict[str, Any], *tags: str, trust: str = "declared") -> Manifest:
        manifest = Manifest.from_bytes(json.dumps(document).encode(), document["mediaType"])
        target = self.store.repository(repository, trust=trust)
        for tag in tags or (None,):
            target.put_manifest(manifest, tag=tag)
        return manifest

    def wrapped(self, repository: str, wrapped: Any, *tags: str) -> Manifest:
        for data in wrapped.blobs.values():
            self.store.put(data)
        target = self.store.repository(repository, trust="resolved")
        for tag in tags:
            target.put_manifest(wrapped.manifest, tag=tag)
        return wrapped.manifest  # type: ignore[no-any-return]


@pytest.fixture
def filler(tmp_path: Path) -> Iterator[Filler]:
    with Store.open(tmp_path / "store", create=True) as store:
        yield Filler(store)


def lock_of(*artifacts: LockedArtifact, manifests: tuple[LockedManifest, ...] = (), **sizes: int) -> Lock:
    return Lock(
        sources=(LockedSource("eks-a:v1", "Release", "v1", 1),),
        selection=Selection().to_json(),
        manifests=manifests,
        artifacts=artifacts,
        blobs={digest: sizes.get("size", 1) for item in artifacts for digest in item.all_digests()},
    )


def locked(reference: str, manifest: Manifest) -> LockedArtifact:
    return LockedArtifact(
        type="image",
        name="x",
        reference=reference,
        digest=manifest.descriptor.digest,
        size=1,
        media_type=OCI_MANIFEST,
        trust="declared",
        manifests=(manifest.descriptor.digest,),
    )


def read_lock(filler: Filler, context: SourceContext, name: str = "") -> Lock:
    loaded = read_source(f"store:{filler.store.path}{name}", context)
    assert (loaded.kind, loaded.store, loaded.contents.artifacts) == ("store", str(filler.store.path), ())
    assert loaded.lock is not None
    Lock.from_bytes(loaded.lock.to_bytes(), origin="again")
    return loaded.lock


def test_a_collection_of_a_store_is_its_lock(filler: Filler, context: SourceContext) -> None:
    lock = lock_of(locked("r.example/a:1", filler.image("r.example/a", "1")))
    filler.store.put_collection("site", lock.to_bytes())

    assert read_lock(filler, context, "#site") == lock


def test_a_collection_that_is_not_there_is_missing_and_the_others_are_named(
    filler: Filler, context: SourceContext
) -> None:
    filler.store.put_collection("site", lock_of().to_bytes())

    with pytest.raises(MissingError) as caught:
        read_source(f"store:{filler.store.path}#sight", context)

    assert "site" in (caught.value.hint or "")


def test_a_store_gives_everything_that_is_not_pushed(filler: Filler, context: SourceContext) -> None:
    image = filler.image("r.example/a", "1", "2")
    filler.image("r.example/by-digest", by_digest_tag(image.descriptor.digest))
    filler.image("r.example/chart", "1", content="tgz", config=HELM_CONFIG)
    filler.image("r.example/pushed", "1", trust="pushed")

    lock = read_lock(filler, context)

    assert {(item.type, item.reference, item.trust) for item in lock.artifacts} == {
        ("image", "r.example/a:1", "declared"),
        ("image", "r.example/a:2", "declared"),
        ("image", f"r.example/by-digest@{image.descriptor.digest}", "declared"),
        ("chart", "r.example/chart:1", "declared"),
    }
    assert [(item.reference, "pushed" in item.reason) for item in lock.excluded] == [("r.example/pushed:1", True)]
    first = lock.artifacts[0]
    assert first.size == sum(lock.blobs[digest] for digest in first.all_digests())


def test_a_sparse_index_is_pinned_with_the_children_that_are_there(filler: Filler, context: SourceContext) -> None:
    here = filler.image("r.example/a")
    absent = Digest.of(b"absent")
    platform = {"os": "linux", "architecture": "amd64"}
    filler.manifest(
        "r.example/a",
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [
                {**here.descriptor.to_json(), "platform": platform},
                {
                    "mediaType": OCI_MANIFEST,
                    "digest": str(absent),
                    "size": 9,
                    "platform": {"os": "linux", "architecture": "arm64"},
                },
            ],
        },
        "1",
    )

    (artifact,) = read_lock(filler, context).artifacts

    assert here.descriptor.digest in artifact.manifests
    assert absent not in artifact.manifests
    assert [str(item) for item in artifact.platforms] == ["linux/amd64"]


def test_referrers_and_cosign_tags_go_along_and_are_no_artifacts(filler: Filler, context: SourceContext) -> None:
    image = filler.image("r.example/a", "1")
    referrer = filler.image("r.example/a", content="sbom", subject=image)
    cosign = f"sha256-{image.descriptor.digest.encoded}.sig"
    signature = filler.image("r.example/a", cosign, content="signature")

    (artifact,) = read_lock(filler, context).artifacts

    assert {(item.digest, item.tag) for item in artifact.referrers} == {
        (referrer.descriptor.digest, None),
        (signature.descriptor.digest, cosign),
    }


def test_only_tags_of_cosign_s_form_for_the_image_are_taken_for_its_signatures(
    filler: Filler, context: SourceContext
) -> None:
    image = filler.image("r.example/a", "1")
    encoded = image.descriptor.digest.encoded
    for number, tag in enumerate((f"sha512-{encoded}.sig", f"sha256-{encoded}", f"sha256-{'0' * 64}.sig")):
        filler.image("r.example/a", tag, content=f"signature {number}")

    (artifact,) = read_lock(filler, context).artifacts

    assert artifact.referrers == ()


def test_an_index_with_a_chart_in_it_is_no_chart(filler: Filler, context: SourceContext) -> None:
    inner = filler.image("r.example/a", content="tgz", config=HELM_CONFIG)
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [inner.descriptor.to_json()]}
    filler.manifest("r.example/a", document, "1")

    assert [item.type for item in read_lock(filler, context).artifacts] == ["image"]


def test_files_and_documents_are_found_again_as_what_they_were(filler: Filler, context: SourceContext) -> None:
    url, document_url = "https://files.example/a.iso", "https://files.example/manifest.yaml"
    digest = filler.store.put(b"iso")
    filler.wrapped(FILES_REPOSITORY, wrap_file(url, digest, 3, sha512="0" * 128), file_tag(url))
    filler.wrapped(MANIFESTS_REPOSITORY, wrap_document(bundles(), url=document_url), "bundles-7")
    packages = filler.wrapped(PACKAGES, wrap_bundle(package_bundle()), "v1-33-120", "v1-33-latest")

    lock = read_lock(filler, context)

    (file,) = lock.artifacts
    assert (file.type, file.reference, file.name, file.digest, file.sha512) == ("file", url, "a.iso", digest, "0" * 128)
    by_kind = {item.kind: item for item in lock.manifests}
    assert (by_kind["Bundles"].name, by_kind["Bundles"].url) == ("bundles-7", document_url)
    assert by_kind["PackageBundle"].oci_digest == packages.descriptor.digest
    assert by_kind["PackageBundle"].tags == ("v1-33-120", "v1-33-latest")
    assert by_kind["PackageBundle"].url == PACKAGES


def test_a_file_that_another_program_wrapped_is_left_out_with_the_reason(
    filler: Filler, context: SourceContext
) -> None:
    url = "https://files.example/a.iso"
    wrapped = wrap_file(url, filler.store.put(b"iso"), 3)
    document = {**wrapped.manifest.document, "annotations": {URL_ANNOTATION: url, "by": "another"}}
    other = replace(wrapped, manifest=Manifest.render(document))
    filler.wrapped(FILES_REPOSITORY, other, file_tag(url))
    filler.image("r.example/a", "1")

    lock = read_lock(filler, context)

    assert [item.type for item in lock.artifacts] == ["image"]
    assert [item.reason for item in lock.excluded] == ["is a file as another program wraps it"]


def test_what_a_collection_has_is_not_pinned_again(filler: Filler, context: SourceContext) -> None:
    manifest = filler.image("r.example/a", "1")
    own = locked("r.example/a:1", manifest)
    filler.store.put_collection("site", lock_of(own).to_bytes())
    filler.image("r.example/b", "1", content="other")

    lock = read_lock(filler, context)

    assert [item.reference for item in lock.artifacts] == ["r.example/a:1", "r.example/b:1"]
    assert lock.artifacts[0] == own


def test_of_two_collections_the_one_that_the_tag_still_follows_counts(filler: Filler, context: SourceContext) -> None:
    old = filler.image("r.example/a", "latest", content="old")
    filler.store.put_collection("a-old", lock_of(locked("r.example/a:latest", old)).to_bytes())
    new = filler.image("r.example/a", "latest", content="new")
    filler.store.put_collection("b-new", lock_of(locked("r.example/a:latest", new)).to_bytes())
    filler.store.put_collection("c-old", lock_of(locked("r.example/a:latest", old)).to_bytes())

    lock = read_lock(filler, context)

    assert [item.digest for item in lock.artifacts] == [new.descriptor.digest]
    assert {item.reference for item in lock.excluded} == {f"r.example/a:latest@{old.descriptor.digest}"}


def test_two_collections_with_other_platforms_of_one_image_are_joined(filler: Filler, context: SourceContext) -> None:
    image = filler.image("r.example/a", "1")
    children = [filler.image("r.example/a", content=content).descriptor.digest for content in ("amd64", "arm64")]
    for name, child, trust in zip("ab", children, ("signed", "off"), strict=True):
        item = locked("r.example/a:1", image)
        item = replace(item, manifests=(*item.manifests, child), trust=trust)  # type: ignore[arg-type]
        filler.store.put_collection(name, lock_of(item).to_bytes())

    lock = read_lock(filler, replace(context, belief=Belief()))

    assert [(set(item.manifests), item.size, item.trust) for item in lock.artifacts] == [
        ({image.descriptor.digest, *children}, 3, "signed")
    ]
    assert [item.trust for item in read_lock(filler, context).artifacts] == ["declared"]
    assert lock.excluded == ()


def test_an_image_locked_with_tag_and_digest_is_not_found_twice(filler: Filler, context: SourceContext) -> None:
    image = filler.image("r.example/a", "1")
    reference = f"r.example/a:1@{image.descriptor.digest}"
    filler.store.put_collection("site", lock_of(locked(reference, image)).to_bytes())

    assert [item.reference for item in read_lock(filler, context).artifacts] == [reference]


def test_a_store_that_lost_a_blob_is_said_to_be_incomplete(filler: Filler, context: SourceContext) -> None:
    filler.image("r.example/a", "1", content="lost")
    filler.store.blob_path(Digest.of(b"lost")).unlink()

    with pytest.raises(ContentError, match="incomplete"):
        read_source(f"store:{filler.store.path}", context)


def test_an_empty_store_is_missing_and_no_store_is_none(tmp_path: Path, filler: Filler, context: SourceContext) -> None:
    with pytest.raises(MissingError):
        read_source(f"store:{filler.store.path}", context)
    with pytest.raises(StoreError):
        read_source(f"store:{tmp_path / 'nothing'}", context)


@pytest.mark.parametrize(
    ("rest", "folder", "name"),
    [
        ("d", "d", ""),
        ("d#c", "d", "c"),
        ("d#", "d", ""),
        ("a#b", "a#b", ""),
        ("a#b#c", "a#b", "c"),
        ("x#y#z", "x#y", "z"),
    ],
)
def test_a_store_and_its_collection_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: str, folder: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a#b").mkdir()
    assert split_store(rest) == (Path(folder), name)


def test_a_store_whose_path_has_a_hash_is_found(tmp_path: Path, context: SourceContext) -> None:
    path = tmp_path / "a#b"
    with Store.open(path, create=True) as store:
        Filler(store).image("r.example/a", "1")
        store.put_collection("c", lock_of().to_bytes())

    whole, one = read_source(f"store:{path}", context), read_source(f"store:{path}#c", context)

    assert whole.lock is not None
    assert len(whole.lock.artifacts) == 1
    assert one.lock is not None
    assert not one.lock.artifacts

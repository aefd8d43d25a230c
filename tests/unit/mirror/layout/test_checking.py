from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.events import BytesMoved, Event
from mirror.layout import Problem, Store
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.oci.manifest import Manifest

NAME = "public.ecr.aws/eks-anywhere/kind"


@pytest.fixture
def image(store: Store, content: Any) -> Manifest:
    made: Manifest = content.image(b"layer", b"other")
    store.repository(NAME).put_manifest(made, tag="v1")
    return made


def problems(store: Store) -> list[tuple[str, str, str]]:
    return sorted((p.kind, p.reference, str(p.digest)) for p in store.verify())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def test_a_whole_store_has_no_problems_and_every_byte_is_hashed(store: Store, image: Manifest) -> None:
    events: list[Event] = []
    assert list(store.verify(listener=events.append)) == []
    assert sum(event.count for event in events if isinstance(event, BytesMoved)) == store.stats().bytes
    assert image.descriptor.size < store.stats().bytes


def test_a_blob_with_other_bytes_is_different(store: Store, image: Manifest) -> None:
    digest = image.children()[1].digest
    flip(store.blob_path(digest))
    (problem,) = store.verify()
    assert problem == Problem("different", f"{NAME}:v1", digest, problem.message)
    assert str(store.blob_path(digest)) in problem.message


def test_a_blob_of_another_size_is_different_once(store: Store, image: Manifest) -> None:
    digest = image.children()[1].digest
    store.blob_path(digest).write_bytes(b"longer than it was")
    assert problems(store) == [("different", f"{NAME}:v1", str(digest))]


def test_a_linked_blob_is_different(store: Store, image: Manifest, tmp_path: Path) -> None:
    path = store.blob_path(image.children()[1].digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert [item[0] for item in problems(store)] == ["different"]


def test_an_absent_blob_is_missing(store: Store, image: Manifest) -> None:
    digest = image.children()[2].digest
    store.discard(digest)
    assert problems(store) == [("missing", f"{NAME}:v1", str(digest))]


@pytest.mark.parametrize(("damage", "kind"), [("flip", "different"), ("discard", "missing")])
def test_a_damaged_or_absent_manifest_is_told_once(store: Store, image: Manifest, damage: str, kind: str) -> None:
    digest = image.descriptor.digest
    if damage == "flip":
        flip(store.blob_path(digest))
    else:
        store.discard(digest)
    assert problems(store) == [(kind, f"{NAME}:v1", str(digest))]


def test_a_sparse_index_is_fine_unless_a_collection_wants_the_child(store: Store, content: Any) -> None:
    present, absent = content.image(b"here"), content.image(b"there")
    repository = store.repository(NAME)
    repository.put_manifest(present)
    index = content.index(present, absent)
    repository.put_manifest(index, tag="v1")
    assert list(store.verify()) == []
    descriptor = absent.descriptor
    repository.put_manifest(absent)
    store.put_collection("release", json.dumps({"blobs": {str(descriptor.digest): descriptor.size}}).encode())
    store.discard(descriptor.digest)
    assert problems(store) == [("missing", "collection release", str(descriptor.digest))]


def test_the_children_of_an_index_are_walked(store: Store, content: Any) -> None:
    child = content.image(b"deep")
    store.repository(NAME).put_manifest(child)
    store.repository(NAME).put_manifest(content.index(child), tag="v1")
    store.discard(Digest.of(b"deep"))
    assert problems(store) == [("missing", f"{NAME}:v1", str(Digest.of(b"deep")))]


def test_referrers_are_walked(store: Store, image: Manifest, content: Any) -> None:
    store.repository(NAME).put_manifest(content.image(b"sbom", subject=image))
    store.discard(Digest.of(b"sbom"))
    assert [item[0] for item in problems(store)] == ["missing"]


@pytest.mark.parametrize(
    "lock", [b"", b"[]", b'{"blobs":[]}', b'{"blobs":{"x":1,"sha256:00":2}}', b"[" * 100_000, b'{"blobs":{"a":"b"}}']
)
def test_a_collection_of_an_unknown_shape_is_tolerated(store: Store, lock: bytes) -> None:
    store.put_collection("odd", lock)
    assert list(store.verify()) == []


def test_an_unreferenced_blob_is_no_problem_unless_it_is_damaged(store: Store) -> None:
    digest = store.put(b"nobody needs this")
    assert list(store.verify()) == []
    flip(store.blob_path(digest))
    assert problems(store) == [("different", "", str(digest))]


def test_files_that_are_no_blobs_are_ignored(store: Store) -> None:
    (store.path / "blobs" / "sha256" / ".tmp123").write_bytes(b"x")
    assert list(store.verify()) == []


def test_verifying_can_be_cancelled_and_abandoned(store: Store, image: Manifest) -> None:
    flip(store.blob_path(image.children()[1].digest))
    flip(store.blob_path(image.children()[2].digest))
    cancelled = threading.Event()
    cancelled.set()
    assert list(store.verify(cancelled=cancelled)) == []
    abandoned = store.verify()
    next(abandoned)
    abandoned.close()

"""What counts as named: everything that a name reaches, by what is there and not by what is said of it."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError
from mirror.layout import Store
from mirror.layout.marking import Marking
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_INDEX
from tests.unit.mirror.layout.conftest import age, everything, held

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.layout import LayoutRepository
    from mirror.oci.digest import Digest


def test_an_index_keeps_its_children_at_any_depth(store: Store, repository: LayoutRepository, content: Any) -> None:
    inner = content.image(b"layer")
    repository.put_manifest(inner)
    chain = [inner]
    for _ in range(12):
        chain.append(content.index(chain[-1]))
        repository.put_manifest(chain[-1])
    repository.put_manifest(chain[-1], tag="deep")
    age(store)
    assert store.gc(grace=0).removed == ()
    assert held(store) == everything(*chain)


def test_a_child_that_its_index_calls_something_else_keeps_its_layers(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image)
    odd = image.descriptor.to_json() | {"mediaType": "application/vnd.oci.artifact.manifest.v1+json"}
    repository.put_manifest(
        Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [odd]}), tag="odd"
    )
    age(store)
    assert store.gc(grace=0).removed == ()


def test_what_another_tool_named_stays_when_its_layout_became_a_store(path: Path, content: Any, tmp_path: Path) -> None:
    image, stray = content.image(b"layer"), content.blob(b"stray")
    content.store.put(image.raw)
    layout = tmp_path / "layout"
    shutil.copytree(path / "blobs", layout / "blobs")
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    entry = image.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry, {"digest": "x"}]}))
    with Store.open(layout, create=True) as adopted:
        assert adopted.refs() == []
        age(adopted)
        assert [digest for digest, _ in adopted.gc(grace=0).removed] == [stray.digest]
        (layout / "bundlectl" / "index.json.adopted").unlink()
        adopted.gc(grace=0)
        assert held(adopted) == set()


@pytest.mark.parametrize("damage", ["removed", "altered", "linked"])
def test_a_named_manifest_that_cannot_be_read_stops_everything(
    store: Store, repository: LayoutRepository, content: Any, damage: str
) -> None:
    image = content.image(b"layer")
    repository.put_manifest(image, tag="v1")
    path = store.blob_path(image.descriptor.digest)
    if damage == "altered":
        path.write_bytes(image.raw.replace(b"2", b"3", 1))
    else:
        path.unlink()
        if damage == "linked":
            path.symlink_to(store.path / "oci-layout")
    age(store)
    before = held(store)
    with pytest.raises(ContentError, match="cannot be told"):
        store.gc(grace=0)
    assert held(store) == before


def test_a_layout_that_lost_its_log_keeps_what_its_first_index_named(content: Any, path: Path, tmp_path: Path) -> None:
    image = content.image(b"layer")
    content.store.put(image.raw)
    layout = tmp_path / "layout"
    shutil.copytree(path / "blobs", layout / "blobs")
    entry = image.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    with Store.open(layout, create=True) as store:
        store.repository("a.b/c").put_manifest(content.index(), tag="v1")
    (layout / "bundlectl" / "refs.log").unlink()
    with Store.open(layout):
        pass
    for evidence in (layout / "bundlectl").glob("refs.log.damaged-*"):
        evidence.unlink()
    with Store.open(layout) as store:
        age(store)
        store.gc(grace=0)
        assert everything(image) <= held(store)


def test_what_another_tool_named_stays_whatever_kind_it_is_of(path: Path, content: Any, tmp_path: Path) -> None:
    """Artifact manifests, say: withdrawn, no manifest to us, and still somebody's content."""
    blob, stray = content.blob(b"of an artifact"), content.blob(b"stray")
    odd = {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": [blob.to_json()]}
    artifact = content.blob(canonical_json(odd))
    plain = content.blob(b"not even JSON")
    index = content.index()
    listing = canonical_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [artifact.to_json()]})
    nested = content.blob(listing)
    layout = tmp_path / "layout"
    shutil.copytree(path / "blobs", layout / "blobs")
    entries = [nested.to_json(), plain.to_json(), index.descriptor.to_json()]
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    with Store.open(layout, create=True) as adopted:
        age(adopted)
        assert [digest for digest, _ in adopted.gc(grace=0).removed] == [stray.digest]


def test_a_descriptor_that_is_wrong_neither_stops_nor_misleads_it(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    """Whoever may push may write such an index."""
    image, layer = content.image(b"layer"), content.blob(b"called a manifest")
    repository.put_manifest(image)
    listed = [
        image.descriptor.to_json() | {"size": 1},
        layer.to_json() | {"mediaType": OCI_INDEX},
        content.blob(b"[" * 100_000).to_json() | {"mediaType": OCI_INDEX},
    ]
    index = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    repository.put_manifest(index, tag="v1")
    age(store)
    assert store.gc(grace=0).removed == ()


def test_a_long_chain_of_referrers_is_followed(store: Store, content: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = store.repository("pushed/repo", trust="pushed")
    chain = [content.image(b"layer")]
    pushed.put_manifest(chain[0], tag="v1")
    for number in range(300):
        chain.append(content.image(subject=chain[-1], annotations={"n": str(number)}))
    with store.batch():
        for manifest in reversed(chain):
            pushed.put_manifest(manifest)
    reads: list[Digest] = []
    read = Marking._read
    monkeypatch.setattr(Marking, "_read", lambda self, digest: reads.append(digest) or read(self, digest))
    age(store)
    assert store.gc(grace=0).removed == ()
    assert len(reads) <= len(chain) + 1


def test_an_index_of_many_manifests_holds_one_of_them_in_memory(
    store: Store, repository: LayoutRepository, content: Any
) -> None:
    large = [content.image(annotations={"n": f"{number}", "x": "x" * 1_000_000}) for number in range(30)]
    for manifest in large:
        repository.put_manifest(manifest)
    repository.put_manifest(content.index(*large), tag="v1")
    tracemalloc.start()
    try:
        store.gc(grace=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bundlectl.errors import ContentError, MissingError, StoreError, UsageError
from mirror.layout import Store
from mirror.oci.digest import Digest

NAME = "public.ecr.aws/eks-anywhere/kind"


def tree(path: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in [path, *path.rglob("*")]}


def test_a_new_store_is_an_image_layout(store: Store, path: Path) -> None:
    assert json.loads((path / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((path / "index.json").read_bytes())
    assert (index["schemaVersion"], index["manifests"]) == (2, [])
    assert (path / "blobs" / "sha256").is_dir()
    assert json.loads((path / "bundlectl" / "store.json").read_bytes())["version"] == 1
    assert store.refs() == []


def test_a_path_without_a_store_says_how_to_make_one(path: Path) -> None:
    for read_only in (False, True):
        with pytest.raises(StoreError, match="not a store") as raised:
            Store.open(path, read_only=read_only)
        assert raised.value.hint
        assert raised.value.artifact == str(path)
    assert not path.exists()


def test_a_directory_with_other_things_in_it_is_not_made_a_store(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="neither empty nor a store"):
        Store.open(path, create=True)
    assert [p.name for p in path.iterdir()] == ["thesis.tex"]


def test_a_file_is_not_a_store(path: Path) -> None:
    path.write_text("x")
    with pytest.raises(StoreError):
        Store.open(path, create=True)


def test_refs_survive_closing_and_opening(store: Store, path: Path, content: Any) -> None:
    image = content.image(b"layer")
    store.repository(NAME, trust="declared").put_manifest(image, tag="v1")
    store.close()
    store.close()
    for read_only in (False, True):
        with Store.open(path, create=True, read_only=read_only) as again:
            (ref,) = again.refs()
            assert (str(ref), ref.trust, ref.descriptor) == (f"{NAME}:v1", "declared", image.descriptor)


def test_a_closed_store_says_so(store: Store, content: Any) -> None:
    image = content.image(b"layer")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.refs()
    with pytest.raises(StoreError, match="closed"):
        store.repository(NAME).put_manifest(image, tag="v1")


def test_two_openings_of_one_store_see_each_others_refs(store: Store, path: Path, content: Any) -> None:
    with Store.open(path) as other, Store.open(path, read_only=True) as reader:
        for number in range(5):
            writer = (store, other)[number % 2]
            writer.repository(NAME).put_manifest(content.image(b"%d" % number), tag=f"v{number}")
            assert store.repository(NAME).tags() == other.repository(NAME).tags() == reader.repository(NAME).tags()
        assert len(reader.refs()) == 5


def test_a_compacted_log_is_noticed_by_those_who_read_the_old_one(store: Store, path: Path, content: Any) -> None:
    image = content.image(b"layer")
    repository = store.repository(NAME)
    with store.batch():
        for _ in range(300):
            repository.put_manifest(image, tag="v1")
            repository.delete_tag("v1")
    repository.put_manifest(image, tag="last")
    log = path / "bundlectl" / "refs.log"
    before = log.stat().st_size
    with Store.open(path) as other:
        assert log.stat().st_size < before / 100
        other.repository(NAME).put_manifest(image, tag="other")
        assert repository.tags() == ["last", "other"]
        repository.put_manifest(image, tag="mine")
        assert other.repository(NAME).tags() == ["last", "mine", "other"]


def test_reading_only_writes_nothing(store: Store, path: Path, content: Any) -> None:
    store.repository(NAME).put_manifest(content.image(b"layer"), tag="v1")
    store.put_collection("c", b"{}")
    store.close()
    before = tree(path)
    with Store.open(path, read_only=True) as reader:
        assert len(reader.refs()) == 1
        assert list(reader.verify()) == []
        assert reader.stats().refs == 1
        assert reader.collections() == {"c": b"{}"}
        for attempt in (
            lambda: reader.put(b"new"),
            reader.begin_session,
            lambda: reader.put_collection("d", b""),
            lambda: reader.repository(NAME).delete_tag("v1"),
            lambda: reader.discard(Digest.of(b"layer")),
        ):
            with pytest.raises(StoreError, match="read-only"):
                attempt()
        reader.flush()
    assert tree(path) == before


def test_a_missing_lock_file_is_no_trouble_for_readers(store: Store, path: Path) -> None:
    store.close()
    (path / "bundlectl" / "lock").unlink()
    with Store.open(path, read_only=True) as reader:
        assert reader.refs() == []
    assert not (path / "bundlectl" / "lock").exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_of_a_newer_version_is_refused(store: Store, path: Path, *, read_only: bool) -> None:
    store.close()
    (path / "bundlectl" / "store.json").write_text('{"format":"bundlectl.dev/store","version":2}')
    with pytest.raises(StoreError, match="version 2") as raised:
        Store.open(path, read_only=read_only)
    assert "upgrade" in str(raised.value.hint)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0", '{"format":"zip","version":1}', "[" * 60_000, " " * 100_000])
def test_a_damaged_version_file_is_refused(store: Store, path: Path, text: str) -> None:
    store.close()
    (path / "bundlectl" / "store.json").write_text(text)
    with pytest.raises(StoreError, match=r"store\.json"):
        Store.open(path)


def test_collections_are_kept_byte_for_byte(store: Store) -> None:
    store.put_collection("eks-a-v0.24.1", b'{"a": 1}\n')
    store.put_collection("b", b"one")
    store.put_collection("b", b"two")
    assert store.collections() == {"b": b"two", "eks-a-v0.24.1": b'{"a": 1}\n'}


def test_a_collection_is_kept_with_its_signature_and_loses_it_when_it_is_replaced(store: Store) -> None:
    store.put_collection("c", b"one", b"signature of one")
    assert store.collection_signature("c") == b"signature of one"
    store.put_collection("d", b"other", b"signature of other")
    store.put_collection("c", b"two")
    assert store.collection_signature("c") is None
    store.put_collection("d", b"other", b"another signature")
    assert (store.collections()["d"], store.collection_signature("d")) == (b"other", b"another signature")
    for name in ("e", "", "../collections/c", "a\0b"):
        assert store.collection_signature(name) is None


def test_a_store_of_a_version_without_signatures_takes_them(store: Store, path: Path) -> None:
    (path / "bundlectl" / "signatures").rmdir()
    assert store.collection_signature("c") is None
    store.put_collection("c", b"one")
    store.put_collection("c", b"one", b"signature")
    assert store.collection_signature("c") == b"signature"


def test_a_collection_never_has_the_signature_of_another_lock_whenever_it_is_cut(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mirror.layout import collection_files  # noqa: PLC0415 -- what is cut

    store.put_collection("c", b"one", b"signature of one")
    write = collection_files.write_atomically
    for allowed in (0, 1):
        left = iter([True] * allowed)

        def cut(*arguments: Any, left: Any = left, **more: Any) -> None:
            if not next(left, False):
                raise StoreError("cut")
            write(*arguments, **more)

        monkeypatch.setattr(collection_files, "write_atomically", cut)
        with pytest.raises(StoreError, match="cut"):
            store.put_collection("c", b"two", b"signature of two")
        assert store.collection_signature("c") is None


@pytest.mark.parametrize("damage", ["large", "folder", "link"])
def test_a_signature_that_is_no_small_file_is_refused(store: Store, path: Path, damage: str) -> None:
    store.put_collection("c", b"one", b"signature")
    kept = path / "bundlectl" / "signatures" / "c.json"
    kept.unlink()
    if damage == "large":
        with kept.open("wb") as file:
            file.truncate(64 * 1024 * 1024 + 1)
    elif damage == "folder":
        kept.mkdir()
    else:
        kept.symlink_to("/dev/zero")
    with pytest.raises(ContentError, match="signature of collection c"):
        store.collection_signature("c")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-x", "a" * 129, "a\n", "a\0b", "é"])
def test_what_is_no_collection_name_is_refused(store: Store, path: Path, name: str) -> None:
    before = tree(path)
    with pytest.raises(UsageError):
        store.put_collection(name, b"{}")
    assert tree(path) == before


def test_stats_count_what_is_there_and_what_nothing_needs(store: Store, path: Path, content: Any) -> None:
    image = content.image(b"layer")
    store.repository(NAME).put_manifest(image, tag="v1")
    store.repository(NAME).put_manifest(image, tag="v2")
    store.repository("a.example/x").put_manifest(content.image(b"sbom", subject=image))
    store.put(b"nobody needs this")
    listed = store.put(b"a lock lists this")
    store.put_collection("c", json.dumps({"blobs": {str(listed): 17}}).encode())
    (path / "bundlectl" / "partial" / "sha256-x").write_bytes(b"12345")
    stats = store.stats()
    assert (stats.refs, stats.repositories, stats.collections, stats.blobs) == (2, 2, 1, 7)
    assert (stats.unreferenced_blobs, stats.unreferenced_bytes, stats.partial_bytes) == (1, 17, 5)
    assert stats.bytes == sum(p.stat().st_size for p in (path / "blobs").rglob("*") if p.is_file())


def test_stale_uploads_and_temporary_files_are_removed_on_open(store: Store, path: Path) -> None:
    old, young = store.begin_session(), store.begin_session()
    temporary = path / "bundlectl" / "tmp" / "index.json.123"
    temporary.write_text("x")
    past = time.time() - 8 * 24 * 3600
    for stale in (path / "bundlectl" / "uploads" / old, temporary):
        os.utime(stale, (past, past))
    with Store.open(path) as again:
        with pytest.raises(MissingError):
            again.session_size(old)
        assert again.session_size(young) == 0
        assert not temporary.exists()


def test_a_new_store_has_all_its_directories_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(str(Path(f"/proc/self/fd/{file}").readlink())))
    root = tmp_path / "new"
    with Store.open(root, create=True):
        assert {str(tmp_path), str(root), str(root / "blobs"), str(root / "bundlectl")} <= set(synced)


def test_a_batch_is_visible_at_once_and_synced_at_its_end(
    store: Store, path: Path, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = content.image(b"layer")
    store.put(image.raw)
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with Store.open(path, read_only=True) as reader:
        with store.batch():
            for number in range(10):
                store.repository(NAME).put_manifest(image, tag=f"v{number}")
            assert len(reader.refs()) == 10
            assert synced == []
        assert len(synced) == 1


def test_ten_thousand_refs_do_not_rewrite_the_index_each_time(
    store: Store, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = content.image(b"layer")
    written: list[bytes] = []
    monkeypatch.setattr(store._index, "write", written.append)
    monkeypatch.setattr("mirror.layout.log._PUBLISH_INTERVAL", 3600)
    with store.batch():
        for number in range(10_000):
            store.repository(NAME).put_manifest(image, tag=f"v{number}")
    assert written == []
    store.flush()
    assert len(written) == 1

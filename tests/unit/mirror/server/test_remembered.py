from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError
from mirror.layout import Store
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_INDEX
from mirror.server.remembered import ReadManifests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as found:
        yield found


def put(store: Store, number: int) -> Descriptor:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"number": str(number)}}
    manifest = Manifest.render(document)
    store.repository("a/b").put_manifest(manifest, tag=f"v{number}")
    return manifest.descriptor


def test_what_was_read_once_is_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor, read = put(store, 1), ReadManifests(store)
    first = read.get("a/b", descriptor, named=True)
    monkeypatch.setattr(Store, "repository", None)  # whoever reads now fails
    assert read.get("a/b", descriptor, named=True) == first


def test_no_more_is_kept_than_the_limit_and_everything_is_answered(store: Store) -> None:
    descriptors = [put(store, number) for number in range(10)]
    read = ReadManifests(store, limit=3 * 2500)
    for descriptor in [*descriptors, *descriptors]:
        found, raw = read.get("a/b", descriptor, named=False)
        assert found == descriptor
        assert len(raw) == descriptor.size
        assert 1 <= len(read._read) <= 3


def test_a_file_that_became_another_is_read_and_checked_again(store: Store) -> None:
    descriptor, read = put(store, 1), ReadManifests(store)
    _, raw = read.get("a/b", descriptor, named=True)
    path = store.blob_path(descriptor.digest)
    path.write_bytes(raw.replace(b"1", b"2"))
    with pytest.raises(ContentError):
        read.get("a/b", descriptor, named=True)
    path.unlink()
    with pytest.raises(MissingError):
        read.get("a/b", descriptor, named=True)


def test_what_a_repository_forgot_is_not_there_though_another_has_it(store: Store) -> None:
    descriptor, read = put(store, 1), ReadManifests(store)
    assert read.get("a/b", descriptor, named=False)
    store.repository("a/b").delete_manifest(descriptor.digest)
    with pytest.raises(MissingError):
        read.get("a/b", descriptor, named=False)
    assert read.get("other/one", descriptor, named=False)

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from mirror.layout import LayoutRepository, Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "public.ecr.aws/eks-anywhere/kind"
LONG_AGO = 1_600_000_000


def descriptor_of(data: bytes, media_type: str = OCI_LAYER, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type, Digest.of(data, algorithm), len(data))


class Content:
    """Makes manifests and puts what they need into a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def blob(self, data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
        self.store.put(data)
        return descriptor_of(data, media_type)

    def image(self, *layers: bytes, subject: Manifest | None = None, **fields: object) -> Manifest:
        config = self.blob(b'{"os":"linux"}', OCI_CONFIG)
        document: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(),
            "layers": [self.blob(layer).to_json() for layer in layers],
            **fields,
        }
        if subject:
            document["subject"] = subject.descriptor.to_json()
        return Manifest.render(document)

    def index(self, *children: Manifest) -> Manifest:
        return Manifest.render(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [child.descriptor.to_json() for child in children],
            }
        )


def age(store: Store, *digests: Digest) -> None:
    """Let blobs, by default all, have arrived long ago."""
    for digest in digests or list(store._blobs.digests()):
        os.utime(store.blob_path(digest), (LONG_AGO, LONG_AGO), follow_symlinks=False)


def held(store: Store) -> set[Digest]:
    return set(store._blobs.digests())


def everything(*manifests: Manifest) -> set[Digest]:
    return {m.descriptor.digest for m in manifests} | {c.digest for m in manifests for c in m.children()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path, create=True) as opened:
        yield opened


@pytest.fixture
def content(store: Store) -> Content:
    return Content(store)


@pytest.fixture
def repository(store: Store) -> LayoutRepository:
    return store.repository(NAME, trust="signed")


@pytest.fixture
def opener_of() -> Callable[..., Callable[[], io.BytesIO]]:
    """Makes openers of bytes from an offset on."""
    return lambda data, offset=0: lambda: io.BytesIO(data[offset:])

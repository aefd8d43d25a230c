"""Manifests that are read once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError
from mirror.copying.manifests import ManifestMemory, RememberingRepository
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.mirror.copying.bench import Bench


def test_a_manifest_is_read_once_by_all_runs(bench: Bench, tmp_path: Path) -> None:
    image = bench.image("a/one", b"layer")
    for _ in range(3):
        with ManifestMemory(tmp_path / "m.sqlite") as memory:
            source = RememberingRepository(bench.repository(bench.source, "a/one"), memory)
            for _ in range(2):
                assert source.manifest(image.descriptor).raw == image.raw
                assert source.manifest(Descriptor("", image.descriptor.digest, 0)).descriptor == image.descriptor
    assert bench.source.requests.count() == 1


def test_what_a_tag_points_at_is_always_asked_for(bench: Bench, tmp_path: Path) -> None:
    image = bench.image("a/one", b"layer")
    with ManifestMemory(tmp_path / "m.sqlite") as memory:
        source = RememberingRepository(bench.repository(bench.source, "a/one"), memory)
        assert [source.resolve("v1").digest for _ in range(2)] == [image.descriptor.digest] * 2
    assert bench.source.requests.count("HEAD") == 2


def test_an_altered_record_is_read_from_the_source_instead(bench: Bench, tmp_path: Path) -> None:
    image = bench.image("a/one", b"layer")
    path = tmp_path / "m.sqlite"
    with ManifestMemory(path) as memory:
        memory.keep(image)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE manifests SET raw = ?", (image.raw.replace(b"}", b" }"),))
    with ManifestMemory(path) as memory:
        source = RememberingRepository(bench.repository(bench.source, "a/one"), memory)
        assert source.manifest(image.descriptor).raw == image.raw
    assert bench.source.requests.count() == 1


def test_a_manifest_that_is_stated_larger_than_it_is_remains_an_error(bench: Bench, tmp_path: Path) -> None:
    image = bench.image("a/one", b"layer")
    wrong = Descriptor(image.descriptor.media_type, image.descriptor.digest, image.descriptor.size + 1)
    with ManifestMemory(tmp_path / "m.sqlite") as memory:
        memory.keep(image)
        source = RememberingRepository(bench.repository(bench.source, "a/one"), memory)
        with pytest.raises(ContentError):
            source.manifest(wrong)


def test_what_is_absent_is_not_remembered(bench: Bench, tmp_path: Path) -> None:
    with ManifestMemory(tmp_path / "m.sqlite") as memory:
        source = RememberingRepository(bench.repository(bench.source, "a/one"), memory)
        absent = Descriptor("", Digest.of(b"absent"), 0)
        for _ in range(2):
            with pytest.raises(MissingError):
                source.manifest(absent)
    assert bench.source.requests.count() == 2

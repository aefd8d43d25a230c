"""An archive is read like any repository, by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import ContentError, MissingError
from mirror.archive.repository import ArchiveRepository
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import MANIFEST_LIMIT, OCI_MANIFEST
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from pathlib import Path

SIZES = [100, 20_000, 0, 9_000, 3 * CAPACITY, 700, 15_000, 15_000, 1]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "out", SIZES).written()


def repository(archive: Archive) -> ArchiveRepository:
    return ArchiveRepository("public.ecr.aws/x", archive.set())


def descriptor(archive: Archive, number: int, **more: Any) -> Descriptor:
    member = archive.members[number]
    return Descriptor(more.get("media_type", ""), member.digest, member.size)


def test_blobs_are_opened_anywhere(archive: Archive) -> None:
    held = repository(archive)
    for offset in (0, 1, 8_999, 9_000, 10_000):
        with held.open_blob(descriptor(archive, 3), offset) as reader:
            assert reader.read() == archive.contents[3][offset:]
    with held.open_blob(descriptor(archive, 2)) as reader:
        assert reader.read() == b""
    assert held.has(descriptor(archive, 3))


def test_what_was_left_out_is_not_there_and_why_is_told(archive: Archive) -> None:
    left_out = Descriptor("", Digest.of(b"left out"), 8)
    assert not repository(archive).has(left_out)
    with pytest.raises(MissingError, match="left out because the site had it"):
        repository(archive).open_blob(left_out)
    with pytest.raises(MissingError, match="no tags"):
        repository(archive).resolve("v1")
    assert (repository(archive).tags(), repository(archive).referrers(left_out.digest)) == ([], [])


def test_what_lies_in_a_lost_volume_is_not_there(archive: Archive) -> None:
    archive.file(1).unlink()
    assert not repository(archive).has(descriptor(archive, 0))
    with pytest.raises(MissingError, match=r"a-0001\.tar"):
        repository(archive).manifest(descriptor(archive, 0))


def test_a_manifest_is_read_and_checked(tmp_path: Path) -> None:
    raw = canonical_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []})
    archive = Archive(tmp_path / "out", [raw, MANIFEST_LIMIT + 1]).written()
    held = repository(archive)
    assert held.manifest(descriptor(archive, 0)).raw == raw
    with pytest.raises(ContentError, match="a manifest at most"):
        held.manifest(descriptor(archive, 1))
    damaged = bytearray(archive.file(1).read_bytes())
    damaged[513] ^= 1
    archive.file(1).write_bytes(damaged)
    with pytest.raises(ContentError, match="digest"):
        held.manifest(descriptor(archive, 0))

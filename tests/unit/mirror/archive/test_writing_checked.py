"""What is written, and what is found written, is what the plan says: not what a source or a medium says of itself."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError
from mirror.archive.sums import VolumeSum, sum_name
from mirror.oci.digest import Digest
from tests.unit.mirror.archive.archives import Archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("size", [99, 101])
def test_a_source_that_gives_another_size_than_planned_ends_the_export(tmp_path: Path, size: int) -> None:
    archive = Archive(tmp_path, [100, 100])
    archive.open = lambda member: io.BytesIO(bytes(size if member == archive.members[0] else 200 - size))  # type: ignore[method-assign]
    with pytest.raises(ContentError, match="bytes and not 100"):
        archive.write()
    assert not [name for name in archive.names() if name.endswith(".tar")]


def test_a_volume_whose_sum_file_was_made_to_fit_is_written_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path, [100, 100])
    archive.write()
    right = archive.file(1).read_bytes()
    at = right.index(archive.contents[0])
    raw = right[:at] + b"x" + right[at + 1 :]
    archive.file(1).write_bytes(raw)
    name = archive.file(1).name
    forged = VolumeSum.of(archive.plan, archive.volumes[0], archive=archive.identity, name=name, sha256=Digest.of(raw))
    archive.folder.write(sum_name(name), forged.to_bytes())
    archive.write()
    assert archive.file(1).read_bytes() == right


def test_a_sum_file_that_misplaces_a_member_is_written_again(tmp_path: Path) -> None:
    archive = Archive(tmp_path, [100, 100])
    archive.write()
    name = sum_name(archive.file(1).name)
    right = archive.folder.read(name, limit=10_000)
    wrong = right.replace(b'"offset":512', b'"offset":513')
    assert wrong != right
    archive.folder.write(name, wrong)
    archive.write()
    assert archive.folder.read(name, limit=10_000) == right

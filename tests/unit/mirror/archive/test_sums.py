"""Sum files and SHA256SUMS: read without trust."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from mirror.archive.sums import VolumeSum, parity_name, parse_sha256sums, render_sha256sums, sum_name, volume_name
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from tests.unit.mirror.archive.archives import CAPACITY, Archive

if TYPE_CHECKING:
    from pathlib import Path

SUM = VolumeSum(
    archive=str(Digest.of(b"archive")),
    volume=3,
    name="a-0003.tar",
    size=1024,
    sha256=Digest.of(b"volume"),
    members=(("blobs/sha256/x", 512, 7, Digest.of(b"x")),),
)


def altered(**changes: Any) -> bytes:
    return canonical_json({**json.loads(SUM.to_bytes()), **changes})


def test_a_sum_file_is_read_as_it_was_written() -> None:
    assert VolumeSum.from_bytes(SUM.to_bytes(), origin="x") == SUM


def test_a_sum_file_lists_what_of_each_member_lies_in_its_volume(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "a", [100, 3 * CAPACITY, 5]).written()
    for volume in archive.volumes:
        found = VolumeSum.from_bytes(
            (archive.path / sum_name(volume_name("a", volume.number))).read_bytes(), origin="x"
        )
        data = archive.file(volume.number).read_bytes()
        assert (found.size, found.sha256) == (len(data), Digest.of(data))
        assert found.members
        for name, offset, size, digest in found.members:
            assert name == f"blobs/sha256/{digest.encoded}"
            assert data[offset : offset + size] in archive.by_digest[digest]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        SUM.to_bytes() + b" ",
        SUM.to_bytes().replace(b":3,", b": 3,").replace(b":3}", b": 3}"),
        altered(volume="3"),
        altered(volume=3.0),
        altered(volume=True),
        altered(more=1),
        altered(members=None),
        altered(members=[[]]),
        altered(members=[{"name": "x", "offset": 0, "size": 1, "digest": 5}]),
        altered(members=[{"name": "x", "offset": 0, "size": 1, "digest": "md5:aa"}]),
        altered(sha256="0" * 63),
        altered(sha256="A" * 64),
        SUM.to_bytes().replace(b'"volume":3', b'"volume":Infinity'),
        SUM.to_bytes().replace(b'"volume":3', b'"volume":NaN'),
        SUM.to_bytes().replace(b'"volume":3', b'"volume":1e999'),
        SUM.to_bytes().replace(b'"volume":3', b'"volume":' + b"9" * 5000),
        SUM.to_bytes().replace(b"a-0003", b"\\ud800"),
    ],
    ids=lambda _: "raw",
)
def test_what_is_no_sum_file_as_it_is_written_is_refused(raw: bytes) -> None:
    assert raw != SUM.to_bytes()
    with pytest.raises(ContentError, match="no sum file"):
        VolumeSum.from_bytes(raw, origin="x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(json.loads(SUM.to_bytes()), JSON)))
@example({"size": float("inf")})
def test_of_any_values_a_sum_file_is_read_or_refused(changes: dict[str, Any]) -> None:
    raw = json.dumps({**json.loads(SUM.to_bytes()), **changes}).encode()
    try:
        found = VolumeSum.from_bytes(raw, origin="x")
    except ContentError:
        return
    assert found.to_bytes() == raw


def test_names_sort_as_volumes_do_and_only_volumes_match_tar() -> None:
    assert volume_name("a", 1) == "a-0001.tar"
    assert volume_name("a", 12345) == "a-12345.tar"
    assert sum_name(volume_name("a.b", 2)) == "a.b-0002.sum.json"
    assert sum_name(parity_name("a", 2)) == "a-p02.sum.json"
    assert ".tar" not in parity_name("a", 1) + sum_name(volume_name("a", 1))


def test_sha256sum_reads_what_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    digests = {}
    for name in ("z.tar", "a b.json", "tool/x"):
        (tmp_path / name).write_bytes(name.encode())
        digests[name] = Digest.of(name.encode())
    raw = render_sha256sums(digests)
    assert raw.splitlines() == sorted(raw.splitlines(), key=lambda line: line[66:])
    (tmp_path / "SHA256SUMS").write_bytes(raw)
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=False)
    assert done.returncode == 0


@given(st.dictionaries(st.sampled_from(["a-0001.tar", "a.lock.json", "tool/x", "b c"]), st.binary(max_size=3)))
def test_checksums_are_read_as_they_were_written(files: dict[str, bytes]) -> None:
    digests = {name: Digest.of(data) for name, data in files.items()}
    assert parse_sha256sums(render_sha256sums(digests), origin="x") == digests


LINE = f"{'0' * 64}  a\n".encode()


@given(st.binary(max_size=200))
@example(LINE.rstrip())
@example(LINE * 2)
@example(LINE.replace(b"a", b"../a"))
@example(LINE.replace(b"a", b"/a"))
@example(LINE.replace(b"a", b"a\0"))
@example(LINE.replace(b"a", b"\xff"))
@example(LINE.replace(b"a", b"\xc2\x85"))
@example(LINE.replace(b"  ", b" *"))
@example(LINE.replace(b"0", b"G"))
def test_anything_else_is_no_list_of_checksums(raw: bytes) -> None:
    try:
        found = parse_sha256sums(raw, origin="x")
    except ContentError:
        return
    assert render_sha256sums(found) == raw
    assert not any(part in ("", ".", "..") for name in found for part in name.split("/"))

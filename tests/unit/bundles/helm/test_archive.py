from __future__ import annotations

import contextlib
import gzip
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from bundles.helm.archive import read_chart

if TYPE_CHECKING:
    from collections.abc import Callable

    PackChart = Callable[..., bytes]
    PackTar = Callable[[list[tuple[str | tarfile.TarInfo, bytes]]], bytes]

CHART = b"apiVersion: v2\nname: web\nversion: 1.0.0\n"


def test_a_chart_is_read_with_its_metadata_and_files(pack_chart: PackChart) -> None:
    chart = read_chart(pack_chart({"values.yaml": "a: 1\n", "templates/x.yaml": "y"}), origin="web.tgz")

    assert (chart.label, chart.app_version, chart.path) == ("web-1.2.3", "v9.9", "")
    assert chart.files["values.yaml"] == b"a: 1\n"


def test_vendored_charts_are_read_from_folders_and_archives(pack_chart: PackChart) -> None:
    inner = pack_chart({"values.yaml": "b: 2\n"}, name="cache", version="0.1.0")
    raw = pack_chart(
        {
            "charts/cache-0.1.0.tgz": inner,
            "charts/db/Chart.yaml": "name: db\nversion: 3.0.0\n",
            "charts/db/charts/deep/Chart.yaml": "name: deep\nversion: 4.0.0\n",
            "charts/_ignored/Chart.yaml": "name: ignored\nversion: 4.0.0\n",
            "charts/README.md": "text",
        }
    )

    chart = read_chart(raw, origin="web.tgz")

    assert sorted(sub.path for sub in chart.subcharts) == ["charts/cache-0.1.0.tgz/", "charts/db/"]
    database = next(sub for sub in chart.subcharts if sub.name == "db")
    assert database.subcharts[0].path == "charts/db/charts/deep/"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "web/../../x", "web//x", "web\\..\\x", "C:/x/y", "web/./x", "../web/x", "loose"]
)
def test_a_file_name_that_leaves_the_chart_is_refused(pack_tar: PackTar, name: str) -> None:
    raw = pack_tar([("web/Chart.yaml", CHART), (name, b"x")])

    with pytest.raises(ContentError, match=r"unsafe|outside"):
        read_chart(raw, origin="web.tgz")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(pack_tar: PackTar, kind: bytes) -> None:
    link = tarfile.TarInfo("web/values.yaml")
    link.type = kind
    link.linkname = "/etc/passwd"

    with pytest.raises(ContentError, match="not a regular file"):
        read_chart(pack_tar([("web/Chart.yaml", CHART), (link, b"")]), origin="web.tgz")


def test_two_files_of_one_name_are_refused(pack_tar: PackTar) -> None:
    raw = pack_tar([("web/Chart.yaml", CHART), ("web/values.yaml", b"a: 1"), ("web/values.yaml", b"a: 2")])

    with pytest.raises(ContentError, match="two files"):
        read_chart(raw, origin="web.tgz")


def test_a_gzip_bomb_is_stopped_at_the_limit(pack_tar: PackTar) -> None:
    bomb = pack_tar([("web/Chart.yaml", CHART), ("web/zeros", bytes(70 * 1024 * 1024))])
    assert len(bomb) < 1024 * 1024

    with pytest.raises(ContentError, match="unpacks to more"):
        read_chart(bomb, origin="web.tgz")


def test_vendored_bombs_share_one_limit(pack_chart: PackChart) -> None:
    half = pack_chart({"zeros": bytes(33 * 1024 * 1024)}, name="half")

    with pytest.raises(ContentError, match="unpacks to more"):
        read_chart(pack_chart({"charts/a.tgz": half, "charts/b.tgz": half}), origin="web.tgz")


def test_a_chart_of_very_many_files_is_refused(pack_tar: PackTar) -> None:
    members = [("web/Chart.yaml", CHART), *((f"web/f{n}", b"") for n in range(10_001))]

    with pytest.raises(ContentError, match="more than 10000 files"):
        read_chart(pack_tar(members), origin="web.tgz")


def test_an_archive_of_very_many_gzip_streams_is_refused(pack_chart: PackChart) -> None:
    raw = pack_chart({"values.yaml": "a: 1\n"})
    assert read_chart(raw + gzip.compress(b"", mtime=0) * 3, origin="web.tgz").name == "web"
    with pytest.raises(ContentError, match="gzip streams"):
        read_chart(gzip.compress(b"", mtime=0) * 1000 + raw, origin="web.tgz")


def test_an_archive_beyond_20_mib_is_refused() -> None:
    with pytest.raises(ContentError, match="larger than"):
        read_chart(bytes(20 * 1024 * 1024 + 1), origin="web.tgz")


def test_charts_nested_without_end_are_refused(pack_chart: PackChart) -> None:
    raw = pack_chart({})
    for _ in range(8):
        raw = pack_chart({"charts/inner.tgz": raw})

    with pytest.raises(ContentError, match="deep"):
        read_chart(raw, origin="web.tgz")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not gzip",
        gzip.compress(b"not a tar at all" * 64, mtime=0),
        gzip.compress(b"", mtime=0),
        gzip.compress(bytes(2000), mtime=0)[:-20],
    ],
)
def test_what_is_no_chart_archive_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        read_chart(raw, origin="web.tgz")


@pytest.mark.parametrize(
    "text", ["[]", "name: ../x\nversion: 1.0.0\n", "name: web\n", "name: web\nversion: '1 0'\n", "a: [", "\x00"]
)
def test_a_bad_chart_yaml_is_refused_and_named(pack_chart: PackChart, text: str) -> None:
    with pytest.raises(ContentError) as caught:
        read_chart(pack_chart({"Chart.yaml": text}), origin="web.tgz")

    assert (caught.value.artifact or "").startswith("web.tgz!Chart.yaml")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_archive_gives_a_content_error_or_a_chart(pack_chart: PackChart, data: st.DataObject) -> None:
    raw = bytearray(pack_chart({"values.yaml": "image:\n  repository: r.example/x\n  tag: 1\n"}))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ContentError):
        read_chart(bytes(raw), origin="web.tgz")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_tar_gives_a_content_error_or_a_chart(pack_chart: PackChart, data: st.DataObject) -> None:
    raw = bytearray(gzip.decompress(pack_chart({"values.yaml": "a: 1\n"})))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, 1600))] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ContentError):
        read_chart(gzip.compress(bytes(raw)), origin="web.tgz")

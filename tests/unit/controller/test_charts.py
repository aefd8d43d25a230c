"""Charts, fetched by their digests and kept for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError
from bundlectl.operations import Session
from bundles.helm.archive import read_chart_file
from bundles.schema.package_bundle import PackageImage, PackageVersion
from controller.charts import ChartFetcher, default_namespace, missing_images
from tests.unit.bundlectl.operations.packages import PackageSite

if TYPE_CHECKING:
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry


@pytest.fixture
def site(registry: ServedRegistry) -> PackageSite:
    return PackageSite(registry)


def test_a_chart_says_what_it_is_called_and_where_it_wants_to_be(site: PackageSite, tmp_path: Path) -> None:
    digest = site.chart("tools/greeter", "1.0.0", values="defaultNamespace: greetings\n")
    with Session() as session:
        chart = ChartFetcher(session, tmp_path / "charts").fetch(f"{site.packages}/tools/greeter", digest)
    assert (read_chart_file(chart).name, default_namespace(chart)) == ("greeter", "greetings")
    assert chart.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../x", "a b", "", "x:y", "X"])
def test_a_repository_that_cannot_be_one_is_the_fault_of_the_bundle(
    site: PackageSite, tmp_path: Path, name: str
) -> None:
    digest = site.chart("greeter", "1.0.0")
    version = PackageVersion(name="1", digest=digest, images=(PackageImage(repository=name, digest=digest),))
    with Session() as session:
        with pytest.raises(ContentError, match="is not a repository name"):
            ChartFetcher(session, tmp_path / "charts").fetch(f"{site.packages}/{name}", digest)
        with pytest.raises(ContentError, match="is not a repository name"):
            missing_images(session, site.packages, version)


def test_a_kept_chart_that_is_not_what_was_verified_any_more_is_fetched_again(
    site: PackageSite, tmp_path: Path
) -> None:
    digest = site.chart("greeter", "1.0.0")
    with Session() as session:
        fetcher = ChartFetcher(session, tmp_path / "charts")
        chart = fetcher.fetch(f"{site.packages}/greeter", digest)
        held = chart.read_bytes()
        chart.write_bytes(held[:-1] + b"x")
        assert fetcher.fetch(f"{site.packages}/greeter", digest).read_bytes() == held
        with pytest.raises(MissingError):
            fetcher.fetch(f"{site.packages}/other", digest.replace(digest[-4:], "0000"))


def test_the_charts_that_were_not_used_for_longest_are_forgotten(
    site: PackageSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.charts._KEPT", 2)
    with Session() as session:
        fetcher = ChartFetcher(session, tmp_path / "charts")
        kept = [fetcher.fetch(f"{site.packages}/{name}", site.chart(name, "1.0.0")) for name in ("a", "b", "c")]
    assert [chart.is_file() for chart in kept] == [False, True, True]

"""Upstream's rules of finding a release (domain.md 1.2)."""

import pytest

from bundlectl.errors import ContentError, MissingError, UsageError
from bundles.release_index import compare_versions, latest_release, release_for_version
from bundles.schema.eksa_release import EksaRelease, EksaReleaseEntry, EksaReleaseSpec


def index(*versions: str, latest: str = "") -> EksaRelease:
    entries = tuple(EksaReleaseEntry(version=text, number=number) for number, text in enumerate(versions))
    return EksaRelease(spec=EksaReleaseSpec(latest_version=latest, releases=entries))


def test_the_first_exactly_equal_version_wins() -> None:
    assert release_for_version(index("v0.1.0", "v0.2.0", "v0.2.0"), "v0.2.0").number == 1


@pytest.mark.parametrize("version", ["v1", "1.2", "v01.2.3", "v1.2.3-", "x", "", "v1.2.3+", "v1.2.3-01", "v1.2.3 "])
def test_what_is_no_version_is_wrong_usage(version: str) -> None:
    with pytest.raises(UsageError):
        release_for_version(index("v1.2.3"), version)


def test_a_version_of_absurd_length_is_wrong_usage() -> None:
    with pytest.raises(UsageError):
        release_for_version(index("v1.2.3"), f"v{'1' * 5000}.0.0")


def test_a_version_that_is_not_there_is_missing_and_the_newest_is_told() -> None:
    with pytest.raises(MissingError, match=r"v0\.9\.0") as caught:
        release_for_version(index("v0.10.0", "v0.2.0"), "v0.9.0")
    assert "v0.10.0" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("versions", "number"),
    [
        (("v0.0.0-dev+build.9", "v0.0.0-dev+build.10", "v0.0.0-dev+build.2"), 1),
        (("v0.0.0-dev+build.10", "v0.0.0-dev+build.10.1"), 1),
        (("v0.0.0-dev+build.1", "v0.0.0-dev+other.0"), 1),
        (("v0.0.0-dev+other.0", "v0.0.0-dev+build.1"), 1),
        (("v0.0.0-dev+5", "v0.0.0-dev+build"), 1),
        (("v0.0.0-dev+build", "v0.0.0-dev+5"), 0),
        (("v0.0.0-dev", "v0.0.0-dev+1", "v0.0.0-other+7", "v0.0.1-dev+9"), 1),
    ],
)
def test_latest_as_build_metadata_finds_the_greatest_build(versions: tuple[str, ...], number: int) -> None:
    assert release_for_version(index(*versions), "v0.0.0-dev+latest").number == number


def test_latest_as_build_metadata_refuses_an_index_with_a_broken_version() -> None:
    with pytest.raises(ContentError, match="broken"):
        release_for_version(index("v0.0.0-dev+1", "broken"), "v0.0.0-dev+latest")


def test_latest_is_what_the_index_calls_so_else_the_greatest() -> None:
    assert release_for_version(index("v0.9.0", "v0.10.0", latest="v0.9.0"), "latest").version == "v0.9.0"
    assert latest_release(index("v0.9.0", "v0.10.0", "v0.2.0", "odd")).version == "v0.10.0"
    assert latest_release(index("v0.10.0-rc1", "v0.10.0", "v0.10.0-rc2")).version == "v0.10.0"


@pytest.mark.parametrize("empty", [index(), index("v0.1.0", latest="v0.2.0"), index("odd")])
def test_an_index_without_a_latest_release_says_so(empty: EksaRelease) -> None:
    with pytest.raises(MissingError):
        latest_release(empty)


def test_comparing_follows_semver() -> None:
    assert compare_versions("v0.10.0", "0.9.0") == 1
    assert compare_versions("v0.10.0-rc1", "v0.10.0") == -1
    assert compare_versions("v0.10.0+a", "v0.10.0+b") == 0
    assert compare_versions("v0.10", "v0.10.0") is None

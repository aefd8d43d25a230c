"""What latest means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import MissingError, UsageError
from bundles.package_versions import newest_tag, prefix_of_latest


@pytest.mark.parametrize(
    ("version", "prefix"),
    [("latest", ""), ("1.3-latest", "1.3"), ("1.4.2", None), ("-latest", None), ("latest-1", None), ("1.latest", None)],
)
def test_latest_is_a_word_of_its_own(version: str, prefix: str | None) -> None:
    assert prefix_of_latest(version) == prefix


@pytest.mark.parametrize(
    ("tags", "prefix", "newest"),
    [
        (["1.9.0", "1.10.0", "1.2.0"], "", "1.10.0"),
        (["2.0.0-rc.2", "2.0.0", "2.0.0-rc.10"], "", "2.0.0"),
        (["2.0.0-rc.2", "2.0.0-rc.10", "2.0.0-rc"], "", "2.0.0-rc.10"),
        (["1.3.9", "1.30.0", "1.4.0"], "1.3", "1.3.9"),
        (["0.8.1-eksbuild.2", "0.8.1-eksbuild.10", "0.9.0"], "0.8.1", "0.8.1-eksbuild.10"),
        (["9.55.0-1.33-37a", "9.56.0-1.34-37a"], "9.55.0-1.33", "9.55.0-1.33-37a"),
        (["latest", "sha256-" + "0" * 64, "v1.0.0", "1.0", "01.0.0"], "", "v1.0.0"),
    ],
)
def test_the_highest_version_is_the_newest(tags: list[str], prefix: str, newest: str) -> None:
    assert newest_tag(tags, prefix, place="charts/a") == newest
    assert newest_tag(reversed(tags), prefix, place="charts/a") == newest


@pytest.mark.parametrize(
    "tags",
    [["1.0.0-bfa37a", "1.0.0-39c950"], ["1.0.0-1a", "1.0.0-2"], ["1.0.0_1", "1.0.0_2"], ["1.0.0", "v1.0.0"]],
)
def test_where_words_alone_differ_both_are_named_and_none_is_chosen(tags: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        newest_tag([*tags, "0.9.0"], "", place="charts/a")
    assert all(tag in caught.value.message for tag in tags)


def test_without_a_version_there_is_no_latest() -> None:
    with pytest.raises(MissingError, match=r"charts/a: has no tag that begins with 1\.3 that is a version"):
        newest_tag(["1.4.0", "edge"], "1.3", place="charts/a")


@given(st.lists(st.tuples(*[st.integers(0, 20)] * 4), min_size=1, unique=True))
def test_the_newest_is_newer_than_all_whatever_their_order(versions: list[tuple[int, int, int, int]]) -> None:
    tags = {f"{a}.{b}.{c}-r.{d}": (a, b, c, d) for a, b, c, d in versions}
    assert tags[newest_tag(tags, "", place="charts/a")] == max(versions)

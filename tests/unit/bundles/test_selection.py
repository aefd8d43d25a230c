"""What a selection may say (cli.md, "selection")."""

import pytest

from bundlectl.errors import UsageError
from bundles.selection import Selection


@pytest.mark.parametrize("version", ["", "1", "1-33", "v1.33", "1.33.2", "1.33\n", "latest"])
def test_a_version_that_no_release_could_have_is_a_mistake_rather_than_nothing(version: str) -> None:
    with pytest.raises(UsageError) as caught:
        Selection(kube_versions=("1.33", version))
    assert caught.value.hint


def test_minor_versions_are_selected() -> None:
    assert Selection(kube_versions=("1.33", "1.9")).to_json()["kubeVersions"] == ["1.33", "1.9"]


def test_a_flag_cannot_include_more_than_the_collection_does() -> None:
    outer = Selection(include=("flux", "cilium*"))
    assert Selection(include=("flux",)).within(outer).include == ("flux",)
    assert Selection().within(outer).include == outer.include
    with pytest.raises(UsageError, match="--include"):
        Selection(include=("*",)).within(outer)

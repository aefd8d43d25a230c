"""Documents that another document led to."""

import pytest

from bundlectl.errors import VerificationError
from tests.unit.bundles.documents import BUNDLES, EKSD, RELEASES, document, listed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("number: 7", "number: 6"), "spec.number"),
        (("name: bundles-7", "name: bundles-6"), "metadata.name"),
        (("cliMinVersion: v0.24.0", "cliMinVersion: v0.24.2"), "spec.cliMinVersion"),
        (("cliMaxVersion: v0.24.9", "cliMaxVersion: v0.24.0"), "spec.cliMaxVersion"),
    ],
)
def test_bundles_that_are_not_those_of_the_entry_are_refused(change: tuple[str, str], field: str) -> None:
    (named,) = listed(RELEASES, version="v0.24.1").named
    named.check(document(BUNDLES))
    with pytest.raises(VerificationError, match=field) as caught:
        named.check(document(BUNDLES.replace(*change), "other.yaml"))
    assert caught.value.artifact == "other.yaml"
    assert "eksa.yaml#spec.releases[1].bundleManifestUrl" in caught.value.message


def test_bundles_without_a_name_or_bounds_may_be_those_of_the_entry() -> None:
    (named,) = listed(RELEASES, version="v0.24.1").named
    named.check(document(BUNDLES.replace("  name: bundles-7", "  {}").replace("v0.24.9", "''")))


def test_an_entry_without_a_number_binds_nothing() -> None:
    (named,) = listed(RELEASES.replace("number: 7", "number: 0"), version="v0.24.1").named
    named.check(document(BUNDLES))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (("channel: 1-32", "channel: 1-31"), "spec.channel"),
        (("name: kubernetes-1-32-eks-4", "name: kubernetes-1-32-eks-3"), "metadata.name"),
        (("gitTag: v1.32.1", "gitTag: v1.32.0"), "the version of Kubernetes"),
    ],
)
def test_an_eks_d_release_that_is_not_the_one_of_the_bundles_is_refused(change: tuple[str, str], field: str) -> None:
    (named,) = listed(BUNDLES).named
    named.check(document(EKSD))
    with pytest.raises(VerificationError, match=field):
        named.check(document(EKSD.replace(*change)))


def test_a_document_of_another_kind_is_refused() -> None:
    (named,) = listed(BUNDLES).named
    with pytest.raises(VerificationError, match="kind should be EksdRelease"):
        named.check(document(BUNDLES))


def test_every_place_that_names_a_document_is_held_against_it() -> None:
    second = """\
  - kubeVersion: "1.33"
    eksD:
      channel: 1-33
      manifestUrl: https://distro.example/kubernetes-1-32/kubernetes-1-32-eks-4.yaml
"""
    first, other = listed(BUNDLES + second).named
    first.check(document(EKSD))
    with pytest.raises(VerificationError, match=r"spec\.channel should be 1-33"):
        other.check(document(EKSD))

"""Signatures along the way from a source to the documents that it leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import VerificationError
from bundles.annotating import annotate
from bundles.belief import Belief
from bundles.document import parse_document
from bundles.sources import read_source
from bundles.sources.following import Reading, believe
from signing.identity import NamedKey
from tests.unit.bundles.signed_documents import BY_KEY, OTHER_SIGNER, signature_of, signed

from .documents import bundles, channel_object, eksd, package_bundle, release_index

if TYPE_CHECKING:
    from bundles.document import Document
    from bundles.sources.context import Loaded, SourceContext

    from .conftest import Site

INDEX = "/anywhere-assets.eks.amazonaws.com/releases/eks-a/manifest.yaml"
BUNDLES = "/anywhere-assets.eks.amazonaws.com/releases/bundles/7/manifest.yaml"
EKSD = "/distro.eks.amazonaws.com/kubernetes-1-33/kubernetes-1-33-eks-12.yaml"
CHANNEL = "/distro.eks.amazonaws.com/releasechannels/1-33.yaml"
PLACE = "distro.eks.amazonaws.com/signature-1-33"
UNSIGNED = "carries no signature; it was taken from its address"


@pytest.fixture(autouse=True)
def _upstream(site: Site) -> None:
    site.files.update({INDEX: release_index(), BUNDLES: signed(bundles()), EKSD: eksd(), CHANNEL: channel_object()})


@pytest.fixture
def trusting(context: SourceContext) -> SourceContext:
    return replace(context, belief=BY_KEY)


def carrying(signature: str, place: str = PLACE) -> bytes:
    """Bundles with the signature of an EKS-D release; their own does not cover it."""
    return annotate(signed(bundles()), {place: signature}, origin="bundles.yaml")


def trust(loaded: Loaded) -> dict[str, str]:
    return {entry.name: entry.verified.trust for entry in loaded.documents}


def test_an_index_is_a_directory_to_signed_bundles(trusting: SourceContext, site: Site) -> None:
    site.files[BUNDLES] = carrying(signature_of(eksd()))
    assert trust(read_source("eks-a:latest", trusting)) == {
        "eks-anywhere": "resolved",
        "bundles-7": "signed",
        "kubernetes-1-33-eks-12": "signed",
    }
    assert site.warnings() == []


def test_unsigned_bundles_are_refused_before_what_they_lead_to_is_asked_for(
    trusting: SourceContext, site: Site
) -> None:
    site.files[BUNDLES] = bundles()
    with pytest.raises(VerificationError, match="is not signed") as caught:
        read_source("eks-a:latest", trusting)
    assert "bundles/7/manifest.yaml" in (caught.value.artifact or "")
    assert EKSD not in site.requests


@pytest.mark.parametrize("source", ["eks-a:latest", f"https://docs.example{BUNDLES}"])
def test_an_eksd_release_that_bundles_lead_to_without_a_signature_is_accepted_with_a_warning(
    trusting: SourceContext, site: Site, source: str
) -> None:
    site.files[f"/docs.example{BUNDLES}"] = site.files[BUNDLES]
    assert trust(read_source(source, trusting))["kubernetes-1-33-eks-12"] == "resolved"
    assert site.warnings() == [UNSIGNED]


@pytest.mark.parametrize(
    "tampered",
    [
        eksd().replace(b"number: 12\n", b"number: 12\n  buildRepoCommit: other\n"),
        eksd().replace(b"metadata:\n", b"metadata:\n  labels: {a: b}\n"),
    ],
)
def test_an_eksd_release_that_is_not_what_was_signed_beside_the_bundles_is_refused(
    trusting: SourceContext, site: Site, tampered: bytes
) -> None:
    site.files[BUNDLES] = carrying(signature_of(eksd()))
    site.files[EKSD] = tampered
    with pytest.raises(VerificationError, match=f"{PLACE} of .*manifest.yaml does not hold") as caught:
        read_source("eks-a:latest", trusting)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "signature", [signature_of(eksd(), OTHER_SIGNER), "not base64!", "AAAA"], ids=["another's", "no base64", "short"]
)
def test_a_signature_beside_the_bundles_that_is_none_of_the_key_s_is_refused(
    trusting: SourceContext, site: Site, signature: str
) -> None:
    site.files[BUNDLES] = carrying(signature)
    with pytest.raises(VerificationError, match="signature"):
        read_source("eks-a:latest", trusting)


def test_the_content_of_an_eksd_release_can_change_under_its_signature_and_counts_as_declared(
    trusting: SourceContext, site: Site
) -> None:
    site.files[BUNDLES] = carrying(signature_of(eksd()))
    site.files[EKSD] = eksd().replace(b"eks-distro/etcd:v3", b"eks-distro/other:v3")
    loaded = read_source("eks-a:latest", trusting)
    levels = {item.reference: item.trust for item in loaded.contents.artifacts}
    assert levels["public.ecr.aws/eks-distro/other:v3"] == "declared"


def test_a_signature_of_aws_beside_bundles_that_a_site_signed_again_counts(
    trusting: SourceContext, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = NamedKey("aws", OTHER_SIGNER.public_key)
    monkeypatch.setattr("bundles.aws_keys.aws_key", lambda kind: aws if kind == "EksdRelease" else None)
    site.files[BUNDLES] = carrying(signature_of(eksd(), OTHER_SIGNER))
    assert trust(read_source("eks-a:latest", trusting))["kubernetes-1-33-eks-12"] == "signed"
    # In its own annotations it must be the key's that was named.
    site.files[EKSD] = signed(eksd(), OTHER_SIGNER)
    with pytest.raises(VerificationError, match="does not hold"):
        read_source("eks-d:1-33", trusting)


def follow_all(documents: list[Document], context: SourceContext) -> None:
    reading = Reading(context)
    for document in documents:
        reading.add(believe(document, document.origin, context), follow=True)


def test_each_of_the_bundles_that_lead_to_an_eksd_release_has_its_signature_of_it_checked(
    trusting: SourceContext,
) -> None:
    right, wrong = carrying(signature_of(eksd())), carrying(signature_of(bundles()))
    for order in ([right, wrong], [wrong, right]):
        documents = [parse_document(raw, origin=f"bundles-{number}.yaml") for number, raw in enumerate(order)]
        with pytest.raises(VerificationError, match="does not hold"):
            follow_all(documents, trusting)


def test_a_signature_for_another_channel_is_not_this_one_s(trusting: SourceContext, site: Site) -> None:
    site.files[BUNDLES] = carrying(signature_of(b"a: b\n"), PLACE.replace("1-33", "1-32"))
    assert trust(read_source("eks-a:latest", trusting))["kubernetes-1-33-eks-12"] == "resolved"


@pytest.mark.parametrize("source", ["eks-d:1-33", "eks-d:1-33-eks-12"])
def test_an_eksd_release_alone_is_accepted_unsigned_unless_a_key_is_named(
    context: SourceContext, trusting: SourceContext, site: Site, source: str
) -> None:
    assert trust(read_source(source, replace(context, belief=Belief()))) == {"kubernetes-1-33-eks-12": "resolved"}
    assert site.warnings() == [UNSIGNED]
    with pytest.raises(VerificationError, match="is not signed"):
        read_source(source, trusting)


def test_the_signature_of_an_eksd_release_alone_must_hold(
    context: SourceContext, trusting: SourceContext, site: Site
) -> None:
    site.files[EKSD] = signed(eksd())
    assert trust(read_source("eks-d:1-33", trusting)) == {"kubernetes-1-33-eks-12": "signed"}
    assert site.warnings() == []
    with pytest.raises(VerificationError, match=r"distro\.eks\.amazonaws\.com/signature does not hold: aws"):
        read_source("eks-d:1-33", replace(context, belief=Belief()))
    site.files[EKSD] = signed(eksd()).replace(b"number: 12\n", b"number: 12\n  buildRepoCommit: other\n")
    with pytest.raises(VerificationError, match=r"distro\.eks\.amazonaws\.com/signature does not hold"):
        read_source("eks-d:1-33", trusting)


def test_a_package_bundle_in_a_registry_needs_a_signature(trusting: SourceContext, site: Site) -> None:
    site.put_package_bundle(package_bundle(), "v1-33-120", "v1-33-latest")
    with pytest.raises(VerificationError, match="is not signed"):
        read_source("packages:1-33", trusting)
    site.put_package_bundle(signed(package_bundle()), "v1-33-120", "v1-33-latest")
    loaded = read_source("packages:1-33", trusting)
    assert trust(loaded) == {"v1-33-120": "signed"}
    assert {item.trust for item in loaded.contents.artifacts} == {"signed"}
    site.put_package_bundle(signed(package_bundle(), OTHER_SIGNER), "v1-33-120", "v1-33-latest")
    with pytest.raises(VerificationError, match="does not hold"):
        read_source("packages:1-33", trusting)

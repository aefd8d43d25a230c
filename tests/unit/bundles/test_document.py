"""What a document is."""

import pytest

from bundlectl.errors import ContentError
from bundles.document import parse_document
from mirror.oci.digest import Digest
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, RELEASES, document


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        (BUNDLES, "Bundles", "bundles-7"),
        (EKSD, "EksdRelease", "kubernetes-1-32-eks-4"),
        (RELEASES, "EksaRelease", "eks-anywhere"),
        (PACKAGES, "PackageBundle", "v1-33-120"),
        ("apiVersion: bundlectl.dev/v1alpha1\nkind: Collection\n", "Collection", ""),
        ('{"apiVersion":"bundlectl.dev/v1alpha1","kind":"Lock"}', "Lock", ""),
        ("apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nmetadata:\n", "Bundles", ""),
    ],
)
def test_the_kind_is_told_by_group_and_kind(text: str, kind: str, name: str) -> None:
    found = document(text)
    assert (found.type, found.name) == (kind, name)


def test_the_received_bytes_are_the_identity() -> None:
    raw = BUNDLES.encode()
    found = parse_document(raw, origin="x")
    assert found.raw is raw
    assert found.digest == Digest.of(raw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Bundles\n", "eksa.yaml:1: apiVersion: missing"),
        ("apiVersion: v1\n", "eksa.yaml:1: kind: missing"),
        ("apiVersion: v1\nKind: Pod\n", "eksa.yaml:2: Kind: must be written kind"),
        ("apiVersion: v1\nkind: [Pod]\n", "eksa.yaml:2: kind: must be text, not a list"),
        ("apiVersion: v1\nkind:\n", "eksa.yaml:2: kind: must be text, not nothing"),
        ("apiVersion: v1\nkind: Pod\n", "eksa.yaml:2: kind: Pod of v1 is not known here"),
        (
            "apiVersion: anywhere.eks.amazonaws.com/v1beta1\nkind: Bundles\n",
            "eksa.yaml:2: kind: Bundles of anywhere.eks.amazonaws.com/v1beta1 is not known here",
        ),
    ],
)
def test_another_kind_is_refused_with_those_that_are_known(text: str, message: str) -> None:
    with pytest.raises(ContentError) as caught:
        document(text)
    assert str(caught.value) == message
    hint = caught.value.hint or ""
    assert "case-sensitive" in hint or all(kind in hint for kind in ("Bundles", "Release", "PackageBundle", "Lock"))

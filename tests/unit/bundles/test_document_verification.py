"""The one place that makes a document trusted, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import VerificationError
from bundles.belief import Belief
from bundles.schema import parse_model
from bundles.signatures import keys_for
from bundles.verify import VerifiedDocument, accept
from tests.unit.bundles.documents import (
    BUNDLES,
    EKSD,
    PACKAGES,
    RELEASES,
    UNCHECKED,
    Listening,
    document,
    shared,
)
from tests.unit.bundles.signed_documents import BY_KEY, BY_OTHER_KEY, KEY, signature_of, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundles.document import DocumentType

COLLECTION = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Collection
spec:
  sources: [eks-a:v0.24.1]
"""
AWS = Belief()
KINDS: tuple[DocumentType, ...] = ("Bundles", "PackageBundle", "EksdRelease")


def believed(
    text: str | bytes, belief: Belief, listener: Listening | None = None, *, eksd: tuple[str, str] = ("", "")
) -> VerifiedDocument:
    found = document(text)
    return accept(found, parse_model(found), belief=belief, listener=listener or Listening(), eksd_signature=eksd)


@pytest.mark.parametrize("text", [BUNDLES, EKSD, PACKAGES])
def test_with_verification_off_nothing_is_believed_and_this_is_said_once(text: str) -> None:
    listener = Listening()
    result = believed(text, UNCHECKED, listener)
    assert (result.trust, result.verified_by, result.signature) == ("off", None, None)
    (notice,) = listener.notices
    assert (notice.level, notice.artifact) == ("warning", "eksa.yaml")
    assert notice.message == "its signature was not checked (--verify off)"


@pytest.mark.parametrize("text", [BUNDLES, PACKAGES])
@pytest.mark.parametrize("belief", [AWS, BY_KEY])
def test_unsigned_bundles_and_packages_are_refused_whoever_should_have_signed_them(text: str, belief: Belief) -> None:
    listener = Listening()
    with pytest.raises(VerificationError, match="is not signed: there is no annotation") as caught:
        believed(text, belief, listener)
    assert caught.value.artifact == "eksa.yaml"
    assert "nothing of the document was used" in (caught.value.hint or "")
    assert listener.notices == []


@pytest.mark.parametrize("name", ["packagebundle-v1-24-116.aws-signed.yaml", "bundles-minimal.aws-kms-signed.yaml"])
def test_what_aws_signed_is_believed_with_the_key_that_is_built_in(name: str) -> None:
    result = believed(shared(name), AWS)
    assert result.trust == "signed"
    assert (result.verified_by or "").startswith("aws")


@pytest.mark.parametrize("name", ["packagebundle-v1-24-116.aws-signed.yaml", "bundles-minimal.aws-kms-signed.yaml"])
def test_what_aws_signed_is_not_believed_where_another_key_is_asked_for(name: str) -> None:
    with pytest.raises(VerificationError, match=r"does not hold: site\.pub"):
        believed(shared(name), BY_KEY)


@pytest.mark.parametrize("text", [BUNDLES, PACKAGES, EKSD])
def test_what_a_key_signed_is_believed_with_that_key_alone(text: str) -> None:
    raw = signed(text)
    result = believed(raw, BY_KEY)
    assert (result.trust, result.verified_by) == ("signed", KEY.key.fingerprint)
    for belief in (AWS, BY_OTHER_KEY):
        with pytest.raises(VerificationError, match="does not hold"):
            believed(raw, belief)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        (BUNDLES, lambda text: text.replace("kubernetes-1-32-eks-4", "kubernetes-1-32-eks-5", 1)),
        (PACKAGES, lambda text: text.replace("harbor/harbor-core", "harbor/harbor-evil")),
        (EKSD, lambda text: text.replace("number: 4", "number: 5")),
    ],
)
def test_what_was_altered_after_it_was_signed_is_refused(text: str, change: Callable[[str], str]) -> None:
    raw = signed(text).decode()
    assert change(raw) != raw
    with pytest.raises(VerificationError, match="does not hold"):
        believed(change(raw), BY_KEY)


@pytest.mark.parametrize(("belief", "trust"), [(AWS, "resolved"), (BY_KEY, "resolved"), (UNCHECKED, "off")])
def test_a_release_index_is_a_directory_and_needs_no_signature(belief: Belief, trust: str) -> None:
    listener = Listening()
    assert believed(RELEASES, belief, listener).trust == trust
    assert listener.notices == []


def test_a_collection_is_ones_own_and_needs_no_signature() -> None:
    assert believed(COLLECTION, AWS).trust == "resolved"
    assert believed(COLLECTION, UNCHECKED).trust == "off"


@pytest.mark.parametrize("belief", [AWS, BY_KEY])
def test_an_eksd_release_without_a_signature_is_accepted_with_one_warning(belief: Belief) -> None:
    listener = Listening()
    result = believed(EKSD, belief, listener)
    assert (result.trust, result.signature) == ("resolved", None)
    assert [notice.message for notice in listener.notices] == ["carries no signature; it was taken from its address"]


def test_the_signature_that_bundles_carry_for_an_eksd_release_must_hold() -> None:
    place = "distro.eks.amazonaws.com/signature-1-32 of bundles.yaml"
    listener = Listening()
    assert believed(EKSD, BY_KEY, listener, eksd=(signature_of(EKSD), place)).trust == "signed"
    assert listener.notices == []
    tampered = EKSD.replace("number: 4", "number: 5")
    for text, signature in ((tampered, signature_of(EKSD)), (EKSD, signature_of(tampered)), (EKSD, "bm9uZQ==")):
        with pytest.raises(VerificationError, match="does not hold") as caught:
            believed(text, BY_KEY, eksd=(signature, place))
        assert place in caught.value.message


def test_a_named_key_is_the_only_one_and_aws_has_one_for_each_kind() -> None:
    assert {keys_for(kind, BY_KEY, origin="") for kind in KINDS} == {(KEY,)}
    found = [keys_for(kind, AWS, origin="") for kind in KINDS]
    assert [[key.source for key in keys] for keys in found] == [["aws"]] * len(KINDS)
    assert len({key.key.fingerprint for keys in found for key in keys}) == len(KINDS)


def test_of_two_signatures_of_an_eksd_release_both_must_hold() -> None:
    own = signed(EKSD)
    place = "distro.eks.amazonaws.com/signature-1-32 of bundles.yaml"
    assert believed(own, BY_KEY, eksd=(signature_of(EKSD), place)).trust == "signed"
    with pytest.raises(VerificationError, match="does not hold"):
        believed(own, BY_KEY, eksd=(signature_of(EKSD.replace("number: 4", "number: 5")), place))
    with pytest.raises(VerificationError, match="does not hold"):
        believed(own.replace(b"number: 4", b"number: 5"), BY_KEY, eksd=(signature_of(EKSD), place))


def test_unknown_fields_and_unquoted_numbers_are_told() -> None:
    listener = Listening()
    text = BUNDLES.replace('"1.33"', "1.33").replace("  number: 7", "  number: 7\n  novel: {a: b}")
    believed(text, UNCHECKED, listener)
    messages = [notice.message for notice in listener.notices]
    assert "kubeVersion: 1.33 is not in quotes" in messages[1]
    assert "fields unknown to this version: spec.novel" in messages[2]


def test_a_signed_document_tells_of_unknown_fields_and_lists_them_as_not_covered() -> None:
    listener = Listening()
    raw = signed(BUNDLES.replace("  number: 7", "  number: 7\n  novel: {a: b}"))
    result = believed(raw, BY_KEY, listener)
    assert result.signature is not None
    assert "spec.novel" in [gap.path for gap in result.signature.gaps]
    assert "spec.novel" in listener.notices[0].message
    # AWS's types drop it before signing, so it can go again unseen.
    assert believed(raw.replace(b"  novel: {a: b}\n", b""), BY_KEY).trust == "signed"

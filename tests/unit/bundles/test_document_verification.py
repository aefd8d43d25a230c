"""The one place that makes a document trusted, or not."""

import pytest

from bundlectl.errors import VerificationError
from bundles.schema import parse_model
from bundles.verify import accept
from tests.unit.bundles.documents import BUNDLES, EKSD, PACKAGES, RELEASES, Listening, document

COLLECTION = """\
apiVersion: bundlectl.dev/v1alpha1
kind: Collection
spec:
  sources: [eks-a:v0.24.1]
  policy: policy.yaml
"""


@pytest.mark.parametrize("text", [BUNDLES, EKSD, PACKAGES])
@pytest.mark.parametrize("verify", ["default", "off"])
def test_nothing_is_believed_and_this_is_said_once(text: str, verify: str) -> None:
    listener = Listening()
    found = document(text)
    result = accept(found, parse_model(found), verify=verify, listener=listener)
    assert (result.trust, result.verified_by) == ("off", None)
    (notice,) = listener.notices
    assert (notice.level, notice.artifact) == ("warning", "eksa.yaml")
    assert "signature was not checked" in notice.message
    assert ("--verify off" in notice.message) == (verify == "off")


def test_a_release_index_is_said_to_be_unsigned() -> None:
    listener = Listening()
    found = document(RELEASES)
    accept(found, parse_model(found), verify="default", listener=listener)
    assert "carries no signature" in listener.notices[0].message


@pytest.mark.parametrize("verify", ["aws", "key.pub", "awskms:///alias/x"])
@pytest.mark.parametrize("text", [BUNDLES, RELEASES])
def test_a_check_asked_for_by_name_is_never_skipped(verify: str, text: str) -> None:
    listener = Listening()
    found = document(text)
    with pytest.raises(VerificationError, match="cannot be checked") as caught:
        accept(found, parse_model(found), verify=verify, listener=listener)
    assert "nothing was done" in (caught.value.hint or "")
    assert listener.notices == []


def test_a_policy_of_a_collection_is_never_skipped_silently() -> None:
    found = document(COLLECTION)
    with pytest.raises(VerificationError, match=r"spec\.policy cannot be met"):
        accept(found, parse_model(found), verify="default", listener=Listening())
    assert accept(found, parse_model(found), verify="off", listener=Listening()).trust == "off"


def test_unknown_fields_and_unquoted_numbers_are_told() -> None:
    listener = Listening()
    found = document(BUNDLES.replace('"1.33"', "1.33").replace("  number: 7", "  number: 7\n  novel: {a: b}"))
    accept(found, parse_model(found), verify="off", listener=listener)
    messages = [notice.message for notice in listener.notices]
    assert "kubeVersion: 1.33 is not in quotes" in messages[1]
    assert "fields unknown to this version: spec.novel" in messages[2]

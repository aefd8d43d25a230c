"""Envelopes and bundles: what is signed comes out again, and nothing else does."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import VerificationError
from mirror.oci.digest import Digest
from signing.envelope import (
    BUNDLE_TYPES,
    open_dsse,
    open_message,
    parse_statement,
    sign_dsse,
    sign_message,
    statement,
)
from signing.identity import NamedKey, TrustAnchors
from signing.keys.local import LocalSigner
from signing.signature import PublicKey

SIGNER = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
OTHER = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
NAMED = NamedKey("site.pub", SIGNER.public_key)
ANCHORS = TrustAnchors(keys=(NAMED,))
TYPE = "application/x-test"
PAYLOAD = b'{"a":1}'
SIGNED = sign_dsse(PAYLOAD, TYPE, SIGNER)
MESSAGE = b"a file"
DIGEST = Digest.of(MESSAGE)


def dsse() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sign_dsse(PAYLOAD, TYPE, SIGNER))
    return found


def message() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sign_message(DIGEST, SIGNER))
    return found


def refused(document: Any, anchors: TrustAnchors = ANCHORS) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(VerificationError) as caught:
        open_dsse(raw, anchors)
    return caught.value.message


def refused_message(document: Any, digest: Digest = DIGEST, anchors: TrustAnchors = ANCHORS) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(VerificationError) as caught:
        open_message(raw, digest=digest, anchors=anchors)
    return caught.value.message


def test_what_was_signed_comes_out_with_who_signed_it() -> None:
    proof, payload_type, payload = open_dsse(sign_dsse(PAYLOAD, TYPE, SIGNER), ANCHORS, where="here")
    assert (payload_type, payload) == (TYPE, PAYLOAD)
    assert (proof.identity, proof.format, proof.where) == (NAMED, "bundle", "here")


def test_the_bundle_has_the_form_that_sigstore_prescribes() -> None:
    bundle = dsse()
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0].pop("sig"))
    assert bundle == {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": SIGNER.public_key.hint}},
        "dsseEnvelope": {
            "payload": base64.b64encode(PAYLOAD).decode(),
            "payloadType": TYPE,
            "signatures": [{}],
        },
    }
    assert SIGNER.public_key.verifies(b'DSSEv1 18 application/x-test 7 {"a":1}', signature)


@pytest.mark.parametrize("media_type", sorted(BUNDLE_TYPES))
def test_all_versions_of_bundles_are_read(media_type: str) -> None:
    assert open_dsse(json.dumps(dsse() | {"mediaType": media_type}).encode(), ANCHORS).payload == PAYLOAD


def test_fields_that_are_not_known_are_passed_over() -> None:
    bundle = dsse() | {"new": {"a": [1]}}
    bundle["verificationMaterial"] |= {"tlogEntries": [{"logIndex": "1"}]}
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = "anything"
    assert open_dsse(json.dumps(bundle).encode(), ANCHORS).payload == PAYLOAD


@pytest.mark.parametrize("material", [{"hint": OTHER.public_key.hint}, {"hint": "no base64"}, {}])
def test_a_wrong_hint_does_not_keep_the_right_key_from_being_found(material: dict[str, str]) -> None:
    bundle = dsse() | {"verificationMaterial": {"publicKey": material}}
    assert open_dsse(json.dumps(bundle).encode(), ANCHORS).proof.identity is NAMED


def test_another_payload_or_type_or_signature_is_refused() -> None:
    reason = "names a given key, but its signature does not hold"
    for field, value in (("payload", base64.b64encode(b'{"a":2}').decode()), ("payloadType", "application/x-tes")):
        bundle = dsse()
        bundle["dsseEnvelope"][field] = value
        assert refused(bundle) == reason
    bundle = dsse()
    bundle["dsseEnvelope"]["signatures"] = json.loads(sign_dsse(b"other", TYPE, SIGNER))["dsseEnvelope"]["signatures"]
    assert refused(bundle) == reason


def test_the_reason_says_whether_there_was_no_key_or_another() -> None:
    assert "no key was given" in refused(dsse(), TrustAnchors())
    other = TrustAnchors(keys=(NamedKey("other.pub", OTHER.public_key),))
    assert refused(dsse(), other) == f"is signed with none of the given keys (it hints at {SIGNER.public_key.hint!r})"
    certified = dsse() | {"verificationMaterial": {"certificate": {"rawBytes": "AAAA"}}}
    assert "no identity was given" in refused(certified)


@pytest.mark.parametrize("count", [0, 2])
def test_an_envelope_with_more_or_fewer_than_one_signature_is_refused(count: int) -> None:
    bundle = dsse()
    bundle["dsseEnvelope"]["signatures"] *= count
    assert "exactly one signature" in refused(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "application/json"},
        {"mediaType": {"a": 1}},
        {"mediaType": None},
        {"messageSignature": {}},
        {"dsseEnvelope": []},
        {"dsseEnvelope": {"payload": "AAAA", "payloadType": 1, "signatures": [{"sig": "AAAA"}]}},
        {"dsseEnvelope": {"payload": "AAAA", "payloadType": "\ud800", "signatures": [{"sig": "AAAA"}]}},
        {"dsseEnvelope": {"payload": "AAAA", "payloadType": "a", "signatures": ["AAAA"]}},
        {"dsseEnvelope": {"payload": "", "payloadType": "a", "signatures": [{"sig": "AAAA"}]}},
        {"verificationMaterial": []},
        {"verificationMaterial": {}},
        {"verificationMaterial": {"publicKey": 1}},
        {"verificationMaterial": {"publicKey": {"hint": 1}}},
        {"verificationMaterial": {"publicKey": {}, "certificate": {}}},
    ],
)
def test_a_bundle_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    assert refused(dsse() | change)


@pytest.mark.parametrize("text", ["AAA", "AA==\n", "AAA=A", "AB==", "-_8=", "é", " AAAA"])
def test_base64_is_read_by_rule_only(text: str) -> None:
    bundle = dsse()
    bundle["dsseEnvelope"]["payload"] = text
    assert "base64" in refused(bundle)


def test_a_key_that_occurs_twice_is_refused_wherever_it_is() -> None:
    raw = sign_dsse(PAYLOAD, TYPE, SIGNER)
    for before, after in ((b'{"dsse', b'{"x":1,"x":2,"dsse'), (b'"signatures":[{', b'"signatures":[{"a":1,"a":1,')):
        assert raw.count(before) == 1
        assert "not JSON" in refused(raw.replace(before, after))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"a":NaN}',
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
        '{"mediaType":"x"}'.encode("utf-16"),
    ],
)
def test_what_is_no_plain_json_object_is_refused(raw: bytes) -> None:
    assert refused(raw)
    assert refused_message(raw)


def test_a_bundle_above_the_limit_is_refused_and_the_limit_can_be_raised() -> None:
    subjects = [(f"registry.test/repository/{number}:v1", Digest.of(b"%d" % number)) for number in range(20_000)]
    payload = statement(subjects, "https://site.test/v1", {})
    raw = sign_dsse(payload, TYPE, SIGNER)
    with pytest.raises(VerificationError, match="is larger than 1,048,576 bytes"):
        open_dsse(raw, ANCHORS, limit=1024 * 1024)
    opened = open_dsse(raw, ANCHORS, limit=16 * 1024 * 1024)
    assert parse_statement(opened.payload).subjects == tuple(subjects)


@given(st.data())
def test_a_changed_bundle_is_refused_or_says_the_same(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(SIGNED) - 1))
    changed = SIGNED[:position] + data.draw(st.binary(max_size=3)) + SIGNED[position + 1 :]
    try:
        opened = open_dsse(changed, ANCHORS)
    except VerificationError:
        return
    assert (opened.payload_type, opened.payload) == (TYPE, PAYLOAD)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "AAAA", "\ud800", "application/x-test"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["publicKey", "hint", "payload", "payloadType", "signatures", "sig", "digest"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["verificationMaterial", "dsseEnvelope", "messageSignature"]), JSON))
def test_any_document_is_refused_by_an_error_of_our_own(parts: dict[str, Any]) -> None:
    document = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", **parts}
    assert refused(document)
    assert refused_message(document)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_payload_is_refused_by_an_error_of_our_own(payload: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_statement(payload)


def test_a_statement_is_written_as_in_toto_prescribes() -> None:
    digest = Digest.of(b"x")
    payload = statement([("", digest), ("named", digest)], "https://site.test/v1", {"b": 1, "a": "é"})
    assert (
        payload
        == (
            '{"_type":"https://in-toto.io/Statement/v1","predicate":{"a":"é","b":1},"predicateType":"https://site.test/v1",'
            f'"subject":[{{"digest":{{"sha256":"{digest.encoded}"}}}},{{"digest":{{"sha256":"{digest.encoded}"}},"name":"named"}}]}}'
        ).encode()
    )
    found = parse_statement(payload)
    assert found.subjects == (("", digest), ("named", digest))
    assert (found.predicate_type, found.predicate) == ("https://site.test/v1", {"a": "é", "b": 1})


def test_a_statement_may_have_digests_of_several_kinds() -> None:
    digests = {"sha512": Digest.of(b"x", "sha512").encoded, "gitCommit": "abc", "sha256": Digest.of(b"x").encoded}
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "t",
        "subject": [{"name": "n", "digest": digests}, {"digest": {"gitCommit": "abc"}}],
    }
    found = parse_statement(json.dumps(document).encode())
    assert found.subjects == (("n", Digest.of(b"x")), ("n", Digest.of(b"x", "sha512")))


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"_type": ["https://in-toto.io/Statement/v1"]},
        {"predicateType": 1},
        {"predicate": []},
        {"subject": None},
        {"subject": ["x"]},
        {"subject": [{"name": 1, "digest": {}}]},
        {"subject": [{"digest": "sha256:00"}]},
        {"subject": [{"digest": {"sha256": "00"}}]},
        {"subject": [{"digest": {"sha256": "A" * 64}}]},
        {"subject": [{"digest": {"sha256": 1}}]},
    ],
)
def test_a_statement_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(statement([("", DIGEST)], "t", {})) | change
    with pytest.raises(VerificationError):
        parse_statement(json.dumps(document).encode())


def test_a_signed_file_is_recognised_by_its_digest() -> None:
    proof = open_message(sign_message(DIGEST, SIGNER), digest=DIGEST, anchors=ANCHORS, where="file.sigstore.json")
    assert (proof.identity, proof.format, proof.where) == (NAMED, "bundle", "file.sigstore.json")
    signature = base64.b64decode(message()["messageSignature"]["signature"])
    assert SIGNER.public_key.verifies(MESSAGE, signature)


def test_the_stated_digest_may_be_absent_but_not_another() -> None:
    bundle = message()
    del bundle["messageSignature"]["messageDigest"]
    assert open_message(json.dumps(bundle).encode(), digest=DIGEST, anchors=ANCHORS).identity is NAMED
    bundle = message()
    other = Digest.of(b"another file")
    assert refused_message(bundle, other).startswith(f"signs other bytes: {DIGEST}")
    bundle["messageSignature"]["messageDigest"]["digest"] = base64.b64encode(bytes.fromhex(other.encoded)).decode()
    assert refused_message(bundle).startswith("signs other bytes")
    assert refused_message(bundle, other) == "names a given key, but its signature does not hold"


@pytest.mark.parametrize("stated", [[], {}, {"algorithm": "MD5", "digest": "AAAA"}, {"algorithm": "SHA2_256"}])
def test_a_stated_digest_of_another_shape_is_refused(stated: Any) -> None:
    bundle = message()
    bundle["messageSignature"]["messageDigest"] = stated
    assert "messageDigest" in refused_message(bundle)


def test_a_signature_by_another_key_is_refused_for_a_file_too() -> None:
    forged = json.loads(sign_message(DIGEST, OTHER))
    assert "none of the given keys" in refused_message(forged)
    forged["verificationMaterial"] = message()["verificationMaterial"]
    assert "does not hold" in refused_message(forged)


def test_an_attestation_is_no_signature_of_a_file_and_the_other_way_round() -> None:
    assert "attestation" in refused_message(dsse())
    assert "signs a file" in refused(message())


def test_a_file_signed_by_a_key_that_needs_the_whole_file_is_refused_with_that_reason() -> None:
    key = PublicKey.of(ec.generate_private_key(ec.SECP384R1()).public_key())
    bundle = message() | {"verificationMaterial": {"publicKey": {"hint": key.hint}}}
    reason = refused_message(bundle, anchors=TrustAnchors(keys=(NamedKey("p384.pub", key),)))
    assert reason == "is signed by a key of ecdsa-p384; files are checked with P-256 and RSA"

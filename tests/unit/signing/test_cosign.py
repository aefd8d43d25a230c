"""Cosign's older forms: the payload for an image, and signature files."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import VerificationError
from mirror.oci.digest import Digest
from signing.cosign import SIGNATURE_ANNOTATION, open_detached, open_layer, signature_tag, simple_signing
from signing.identity import NamedKey, Proof, TrustAnchors
from signing.keys.local import LocalSigner
from signing.signature import PublicKey

SIGNER = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
NAMED = NamedKey("site.pub", SIGNER.public_key)
ANCHORS = TrustAnchors(keys=(NAMED,))
IMAGE = Digest.of(b"an image")
PAYLOAD = simple_signing("registry.test/a/b", IMAGE)


def sign(payload: bytes) -> str:
    return base64.b64encode(SIGNER.sign_digest(Digest.of(payload)).value).decode()


def layer(payload: bytes, signature: str | None = None, anchors: TrustAnchors = ANCHORS, **more: Any) -> Proof:
    annotations = {SIGNATURE_ANNOTATION: sign(payload) if signature is None else signature}
    return open_layer(payload, annotations | more, subject=IMAGE, anchors=anchors, where="sha256:1")


def refused(payload: bytes = PAYLOAD, *arguments: Any, **more: Any) -> str:
    with pytest.raises(VerificationError) as caught:
        layer(payload, *arguments, **more)
    return caught.value.message


def changed(**critical: Any) -> bytes:
    document = json.loads(PAYLOAD)
    document["critical"] |= critical
    return json.dumps(document).encode()


def test_the_payload_is_byte_for_byte_what_cosign_signs() -> None:
    digest = Digest.parse(f"sha256:{'0' * 64}")
    assert simple_signing("registry.test:5000/a/b", digest) == (
        b'{"critical":{"identity":{"docker-reference":"registry.test:5000/a/b"},'
        b'"image":{"docker-manifest-digest":"sha256:' + b"0" * 64 + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )


def test_five_characters_are_escaped_as_go_does() -> None:
    text = simple_signing("<&>\u2028\u2029é", IMAGE)
    assert '"docker-reference":"\\u003c\\u0026\\u003e\\u2028\\u2029é"'.encode() in text


def test_the_tag_is_made_of_the_digest() -> None:
    assert signature_tag(Digest.parse(f"sha256:{'a' * 64}")) == f"sha256-{'a' * 64}.sig"


def test_a_signature_that_holds_says_by_whom() -> None:
    assert layer(PAYLOAD) == Proof(NAMED, "tag", "sha256:1")


def test_the_name_in_the_payload_may_be_that_of_another_registry() -> None:
    assert layer(simple_signing("elsewhere.test/x", IMAGE)).identity is NAMED


def test_an_altered_payload_or_signature_is_refused() -> None:
    assert "altered" in refused(PAYLOAD.replace(b"a/b", b"a/c"), sign(PAYLOAD))
    assert "altered" in refused(PAYLOAD, sign(b"something else"))
    other = LocalSigner(ec.generate_private_key(ec.SECP256R1())).public_key
    assert "none of the given keys" in refused(anchors=TrustAnchors(keys=(NamedKey("other.pub", other),)))
    assert "no key was given" in refused(anchors=TrustAnchors())


def test_the_signature_of_another_image_is_refused() -> None:
    other = Digest.of(b"another image")
    assert refused(simple_signing("registry.test/a/b", other)) == f"signs another image: '{other}'"


@pytest.mark.parametrize(
    "payload",
    [
        b"signed, but no JSON",
        b"{}",
        b"[]",
        changed(type="another kind of signature"),
        changed(image=None),
        changed(image={}),
        changed(image={"docker-manifest-digest": [str(IMAGE)]}),
        PAYLOAD.replace(b'"type"', b'"type":"x","type"'),
    ],
)
def test_a_signed_payload_of_another_shape_is_refused(payload: bytes) -> None:
    assert refused(payload)


@pytest.mark.parametrize("signature", ["", "é", "====", "not base64", "AAAA", "AAAA\n"])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    assert refused(PAYLOAD, signature)


def test_a_layer_of_another_type_or_without_a_signature_is_refused() -> None:
    with pytest.raises(VerificationError, match="is no signature"):
        open_layer(PAYLOAD, {}, media_type="text/plain", subject=IMAGE, anchors=ANCHORS)
    with pytest.raises(VerificationError, match="the signature is missing"):
        open_layer(PAYLOAD, {}, subject=IMAGE, anchors=ANCHORS)


def test_a_certificate_beside_the_signature_matters_only_when_no_key_verifies_it() -> None:
    certificate = {"dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----"}
    assert layer(PAYLOAD, **certificate).identity is NAMED
    assert "certificate in cosign's old form" in refused(PAYLOAD, sign(b"else"), **certificate)


@given(st.binary(max_size=80))
def test_any_signed_payload_is_refused_by_an_error_of_our_own(payload: bytes) -> None:
    assert refused(payload)


DIGEST = Digest.of(b"a file")


def detached(raw: bytes, anchors: TrustAnchors = ANCHORS) -> Proof:
    return open_detached(raw, digest=DIGEST, anchors=anchors, where="file.sig")


def test_a_signature_file_is_base64_or_json_with_it() -> None:
    signature = sign(b"a file")
    expected = Proof(NAMED, "detached", "file.sig")
    assert detached(signature.encode()) == expected
    assert detached(f"{signature}\n".encode()) == expected
    assert detached(json.dumps({"base64Signature": signature}).encode()) == expected
    # With a key cosign writes the key where a certificate would stand.
    assert detached(json.dumps({"base64Signature": signature, "cert": "LS0t", "rekorBundle": {}}).encode()) == expected


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b'{"base64Signature":1}',
        b'{"base64Signature":"AAAA","base64Signature":"AAAA"}',
        pytest.param(sign(b"another file").encode(), id="of another file"),
    ],
)
def test_what_is_no_signature_of_the_file_is_refused(raw: bytes) -> None:
    with pytest.raises(VerificationError):
        detached(raw)


def test_the_reason_of_a_signature_file_says_what_was_lacking() -> None:
    raw = json.dumps({"base64Signature": sign(b"a file"), "cert": "LS0t"}).encode()
    with pytest.raises(VerificationError, match="certificate in cosign's old form"):
        detached(raw, TrustAnchors())
    with pytest.raises(VerificationError, match="no key was given"):
        detached(sign(b"a file").encode(), TrustAnchors())


def test_files_signed_with_rsa_are_recognised() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    anchors = TrustAnchors(keys=(NamedKey("rsa.pub", PublicKey.of(key.public_key())),))
    raw = base64.b64encode(key.sign(b"a file", padding.PKCS1v15(), hashes.SHA256()))
    assert detached(raw, anchors).identity is anchors.keys[0]
    with pytest.raises(VerificationError):
        detached(base64.b64encode(key.sign(b"b file", padding.PKCS1v15(), hashes.SHA256())), anchors)


def test_a_digest_of_another_kind_never_verifies() -> None:
    digest = Digest("sha512", hashlib.sha512(b"a file").hexdigest())
    with pytest.raises(VerificationError):
        open_detached(sign(b"a file").encode(), digest=digest, anchors=ANCHORS)

"""Bundles with certificates, against a sigstore of our own, without a network."""

from __future__ import annotations

import base64
import json
import socket
import sys
from typing import Any, NoReturn

import pytest

from bundlectl.errors import ConfigError, VerificationError
from mirror.oci.digest import Digest
from signing.envelope import open_dsse, open_message
from signing.identity import CertificateIdentity, TrustAnchors
from tests.unit.signing.sigstore_instance import SigstoreInstance

pytest.importorskip("sigstore", reason="the extra keyless is not installed")

WHO = CertificateIdentity("builder@site.test", "https://login.site.test")
SIGSTORE = SigstoreInstance()
ANCHORS = TrustAnchors(certificates=(WHO,), trusted_root=SIGSTORE.trusted_root())
ENVELOPE = SIGSTORE.sign_dsse(b'{"a":1}', "application/x-test", WHO.subject, WHO.issuer)
MESSAGE = SIGSTORE.sign_message(b"a file", WHO.subject, WHO.issuer)
DIGEST = Digest.of(b"a file")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("something connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def reason(raw: bytes, anchors: TrustAnchors = ANCHORS) -> str:
    with pytest.raises(VerificationError) as caught:
        open_dsse(raw, anchors)
    return caught.value.message


def anchors(*who: CertificateIdentity, root: bytes | None = ANCHORS.trusted_root) -> TrustAnchors:
    return TrustAnchors(certificates=who, trusted_root=root)


def test_an_envelope_is_believed_from_whom_the_certificate_names() -> None:
    opened = open_dsse(ENVELOPE, ANCHORS, where="sha256:1")
    assert (opened.payload_type, opened.payload) == ("application/x-test", b'{"a":1}')
    assert (opened.proof.identity, opened.proof.format, opened.proof.where) == (WHO, "bundle", "sha256:1")


def test_a_file_is_believed_from_whom_the_certificate_names() -> None:
    assert open_message(MESSAGE, digest=DIGEST, anchors=ANCHORS).identity == WHO
    with pytest.raises(VerificationError, match="signs other bytes"):
        open_message(MESSAGE, digest=Digest.of(b"another"), anchors=ANCHORS)


def test_a_file_known_by_another_digest_than_sha256_is_refused() -> None:
    document = json.loads(MESSAGE)
    del document["messageSignature"]["messageDigest"]
    with pytest.raises(VerificationError, match="only checked over sha256"):
        open_message(json.dumps(document).encode(), digest=Digest.of(b"a file", "sha512"), anchors=ANCHORS)


def test_any_of_several_identities_will_do() -> None:
    other = CertificateIdentity("other@site.test", WHO.issuer)
    assert open_dsse(ENVELOPE, anchors(other, WHO)).proof.identity == WHO


@pytest.mark.parametrize(
    "who",
    [
        CertificateIdentity("builder@site.tes", WHO.issuer),
        CertificateIdentity("BUILDER@site.test", WHO.issuer),
        CertificateIdentity(".*", WHO.issuer),
        CertificateIdentity(WHO.subject, "https://login.site.test/"),
        CertificateIdentity(WHO.subject, "https://login.other.test"),
    ],
)
def test_subject_and_issuer_must_be_equal_to_the_letter(who: CertificateIdentity) -> None:
    assert str(who) in reason(ENVELOPE, anchors(who))
    with pytest.raises(VerificationError):
        open_message(MESSAGE, digest=DIGEST, anchors=anchors(who))


@pytest.mark.parametrize("who", [CertificateIdentity(WHO.subject, ""), CertificateIdentity("", WHO.issuer)])
def test_an_empty_identity_stands_for_nobody(who: CertificateIdentity) -> None:
    with pytest.raises(ConfigError, match="both a subject and an issuer") as caught:
        open_dsse(ENVELOPE, anchors(who))
    assert caught.value.hint


def test_a_certificate_of_another_authority_is_refused() -> None:
    assert "does not hold" in reason(ENVELOPE, anchors(WHO, root=SigstoreInstance().trusted_root()))


def test_what_is_lacking_is_said() -> None:
    assert "no identity was given" in reason(ENVELOPE, TrustAnchors(trusted_root=ANCHORS.trusted_root))
    assert "no trusted root was given" in reason(ENVELOPE, anchors(WHO, root=None))


@pytest.mark.parametrize("root", [b"", b"{}", b"[]", b'{"mediaType":"x"}', b"\xff"])
def test_a_trusted_root_that_is_none_is_the_users_mistake(root: bytes) -> None:
    with pytest.raises(ConfigError, match="trusted root"):
        open_dsse(ENVELOPE, anchors(WHO, root=root))


def altered(path: str, value: Any) -> bytes:
    document = json.loads(ENVELOPE)
    *parents, last = path.split(".")
    found: Any = document
    for name in parents:
        found = found[int(name)] if name.isdecimal() else found[name]
    if value is None:
        del found[last]
    else:
        found[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dsseEnvelope.payload", base64.b64encode(b'{"a":2}').decode()),
        ("dsseEnvelope.payloadType", "application/y-test"),
        ("verificationMaterial.certificate.rawBytes", "AAAA"),
        ("verificationMaterial.tlogEntries", []),
        ("verificationMaterial.tlogEntries.0.canonicalizedBody", "AAAA"),
        ("verificationMaterial.tlogEntries.0.integratedTime", "1000000000"),
        ("verificationMaterial.tlogEntries.0.inclusionPromise", None),
        ("verificationMaterial.tlogEntries.0.inclusionProof.rootHash", base64.b64encode(b"0" * 32).decode()),
        ("verificationMaterial.tlogEntries.0.inclusionProof", None),
    ],
)
def test_an_altered_bundle_is_refused(path: str, value: Any) -> None:
    assert reason(altered(path, value))


def test_the_log_entry_of_another_signature_is_refused() -> None:
    other = json.loads(SIGSTORE.sign_dsse(b"else", "application/x-test", WHO.subject, WHO.issuer))
    entries = other["verificationMaterial"]["tlogEntries"]
    assert "does not hold" in reason(altered("verificationMaterial.tlogEntries", entries))


def test_without_the_package_the_user_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with pytest.raises(ConfigError) as caught:
        open_dsse(ENVELOPE, ANCHORS)
    assert caught.value.hint == "pip install 'bundlectl[keyless]'"

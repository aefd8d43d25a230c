"""Files of any kind are signed by their digest."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError, MissingError
from bundlectl.operations.signing_files import sign_file, verify_file
from mirror.oci.digest import Digest
from signing.identity import NamedKey, TrustAnchors
from tests.unit.bundlectl.operations.signed import ANCHORS, NAMED, OTHER, SIGNER, bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "node.ova"
    path.write_bytes(b"x" * 3_000_000)
    return path


@pytest.fixture
def beside(file: Path) -> Path:
    """The bundle, where it is looked for."""
    path = file.with_name("node.ova.sigstore.json")
    path.write_bytes(sign_file(file, SIGNER).bundle)
    return path


def reason(file: Path, path: Path | None = None, anchors: TrustAnchors = ANCHORS) -> str:
    verdict = verify_file(file, path, anchors)
    assert (verdict.verified, verdict.signed_by, verdict.exit_code) == (False, (), 3)
    return verdict.reason or ""


def test_a_signed_file_is_verified_by_the_bundle_beside_it(file: Path, beside: Path) -> None:
    verdict = verify_file(file, None, ANCHORS)
    assert (verdict.verified, verdict.kind, verdict.name) == (True, "blob", "node.ova")
    assert (verdict.signed_by, verdict.digest, verdict.target) == ((NAMED,), Digest.of(file.read_bytes()), str(file))
    assert verify_file(file, beside, ANCHORS) == verdict


def test_one_other_byte_in_the_file_is_found(file: Path, beside: Path) -> None:
    content = bytearray(file.read_bytes())
    content[1_500_000] ^= 1
    file.write_bytes(content)
    assert reason(file).startswith(f"{beside}: signs other bytes")


def test_a_signature_by_another_key_does_not_count(file: Path, beside: Path) -> None:
    assert "none of the given keys" in reason(
        file, anchors=TrustAnchors(keys=(NamedKey("other.pub", OTHER.public_key),))
    )
    assert beside.exists()


def test_a_file_without_a_signature_is_not_verified_and_a_named_one_must_be_there(file: Path, tmp_path: Path) -> None:
    assert reason(file) == f"has no signature: there is no {file}.sigstore.json"
    with pytest.raises(MissingError):
        verify_file(file, tmp_path / "absent.json", ANCHORS)


def test_what_cosign_2_writes_is_read(file: Path, tmp_path: Path) -> None:
    signature = base64.b64encode(SIGNER.sign_digest(Digest.of(file.read_bytes())).value).decode()
    for content in (signature, f"{signature}\n", json.dumps({"base64Signature": signature})):
        path = tmp_path / "signature"
        path.write_text(content)
        assert verify_file(file, path, ANCHORS).verified
        path.write_text(content.replace(signature[20:24], "AAAA"))
        assert "altered" in reason(file, path)


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b"verificationMaterial", b"x" * (4 * 1024 * 1024 + 1)])
def test_what_is_no_signature_is_refused(file: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signature"
    path.write_bytes(content)
    assert reason(file, path).startswith(f"{path}: ")


def test_an_attestation_about_a_file_is_no_signature_of_it(file: Path, beside: Path) -> None:
    beside.write_bytes(bundle(Digest.of(file.read_bytes())))
    assert "holds an attestation" in reason(file)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        sign_file(tmp_path / "absent", SIGNER)
    with pytest.raises(ConfigError, match="cannot be read"):
        verify_file(tmp_path, None, ANCHORS)


def test_the_result_says_what_was_signed_and_where_the_bundle_is(file: Path) -> None:
    assert sign_file(file, SIGNER).to_json("out.json") == {
        "target": str(file),
        "kind": "blob",
        "digest": str(Digest.of(file.read_bytes())),
        "key": {"fingerprint": SIGNER.public_key.fingerprint},
        "out": "out.json",
        "signatures": [],
    }

"""Key files: what is read, and what is refused."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import KeyProviderError
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, load_public_key, open_signer
from signing.keys.keyfile import parse_pem

from .samples import DER, PEM, PKCS8, SEC1, SPKI, certificate, new_key, private_pem, public_of, write

if TYPE_CHECKING:
    from pathlib import Path

NOTHING = KeyAccess()
CURVE_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def refuse(path: str, match: str) -> KeyProviderError:
    found = []
    for use in (load_public_key, open_signer):
        with pytest.raises(KeyProviderError, match=match) as raised:
            use(path, NOTHING)
        assert raised.value.artifact == path
        assert raised.value.hint
        found.append(raised.value)
    return found[0]


@pytest.mark.parametrize("before", [b"", CURVE_PARAMETERS, b"Bag Attributes\n  friendlyName: release\n"])
@pytest.mark.parametrize("form", [PKCS8, SEC1])
def test_private_keys_in_both_forms_sign(tmp_path: Path, form: serialization.PrivateFormat, before: bytes) -> None:
    key = new_key()
    path = write(tmp_path / "key", before + private_pem(key, form).replace(b"\n", b"\r\n"))
    signature = open_signer(path, NOTHING).sign_digest(Digest.of(b"text"))
    assert public_of(key).verifies(b"text", signature.value)
    assert load_public_key(path, NOTHING).key == public_of(key)


def test_public_keys_and_certificates_are_read_by_anyone_and_cannot_sign(tmp_path: Path) -> None:
    key = new_key()
    for content in (public_of(key).pem().encode(), certificate(key)):
        path = write(tmp_path / "public", content, 0o644)
        assert load_public_key(path, NOTHING).key == public_of(key)
        with pytest.raises(KeyProviderError, match="cannot sign"):
            open_signer(path, NOTHING)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["p384", "p521", "rsa", "ed25519"],
)
def test_other_kinds_of_keys_verify_and_do_not_sign(
    tmp_path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    path = write(tmp_path / "key", private_pem(key))
    assert load_public_key(path, NOTHING).key == public_of(key)
    with pytest.raises(KeyProviderError, match="P-256"):
        open_signer(path, NOTHING)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_private_key_that_others_have_rights_on_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "key", private_pem(new_key()), mode)
    assert refuse(path, "others than its owner").hint == f"chmod 600 {path}"


def test_the_rights_that_count_are_those_of_the_file_not_of_the_link(tmp_path: Path) -> None:
    key = new_key()
    (tmp_path / "link").symlink_to(write(tmp_path / "key", private_pem(key), 0o400))
    assert load_public_key(str(tmp_path / "link"), NOTHING).key == public_of(key)
    (tmp_path / "key").chmod(0o644)
    refuse(str(tmp_path / "link"), "others than its owner")


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    refuse(str(tmp_path / "pipe"), "not a regular file")
    for name in (str(tmp_path), os.devnull):
        with pytest.raises(KeyProviderError, match=r"regular file|directory"):
            load_public_key(name, NOTHING)


def test_a_file_that_is_not_there_says_how_keys_are_named(tmp_path: Path) -> None:
    error = refuse(str(tmp_path / "absent"), "no such file")
    assert "awskms://" in (error.hint or "")


def test_a_certificate_of_a_version_that_does_not_exist_is_an_error_of_ours(tmp_path: Path) -> None:
    v3, v6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"
    der = certificate(new_key(), DER)
    assert der.count(v3) == 1
    text = base64.encodebytes(der.replace(v3, v6))
    path = write(tmp_path / "odd", b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n")
    with pytest.raises(KeyProviderError, match="not a certificate") as raised:
        load_public_key(path, NOTHING)
    assert raised.value.hint


def test_a_file_larger_than_any_key_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "key", private_pem(new_key()) + b"#" * 64 * 1024)
    with pytest.raises(KeyProviderError, match="larger than 65536 bytes"):
        load_public_key(path, NOTHING)


def test_several_keys_in_one_file_are_refused_since_one_would_be_chosen(tmp_path: Path) -> None:
    key = new_key()
    refuse(write(tmp_path / "pair", private_pem(key) + public_of(key).pem().encode()), "holds 2 PEM blocks")
    refuse(write(tmp_path / "chain", certificate(key) + certificate(new_key())), "holds 2 PEM blocks")
    refuse(write(tmp_path / "parameters", CURVE_PARAMETERS), "holds 0 PEM blocks")


def test_files_in_other_forms_say_what_to_do(tmp_path: Path) -> None:
    key = new_key()
    refuse(write(tmp_path / "der", key.private_bytes(DER, PKCS8, serialization.NoEncryption())), "no key in PEM form")
    refuse(write(tmp_path / "cut", private_pem(key)[:-20]), "has no end")
    refuse(
        write(tmp_path / "other", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"),
        "no key that is used",
    )
    refuse(write(tmp_path / "junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "damaged")
    refuse(write(tmp_path / "signs", b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n"), "not base64")


@pytest.mark.parametrize("form", [PKCS8, SEC1])
def test_encrypted_pem_keys_say_how_to_make_a_cosign_key_of_them(
    tmp_path: Path, form: serialization.PrivateFormat
) -> None:
    encrypted = new_key().private_bytes(PEM, form, serialization.BestAvailableEncryption(b"password"))
    error = refuse(write(tmp_path / "key", encrypted), "encrypted")
    assert "cosign import-key-pair" in (error.hint or "")


def test_a_key_of_a_kind_that_signs_nothing_is_refused(tmp_path: Path) -> None:
    key = x25519.X25519PrivateKey.generate()
    refuse(write(tmp_path / "key", private_pem(key)), "not used here|P-256")
    public = key.public_key().public_bytes(PEM, SPKI)
    with pytest.raises(KeyProviderError, match="not used here"):
        load_public_key(write(tmp_path / "public", public), NOTHING)


def test_base64_of_something_else_is_not_repeated_in_full() -> None:
    secret = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 3
    with pytest.raises(KeyProviderError) as raised:
        load_public_key(f"base64:{secret}", NOTHING)
    assert secret not in f"{raised.value} {raised.value.hint}"


@given(
    label=st.from_regex(r"[A-Z0-9]{1,8}( [A-Z0-9]{1,8}){0,3}", fullmatch=True), body=st.binary(min_size=1, max_size=200)
)
def test_a_pem_block_is_read_as_what_was_written(label: str, body: bytes) -> None:
    if label == "EC PARAMETERS":
        return
    text = base64.encodebytes(body).decode()
    assert parse_pem(f"before\n-----BEGIN {label}-----\n{text}-----END {label}-----\nafter".encode()) == (label, body)


@given(st.lists(st.sampled_from([b"-----BEGIN ", b"-----END ", b"A", b"-----", b"\n", b"AAAA", b"\xff"]), max_size=60))
def test_no_bytes_are_more_than_an_error_of_ours(parts: list[bytes]) -> None:
    # Anything else that is raised fails the test.
    with suppress(KeyProviderError):
        assert parse_pem(b"".join(parts))[0]

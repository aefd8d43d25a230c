"""Encrypted keys of cosign."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from nacl.secret import SecretBox

from bundlectl.errors import KeyProviderError
from mirror.oci.digest import Digest
from signing.keys import KeyAccess, load_public_key, open_signer
from signing.keys.cosign_key import render_encrypted_key

from .samples import COSIGN_KEY, DER, PKCS8, PLAIN, Secret, new_key, public_of, write

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "pass\u00e9 \U0001f511"


def document(cost: int = 32768) -> tuple[Any, dict[str, Any]]:
    """A key, and its encrypted form written by hand."""
    key = new_key()
    salt, nonce = b"s" * 32, b"n" * 24
    derived = hashlib.scrypt(PASSWORD.encode(), salt=salt, n=cost, r=8, p=1, maxmem=1 << 29, dklen=32)
    sealed = SecretBox(derived).encrypt(key.private_bytes(DER, PKCS8, PLAIN), nonce).ciphertext
    return key, {
        "kdf": {
            "name": "scrypt",
            "params": {"N": cost, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }


def pem(content: Any, label: str = "ENCRYPTED SIGSTORE PRIVATE KEY") -> str:
    body = base64.encodebytes(content if isinstance(content, bytes) else json.dumps(content).encode()).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


@pytest.mark.parametrize("cost", [32768, 65536, 131072])
@pytest.mark.parametrize("label", ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"])
def test_keys_of_every_release_of_cosign_open(tmp_path: Path, cost: int, label: str) -> None:
    key, content = document(cost)
    path = write(tmp_path / "cosign.key", pem(content, label))
    signer = open_signer(path, KeyAccess(secret=Secret(PASSWORD)))
    assert public_of(key).verifies(b"text", signer.sign_digest(Digest.of(b"text")).value)


def test_what_is_rendered_opens_again_and_not_with_another_password(tmp_path: Path) -> None:
    key = new_key()
    content = render_encrypted_key(key.private_bytes(DER, PKCS8, PLAIN), b"")
    path = write(tmp_path / "cosign.key", content)
    assert load_public_key(path, KeyAccess(secret=Secret(""))).key == public_of(key)
    with pytest.raises(KeyProviderError, match="password is wrong"):
        load_public_key(path, KeyAccess(secret=Secret("x")))
    assert max(map(len, content.splitlines())) <= 64


@pytest.mark.parametrize(
    ("where", "value", "match"),
    [
        (("kdf", "params", "N"), 65535, "strange effort"),
        (("kdf", "params", "N"), 1 << 30, "strange effort"),
        (("kdf", "params", "N"), 65536.0, "strange effort"),
        (("kdf", "params", "N"), True, "strange effort"),
        (("kdf", "params", "r"), 1 << 20, "strange effort"),
        (("kdf", "params", "p"), 2, "strange effort"),
        (("kdf", "name"), "argon2", "not used here"),
        (("cipher", "name"), "rot13", "not used here"),
        (("cipher", "name"), [], "not used here"),
        (("cipher", "nonce"), "AAAA", "length"),
        (("kdf", "salt"), "", "length"),
        (("kdf", "salt"), 7, "damaged"),
        (("kdf", "salt"), "\u00e9", "damaged"),
        (("kdf", "params"), None, "damaged"),
        (("ciphertext",), "*", "damaged"),
    ],
)
def test_a_file_that_cosign_did_not_write_is_refused_before_anyone_is_asked(
    tmp_path: Path, where: tuple[str, ...], value: object, match: str
) -> None:
    content = document()[1]
    inner = content
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = value
    secret = Secret(PASSWORD)
    with pytest.raises(KeyProviderError, match=match) as raised:
        load_public_key(write(tmp_path / "key", pem(content)), KeyAccess(secret=secret))
    assert raised.value.hint
    assert secret.asked == []


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"[" * 30000, b'{"kdf": 1}', b"NaN"])
def test_what_is_no_document_at_all_is_damaged(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(KeyProviderError, match="damaged") as raised:
        load_public_key(write(tmp_path / "key", pem(content)), KeyAccess(secret=Secret("")))
    assert raised.value.hint


def test_an_encrypted_key_that_others_may_read_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(KeyProviderError, match="others than its owner"):
        load_public_key(write(tmp_path / "key", COSIGN_KEY, 0o644), KeyAccess(secret=Secret("")))

"""Encrypted key files of cosign: scrypt and secretbox around PKCS#8 (``wire.md`` 3.6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import KeyProviderError

if TYPE_CHECKING:
    from signing.keys import KeyAccess
    from signing.keys.keyfile import KeyFile
    from signing.signature import PublicKey, Signer

__all__ = ["LABELS", "load_public_key", "open_signer", "render_encrypted_key"]

LABELS: Final = ("ENCRYPTED COSIGN PRIVATE KEY", "ENCRYPTED SIGSTORE PRIVATE KEY")
_LABEL: Final = "ENCRYPTED SIGSTORE PRIVATE KEY"
_COSTS: Final = frozenset({32768, 65536, 131072})
"""scrypt's N of all releases of cosign; any other could be chosen to exhaust memory."""
_COST: Final = 65536
_BLOCK_SIZE: Final = 8
_PARALLEL: Final = 1
_SALT: Final = 32
_SALT_LARGEST: Final = 1024
_NONCE: Final = 24
_KEY: Final = 32
_LINE: Final = 64
_COPY: Final = "copy the file again, whole, or make the key anew with `bundlectl keys generate PATH --cosign`"


def open_signer(key: KeyFile, access: KeyAccess) -> Signer:
    """Decrypt a key for signing.

    Raises:
        KeyProviderError: no password or a wrong one, damaged, readable by others, or not on P-256.
    """
    from signing.keys.local import LocalSigner, load_private_key  # noqa: PLC0415 -- imports cryptography

    return LocalSigner(load_private_key(_decrypt(key, access)))


def load_public_key(key: KeyFile, access: KeyAccess) -> PublicKey:
    """Decrypt a key and derive the public one.

    Raises:
        KeyProviderError: no password or a wrong one, damaged, readable by others, or of a kind not used here.
    """
    from signing.keys.local import load_private_key, public_half  # noqa: PLC0415 -- imports cryptography

    return public_half(load_private_key(_decrypt(key, access)))


def render_encrypted_key(pkcs8: bytes, password: bytes) -> bytes:
    """Encrypt a private key as cosign does.

    Args:
        pkcs8: DER.
        password: may be empty, as with cosign; then only the file's rights protect it.

    Returns:
        PEM.
    """
    from nacl.secret import SecretBox  # noqa: PLC0415 -- only where a key is encrypted

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    sealed = SecretBox(_derive(password, salt, _COST)).encrypt(pkcs8, nonce).ciphertext
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": _COST, "r": _BLOCK_SIZE, "p": _PARALLEL},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }
    text = base64.b64encode(json.dumps(document, separators=(",", ":")).encode()).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join([f"-----BEGIN {_LABEL}-----", *lines, f"-----END {_LABEL}-----", ""]).encode()


def _decrypt(key: KeyFile, access: KeyAccess) -> bytes:
    from nacl.exceptions import CryptoError  # noqa: PLC0415 -- only where a key is encrypted
    from nacl.secret import SecretBox  # noqa: PLC0415

    key.require_private()
    # All of the file is checked before anybody is asked for a password.
    salt, cost, nonce, ciphertext = _parse(key.body)
    box = SecretBox(_derive(access.secret("password", key.path), salt, cost))
    try:
        return box.decrypt(ciphertext, nonce)
    except CryptoError:
        raise KeyProviderError(
            "cannot be decrypted: the password is wrong, or the file is damaged",
            hint="give the password in COSIGN_PASSWORD, or on a terminal when asked",
        ) from None


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    # Twice of what scrypt uses (128 * N * r): OpenSSL counts its own needs, too.
    memory = 2 * 128 * cost * _BLOCK_SIZE
    return hashlib.scrypt(password, salt=salt, n=cost, r=_BLOCK_SIZE, p=_PARALLEL, maxmem=memory, dklen=_KEY)


def _parse(body: bytes) -> tuple[bytes, int, bytes, bytes]:
    try:
        document = json.loads(body)
        kdf, cipher = document["kdf"], document["cipher"]
        names, params = (kdf["name"], cipher["name"]), kdf["params"]
        cost, shape = params["N"], (params["r"], params["p"])
        salt, nonce = _bytes(kdf["salt"]), _bytes(cipher["nonce"])
        ciphertext = _bytes(document["ciphertext"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyProviderError("is damaged: this is not how cosign writes an encrypted key", hint=_COPY) from None
    if names != ("scrypt", "nacl/secretbox"):
        raise KeyProviderError(
            "is encrypted in a way that is not used here", hint="cosign's own is scrypt with nacl/secretbox"
        )
    if type(cost) is not int or cost not in _COSTS or shape != (_BLOCK_SIZE, _PARALLEL):
        raise KeyProviderError(
            "asks for a strange effort to derive its key, and is refused",
            hint=f"cosign writes N of {', '.join(map(str, sorted(_COSTS)))}, r={_BLOCK_SIZE}, p={_PARALLEL}",
        )
    if len(nonce) != _NONCE or not 0 < len(salt) <= _SALT_LARGEST:
        raise KeyProviderError("is damaged: salt or nonce are not of cosign's length", hint=_COPY)
    return salt, cost, nonce, ciphertext


def _bytes(value: Any) -> bytes:  # noqa: ANN401 -- anything that JSON can say
    if not isinstance(value, str):
        raise TypeError
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError from error

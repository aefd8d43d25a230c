"""Files that hold secrets or keys: read once, bounded, and refused where others can read them."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Final

from bundlectl.errors import KeyProviderError

__all__ = ["KeyFile", "parse_pem", "read_key_file", "read_private_file"]

LIMIT: Final = 64 * 1024
_BLOCKS: Final = 16
_BEGIN: Final = b"-----BEGIN "
_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)
_ACCOMPANYING: Final = b"EC PARAMETERS"
"""What ``openssl ecparam -genkey`` writes before a key; the key names its curve, too."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A PEM file with one block. ``body`` is what its base64 says.

    ``shared`` is whether the group or others have rights on the file.
    """

    path: str
    label: str
    body: bytes = field(repr=False)
    shared: bool

    def require_private(self) -> None:
        """Refuse a private key that others may read.

        Raises:
            KeyProviderError: they may.
        """
        _require_private(self.path, shared=self.shared)


def read_key_file(path: str) -> KeyFile:
    """Read a PEM file. Links are followed: who names a key by a link means what it leads to.

    Raises:
        KeyProviderError: it cannot be read, is no regular file, too large, or not one PEM block.
    """
    content, shared = _read(path, LIMIT)
    label, body = parse_pem(content)
    return KeyFile(path, label, body, shared)


def read_private_file(path: str, *, limit: int) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        KeyProviderError: it cannot be read, is no regular file, longer than ``limit`` bytes, or others may read it.
    """
    content, shared = _read(path, limit)
    _require_private(path, shared=shared)
    return content


def parse_pem(content: bytes) -> tuple[str, bytes]:
    """Read the one block of a PEM file (RFC 7468); text around it is ignored.

    Returns:
        Its label and its bytes.

    Raises:
        KeyProviderError: none, several, damaged, or encrypted the way of before PKCS#8.
    """
    begun = content.count(_BEGIN)
    if not begun:
        raise KeyProviderError(
            "holds no key in PEM form",
            hint="DER becomes PEM with `openssl pkey -inform DER`, with -pubin for a public key",
        )
    blocks = _BLOCK.findall(content) if begun <= _BLOCKS else []
    if len(blocks) != begun:
        raise KeyProviderError("is damaged: a PEM block in it has no end", hint="copy the file again, whole")
    keys = [(label, text) for label, text in blocks if label != _ACCOMPANYING]
    if len(keys) != 1:
        raise KeyProviderError(
            f"holds {len(keys)} PEM blocks, and must hold one key or certificate",
            hint="write the one that is meant into a file of its own",
        )
    label, text = keys[0]
    if b"Proc-Type:" in text:
        raise KeyProviderError(
            "is encrypted in the way of before PKCS#8, which is not used here",
            hint="decrypt it with `openssl pkey`, and make a cosign key of it with `cosign import-key-pair`",
        )
    try:
        return label.decode(), base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        raise KeyProviderError(
            "is damaged: what stands in its PEM block is not base64", hint="copy the file again, whole"
        ) from None


def _read(path: str, limit: int) -> tuple[bytes, bool]:
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyProviderError("is not a regular file", artifact=path, hint="name the key's own file")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise KeyProviderError(
            "there is no such file",
            artifact=path,
            hint="a KEY is the path of a PEM file, base64:…, awskms://…, or pkcs11:…",
        ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise KeyProviderError(f"cannot be read: {why}", artifact=path, hint="check its path and rights") from error
    if len(content) > limit:
        raise KeyProviderError(
            f"is larger than {limit} bytes, which no key is", artifact=path, hint="name the key's own file"
        )
    return content, bool(status.st_mode & _OTHERS)


def _require_private(path: str, *, shared: bool) -> None:
    if shared:
        raise KeyProviderError(
            "others than its owner have rights on this secret", artifact=path, hint=f"chmod 600 {path}"
        )

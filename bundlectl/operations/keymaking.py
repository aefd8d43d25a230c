"""``generate_key``: a new key pair in two files."""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundlectl.errors import KeyProviderError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from signing.signature import PublicKey

__all__ = ["KeyPair", "generate_key"]

_PRIVATE = 0o600
_PUBLIC = 0o666
"""Without the umask: a public key is there to be read."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a key pair."""

    private: Path
    public: Path
    key: PublicKey


def generate_key(path: Path, *, password: bytes | None = None) -> KeyPair:
    """Make an ECDSA key on P-256, and write it to ``path`` (0600) and its public key to ``path.pub``.

    Both appear whole, the private one last, or neither; an existing file is never replaced.

    Args:
        path: of the private key.
        password: encrypts it as cosign does; None writes plain PKCS#8.

    Raises:
        UsageError: ``path`` cannot be a file.
        KeyProviderError: one of the files exists, or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 -- heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    from signing.keys.cosign_key import render_encrypted_key  # noqa: PLC0415
    from signing.keys.local import public_half  # noqa: PLC0415

    if path.name in ("", ".."):
        raise UsageError(f"{path} is a folder, not the name of a key", hint="add the name of a file")
    pair = (path, path.with_name(f"{path.name}.pub"))
    for file in pair:  # before a password is turned into a key, which takes its time
        if os.path.lexists(file):
            raise _exists(file)
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, form = serialization.Encoding, serialization.PrivateFormat.PKCS8
    if password is None:
        private = key.private_bytes(encoding.PEM, form, serialization.NoEncryption())
    else:
        der = key.private_bytes(encoding.DER, form, serialization.NoEncryption())
        private = render_encrypted_key(der, password)
    public = public_half(key)
    _write_pair(pair, (private, public.pem().encode()))
    return KeyPair(*pair, public)


def _write_pair(paths: tuple[Path, Path], contents: tuple[bytes, bytes]) -> None:
    # The private key comes last: where it is, its public key is, too.
    files = [(paths[1], contents[1], _PUBLIC), (paths[0], contents[0], _PRIVATE)]
    path = paths[0]
    with ExitStack() as temporary, ExitStack() as appeared:
        try:
            written = []
            for path, content, mode in files:
                name = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
                temporary.callback(name.unlink, missing_ok=True)
                _write(name, content, mode)
                written.append((name, path))
            for name, path in written:
                # A link, unlike a renaming, fails where the name is taken.
                os.link(name, path)
                appeared.callback(path.unlink, missing_ok=True)
            _sync_folder(path.parent)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise KeyProviderError(
                f"cannot be written: {error.strerror}",
                artifact=str(path),
                hint="check the folder, its rights and the room on the disk; "
                "a file system without hard links (FAT) keeps no rights either: make the key elsewhere",
            ) from error
        appeared.pop_all()


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        if mode == _PRIVATE:  # whatever the umask takes away
            os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _exists(path: Path) -> KeyProviderError:
    return KeyProviderError(
        "exists already, and a key is never overwritten",
        artifact=str(path),
        hint="choose another name, or move the file away",
    )

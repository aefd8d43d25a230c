"""``base64:MFkw…``: a public key as AWS writes it, base64 of DER."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundlectl.errors import KeyProviderError

if TYPE_CHECKING:
    from signing.keys import KeyAccess
    from signing.signature import PublicKey, Signer

__all__ = ["load_public_key", "open_signer"]

_PREFIX: Final = "base64:"
_SHOWN: Final = 24


def open_signer(key: str, access: KeyAccess) -> Signer:
    """Refuse: a public key cannot sign.

    Raises:
        KeyProviderError: always.
    """
    del access
    raise KeyProviderError(
        "a public key cannot sign", artifact=_name(key), hint="name the private key that belongs to it"
    )


def load_public_key(key: str, access: KeyAccess) -> PublicKey:
    """Read the key.

    Raises:
        KeyProviderError: not base64, or not a public key.
    """
    del access
    from signing.signature import PublicKey  # noqa: PLC0415 -- imports cryptography

    try:
        return PublicKey.from_base64(key.removeprefix(_PREFIX))
    except KeyProviderError as error:
        error.artifact = _name(key)
        raise


def _name(key: str) -> str:
    """Short: if it was a private key by mistake, most of it stays untold."""
    return key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…"

"""One file per key provider; adding one touches no other file.

A KEY (``cli.md``) that begins with ``NAME:`` is read by the module ``NAME``; any other is the path of
a PEM file, read by the module that claims its label. A module has

* ``open_signer(key, access) -> Signer`` and ``load_public_key(key, access) -> PublicKey``;
* ``LABELS``, the PEM labels it reads, where ``key`` is a path.

``key`` is the whole text of the KEY, without its secrets, which come from ``access``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KeyAccess", "SecretSource"]


class SecretSource(Protocol):
    """Where passwords and PINs come from. Called at most once for each key."""

    def __call__(self, kind: str, key: str, /) -> bytes:
        """The secret, without a final line break.

        Args:
            kind: ``password`` (of an encrypted key file) or ``pin`` (of a token).
            key: what it is for, as told to the user.

        Raises:
            KeyProviderError: there is none to be had.
        """


def _none(kind: str, key: str, /) -> bytes:
    from bundlectl.errors import KeyProviderError  # noqa: PLC0415 -- only to fail

    raise KeyProviderError(f"there is no {kind} for the key", artifact=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAccess:
    """What a provider may use besides the KEY itself.

    ``pkcs11_module`` is the path of a PKCS#11 library, never taken from the KEY. ``offline``
    forbids providers that ask a host other than loopback.
    """

    secret: SecretSource = field(default=_none, repr=False)
    pkcs11_module: Path | None = None
    offline: bool = False

"""AWS's published public keys, each for one kind of document (``domain.md`` 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from signing.identity import NamedKey
from signing.signature import PublicKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.document import DocumentType

__all__ = ["aws_key"]

_KEYS: Final[Mapping[DocumentType, str]] = {
    # The key of every real installation; the one compiled into AWS's controller verifies no published bundle.
    "PackageBundle": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnP0Yo+ZxzPUEfohcG3bbJ8987UT4f0tj"
        "+XVBjS/s35wkfjrxTKrVZQpz3ta3zi5ZlgXzd7a20B1U1Py/TtPsxw=="
    ),
    "Bundles": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFZU/Z6VVMU9HioT7rGkPdJg3frC2xyQZ"
        "hWFIrz5HeZEfeQ2nAdnJMLrs2Qr3V9xVrJrHA54wnIHDoPGbEhojqg=="
    ),
    "EksdRelease": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfqjUloL1WPdxB5JPOY18mIgjx0zD0SyW"
        "e9N1Fxjv7A8JwyKQycqirw2us7zoxoC5bnWD4lT53uv8skx3E/cHaw=="
    ),
}


def aws_key(kind: DocumentType) -> NamedKey | None:
    """AWS's key for a kind of document; None where AWS publishes none."""
    text = _KEYS.get(kind)
    return NamedKey("aws", PublicKey.from_base64(text)) if text else None

"""Content digests (OCI image-spec, descriptor.md, section "Digests")."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Digest"]

_LENGTHS: Final = {"sha256": 64, "sha512": 128}
_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The digest of exact bytes, ``sha256`` or ``sha512``, in lower-case hexadecimal."""

    algorithm: str
    encoded: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read ``algorithm:hex``.

        Raises:
            ContentError: the text is not a digest of a supported algorithm.
        """
        algorithm, separator, encoded = text.partition(":")
        length = _LENGTHS.get(algorithm)
        if not separator or length is None:
            raise ContentError(f"{text[:200]!r} is not a sha256 or sha512 digest")
        if len(encoded) != length or not _HEX.fullmatch(encoded):
            raise ContentError(f"{text[:200]!r} is not a digest: {algorithm} has {length} lower-case hex digits")
        # The one name of the algorithm, not a copy for each of 50,000 digests.
        return cls(sys.intern(algorithm), encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """Compute the digest of ``data``."""
        return cls(algorithm, hashlib.new(algorithm, data, usedforsecurity=True).hexdigest())

    def hasher(self) -> _Hash:
        """Start an empty hash of this digest's algorithm."""
        return hashlib.new(self.algorithm, usedforsecurity=True)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

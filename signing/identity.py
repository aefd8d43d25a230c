"""Who may have signed, and what was found to be signed by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from signing.signature import PublicKey

__all__ = ["CertificateIdentity", "Evidence", "Identity", "NamedKey", "Proof", "SignatureFormat", "TrustAnchors"]

SignatureFormat: TypeAlias = Literal["annotation", "tag", "referrer", "bundle", "detached"]
"""AWS's annotation; cosign's tag scheme; its layers as an OCI 1.1 referrer; a sigstore bundle; cosign's older files."""


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A public key and where it came from, in the user's own words (a path, ``aws``, a URI)."""

    source: str
    key: PublicKey

    def __str__(self) -> str:
        return f"{self.source} ({self.key.fingerprint})"


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """Who a keyless certificate was issued to: both must be equal to the certificate's, to the letter."""

    subject: str
    issuer: str

    def __str__(self) -> str:
        return f"{self.subject} by {self.issuer}"


Identity: TypeAlias = NamedKey | CertificateIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchors:
    """What signatures are checked with. ``trusted_root`` is sigstore's JSON, needed for certificates alone."""

    keys: tuple[NamedKey, ...] = ()
    certificates: tuple[CertificateIdentity, ...] = ()
    trusted_root: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """A signature that holds: by whom, in which form, and which bytes carry it (a digest or a path)."""

    identity: Identity
    format: SignatureFormat
    where: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found for one artifact.

    ``rejected`` says of each signature that did not count why, for the person who must find out.
    """

    proofs: tuple[Proof, ...] = ()
    rejected: tuple[str, ...] = ()

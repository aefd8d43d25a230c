"""How release documents are believed: what ``--verify`` and the options beside it come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from signing.identity import NamedKey, TrustAnchors

__all__ = ["Belief"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What a document needs to be believed.

    ``mode`` is ``aws`` (AWS's published key of the document's kind), ``key`` (``key`` alone), or
    ``off``. ``package_key`` stands in for AWS's key of package bundles (``EKSA_PUBLIC_KEY``).
    ``anchors`` are who may have signed locks, images and archives: ``key``, and whom
    ``--certificate-identity`` names. ``trusted_root`` is sigstore's, for identities of policies.
    """

    mode: Literal["aws", "key", "off"] = "aws"
    key: NamedKey | None = None
    package_key: NamedKey | None = None
    anchors: TrustAnchors | None = None
    trusted_root: bytes | None = field(default=None, repr=False)

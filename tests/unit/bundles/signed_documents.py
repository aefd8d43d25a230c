"""Documents signed with a key of the tests', and who believes them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from bundles.annotating import annotate
from bundles.belief import Belief
from bundles.canonical import canonical_bytes, kind_of_root
from bundles.coverage import signature_annotation
from bundles.tree import parse_tree
from mirror.oci.digest import Digest
from signing.identity import NamedKey, TrustAnchors
from signing.keys.local import LocalSigner

if TYPE_CHECKING:
    from signing.signature import Signer

__all__ = ["BY_KEY", "BY_OTHER_KEY", "KEY", "OTHER_SIGNER", "SIGNER", "believing", "signature_of", "signed"]

SIGNER: Final = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
OTHER_SIGNER: Final = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
KEY: Final = NamedKey("site.pub", SIGNER.public_key)


def believing(signer: Signer, name: str) -> Belief:
    """What ``--verify KEY`` comes to."""
    key = NamedKey(name, signer.public_key)
    return Belief(mode="key", key=key, anchors=TrustAnchors(keys=(key,)))


BY_KEY: Final = believing(SIGNER, "site.pub")
BY_OTHER_KEY: Final = believing(OTHER_SIGNER, "other.pub")


def signature_of(text: str | bytes, signer: Signer = SIGNER) -> str:
    """The base64 of a signature over the canonical form of a document."""
    raw = text if isinstance(text, bytes) else text.encode()
    root = parse_tree(raw, origin="made.yaml").root
    canonical = canonical_bytes(root, kind_of_root(root), origin="made.yaml")
    return base64.b64encode(signer.sign_digest(Digest.of(canonical)).value).decode()


def signed(text: str | bytes, signer: Signer = SIGNER) -> bytes:
    """A document with its signature in its own annotations."""
    raw = text if isinstance(text, bytes) else text.encode()
    name = signature_annotation(kind_of_root(parse_tree(raw, origin="made.yaml").root))
    # Annotations that are there are signed as such, if only as an empty map.
    prepared = annotate(raw, {name: "none"}, origin="made.yaml")
    return annotate(raw, {name: signature_of(prepared, signer)}, origin="made.yaml")

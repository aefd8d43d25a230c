"""From a document to one that may be planned from (``cli.md``, "How upstream is believed").

This is the only place that makes a ``VerifiedDocument``, so nothing else decides what is believed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bundlectl.events import Notice
from bundles.coverage import covers
from bundles.signatures import CheckedSignature, SignedManifest, check_signature, keys_for

if TYPE_CHECKING:
    from bundlectl.events import Listener
    from bundles.artifact import TrustLevel
    from bundles.belief import Belief
    from bundles.canonical import CanonicalKind
    from bundles.document import Document
    from bundles.schema import Model
    from signing.identity import NamedKey

__all__ = ["VerifiedDocument", "accept"]

_UNKNOWN_SHOWN: Final = 5
_EVERYWHERE: Final = frozenset({"aws", "EKSA_PUBLIC_KEY"})


@dataclass(frozen=True, slots=True)
class VerifiedDocument:
    """A document that may be used, and on what grounds.

    ``trust`` is that of the document itself: ``signed`` when its signature held, ``resolved``
    when it is only known to come from its address, ``off`` when nothing was to be checked.
    ``verified_by`` names the key that vouched for it, None when none did.
    """

    document: Document
    model: Model
    trust: TrustLevel
    verified_by: str | None = None
    signature: CheckedSignature | None = None
    signatures: tuple[SignedManifest, ...] = ()
    """All that say they are signatures of it, checked or not."""

    def trust_of(self, path: str, *, known: bool, pinned: bool) -> TrustLevel:
        """The level of an artifact that the document names.

        Args:
            path: of the mapping that names it.
            known: whether a type of AWS's knows the field: others are dropped before signing.
            pinned: whether its digest stands there.
        """
        if self.trust == "off":
            return "off"
        if not pinned:
            return "resolved"
        if self.signature is None or not known:
            return "declared"
        return "signed" if covers(_kind(self.document), self.document.root, path) else "declared"


def accept(
    document: Document,
    model: Model,
    *,
    belief: Belief,
    listener: Listener,
    eksd_signature: tuple[str, str] | None = None,
) -> VerifiedDocument:
    """Check the signature of a document as far as its kind has one, and say what was not checked.

    Bundles and package bundles need one. An EKS-D release's must hold where there is one: in its
    own annotations, or beside the Bundles that led to it. A release index has none: it is a
    directory, and what it leads to is held against its entry. Unknown fields, and text that other
    readers take for numbers, are told as well.

    Args:
        document: the document.
        model: what it was read into.
        belief: what was asked for.
        listener: gets the notices.
        eksd_signature: the signature that Bundles carry for this EKS-D release, and the name of
            the annotation, empty texts where there is none; None when no Bundles led to it.

    Raises:
        VerificationError: a signature that is needed is absent, or one does not hold.
        ContentError: the document has no canonical form.
    """
    verified = _checked(document, model, belief, listener, eksd_signature)
    for warning in model.warnings:
        listener(Notice("warning", warning))
    if model.unknown:
        listener(Notice("warning", _unknown_fields(model.unknown), artifact=document.origin))
    return verified


def _checked(
    document: Document, model: Model, belief: Belief, listener: Listener, eksd_signature: tuple[str, str] | None
) -> VerifiedDocument:
    if document.type == "Collection":
        return VerifiedDocument(document, model, "off" if belief.mode == "off" else "resolved")
    if document.type == "EksaRelease":
        return VerifiedDocument(document, model, "off" if belief.mode == "off" else "resolved")
    manifest = SignedManifest.of(document.root, _kind(document), origin=document.origin, unknown=model.unknown)
    text, place = eksd_signature or ("", "")
    found = tuple(item for item in (manifest, replace(manifest, signature=text, place=place)) if item.signature)
    if belief.mode == "off":
        listener(Notice("warning", "its signature was not checked (--verify off)", artifact=document.origin))
        return VerifiedDocument(document, model, "off", signatures=found)
    # Signed Bundles say which release is meant; alone it needs the signature that was asked for by name.
    if document.type == "EksdRelease" and not found and (belief.mode == "aws" or eksd_signature is not None):
        listener(Notice("warning", "carries no signature; it was taken from its address", artifact=document.origin))
        return VerifiedDocument(document, model, "resolved")
    from bundles.aws_keys import aws_key  # noqa: PLC0415 -- cryptography takes 17 ms, and is not always needed

    keys = keys_for(document.type, belief, origin=document.origin)
    # What Bundles carry was put there by AWS, whoever signed these Bundles again.
    carried = tuple(dict.fromkeys((*keys, *filter(None, [aws_key(document.type)]))))
    checked = [check_signature(item, keys if item is manifest else carried) for item in found or (manifest,)]
    return VerifiedDocument(document, model, "signed", _vouching(checked[0].key), checked[0], found)


def _vouching(key: NamedKey) -> str:
    """How a lock names a key: where its file lay on this machine says nothing at another site."""
    return str(key) if key.source in _EVERYWHERE else key.key.fingerprint


def _kind(document: Document) -> CanonicalKind:
    if document.type in ("Bundles", "EksdRelease", "PackageBundle"):
        return document.type
    return "object"


def _unknown_fields(paths: tuple[str, ...]) -> str:
    # A name is whatever its writer chose; none of it may look like a line of ours.
    shown = ", ".join(path if path.isprintable() else repr(path) for path in paths[:_UNKNOWN_SHOWN])
    more = f" and {len(paths) - _UNKNOWN_SHOWN} more" if len(paths) > _UNKNOWN_SHOWN else ""
    return f"fields unknown to this version: {shown}{more} (what they name is listed all the same)"

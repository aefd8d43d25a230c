"""From a document to one that may be planned from.

This is the only place that makes a ``VerifiedDocument``, so nothing else decides what is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import VerificationError
from bundlectl.events import Notice

if TYPE_CHECKING:
    from bundlectl.events import Listener
    from bundles.artifact import TrustLevel
    from bundles.document import Document
    from bundles.schema import Model

__all__ = ["DEFAULT", "OFF", "VerifiedDocument", "accept", "refuse_key"]

OFF: Final = "off"
"""``--verify off``: the user asked that no signature is checked."""

DEFAULT: Final = "default"
"""No ``--verify`` at all: what the product does on its own."""

_UNSIGNED: Final = frozenset({"EksaRelease", "Collection"})
"""Kinds that carry no signature of AWS at all."""

_UNKNOWN_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class VerifiedDocument:
    """A document that may be used, and on what grounds.

    ``trust`` is ``off`` while no signature was checked. ``verified_by`` names the key that
    vouched for it, None when none did.
    """

    document: Document
    model: Model
    trust: TrustLevel
    verified_by: str | None = None


def accept(document: Document, model: Model, *, verify: str, listener: Listener) -> VerifiedDocument:
    """Check the signature of a document as far as asked for, and say what was not checked.

    Unknown fields and text that other readers take for numbers are told as well.

    Args:
        document: the document.
        model: what it was read into.
        verify: ``default``, ``off``, or a KEY of ``cli.md``.
        listener: gets the notices.

    Raises:
        VerificationError: a check was asked for by name that this version cannot make, or the
            document itself demands a policy that it cannot meet. Nothing was done.
    """
    refuse_key(verify, document.origin)
    if document.type == "Collection" and getattr(model, "policy", None) and verify != OFF:
        raise VerificationError(
            "spec.policy cannot be met: this version of bundlectl checks no policies yet",
            artifact=document.origin,
            hint="nothing was done; --verify off goes on without it",
        )
    listener(Notice("warning", _unchecked(document, verify), artifact=document.origin))
    for warning in model.warnings:
        listener(Notice("warning", warning))
    if model.unknown:
        listener(Notice("warning", _unknown_fields(model.unknown), artifact=document.origin))
    return VerifiedDocument(document, model, "off")


def refuse_key(verify: str, origin: str) -> None:
    """Refuse a KEY that cannot be honoured, whatever the kind of document.

    Raises:
        VerificationError: ``verify`` is neither ``default`` nor ``off``.
    """
    if verify not in (OFF, DEFAULT):
        raise VerificationError(
            f"the signature cannot be checked with {verify[:100]!r}: this version of bundlectl checks none yet",
            artifact=origin,
            hint="nothing was done; leave --verify out, or use --verify off, to go on without",
        )


def _unchecked(document: Document, verify: str) -> str:
    if verify == OFF:
        return "its signature was not checked (--verify off)"
    if document.type in _UNSIGNED:
        return f"a {document.kind} carries no signature; it was taken as it is"
    return "its signature was not checked: this version of bundlectl checks no signatures yet"


def _unknown_fields(paths: tuple[str, ...]) -> str:
    shown = ", ".join(paths[:_UNKNOWN_SHOWN])
    more = f" and {len(paths) - _UNKNOWN_SHOWN} more" if len(paths) > _UNKNOWN_SHOWN else ""
    return f"fields unknown to this version: {shown}{more} (what they name is listed all the same)"

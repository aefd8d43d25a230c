"""Small pieces that all parts of the page are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.markup import Element, element

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundles.reporting.attached import Attached
    from bundles.reporting.changes import Change
    from bundles.reporting.concerns import Gravity

__all__ = ["NO_COMPONENT", "TRUST", "attached_anchor", "change_mark", "code", "gravity_mark", "signer", "trust_mark"]

NO_COMPONENT: Final = "of no component"

TRUST: Final[Mapping[str, str]] = {
    "signed": "its digest is inside a signature that held, or its own signature met a policy",
    "declared": "a document states its digest, and no signature covers that",
    "resolved": "the digest was first learned from a tag or a URL",
    "pushed": "somebody pushed it into a registry",
    "off": "nothing was checked: verification was switched off",
}
_TRUST_COLOURS: Final = {"signed": "good", "pushed": "ask", "off": "ask"}
_GRAVITY: Final[Mapping[Gravity, tuple[str, str]]] = {
    "stop": ("wrong", "bad"),
    "ask": ("ask", "ask"),
    "know": ("note", ""),
}
_CHANGES: Final = {"new": "good", "changed": "ask", "renamed": "", "same": ""}


def code(text: str) -> Element:
    """Text to the letter; digests are set smaller, so that they stay on a line."""
    return element("code", text, **({"class_": "digest"} if text.startswith(("sha256:", "sha512:")) else {}))


def trust_mark(level: str, recorded: str = "") -> Element:
    """A trust level, with the one that the lock recorded where that is another."""
    mark = element("span", level, class_=f"mark {_TRUST_COLOURS.get(level, '')}".rstrip())
    if not recorded or recorded == level:
        return mark
    return element("div", mark, element("div", f"recorded: {recorded}", class_="quiet keep"))


def gravity_mark(gravity: Gravity) -> Element:
    """How grave a concern is."""
    text, colour = _GRAVITY[gravity]
    return element("span", text, class_=f"mark {colour}".rstrip())


def change_mark(change: Change) -> Element:
    """What something is to the site."""
    return element("span", change.kind, class_=f"mark {_CHANGES[change.kind]}".rstrip())


def signer(says: str | None, verified_by: str | None, unverified: str | None = None) -> Element:
    """Who signed, checked here; or whom a signature names, which anybody can write."""
    if verified_by:
        return element("span", element("span", "verified here", class_="mark good"), f" {verified_by}")
    if says is None and unverified is None:
        return element("span", "names no signer that could be read, not checked here", class_="quiet")
    named = f"says itself: {says}" if says else "names no signer that could be read"
    return element("span", f"{named}; {unverified or 'not checked here'}", class_="quiet")


def attached_anchor(item: Attached) -> str:
    """The place of an attached document in the page."""
    return f"x-{item.digest.encoded}"

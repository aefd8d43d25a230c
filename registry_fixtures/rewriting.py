"""Putting other digests into a release document without touching anything else of its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundlectl.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yaml.nodes import ScalarNode

__all__ = ["Spot", "rewrite", "spot"]


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A piece of a document's text: where it begins, in characters, and what stands there."""

    start: int
    text: str


def spot(document: str, node: ScalarNode, part: str | None = None) -> Spot:
    """Find the text of a scalar (or a part of it) between the marks of its node.

    Raises:
        ContentError: it is not written there in one piece (a folded or escaped scalar).
    """
    wanted = node.value if part is None else part
    start, stop = node.start_mark.index, node.end_mark.index
    at = document.find(wanted, start, stop)
    if at < 0 or not wanted:
        line = node.start_mark.line + 1
        raise ContentError(f"line {line}: a digest that is not written in one piece cannot be rewritten")
    return Spot(at, wanted)


def rewrite(document: str, changes: Mapping[Spot, str]) -> str:
    """Replace each spot by its new text; comments, order, quoting and line ends stay.

    Raises:
        ContentError: a spot does not hold what it should, or two of them overlap.
    """
    pieces: list[str] = []
    position = 0
    for place in sorted(changes):
        stop = place.start + len(place.text)
        if place.start < position or document[place.start : stop] != place.text:
            raise ContentError(f"the document does not hold {place.text[:80]!r} at character {place.start}")
        pieces += [document[position : place.start], changes[place]]
        position = stop
    return "".join([*pieces, document[position:]])

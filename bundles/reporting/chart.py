"""A bar chart as SVG inside of the page: no picture, no script, no style but the page's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bundles.reporting.marks import NO_COMPONENT
from bundles.reporting.report import Share
from mirror.markup import Element, element, size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["size_chart"]

_BARS: Final = 15
_WIDTH: Final = 900
_LEFT: Final = 230
_RIGHT: Final = 170
_ROW: Final = 24
_LABEL: Final = 30


def size_chart(shares: Sequence[Share], title: str) -> Element:
    """Bars of unique bytes, the part that nothing else needs in a stronger colour.

    Args:
        shares: the largest first; beyond the first ones they are shown as one.
        title: for who does not see it.
    """
    shown = _folded(shares)
    longest = max((share.size for share in shown), default=0) or 1
    height = _ROW * len(shown) + 4
    return element(
        "svg",
        element("title", title),
        *(part for row, share in enumerate(shown) for part in _bar(share, row * _ROW + 4, longest)),
        viewBox=f"0 0 {_WIDTH} {height}",
        width="100%",
        role="img",
        class_="chart",
    )


def _folded(shares: Sequence[Share]) -> list[Share]:
    if len(shares) <= _BARS:
        return list(shares)
    rest = shares[_BARS - 1 :]
    folded = Share(
        name=f"{len(rest):,} others",
        artifacts=sum(share.artifacts for share in rest),
        size=sum(share.size for share in rest),
        own=sum(share.own for share in rest),
    )
    return [*shares[: _BARS - 1], folded]


def _bar(share: Share, top: int, longest: int) -> list[Element]:
    room = _WIDTH - _LEFT - _RIGHT
    own, size = (max(round(room * part / longest), 1) if part else 0 for part in (share.own, share.size))
    name = share.name or NO_COMPONENT
    name = name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"
    middle = str(top + _ROW // 2)
    box = {"x": str(_LEFT), "y": str(top), "height": str(_ROW - 6)}
    return [
        element("text", name, x=str(_LEFT - 8), y=middle, class_="name"),
        element("rect", width=str(size), class_="all", **box),
        element("rect", width=str(own), class_="own", **box),
        element("text", f"{size_text(share.size)} in {share.artifacts:,}", x=str(_LEFT + size + 8), y=middle),
    ]

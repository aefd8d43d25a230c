"""How far something is believed, from ``signed`` down to ``off`` (``cli.md``, "Trust level")."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["TrustLevel", "better_trust", "reaches"]

TrustLevel: TypeAlias = Literal["signed", "declared", "resolved", "pushed", "off"]
"""How an artifact came to be believed."""

_RANK: Final[dict[TrustLevel, int]] = {"signed": 0, "declared": 1, "resolved": 2, "pushed": 3, "off": 4}


def better_trust(first: TrustLevel, second: TrustLevel) -> TrustLevel:
    """The better of two levels of one content: what was believed once on good grounds stays believed."""
    return first if _RANK[first] <= _RANK[second] else second


def reaches(level: TrustLevel, wanted: TrustLevel) -> bool:
    """Whether ``level`` is as good as ``wanted`` or better."""
    return _RANK[level] <= _RANK[wanted]

"""``WWW-Authenticate`` (RFC 9110, 11.6.1), as servers really write it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Challenge", "parse_challenges"]

_LIMIT: Final = 8 * 1024
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SEPARATORS: Final = re.compile(r"[\s,]*")
_SCHEME: Final = re.compile(rf"({_WORD})")
_PARAMETER: Final = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",=]+)(?=[\s,]|$))', re.DOTALL)
_TOKEN68: Final = re.compile(r"[ \t]+[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: a scheme and its parameters, names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(value: str) -> list[Challenge]:
    """Read all challenges of a header; repeated headers may be joined by commas.

    Commas and spaces inside quotes belong to the value (``scope``). What fits no grammar is
    skipped: a server's slip should not hide a challenge beside it.
    """
    value = value[:_LIMIT]
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while True:
        separators = _SEPARATORS.match(value, position)
        position = separators.end() if separators else position
        if position >= len(value):
            break
        parameter = _PARAMETER.match(value, position)
        if parameter and found:
            quoted, bare = parameter[2], parameter[3]
            text = _ESCAPE.sub(r"\1", quoted) if quoted is not None else bare
            found[-1][1].setdefault(parameter[1].lower(), text)
            position = parameter.end()
            continue
        scheme = _SCHEME.match(value, position)
        if not scheme:
            position += 1
            continue
        found.append((scheme[1].lower(), {}))
        position = scheme.end()
        token = _TOKEN68.match(value, position)
        if token:
            position = token.end()
    return [Challenge(name, parameters) for name, parameters in found]

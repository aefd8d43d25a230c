"""AWS's excludes: the paths that are taken out of a document before it is signed.

Upstream splices each line into the jq program ``del(…)`` after a look at its first term only, so
a line can be a program of its own. Here a selector is what AWS writes and nothing else: names and
``[]``, one after another. What these delete, and when they fail, is as in gojq 0.12.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import ContentError
from signing.canonical_json import well_formed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from signing.canonical_json import Value

__all__ = ["Selector", "delete_paths", "parse_selectors"]

SELECTOR_LIMIT: Final = 256
"""Selectors of one document; AWS excludes 23 from a Bundles."""
PLACE_LIMIT: Final = 200_000
"""Places of a document that all selectors together may come by."""
STEP_LIMIT: Final = 100
"""Steps of one selector; no document is nested deeper."""

_TEXT_SHOWN: Final = 80
_NAME: Final = r"\.([A-Za-z_][A-Za-z0-9_]*)"
_STRING: Final = r'("(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
_FIRST: Final = re.compile(rf"{_NAME}|\.{_STRING}|\.\[{_STRING}\]")
_NEXT: Final = re.compile(rf"{_NAME}|\.{_STRING}|\[{_STRING}\]|\[\]")

_Key: TypeAlias = str | int
_Path: TypeAlias = tuple[_Key, ...]
_Deletions: TypeAlias = "dict[_Key, _Deletions | None]"
"""What to delete below a value, by key or index: nothing stands for all of it."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A path into a document. Made with ``parse_selectors``.

    ``text`` is as it was written. A step is the name of a member, or nothing for every value (``[]``).
    """

    text: str
    steps: tuple[str | None, ...]


def parse_selectors(lines: Iterable[str]) -> tuple[Selector, ...]:
    """Read selectors, one a line; empty lines are none.

    A selector begins with ``.name``, ``."name"`` or ``.["name"]`` and goes on with these (the last
    without its dot) and ``[]``. gojq knows more: indexes, slices, ``?``, blanks, pipes. These are refused.

    Raises:
        ContentError: anything else, or too many.
    """
    selectors = tuple(_parse(line) for line in lines if line)
    if len(selectors) > SELECTOR_LIMIT:
        raise ContentError(f"there are more than {SELECTOR_LIMIT} selectors")
    return selectors


def _parse(line: str) -> Selector:
    steps: list[str | None] = []
    at, step = 0, _FIRST
    while at < len(line) and len(steps) < STEP_LIMIT and (found := step.match(line, at)):
        name = next((group for group in found.groups() if group is not None), None)
        steps.append(well_formed(json.loads(name)) if name is not None and name.startswith('"') else name)
        at, step = found.end(), _NEXT
    if at < len(line):
        raise ContentError(
            f"invalid selector {_shown(line)}",
            hint="selectors are made of names and [] alone, like .spec.packages[].source.registry",
        )
    return Selector(line, tuple(steps))


def delete_paths(value: Value, selectors: Iterable[Selector]) -> Value:
    """Leave out of ``value`` what the selectors reach, as gojq's ``del``: all are looked up before any is deleted.

    A member that is missing, also below null, is not an error. ``value`` stays as it is; what
    comes back shares with it the parts that no selector reaches.

    Raises:
        ContentError: ``[]`` on anything but a list or an object (null too), or a name on a list or a scalar;
            or they reach more places than ``PLACE_LIMIT``.
    """
    deletions: _Deletions = {}
    left = PLACE_LIMIT
    for selector in selectors:
        paths, left = _reached(value, selector, left)
        for path in paths:
            _plan(deletions, path)
    return _without(value, deletions)


def _reached(value: Value, selector: Selector, left: int) -> tuple[list[_Path], int]:
    """The places where a selector ends, and how many of ``left`` it did not come by."""
    places: list[tuple[_Path, Value]] = [((), value)]
    for step in selector.steps:
        below: list[tuple[_Path, Value]] = []
        for path, parent in places:
            children = _children(parent, step, selector)
            left -= len(children)
            if left < 0:
                raise ContentError(
                    f"the selectors reach more than {PLACE_LIMIT:,} places of the document",
                    hint="the document is not of the shape that its signer excluded parts of",
                )
            below += [((*path, key), item) for key, item in children]
        places = below
    return [path for path, _ in places], left


def _children(parent: Value, step: str | None, selector: Selector) -> Collection[tuple[_Key, Value]]:
    if step is None:
        if isinstance(parent, list):
            return list(enumerate(parent))
        if isinstance(parent, dict):
            return parent.items()
        raise _inapplicable(selector, f"{_kind(parent)} cannot be iterated over")
    if parent is None:
        return [(step, None)]
    if isinstance(parent, dict):
        return [(step, parent.get(step))]
    raise _inapplicable(selector, f"{_kind(parent)} has no member {_shown(step)}")


def _plan(deletions: _Deletions, path: _Path) -> None:
    *parents, last = path
    for key in parents:
        below = deletions.setdefault(key, {})
        if below is None:
            return
        deletions = below
    deletions[last] = None


def _without(value: Value, deletions: _Deletions) -> Value:
    if isinstance(value, dict):
        return {key: _left(item, deletions, key) for key, item in value.items() if deletions.get(key, {}) is not None}
    if isinstance(value, list):
        return [
            _left(item, deletions, index) for index, item in enumerate(value) if deletions.get(index, {}) is not None
        ]
    return value


def _left(item: Value, deletions: _Deletions, key: _Key) -> Value:
    below = deletions.get(key)
    return _without(item, below) if below else item


def _inapplicable(selector: Selector, why: str) -> ContentError:
    return ContentError(
        f"the selector {_shown(selector.text)} does not fit the document: {why}",
        hint="the document is not of the shape that its signer excluded parts of",
    )


def _kind(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _shown(text: str) -> str:
    return repr(text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…")

"""The query language of the REST API: ``q`` and ``sort``, on rows as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_plus

from registry_fixtures.harbor.refusals import HarborError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Condition", "matching", "read_conditions", "sorted_rows"]


class Condition(Protocol):
    """What a value must be like."""

    def __call__(self, value: str) -> bool:
        """Whether it is."""
        ...


def read_conditions(text: str) -> dict[str, tuple[str, Condition]]:
    """Read ``q``: by key, the condition as written and as a function.

    ``k=v`` is exact, ``k=~v`` contained, ``k=[a~b]`` between, ``k={a b}`` and ``k=(a b)`` any of.

    Raises:
        HarborError: 400, a part is not ``key=value``, or the value of no known form.
    """
    conditions: dict[str, tuple[str, Condition]] = {}
    # Unquoted once more, after the query string's own quoting.
    for part in unquote_plus(text).split(",") if text else ():
        key, _, value = part.partition("=")
        if not key or not value:
            said = 'the query string must contain "=" and the key/value cannot be empty'
            raise HarborError("BAD_REQUEST", said)
        closing = {"[": "]", "{": "}", "(": ")"}.get(value[0], "")
        if not value.endswith(closing) or (value[0] == "[" and value.count("~") != 1) or value == "~":
            raise HarborError("BAD_REQUEST", f"invalid query string value: {value}")
        conditions[key] = (value, _condition(value))
    return conditions


def matching(
    rows: Iterable[dict[str, Any]], conditions: dict[str, tuple[str, Condition]], known: frozenset[str]
) -> list[dict[str, Any]]:
    """The rows that meet the conditions on ``known`` keys; of other keys nothing is said, and nothing is filtered."""
    used = {key: condition for key, (_, condition) in conditions.items() if key in known}
    return [row for row in rows if all(condition(str(row.get(key, ""))) for key, condition in used.items())]


def sorted_rows(rows: list[dict[str, Any]], text: str, known: frozenset[str]) -> list[dict[str, Any]]:
    """Rows in the order of ``sort`` (``-push_time,name``); keys that are not known are ignored."""
    for key in reversed([part.strip() for part in text.split(",")]):
        name = key.removeprefix("-")
        if name in known:
            rows = sorted(rows, key=lambda row: str(row.get(name, "")), reverse=key.startswith("-"))
    return rows


def _condition(value: str) -> Condition:
    if value.startswith("~"):
        return lambda found: value[1:] in found
    if value[0] == "[" and value[-1] == "]":
        least, _, most = value[1:-1].partition("~")
        return lambda found: (not least or found >= least) and (not most or found <= most)
    if value[0] + value[-1] in ("{}", "()"):
        choices = {word.strip("'\"") for word in value[1:-1].split()}
        return lambda found: found in choices
    exact = value.strip("'\"")
    return lambda found: found == exact

"""YAML as ``sigs.k8s.io/yaml`` writes a decoded value: what AWS signs of a PackageBundle.

That library (1.4 to 1.6, one behaviour) renders JSON, reads this as YAML with go-yaml 2.4, and
has go-yaml write what it read. Hence two halves: what the *reader* makes of a document, and how
the *writer* lays out what came of it. ``signing.yaml_scalars`` holds how it writes one scalar.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from signing.canonical_json import DEPTH_LIMIT, Value, number, quote, well_formed
from signing.yaml_scalars import STEP, scalar, simple_key

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_back", "render"]

INTEGERS: Final = range(-(2**63), 2**64)
"""What the reader holds as an integer; beyond, a number is a float64 again."""
KEY_LIMIT: Final = 1024
"""Characters of a key in JSON, with its quotes, until which the reader finds its colon."""
COMPARED_LIMIT: Final = 10_000_000
"""Characters of keys that are compared in one document: keys with digits are each compared with all others."""
_DIGIT: Final = re.compile(r"\d")
_PER_COMPARISON: Final = 10
"""What a comparison costs besides its characters, in characters."""
_LONG_NUMBER: Final = re.compile(r"\d{12}")
"""May wrap to a number below zero, which then comes even before a character that is no digit."""

_INTEGER: Final = re.compile("-?[0-9]+")
_UNREADABLE: Final = re.compile("[\x7f-\x84\x86-\x9f\ufffe\uffff]")
_NEXT_LINES: Final = re.compile("(?<! ) *\x85[ \x85]*")
_DOCUMENT_MARK: Final = re.compile(r"\x85(?:---|\.\.\.)[ \x85]")


def render(value: Value) -> bytes:
    """Write ``value`` as ``yaml.Marshal`` of ``sigs.k8s.io/yaml`` does.

    Block style by two columns, lists not indented below their key, keys in natural order, a
    newline at the end.

    Raises:
        ContentError: that library refuses it (DEL and control characters beyond ASCII, a key of
            more than ``KEY_LIMIT`` characters), writes it now one way and now another (keys
            without an order), or it is nested deeper than ``DEPTH_LIMIT`` or has more keys with
            digits than can be compared.
    """
    read = _read_back(value, 0)
    if _compared(read) > COMPARED_LIMIT:
        raise ContentError("has more keys with digits in them than can be put in order")
    return (_collection(read, 0) if _is_block(read) else scalar(read, STEP, 0)).encode()


# The reader --------------------------------------------------------------------------------


def read_back(value: Value) -> Value:
    """What ``value`` is once it was written as YAML and read again.

    Raises:
        ContentError: that library refuses a character or a key of it, or it is nested deeper than
            ``DEPTH_LIMIT``.
    """
    return _read_back(value, 0)


def _read_back(value: Value, depth: int) -> Value:
    """Give what the YAML reader makes of ``value`` as JSON. Numbers become those it resolves them to."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number_read_back(number(value))
    if isinstance(value, str):
        return _text_read_back(well_formed(value))
    if depth >= DEPTH_LIMIT:
        raise ContentError(f"nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, list):
        return [_read_back(item, depth + 1) for item in value]
    return {_key_read_back(well_formed(key)): _read_back(item, depth + 1) for key, item in value.items()}


def _number_read_back(text: str) -> int | float:
    """Read digits as an integer when 64 bits hold it (so -0 becomes 0), and as a float64 otherwise."""
    if _INTEGER.fullmatch(text) and int(text) in INTEGERS:
        return int(text)
    return float(text)


def _text_read_back(text: str) -> str:
    """Fold U+0085, which JSON leaves raw and YAML takes for a line break, with the spaces around it."""
    if text.isascii() and "\x7f" not in text:
        return text
    if found := _UNREADABLE.search(text):
        raise ContentError(f"the character U+{ord(found[0]):04X} cannot be in a YAML document")
    if _DOCUMENT_MARK.search(text):
        raise ContentError("a document mark after U+0085 cannot be in a YAML document")
    return _NEXT_LINES.sub(lambda found: "\n" * (found[0].count("\x85") - 1) or " ", text)


def _key_read_back(key: str) -> str:
    if "\x85" in key or len(quote(key)) > KEY_LIMIT:
        raise ContentError(
            f"a key cannot be in a YAML document when it has more than {KEY_LIMIT} characters or U+0085: {key[:40]!r}"
        )
    return _text_read_back(key)


# The writer --------------------------------------------------------------------------------


def _is_block(value: Value) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _collection(value: Value, indent: int) -> str:
    """Write a list or an object that is not empty, its first line at the column where the caller is."""
    if isinstance(value, list):
        entries = [f"-{_beside(item, indent)}" for item in value]
    elif isinstance(value, dict):
        entries = [_member(key, value[key], indent) for key in _ordered(list(value))]
    return (" " * indent).join(entries)


def _member(key: str, value: Value, indent: int) -> str:
    written = simple_key(key)
    if written is None:
        return f"? {scalar(key, indent + STEP, indent + STEP)}{' ' * indent}:{_beside(value, indent)}"
    return f"{written}:{_below(value, indent, indent + len(written) + 1)}"


def _below(value: Value, indent: int, column: int) -> str:
    """Write the value of a simple key, ``column`` being where its colon ends."""
    if not _is_block(value):
        return f" {scalar(value, indent + STEP, column + 1)}"
    inner = _list_indent(indent) if isinstance(value, list) else indent + STEP
    return f"\n{' ' * inner}{_collection(value, inner)}"


def _list_indent(indent: int) -> int:
    """Lists stand at the column of their key."""
    return indent


def _beside(value: Value, indent: int) -> str:
    """Write what follows ``-``, or the colon of a complex key: collections begin on the same line."""
    if _is_block(value):
        return f" {_collection(value, indent + STEP)}"
    return f" {scalar(value, indent + STEP, indent + STEP)}"


# The order of keys -------------------------------------------------------------------------


def _ordered(keys: list[str]) -> list[str]:
    """Sort naturally. Among ASCII letters alone that is the order of code points, and far quicker.

    Numbers make go-yaml's comparison run in circles: 10 before 1a before 9 before 10. Which of them
    it writes first is then up to chance, so there is no canonical form and nothing to sign.
    """
    if all(key.isascii() and key.isalpha() for key in keys):
        return sorted(keys)
    if len(keys) > 1:
        _refuse_unsettled(keys)
    ordered = sorted(keys, key=functools.cmp_to_key(_compare))
    for one, other in itertools.combinations(_numbered(ordered), 2):
        if _compare(one, other) > 0:
            raise ContentError(f"keys like {one[:40]!r} and {other[:40]!r} have no order, and so no canonical form")
    return ordered


def _numbered(keys: list[str]) -> list[str]:
    """Keys that may be part of a circle."""
    wraps = any(map(_LONG_NUMBER.search, keys))
    return [key for key in keys if wraps or _DIGIT.search(key)]


def _compared(value: Value) -> int:
    """Estimate what putting all keys in order costs, in characters. It is done before any of it is."""
    if isinstance(value, list):
        return sum(map(_compared, value))
    if not isinstance(value, dict):
        return 0
    numbered = _numbered(list(value))
    sorting = _characters(value) * len(value).bit_length() if numbered else 0
    return sorting + _characters(numbered) * len(numbered) // 2 + sum(map(_compared, value.values()))


def _characters(keys: Iterable[str]) -> int:
    return sum(len(key) + _PER_COMPARISON for key in keys)


def _refuse_unsettled(keys: list[str]) -> None:
    """Refuse keys that Go and Python sort by different versions of Unicode: with letters and digits newer than 3.2."""
    for key in keys:
        for character in key if not key.isascii() else "":
            category = unicodedata.category(character)
            newer = unicodedata.ucd_3_2_0.category(character) == "Cn"
            if newer and (category in ("Cn", "Nd") or category.startswith("L")):
                what = f"U+{ord(character):04X}"
                raise ContentError(
                    f"the key {key[:40]!r} has no order: what {what} is depends on the version of Unicode"
                )


def _compare(left: str, right: str) -> int:
    """Compare as go-yaml's ``keyList.Less``: at the first difference digits count by their number, letters come last.

    The digit is Unicode's (Nd) and so is the letter; numbers wrap at 64 bits there.
    """
    at = next((index for index, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), None)
    if at is None:
        return len(left) - len(right)
    one, other = left[at], right[at]
    if one.isalpha() and other.isalpha():
        return -1 if one < other else 1
    if one.isalpha() or other.isalpha():
        return 1 if one.isalpha() else -1
    lead = _leading(left[:at]) if "0" in (one, other) else 0
    return -1 if (*_number_at(left, at, lead), one) < (*_number_at(right, at, lead), other) else 1


def _leading(before: str) -> int:
    """1 when a zero after ``before`` is within a number rather than a leading one."""
    return 1 if before.rstrip("0")[-1:].isdecimal() else 0


def _number_at(text: str, at: int, lead: int) -> tuple[int, int]:
    """Read the digits from ``at`` on behind ``lead``: the number, wrapped at 64 bits, and where they end."""
    end = at
    while end < len(text) and text[end].isdecimal():
        lead = lead * 10 + ord(text[end]) - ord("0")
        end += 1
    return (lead + 2**63) % 2**64 - 2**63, end

"""One scalar of YAML as go-yaml 2.4 writes it: which style, and how that style is written."""

from __future__ import annotations

import calendar
import math
import re
from typing import TYPE_CHECKING, Final

from signing.canonical_json import shortest

if TYPE_CHECKING:
    from signing.canonical_json import Value

__all__ = ["STEP", "scalar", "simple_key"]

STEP: Final = 2
"""Columns of one level."""
WIDTH: Final = 80
"""A space beyond this column becomes a line break."""
SIMPLE_KEY_LIMIT: Final = 128
"""Bytes of a key that stands on the line of its value."""
BYTE_ORDER_MARK: Final = "\ufeff"

_CASES: Final = (str.lower, str.capitalize, str.upper)
WORDS: Final = frozenset(
    {
        *(case(word) for word in ("y", "yes", "on", "true", "n", "no", "off", "false", "null") for case in _CASES),
        *(f"{sign}.{case('inf')}" for sign in ("", "+", "-") for case in _CASES),
        *(".nan", ".NaN", ".NAN", "~", ""),
    }
)
"""Plain words that read as a boolean, null or a float."""

ESCAPES: Final = {
    **{
        ord(character): f"\\{letter}"
        for character, letter in zip('\0\a\b\t\n\v\f\r\x1b"\\', '0abtnvfre"\\', strict=True)
    },
    0xA0: "\\_",
    0x2028: "\\L",
    0x2029: "\\P",
}
"""Code points with an escape of their own within double quotes (U+0085 has one too, but never gets here)."""

BREAKS: Final = "\n\u2028\u2029"
"""Line breaks that need no escape."""
UNPRINTABLE: Final = re.compile("[^\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
"""Only double quotes hold these: also tabs, carriage returns, and everything beyond 16 bits."""
SPACE_BEFORE_BREAK: Final = re.compile(f" [{BREAKS}]")
"""Only double quotes hold this,"""
SPACE_AFTER_BREAK: Final = re.compile(f"[{BREAKS}] ")
"""and this is in double quotes or a literal."""
MULTILINE: Final = re.compile("[\n\r\u2028\u2029]")
"""Keys with these are complex."""

MARKS: Final = ("---", "...")
"""A plain scalar must not begin like the start or the end of a document,"""
INDICATORS: Final = tuple("#,[]{}&*!|>'\"%@`")
"""nor with one of these,"""
BLANK_INDICATORS: Final = re.compile(r"[-?:](?: |\Z)")
"""nor with one of these before a space or the end,"""
INNER_INDICATORS: Final = re.compile(r":(?: |\Z)| #")
"""nor have these anywhere."""

_PLAINLY_PLAIN: Final = re.compile(r"[A-Za-z/](?:[A-Za-z0-9/._+=@-]|:(?=[A-Za-z0-9/]))*")
"""No space, nothing to escape, and by its first letter neither a number nor a date: 17 kB of base64 pass at once."""

_BINARY_SIGNED: Final = re.compile("0b([-+][01]+)")
_PREFIXED: Final = re.compile("([-+]?)0(?:x([0-9a-f]+)|o([0-7]+)|b([01]+))", re.IGNORECASE)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SEPARATOR: Final = re.compile("(?<=[0-9])_(?=[0-9])")
_BASE_60: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_CLOCK: Final = "([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?"
_TIMESTAMP: Final = re.compile(
    rf"([0-9]{{4}})-([0-9]{{1,2}})-([0-9]{{1,2}})(?:[Tt]{_CLOCK}(?:Z|[-+]([0-9]{{2}}):([0-9]{{2}}))| +{_CLOCK})?"
)
_BREAKS: Final = re.compile(f"([{BREAKS}]+)")
_LONE_SPACE: Final = re.compile("(?<=[^ ]) (?=[^ ])")
_ESCAPED: Final = re.compile(f'{UNPRINTABLE.pattern}|[{BREAKS}"\\\\]')
_ANYTHING: Final = re.compile(".", re.DOTALL)
_FIRST_SPACE: Final = re.compile("(?<=[^ ]) (?=.)", re.DOTALL)


def scalar(value: Value, indent: int, column: int) -> str:
    """Write a value that is no filled collection, from ``column`` on, its further lines at ``indent``.

    A newline ends it; a literal that ends with a line break of its own gets no second one.
    """
    match value:
        case None:
            text = "null"
        case bool():
            text = "true" if value else "false"
        case int():
            text = str(value)
        case float():
            text = floating(value)
        case str():
            text = _styled(value, indent, column)
        case list():
            text = "[]"
        case _:
            text = "{}"
    return text if text[-1] in BREAKS else f"{text}\n"


def floating(value: float) -> str:
    """Write a float as Go's ``%g`` without a precision: an exponent from 1e6 on, and below 1e-4."""
    decimal = shortest(value)
    return decimal.fixed() if -4 < decimal.point <= 6 else decimal.scientific(2)  # noqa: PLR2004


def simple_key(key: str) -> str | None:
    """Write a key to stand on the line of its value, or nothing when it has to be a complex one."""
    if MULTILINE.search(key) or len(key.encode()) > SIMPLE_KEY_LIMIT:
        return None
    return _styled(key, 0, None)


def _styled(text: str, indent: int, column: int | None) -> str:
    """Write a string in the style that go-yaml takes: literal, plain, single or double quotes.

    ``column`` is nothing where the scalar must stay on its line.
    """
    if _PLAINLY_PLAIN.fullmatch(text) and text not in WORDS:
        return text
    if needs_double_quotes(text):
        return _double(text, indent, column)
    if "\n" in text:
        return _literal(text, indent)
    return _folded(text, indent, column, _LONE_SPACE) if is_plain(text) else _single(text, indent, column)


# Which style -------------------------------------------------------------------------------


def needs_double_quotes(text: str) -> bool:
    """Whether no other style holds the text, or a plain one would not read as a string."""
    if UNPRINTABLE.search(text) or SPACE_BEFORE_BREAK.search(text):
        return True
    if "\n" in text:
        return text.endswith(" ")
    return resolves_to_another_type(text) or SPACE_AFTER_BREAK.search(text) is not None


def is_plain(text: str) -> bool:
    """Whether a text that does not need double quotes needs none at all."""
    return not (
        text != text.strip(" ")
        or _BREAKS.search(text)
        or text.startswith((*MARKS, *INDICATORS))
        or BLANK_INDICATORS.match(text)
        or INNER_INDICATORS.search(text)
    )


def resolves_to_another_type(text: str) -> bool:
    """Whether go-yaml reads the plain text as anything but a string, or believes others do (base 60)."""
    if text in WORDS:
        return True
    if text.startswith("."):
        return is_float(_SEPARATOR.sub("", text))
    if text[0] not in "+-0123456789":
        return False
    digits = text.replace("_", "")
    return is_timestamp(text) or is_integer(digits) or is_float(digits) or is_base_60(text)


def is_timestamp(text: str) -> bool:
    """Whether Go's ``time.Parse`` takes it in one of go-yaml's four layouts, day of the month and all."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return False
    year, month, day, *clocks = (int(number or 0) for number in found.groups())
    hour, minute, second, zone_hour, zone_minute, *spaced = clocks
    return (
        1 <= month <= 12  # noqa: PLR2004
        and 1 <= day <= calendar.monthrange(year, month)[1]
        and all(_is_clock(*clock) for clock in ((hour, minute, second), spaced))
        and zone_hour <= 24  # noqa: PLR2004
        and zone_minute <= 60  # noqa: PLR2004
    )


def _is_clock(hour: int, minute: int, second: int) -> bool:
    return hour < 24 and minute < 60 and second < 60  # noqa: PLR2004


def is_integer(digits: str) -> bool:
    """Whether Go's ``ParseInt`` or ``ParseUint`` takes it with a prefix; without one ``is_float`` takes it."""
    if signed := _BINARY_SIGNED.fullmatch(digits):
        return -(2**63) <= int(signed[1], 2) < 2**63
    found = _PREFIXED.fullmatch(digits)
    if found is None:
        return False
    sign, hexadecimal, octal, binary = found.groups()
    size = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(binary, 2)
    return size <= (2**63 if sign == "-" else 2**63 - 1 if sign == "+" else 2**64 - 1)


def is_float(digits: str) -> bool:
    """Whether it looks like a decimal number, and is not too large for a float64."""
    return _FLOAT.fullmatch(digits) is not None and math.isfinite(float(digits))


def is_base_60(text: str) -> bool:
    """Whether it looks like hours and minutes, which YAML 1.1 reads as a number."""
    return _BASE_60.fullmatch(text) is not None


# How a style is written --------------------------------------------------------------------


def _literal(text: str, indent: int) -> str:
    """Write ``|``, the hints, and the lines; empty lines get no indentation."""
    lines = "".join(piece if not piece or piece[0] in BREAKS else " " * indent + piece for piece in _BREAKS.split(text))
    return f"|{indentation_hint(text)}{chomping(text)}\n{lines}"


def indentation_hint(text: str) -> str:
    """Say how far a literal is indented whose first line does not show it."""
    return str(STEP) if text[0] == " " or text[0] in BREAKS else ""


def chomping(text: str) -> str:
    """Say what becomes of the line breaks at the end: there are none, one is kept, or all are."""
    if text[-1] not in BREAKS:
        return "-"
    return "+" if len(text) == 1 or text[-2] in BREAKS else ""


def _single(text: str, indent: int, column: int | None) -> str:
    """Write in single quotes, which are doubled within. Lines that follow U+2028 are indented."""
    first, *others = _BREAKS.split(text.replace("'", "''"))
    lines = [
        piece if not piece or piece[0] in BREAKS else " " * indent + _folded(piece, indent, indent, _LONE_SPACE)
        for piece in others
    ]
    beginning = _folded(first, indent, None if column is None else column + 1, _LONE_SPACE)
    return f"'{beginning}{''.join(lines)}'"


def _double(text: str, indent: int, column: int | None) -> str:
    """Write in double quotes. A text that begins with a byte order mark is escaped altogether."""
    escaped = (_ANYTHING if text.startswith(BYTE_ORDER_MARK) else _ESCAPED).sub(lambda found: escape(found[0]), text)
    return f'"{_folded(escaped, indent, None if column is None else column + 1, _FIRST_SPACE)}"'


def escape(character: str) -> str:
    """Write one character as an escape, in upper-case hexadecimal when it has none of its own."""
    code = ord(character)
    if code in ESCAPES:
        return ESCAPES[code]
    return f"\\x{code:02X}" if code <= 0xFF else f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"  # noqa: PLR2004


def _folded(text: str, indent: int, column: int | None, spaces: re.Pattern[str]) -> str:
    """Break a text that begins at ``column`` at those ``spaces`` that lie beyond ``WIDTH``.

    A space that remains at the start of a line, within double quotes alone, gets a backslash.
    """
    if column is None or column + len(text) <= WIDTH:
        return text
    lines, start = [], 0
    for found in spaces.finditer(text):
        if column + found.start() - start > WIDTH:
            lines.append(text[start : found.start()])
            start = found.end()
            column = indent + (text[start] == " ")
    first, *others = [*lines, text[start:]]
    return "".join([first, *(f"\n{' ' * indent}{continued(line)}" for line in others)])


def continued(line: str) -> str:
    """Keep the space at the start of a line from being folded away."""
    return f"\\{line}" if line.startswith(" ") else line

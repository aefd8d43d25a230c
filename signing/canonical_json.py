"""JSON as Go's ``encoding/json`` writes a decoded value: what AWS signs of a Bundles and of an EKS-D Release."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from bundlectl.errors import ContentError

__all__ = ["DEPTH_LIMIT", "Shortest", "Value", "number", "quote", "render", "shortest", "well_formed"]

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
"""A decoded document. Go decodes every number to a float64, and so are all numbers taken here."""

DEPTH_LIMIT: Final = 100
"""Levels of lists and objects; release documents have a dozen. It keeps the recursion bounded."""

ESCAPES: Final = {
    **{code: f"\\u{code:04x}" for code in (*range(0x20), 0x2028, 0x2029, *b"<>&")},
    **{ord(character): f"\\{letter}" for character, letter in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)},
}
"""Code points that are written as an escape. ``<``, ``>`` and ``&`` are among them: Go guards HTML unasked."""

_FIXED_UNTIL: Final = 21
"""Powers of ten: from 1e21 on numbers have an exponent, as in JavaScript."""
_FIXED_FROM: Final = -5
"""Likewise, below 1e-6."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Shortest(NamedTuple):
    """The shortest decimal that reads back as one float64: 0.DIGITS times ten to the power of ``point``."""

    sign: str
    digits: str
    point: int

    def fixed(self) -> str:
        """Write it without an exponent."""
        if self.point <= 0:
            return f"{self.sign}0.{'0' * -self.point}{self.digits}"
        whole, fraction = self.digits[: self.point].ljust(self.point, "0"), self.digits[self.point :]
        return f"{self.sign}{whole}.{fraction}" if fraction else f"{self.sign}{whole}"

    def scientific(self, exponent_digits: int) -> str:
        """Write it with an exponent of at least so many digits and always a sign."""
        fraction = f".{self.digits[1:]}" if len(self.digits) > 1 else ""
        return f"{self.sign}{self.digits[0]}{fraction}e{self.point - 1:+0{exponent_digits + 1}d}"


def render(value: Value) -> bytes:
    """Write ``value`` as ``json.Marshal`` does: no blanks, keys sorted by their UTF-8 bytes, no last newline.

    Raises:
        ContentError: a number that is no float64, or lists and objects deeper than ``DEPTH_LIMIT``.
    """
    return _text(value, 0).encode()


def _text(value: Value, depth: int) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, str):
        return quote(value)
    if depth >= DEPTH_LIMIT:
        raise ContentError(f"nested deeper than {DEPTH_LIMIT} levels")
    if isinstance(value, list):
        return f"[{','.join(_text(item, depth + 1) for item in value)}]"
    # UTF-8 sorts as code points do.
    members = sorted({well_formed(key): item for key, item in value.items()}.items(), key=lambda member: member[0])
    return f"{{{','.join(f'{quote(key)}:{_text(item, depth + 1)}' for key, item in members)}}}"


def quote(text: str) -> str:
    """Write a string. DEL and everything beyond ASCII but the line separators stays as it is."""
    return f'"{well_formed(text).translate(ESCAPES)}"'


def well_formed(text: str) -> str:
    """Put U+FFFD for each lone surrogate, as Go's decoder does."""
    return _SURROGATE.sub("\ufffd", text)


def number(value: float) -> str:
    """Write a number as the float64 that Go decodes it to.

    Raises:
        ContentError: too large for a float64, infinite, or not a number.
    """
    decimal = shortest(value)
    return decimal.fixed() if _FIXED_FROM <= decimal.point <= _FIXED_UNTIL else decimal.scientific(1)


def shortest(value: float) -> Shortest:
    """Find the shortest decimal that reads back as the float64 nearest to ``value``.

    Raises:
        ContentError: too large for a float64, infinite, or not a number.
    """
    try:
        real = float(value)
    except OverflowError as error:
        raise ContentError("a number is too large for a float64") from error
    if not math.isfinite(real):
        raise ContentError(f"{real} is not a number that JSON knows")
    _, digits, exponent = Decimal(repr(real)).normalize().as_tuple()
    sign = "-" if math.copysign(1, real) < 0 else ""
    return Shortest(sign, "".join(map(str, digits)), len(digits) + int(exponent))

"""Scalars as Go reads them: what ``go.yaml.in/yaml/v2`` makes of text without quotes, and how text is made of that."""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, TypeAlias

from bundles.scalars import NULLS, is_true, yaml_type

__all__ = ["GoScalar", "float32_text", "resolve", "rfc3339"]

GoScalar: TypeAlias = str | int | float | bool | None

_BEGINS_NUMBER: Final = frozenset("0123456789+-.")
_INTEGER: Final = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT_FIRST: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?")
_BINARY: Final = re.compile(r"(-?)0b([+-]?[01]+)")
_SPECIAL: Final = {
    **{f"{sign}{text}": math.inf for sign in ("", "+") for text in (".inf", ".Inf", ".INF")},
    **{f"-{text}": -math.inf for text in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_UINT64: Final = (1 << 64) - 1
_SINGLE_INFINITY: Final = 0x7F800000
_SMALLEST_EXPONENT: Final = -4
_LARGEST_EXPONENT: Final = 6
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,][0-9]+)?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_ZONE_HOURS: Final = 24
_ZONE_MINUTES: Final = 60


def resolve(text: str) -> GoScalar:
    """What a scalar without quotes is: nothing, a truth, a number, or text.

    Underscores in numbers are dropped, a leading zero means octal, base 60 is unknown, and what
    is beyond the range of a double stays text. Timestamps stay text (``resolve.go``, and
    ``decode.go`` where the target is an interface).
    """
    if text in NULLS:
        return None
    if text[0] not in _BEGINS_NUMBER:
        return is_true(text) if yaml_type(text) == "bool" else text
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> int | float | None:
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] == ".":
        return _finite(text) if _POINT_FIRST.fullmatch(text) else None
    plain = text.replace("_", "")
    number: int | float | None = _integer(plain)
    if number is None and _FLOAT.fullmatch(plain):
        number = _finite(plain)
    return _signed_binary(plain) if number is None else number


def _integer(plain: str) -> int | None:
    match = _INTEGER.fullmatch(plain)
    if match is None:
        return None
    sign, hexadecimal, binary, octal, decimal = match.groups()
    if hexadecimal:
        value = int(hexadecimal, 16)
    elif binary:
        value = int(binary, 2)
    elif octal:
        value = int(octal, 8)
    else:
        value = _bounded(decimal)
    signed = -value if sign == "-" else value
    if _INT64[0] <= signed <= _INT64[1] or (not sign and signed <= _UINT64):
        return signed
    return None


def _bounded(digits: str) -> int:
    """A decimal number; one too long for 64 bits is as good as any other of those."""
    return int(digits) if len(digits) <= len(str(_UINT64)) else _UINT64 + 1


def _signed_binary(plain: str) -> int | None:
    """A second sign after ``0b`` passes, for the digits are parsed by themselves there."""
    match = _BINARY.fullmatch(plain)
    if match is None or (match[1] and match[2][0] in "+-"):
        return None
    value = int(match[1] + match[2], 2)
    return value if _INT64[0] <= value <= (_INT64[1] if match[1] or match[2][0] in "+-" else _UINT64) else None


def _finite(text: str) -> float | None:
    value = float(text)
    return None if math.isinf(value) else value


def float32_text(value: float) -> str:
    """Go's ``strconv.FormatFloat(value, 'g', -1, 32)``, which makes text of ``1.30`` where a field wants text.

    The shortest decimal that is nearest to the same single-precision number; ``sigs.k8s.io/yaml``
    says 32 though the number is a double.
    """
    if math.isnan(value):
        return "NaN"
    try:
        bits: int = struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        bits = _SINGLE_INFINITY | (1 << 31 if value < 0 else 0)
    sign = "-" if bits >> 31 else ""
    magnitude = bits & 0x7FFFFFFF
    if magnitude >= _SINGLE_INFINITY:
        return f"{sign or '+'}Inf"
    if magnitude == 0:
        return f"{sign}0"
    digits, point = _shortest(magnitude)
    return sign + _general(digits, point)


def _shortest(bits: int) -> tuple[str, int]:
    """Digits and the place of the decimal point before them: ``0.DIGITS`` times ten to the ``point``."""
    exponent, mantissa = bits >> 23, bits & 0x7FFFFF
    if exponent:
        mantissa |= 1 << 23
    power = max(exponent, 1) - 150
    unit = Fraction(2) ** power
    exact = mantissa * unit
    above = exact + unit / 2
    # Just above a power of two the neighbour below is half as far.
    narrow = mantissa == 1 << 23 and exponent > 1
    below = exact - unit / (4 if narrow else 2)
    inclusive = mantissa % 2 == 0
    point = len(str(exact.numerator)) - len(str(exact.denominator))
    while exact >= Fraction(10) ** point:
        point += 1
    while exact < Fraction(10) ** (point - 1):
        point -= 1
    for length in range(1, 10):
        scale = Fraction(10) ** (point - length)
        floor = exact // scale
        fitting = [
            candidate
            for candidate in (floor, floor + 1)
            if below < candidate * scale < above or (inclusive and candidate * scale in (below, above))
        ]
        if fitting:
            best = min(fitting, key=lambda candidate: (abs(candidate * scale - exact), candidate % 2))
            text = str(best)
            return text.rstrip("0"), point + len(text) - length
    raise ArithmeticError("nine digits tell any single-precision number")  # pragma: no cover


def _general(digits: str, point: int) -> str:
    """``%g`` of shortest digits: an exponent below 1e-4 and from 1e6 on."""
    exponent = point - 1
    if not _SMALLEST_EXPONENT <= exponent < _LARGEST_EXPONENT:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{digits[0]}{fraction}e{exponent:+03d}"
    if point <= 0:
        return f"0.{'0' * -point}{digits}"
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def rfc3339(text: str) -> datetime | None:
    """A time as Go's ``time.Parse(time.RFC3339, …)`` reads it, in UTC; None when it reads none.

    Go takes an hour of one digit, a comma before fractions, and zones up to ``+24:60``. The year
    0, which Go knows, is refused.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    *fields, sign, zone_hours, zone_minutes = match.groups()
    year, month, day, hour, minute, second = map(int, fields)
    hours, minutes = int(zone_hours or 0), int(zone_minutes or 0)
    if hours > _ZONE_HOURS or minutes > _ZONE_MINUTES:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError):
        return None

"""Scalars as Go reads and writes them."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.goscalars import float32_text, resolve, rfc3339


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.30, "1.3"),
        (1.0, "1"),
        (100000.0, "100000"),
        (999999.0, "999999"),
        (1e6, "1e+06"),
        (1234567.0, "1.234567e+06"),
        (16777217.0, "1.6777216e+07"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (0.00012, "0.00012"),
        (1e-5, "1e-05"),
        (1.5e-5, "1.5e-05"),
        (1.33, "1.33"),
        (3.4028235e38, "3.4028235e+38"),
        (3.4028236e38, "+Inf"),
        (1e300, "+Inf"),
        (-1e300, "-Inf"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (0.0, "0"),
        (-0.0, "-0"),
        (-1.5, "-1.5"),
        (1e-45, "1e-45"),
        (1e-46, "0"),
        (1.1754942e-38, "1.1754942e-38"),
        (1.1754944e-38, "1.1754944e-38"),
        (2.0**-126, "1.1754944e-38"),
        (2.0**24, "1.6777216e+07"),
        (8388608.0, "8.388608e+06"),
        (1e10, "1e+10"),
        (123456789012.0, "1.2345679e+11"),
        # Just above a power of two the neighbours are not equally far.
        (33554432.0, "3.3554432e+07"),
        (9.860761315262648e-32, "9.8607613e-32"),
        (1.2379400392853803e27, "1.2379401e+27"),
        # Half way to a neighbour is near enough for an even mantissa.
        (279347584.0, "2.793476e+08"),
        (75835296.0, "7.58353e+07"),
        (1068380032.0, "1.06838e+09"),
    ],
)
def test_a_number_becomes_the_text_that_go_makes_of_it(value: float, text: str) -> None:
    assert float32_text(value) == text


def single(value: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_text_is_the_shortest_that_reads_as_the_same_single(value: float) -> None:
    text = float32_text(value)
    assert single(float(text)) == value
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    if len(digits) > 1:
        # With one digit fewer no text reads as the same number.
        shorter = f"{value:.{len(digits) - 2}e}"
        assert single(float(shorter)) != value or math.isinf(single(float(shorter)))


@settings(deadline=None)
@given(st.floats(min_value=-3e38, max_value=3e38))
def test_a_double_has_the_text_of_its_nearest_single(value: float) -> None:
    assert float32_text(value) == float32_text(single(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, None) for text in ("", "~", "null", "Null", "NULL")),
        *((text, True) for text in ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE")),
        *((text, False) for text in ("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE")),
        *(
            (text, text)
            for text in ("yEs", "tRue", "nULL", "0x", "0b", "1-33", "v1.30", "1:20", "2026-07-28", "-", "+")
        ),
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("-0x1F", -31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("08", 8.0),
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("18446744073709551616", 18446744073709551616.0),
        ("1.30", 1.3),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("1e999", "1e999"),
        (".inf", math.inf),
        ("+.Inf", math.inf),
        ("-.INF", -math.inf),
        ("1.2.3", "1.2.3"),
        ("1e", "1e"),
        ("0b-1", -1),
        ("sha256:1", "sha256:1"),
    ],
)
def test_text_without_quotes_is_what_go_takes_it_for(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one_of_its_own() -> None:
    for text in (".nan", ".NaN", ".NAN"):
        found = resolve(text)
        assert isinstance(found, float)
        assert math.isnan(found)


def test_a_million_digits_cost_nothing() -> None:
    assert resolve("1" * 1_000_000) == "1" * 1_000_000


@settings(deadline=None)
@given(st.integers(min_value=-(2**63), max_value=2**64 - 1))
def test_any_integer_of_64_bits_is_one(value: int) -> None:
    assert resolve(str(value)) == value
    assert isinstance(resolve(str(value)), int)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_something(text: str) -> None:
    value = resolve(text)
    if isinstance(value, str):
        assert value == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-09-30T01:02:03Z", datetime(2025, 9, 30, 1, 2, 3, tzinfo=UTC)),
        ("2025-09-30T1:02:03Z", datetime(2025, 9, 30, 1, 2, 3, tzinfo=UTC)),
        ("2025-09-30T01:02:03.999Z", datetime(2025, 9, 30, 1, 2, 3, tzinfo=UTC)),
        ("2025-09-30T01:02:03,5Z", datetime(2025, 9, 30, 1, 2, 3, tzinfo=UTC)),
        ("2025-09-30T01:02:03+02:30", datetime(2025, 9, 29, 22, 32, 3, tzinfo=UTC)),
        ("2025-12-31T23:02:03-02:00", datetime(2026, 1, 1, 1, 2, 3, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2025-02-29T00:00:00Z", None),
        ("2025-13-01T00:00:00Z", None),
        ("2025-01-01T24:00:00Z", None),
        ("2025-01-01T00:00:60Z", None),
        ("2025-01-01 00:00:00Z", None),
        ("2025-01-01T00:00:00", None),
        ("2025-01-01T00:00:00z", None),
        ("2025-01-01T00:00:00+25:00", None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("٢٠٢٥-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_time_is_what_go_reads_as_rfc_3339(text: str, moment: datetime | None) -> None:
    assert rfc3339(text) == moment

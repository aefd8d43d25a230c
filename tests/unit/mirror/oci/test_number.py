from __future__ import annotations

import pytest

from mirror.oci.number import read_number


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_digits_are_a_number(text: str, number: int) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "1\n", "²", "٣", "1" * 19, "9" * 5000])
def test_what_python_would_read_otherwise_or_not_at_all_is_none(text: str) -> None:
    assert read_number(text) is None

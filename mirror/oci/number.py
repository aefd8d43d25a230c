"""Whole numbers in text that somebody else wrote."""

from __future__ import annotations

from typing import Final

__all__ = ["read_number"]

_DIGITS: Final = 18
"""What fits into 64 bits. Python refuses thousands of digits, and takes what other alphabets count with."""


def read_number(text: str) -> int | None:
    """A number of ASCII digits, without a sign; None where ``text`` is none, or one that nobody means."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None

"""What a scalar without quotes means to readers of YAML 1.1, as Go's sigs.k8s.io/yaml resolves it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

__all__ = ["NULLS", "TAG_DIRECTIVE", "YamlType", "is_true", "yaml_type"]

YamlType: TypeAlias = Literal["null", "bool", "int", "float", "timestamp", "text"]

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
"""What is nothing when written without quotes."""

TAG_DIRECTIVE: Final = re.compile(rb"(?:\A|[\n\r]|\xc2\x85|\xe2\x80[\xa8\xa9])(?:\xef\xbb\xbf)?%TAG\b")
"""A directive that libyaml compares with each one before it: a megabyte of them takes it minutes."""
_TRUE: Final = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"})
_FALSE: Final = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"})
_MAYBE: Final = frozenset("0123456789+-.")
_INT: Final = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|0[bB][01_]+|[0-9][0-9_]*)")
_FLOAT: Final = re.compile(
    r"[-+]?(?:(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
)
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?")


@lru_cache(maxsize=4096)
def yaml_type(text: str) -> YamlType:
    """Tell the type that readers of YAML 1.1 give to ``text`` written without quotes.

    Source: the resolution tables of go.yaml.in/yaml/v2, and base-60 numbers of YAML 1.1 beside
    them, since the readers that still know those must not understand something else than we do.
    """
    if text in NULLS:
        return "null"
    if text[0] not in _MAYBE:
        return "bool" if text in _TRUE or text in _FALSE else "text"
    if _INT.fullmatch(text):
        return "int"
    if _FLOAT.fullmatch(text):
        return "float"
    return "timestamp" if _TIMESTAMP.fullmatch(text) else "text"


def is_true(text: str) -> bool:
    """Whether a scalar of type ``bool`` is true."""
    return text in _TRUE

"""helm's record of a revision, of which little is wanted: read without making objects of all that it says.

A chart's record is some megabytes of JSON; one that was made up unpacks from 50 KB to a gigabyte of objects.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bundlectl.errors import ContentError

__all__ = ["Record", "read_record"]

_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of JSON. What helm packs fits into a Secret of 1 MiB."""
_VALUES: Final = 1_000_000
"""What may be in a part of it that is passed over; charts have some thousand files and values."""
_STRING: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_KEY: Final = re.compile(rf"\s*({_STRING})\s*:\s*")
_TOKEN: Final = re.compile(rf"{_STRING}|[{{}}\[\]\"]", re.DOTALL)
"""A lone quote, too: it would be looked for the end of it from each quote behind it again."""
_PLAIN: Final = re.compile(rf"{_STRING}|[^\s,{{}}\[\]\"]+", re.DOTALL)
_NEXT: Final = re.compile(r"\s*([,}])")
_BEGIN: Final = re.compile(r"\s*\{\s*")
_END: Final = re.compile(r"\s*\}")
_DEPTHS: Final = {"{": 1, "[": 1, "}": -1, "]": -1}

_Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Record:
    """How helm describes the revision, what its chart is called, and what was applied, as YAML."""

    description: str = ""
    chart: str = ""
    manifest: str = ""


def read_record(secret: dict[str, Any], name: str) -> Record:
    """Read the release in a Secret: base64 of base64 of the gzip of JSON.

    Args:
        secret: the Secret.
        name: of the release, for messages.

    Raises:
        ContentError: not that, or too large.
    """
    try:
        packed = base64.b64decode(base64.b64decode(str((secret.get("data") or {}).get("release", ""))))
        unpacker = zlib.decompressobj(wbits=47)
        text = unpacker.decompress(packed, _LIMIT).decode()
        if not unpacker.eof:
            raise ValueError("it is cut short, or larger than the limit")  # noqa: TRY301 -- told like the others
        parts = _members(text, 0)
        metadata = _inside(text, parts.get("chart")).get("metadata")
        return Record(
            description=_text(text, _inside(text, parts.get("info")).get("description")),
            chart=_text(text, _inside(text, metadata).get("name")),
            manifest=_text(text, parts.get("manifest")),
        )
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ContentError(
            "helm's record of the release cannot be read", artifact=name, hint="`helm history` shows what there is"
        ) from error


def _text(text: str, span: _Span | None) -> str:
    """The text that is there; empty where it is something else."""
    found = str(json.loads(text[slice(*span)])) if span and text[span[0]] == '"' else ""
    # Half a pair of surrogates could be written nowhere.
    return found.encode("utf-8", "replace").decode()


def _inside(text: str, span: _Span | None) -> dict[str, _Span]:
    return _members(text, span[0]) if span and text[span[0]] == "{" else {}


def _members(text: str, start: int) -> dict[str, _Span]:
    """Where the values of the object are that begins at ``start``; as helm reads it, the last of one name counts.

    Raises:
        ValueError: it is not one, or malformed.
    """
    begin = _BEGIN.match(text, start)
    if begin is None:
        raise ValueError("not an object")
    found: dict[str, _Span] = {}
    at = begin.end()
    while not (_END.match(text, at) and not found):
        key = _KEY.match(text, at)
        if key is None:
            raise ValueError("a name is missing")
        end = _end_of_value(text, key.end())
        found[json.loads(key[1])] = key.end(), end
        after = _NEXT.match(text, end)
        if after is None:
            raise ValueError("a value does not end")
        if after[1] == "}":
            break
        at = after.end()
    return found


def _end_of_value(text: str, start: int) -> int:
    plain = _PLAIN.match(text, start)
    if plain is not None:
        return plain.end()
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(text, start)):
        depth += _DEPTHS.get(token[0], 0)
        if depth <= 0:
            return token.end()
        if token[0] == '"' or count > _VALUES:
            raise ValueError("a text does not end, or it has too many values")
    raise ValueError("a value does not end")

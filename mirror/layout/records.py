"""Lines of the log of refs: encoding, decoding, and what a torn or damaged log still says (ADR 1)."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mirror.oci.manifest import canonical_json

__all__ = ["OPERATIONS", "Record", "Scan", "decode_line", "encode_line", "header", "scan"]

Record: TypeAlias = dict[str, Any]
"""One record: ``op``, ``sequence`` and the fields of that op (the table of ADR 1)."""

OPERATIONS: Final = frozenset({"log", "tag", "keep", "refer", "untag", "forget", "restore"})

_HEAD: Final = b'{"crc":"'
_MIDDLE: Final = b'","record":'
_BODY: Final = len(_HEAD) + 8 + len(_MIDDLE)


def encode_line(record: Record) -> bytes:
    """Render a record as its line, newline included."""
    body = canonical_json(record)
    return b"%s%08x%s%s}\n" % (_HEAD, zlib.crc32(body), _MIDDLE, body)


def decode_line(line: bytes) -> Record | None:
    """Read a line (without its newline); None when it is torn or damaged."""
    if line[: len(_HEAD)] != _HEAD or line[_BODY - len(_MIDDLE) : _BODY] != _MIDDLE or line[-1:] != b"}":
        return None
    body = line[_BODY:-1]
    if line[len(_HEAD) : len(_HEAD) + 8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if _is_record(record) else None


def header(generation: str) -> Record:
    """The first record of a log."""
    return {"op": "log", "generation": generation, "sequence": 0}


def _is_record(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("op"), str)
        and isinstance(value.get("sequence"), int)
        and not isinstance(value["sequence"], bool)
    )


@dataclass(frozen=True, slots=True)
class Scan:
    """What a stretch of log says.

    ``end`` is the length in bytes up to the end of the last valid record; what follows is torn, or
    still being written. ``damaged`` counts invalid lines and gaps before that end.
    """

    records: tuple[Record, ...]
    end: int
    damaged: int


def scan(data: bytes, *, sequence: int) -> Scan:
    """Read the valid records of ``data``.

    Args:
        data: log from the end of a valid record, or from its start.
        sequence: the number that the first record should have.
    """
    records: list[Record] = []
    end = damaged = bad = start = 0
    while (newline := data.find(b"\n", start)) >= 0:
        line = data[start:newline]
        start = newline + 1
        record = decode_line(line)
        if record is None:
            bad += 1
            # A hole that swallowed newlines ends in the middle of a line: what follows may be whole.
            # No text within a record can look like a head, for its quotes would be escaped.
            record = decode_line(line[max(line.rfind(_HEAD), 0) :])
        if record is None:
            continue
        # A hole may swallow newlines, so a gap in the numbers is damage even where no line looks bad.
        damaged += bad or int(record["sequence"] != sequence)
        bad = 0
        sequence = record["sequence"] + 1
        records.append(record)
        end = start
    return Scan(tuple(records), end, damaged)

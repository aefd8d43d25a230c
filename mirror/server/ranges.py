"""``Range``, ``Content-Range`` and ``If-None-Match`` (RFC 9110 sections 13, 14; distribution-spec, "Chunked")."""

from __future__ import annotations

import re
from typing import Final

from mirror.server.message import RefusedError

__all__ = ["chunk_range", "matches_etag", "wanted_range"]

_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_CHUNK: Final = re.compile(r"(?:bytes )?([0-9]{1,18})-([0-9]{1,18})(?:/(?:[0-9]{1,18}|\*))?")


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """Read the ``Range`` header of a request for something of ``size`` bytes.

    Returns:
        Offset and length, or None when the whole is to be sent: no header, another unit, several
        ranges (which a server may ignore).

    Raises:
        RefusedError: 416, it asks for nothing that exists.
    """
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        start, end = size - length, size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
    if start >= end:
        raise RefusedError(
            416,
            "SIZE_INVALID",
            f"nothing of {size} bytes is in that range",
            headers=[("Content-Range", f"bytes */{size}")],
        )
    return start, end - start


def chunk_range(header: str) -> tuple[int, int] | None:
    """Read the ``Content-Range`` of an upload: ``start-end``, both included, no unit.

    Returns:
        Offset and length, None without the header. RFC 9110's own form is understood too.

    Raises:
        RefusedError: 400, malformed.
    """
    if not header:
        return None
    match = _CHUNK.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise RefusedError(400, "BLOB_UPLOAD_INVALID", "Content-Range is not START-END")
    return int(match[1]), int(match[2]) - int(match[1]) + 1


def matches_etag(header: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names ``etag`` (weak comparison)."""
    if not header:
        return False
    if header.strip() == "*":
        return True
    return any(candidate.strip().removeprefix("W/") == etag for candidate in header.split(","))

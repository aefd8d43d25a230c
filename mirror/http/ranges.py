"""Parts of files: asking for them, and checking what came (``wire.md`` 2.2 item 15)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from mirror.http.addresses import shown

if TYPE_CHECKING:
    from mirror.http.response import BodyReader, Response

__all__ = ["range_header", "ranged_reader"]

_CONTENT_RANGE: Final = re.compile(r"bytes\s+([0-9]{1,18})-[0-9]{1,18}/(?:[0-9]{1,18}|\*)", re.IGNORECASE)

_STRONG: Final = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


def range_header(offset: int, size: int | None) -> dict[str, str]:
    """The ``Range`` header for ``size`` bytes from ``offset``; none for a whole file."""
    if not offset and size is None:
        return {}
    return {"Range": f"bytes={offset}-{'' if size is None else offset + size - 1}"}


def ranged_reader(response: Response, offset: int, size: int | None = None) -> BodyReader | None:
    """The body of an answer to a ranged request, standing at ``offset``; None when it is a refusal.

    A server may ignore ``Range`` and send everything (Harbor's proxy cache does, the first
    time): then what we have is read past.

    Raises:
        ContentError: it sent another range than it was asked for.
        TransportError: the connection broke.
    """
    reader = response.reader()
    if response.status == 206:  # noqa: PLR2004
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != offset:
            response.close()
            raise ContentError(
                f"asked from byte {offset}, the server sent {response.headers.get('Content-Range', 'no range')[:80]!r}",
                artifact=shown(response.url),
            )
    elif response.status == 200:  # noqa: PLR2004
        reader.skip(offset)
    elif response.status == 416 and response.headers.get("Content-Range", "").endswith(f"/{offset}"):  # noqa: PLR2004
        size = 0
    else:
        return None
    if size is not None:
        reader.limit(size)
    tag = response.headers.get("ETag", "")
    reader.etag = tag if _STRONG.fullmatch(tag) else ""
    return reader

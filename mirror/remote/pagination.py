"""Lists that come in pages (``wire.md`` 2.2 items 5 and 13)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from mirror.http.response import Response

    class Getter(Protocol):
        """Gets one page, and resolves the link to the next."""

        def get(self, url: str, /) -> Response | None: ...

        def resolve(self, base: str, link: str, /) -> str: ...


__all__ = ["next_link", "pages"]

PAGE_LIMIT: Final = 32 * 1024 * 1024
_PAGES: Final = 10_000
_LINK: Final = re.compile(r'<([^>]*)>((?:\s*;\s*[^\s=;,]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]*))?)*)')
_REL: Final = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))', re.IGNORECASE)


def next_link(header: str) -> str | None:
    """The target with ``rel="next"`` of a ``Link`` header (RFC 8288)."""
    for target, parameters in _LINK.findall(header[: 64 * 1024]):
        relation = _REL.search(parameters)
        if relation and "next" in (relation[1] or relation[2] or "").lower().split():
            return str(target)
    return None


def pages(getter: Getter, url: str) -> Iterator[dict[str, Any]]:
    """Get a list page by page, following ``Link``.

    Args:
        getter: sends the requests; None in place of an answer ends the list.
        url: of the first page.

    Raises:
        ContentError: a page is not a JSON object, or the pages go in a circle.
    """
    seen: set[str] = set()
    for _ in range(_PAGES):
        if url in seen:
            break
        seen.add(url)
        response = getter.get(url)
        if response is None:
            return
        try:
            document = json.loads(response.read(PAGE_LIMIT))
        except (ValueError, RecursionError) as error:
            raise ContentError("the registry's list is not JSON", artifact=url.partition("?")[0]) from error
        if not isinstance(document, dict):
            raise ContentError("the registry's list is not a JSON object", artifact=url.partition("?")[0])
        yield document
        link = next_link(response.headers.get("Link", ""))
        if not link:
            return
        url = getter.resolve(response.url, link)
    raise ContentError("the registry's list has no end", artifact=url.partition("?")[0])

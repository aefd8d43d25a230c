"""``file:URL``: one file."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bundlectl.errors import UsageError
from bundles.artifact import Artifact
from bundles.release import Contents
from bundles.sources.context import Loaded, check_url

if TYPE_CHECKING:
    from bundles.sources.context import SourceContext

__all__ = ["read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Name one file; nothing is fetched.

    Raises:
        UsageError: not an ``https`` (or ``http``) URL.
    """
    del context
    url = check_url(rest)
    parts = urlsplit(url)
    if parts.fragment:
        raise UsageError("the URL of a file has no fragment", artifact=url, hint="leave out what stands after #")
    artifact = Artifact(
        type="file",
        name=unquote(parts.path.rpartition("/")[2]) or parts.netloc,
        reference=url,
        found_in=frozenset({text}),
        trust="resolved",
    )
    contents = Contents(artifacts=(artifact,), excluded=(), named=())
    return Loaded(source=text, kind="file", name=url, contents=contents)

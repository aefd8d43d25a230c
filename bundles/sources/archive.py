"""``archive:PATH``: an export archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundles.sources.context import Loaded, SourceContext

__all__ = ["read"]


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Refuse: this version of bundlectl reads no archives.

    Raises:
        UsageError: always.
    """
    del rest, context
    raise UsageError(
        "this version of bundlectl cannot read archives yet", artifact=text, hint="name the store: store:DIR"
    )

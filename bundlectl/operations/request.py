"""What a command asks for, as values."""

from __future__ import annotations

from dataclasses import dataclass, field

from bundles.selection import Selection
from bundles.sources.context import RELEASE_URL

__all__ = ["RELEASE_URL", "SourceRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """Sources, and how they are read.

    ``verify`` is the text of ``--verify``, or ``default``. ``follow`` None means what the
    command does by itself (``cli.md``, "A document that names others").
    """

    sources: tuple[str, ...]
    selection: Selection = field(default_factory=Selection)
    verify: str = "default"
    follow: bool | None = None
    release_url: str = RELEASE_URL
    package_registry: str | None = None
    package_image_registry: str | None = None

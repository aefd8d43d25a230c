"""Platforms (OCI image-spec, image-index.md, "platform")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Platform"]


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """``os/architecture[/variant]``; ``os_version`` only where an index states it (Windows)."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64`` or ``linux/arm/v7``.

        Raises:
            UsageError: not of that form.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise UsageError(
                f"{text[:100]!r} is not a platform", hint="write OS/ARCHITECTURE[/VARIANT], such as linux/amd64"
            )
        return cls(*parts)

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Platform:
        """Read the ``platform`` object of a descriptor; fields that are not text count as empty."""

        def text(key: str) -> str:
            found = value.get(key)
            return found if isinstance(found, str) else ""

        return cls(text("os"), text("architecture"), text("variant"), text("os.version"))

    def matches(self, wanted: Platform) -> bool:
        """Tell whether this platform is ``wanted``; a variant or version not asked for is any."""
        return (
            (self.os, self.architecture) == (wanted.os, wanted.architecture)
            and wanted.variant in ("", self.variant)
            and wanted.os_version in ("", self.os_version)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

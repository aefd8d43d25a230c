"""What an export wrote, or would write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bundles.inventory import NamedFile
    from mirror.oci.digest import Digest

__all__ = ["ExportReport", "VolumeReport"]


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """A volume: ``written`` now, ``present`` before, ``planned`` by a dry run, or ``left`` for another medium."""

    number: int
    name: str
    size: int
    state: Literal["written", "present", "planned", "left"]
    sha256: Digest | None = None

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "number": self.number,
            "name": self.name,
            "size": self.size,
            "state": self.state,
            "sha256": self.sha256.encoded if self.sha256 else None,
        }


@dataclass(slots=True, kw_only=True)
class ExportReport:
    """What was written, or would be. Sizes in bytes; ``present`` counts what was left out because the site has it."""

    name: str
    folder: str
    archive: str
    artifacts: int
    blobs: int
    bytes: int
    blobs_present: int
    bytes_present: int
    signed_by: str | None
    volumes: list[VolumeReport] = field(default_factory=list)
    parity: list[VolumeReport] = field(default_factory=list)
    tool: list[NamedFile] = field(default_factory=list)
    excluded: int = 0
    weakened: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 4 while volumes are left for another medium."""
        return 4 if any(item.state == "left" for item in self.volumes) else 0

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "name": self.name,
            "folder": self.folder,
            "archive": self.archive,
            "artifacts": self.artifacts,
            "blobs": {"total": self.blobs, "present": self.blobs_present},
            "bytes": {
                "total": self.bytes,
                "present": self.bytes_present,
                "volumes": sum(item.size for item in self.volumes),
            },
            "signedBy": self.signed_by,
            "volumes": [item.to_json() for item in self.volumes],
            "parity": [item.to_json() for item in self.parity],
            "tool": [item.to_json() for item in self.tool],
            "excluded": self.excluded,
            "weakened": list(self.weakened),
        }

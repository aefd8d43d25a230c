"""What a run did (``cli.md``, the one form of ``download``, ``mirror`` and ``import``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundlectl.errors import BundlectlError

__all__ = ["CopyReport", "Failure"]


@dataclass(frozen=True, slots=True)
class Failure:
    """One artifact that is not at the target, and why; ``exit_code`` 3 means wrong, 4 missing."""

    reference: str
    code: str
    error: str
    hint: str | None = None
    exit_code: int = 4

    @classmethod
    def of(cls, reference: str, error: BundlectlError, *, told: str | None = None) -> Failure:
        """What ``error`` means for one artifact; ``told`` instead of the error's own text."""
        code = 3 if error.exit_code == 3 else 4  # noqa: PLR2004 -- cli.md
        return cls(reference, error.code, told or str(error), error.hint, code)

    def to_json(self) -> dict[str, str | None]:
        """Render as ``cli.md`` says."""
        return {"reference": self.reference, "code": self.code, "error": self.error, "hint": self.hint}


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """Counts of one run. ``bytes_total`` are those of all unique blobs and manifests wanted.

    ``up_to_date`` are the labels of the skipped: their tags were right, and what lies below them was not looked at.
    """

    artifacts_total: int = 0
    artifacts_done: int = 0
    up_to_date: list[str] = field(default_factory=list)
    blobs_total: int = 0
    blobs_transferred: int = 0
    blobs_mounted: int = 0
    blobs_present: int = 0
    bytes_transferred: int = 0
    bytes_total: int = 0
    requests_source: int = 0
    requests_target: int = 0
    seconds: float = 0.0
    failed: list[Failure] = field(default_factory=list)
    not_addressable: list[str] = field(default_factory=list)
    """Index digests that the target cannot hold, where a child took the tag in their place."""
    weakened: list[str] = field(default_factory=list)
    excluded: int = 0
    """What the sources name and the selection, or its nature, left out; ``inspect`` gives the reasons."""

    @property
    def artifacts_skipped(self) -> int:
        """How many were there already."""
        return len(self.up_to_date)

    @property
    def exit_code(self) -> int:
        """0 when everything asked for is there; else 3 if anything was wrong, 4 if only missing."""
        if not self.failed:
            return 0
        return 3 if any(failure.exit_code == 3 for failure in self.failed) else 4  # noqa: PLR2004 -- cli.md

    def to_json(self) -> dict[str, Any]:
        """Render as ``cli.md`` says."""
        return {
            "artifacts": {
                "total": self.artifacts_total,
                "done": self.artifacts_done,
                "skipped": self.artifacts_skipped,
                "failed": len(self.failed),
            },
            "blobs": {
                "total": self.blobs_total,
                "transferred": self.blobs_transferred,
                "mounted": self.blobs_mounted,
                "present": self.blobs_present,
            },
            "bytes": {"transferred": self.bytes_transferred, "total": self.bytes_total},
            "requests": {"source": self.requests_source, "target": self.requests_target},
            "failed": [item.to_json() for item in sorted(self.failed, key=lambda item: item.reference)],
            "notAddressable": sorted(self.not_addressable),
            "weakened": self.weakened,
            "excluded": self.excluded,
            "seconds": round(self.seconds, 3),
        }

"""``diff``: what changed between two sets of sources, and what it costs to fetch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bundlectl.operations.locking import lock

if TYPE_CHECKING:
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.lock import Lock, LockedArtifact

__all__ = ["Difference", "diff", "difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Artifacts by reference; ``bytes`` is what a site that has A must fetch to have B."""

    added: tuple[LockedArtifact, ...]
    removed: tuple[LockedArtifact, ...]
    changed: tuple[tuple[LockedArtifact, LockedArtifact], ...]
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "added": [_entry(item) for item in self.added],
            "removed": [_entry(item) for item in self.removed],
            "changed": [
                {**_entry(after), "digest": {"from": str(before.digest), "to": str(after.digest)}}
                for before, after in self.changed
            ],
            "bytes": self.bytes,
        }


def diff(a: str, b: str, *, request: SourceRequest, session: Session) -> Difference:
    """Compare two sources, each resolved unless it is a lock or a store.

    Raises:
        The same as ``lock``.
    """
    before = lock(replace(request, sources=(a,)), session=session)
    after = lock(replace(request, sources=(b,)), session=session)
    return difference(before, after)


def difference(before: Lock, after: Lock) -> Difference:
    """Compare two locks."""
    old = {(item.type, item.reference): item for item in before.artifacts}
    new = {(item.type, item.reference): item for item in after.artifacts}
    return Difference(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=tuple(
            (old[key], new[key]) for key in sorted(old.keys() & new.keys()) if old[key].digest != new[key].digest
        ),
        bytes=sum(size for digest, size in after.blobs.items() if digest not in before.blobs),
    )


def _entry(item: LockedArtifact) -> dict[str, Any]:
    return {
        "type": item.type,
        "name": item.name,
        "reference": item.reference,
        "digest": str(item.digest),
        "size": item.size,
    }

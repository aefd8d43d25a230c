"""``store list``, ``store stats`` and ``store gc``: looking into a store, and clearing it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundles.lock import Lock
from mirror.layout import Collected, Ref, Store, StoreStats

if TYPE_CHECKING:
    import threading
    from pathlib import Path

__all__ = ["StoreListing", "collect_garbage", "list_store", "store_stats"]


@dataclass(frozen=True, slots=True)
class StoreListing:
    """Collections with their number of artifacts and bytes, and every ref."""

    collections: tuple[tuple[str, int, int], ...]
    refs: tuple[Ref, ...]

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "collections": [
                {"name": name, "artifacts": count, "bytes": size} for name, count, size in self.collections
            ],
            "refs": [
                {
                    "reference": str(ref),
                    "digest": str(ref.descriptor.digest),
                    "mediaType": ref.descriptor.media_type,
                    "size": ref.descriptor.size,
                    "trust": ref.trust,
                }
                for ref in self.refs
            ],
        }


def list_store(path: Path) -> StoreListing:
    """List the collections and refs of a store.

    Raises:
        StoreError: not a store.
    """
    with Store.open(path, read_only=True) as store:
        collections = []
        for name, raw in sorted(store.collections().items()):
            lock = Lock.from_bytes(raw, origin=f"{path}#{name}")
            collections.append((name, len(lock.artifacts), lock.unique_bytes()))
        return StoreListing(tuple(collections), tuple(store.refs()))


def store_stats(path: Path) -> StoreStats:
    """Count what a store holds.

    Raises:
        StoreError: not a store.
    """
    with Store.open(path, read_only=True) as store:
        return store.stats()


def collect_garbage(
    path: Path, *, grace: float, dry_run: bool = False, cancelled: threading.Event | None = None
) -> Collected:
    """Remove blobs that nothing in a store names.

    Args:
        path: the store.
        grace: seconds that a blob is kept though nothing names it.
        dry_run: change nothing, and tell what would go.
        cancelled: ends the work early when set.

    Raises:
        StoreError: not a store, or it cannot be written.
        ContentError: what it names cannot be told for sure; nothing that it may name was removed.
        InterruptError: cancelled.
    """
    with Store.open(path) as store:
        return store.gc(grace=grace, dry_run=dry_run, cancelled=cancelled)

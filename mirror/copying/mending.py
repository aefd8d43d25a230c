"""Bringing again what a target lost between a blob's arrival and the manifest that names it.

A garbage collection that runs meanwhile takes what nothing names yet; somebody may delete a child of
an index. The target then refuses the manifest, and says what is missing (``wire.md`` 1.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError
from bundlectl.events import ignore
from mirror.copying.transfer import BlobTransfer
from mirror.copying.working import persist

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from mirror.copying.working import Persistence
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import ReadRepository, Repository
    from mirror.remote.errors import AbsentContentError

__all__ = ["bring_again", "lacking"]


def lacking(manifest: Manifest, error: AbsentContentError) -> list[Descriptor]:
    """What of a manifest is to be brought again: what the target says it lacks, or everything if it does not say."""
    children = {child.digest: child for child in manifest.children() if not child.urls}
    if not error.missing or not children.keys() >= set(error.missing):
        return list(children.values())
    return [children[digest] for digest in error.missing]


def bring_again(
    blob: Descriptor,
    source: ReadRepository,
    target: Repository,
    *,
    cancel: Event,
    persistence: Persistence,
    count: Callable[[int], None],
) -> None:
    """Bring a blob to a target that had it before; nothing is sent where it is there after all.

    Raises:
        BundlectlError: the source does not give it, or the target does not take it.
    """
    transfer = BlobTransfer(blob, source, target, cancel=cancel, listener=ignore, count=count, persistence=persistence)
    try:
        persist(lambda: transfer.attempt(None), cancel, persistence)
    except BundlectlError:
        transfer.give_up()
        raise

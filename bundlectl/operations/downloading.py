"""``download``: fetch everything that sources name into a store."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from bundlectl.errors import StoreError
from bundlectl.events import PhaseStarted
from bundlectl.operations.locking import lock_sources
from bundlectl.operations.rooting import Rooting
from bundles.plan import TargetPlan, UpstreamNaming
from mirror.copying import CopyReport, copy
from mirror.layout import Store

if TYPE_CHECKING:
    from pathlib import Path

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.lock import Lock

__all__ = ["collection_name", "download"]

_MARGIN = 64 * 1024 * 1024


def download(request: SourceRequest, *, store: Path, session: Session, name: str | None = None) -> CopyReport:
    """Fetch everything that the sources name into a store.

    The lock is kept in the store as a collection, once everything of it is there.

    Args:
        request: what to fetch.
        store: the store's directory; made when absent.
        session: connections.
        name: of the collection; the first document's name when None.

    Raises:
        StoreError: the store cannot be used, or the disk is too small (found out before fetching).
        UsageError, ContentError, VerificationError, TransportError: from reading the sources.
        InterruptError: cancelled; the same call resumes.
    """
    with Store.open(store, create=True, cancelled=session.cancelled) as kept:
        locked = lock_sources(request, session=session, store=kept)
        plan = TargetPlan.of(locked.lock, UpstreamNaming())
        _check_space(store, kept, locked.lock)
        before = session.requests()
        with Rooting(locked, session) as rooting:
            roots = rooting.roots(
                plan,
                lambda repository, trust: kept.repository(repository, trust=trust),
                local=True,
            )
            session.listener(PhaseStarted("downloading", len(roots)))
            report = copy(
                roots,
                jobs=session.jobs,
                listener=session.listener,
                cancel=session.cancelled,
                concluded=locked.failed,
                persistence=session.persistence,
            )
        report.requests_source = session.requests() - before
        report.weakened = list(locked.lock.weakened)
        report.excluded = len(locked.lock.excluded)
        if not report.failed:
            kept.put_collection(collection_name(name, locked.lock), locked.lock.to_bytes())
    return report


def collection_name(name: str | None, lock: Lock) -> str:
    """What a collection is called: ``name``, else as the first source calls itself, made legal."""
    text = name or lock.name or "collection"
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:128] or "collection"


def _check_space(path: Path, store: Store, lock: Lock) -> None:
    missing = sum(size for digest, size in lock.blobs.items() if store.size(digest) is None)
    free = shutil.disk_usage(path).free
    if missing + _MARGIN > free and missing > 0:
        raise StoreError(
            f"needs {missing:,} bytes, and only {free:,} are free",
            artifact=str(path),
            hint="choose less (--kube-version, --platform, --exclude), or another disk; nothing was fetched",
        )

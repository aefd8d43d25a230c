"""``download``: fetch everything that sources name into a store."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from bundlectl.errors import StoreError, UsageError
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

__all__ = ["download"]

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
    if name:
        _check_name(name)
    with Store.open(store, create=True, cancelled=session.cancelled) as kept:
        locked = lock_sources(request, session=session, store=kept)
        plan = TargetPlan.of(locked.lock, UpstreamNaming())
        _check_space(store, kept, locked.lock)
        before = session.requests()
        with Rooting(locked, session) as rooting:
            roots = rooting.roots(
                plan,
                lambda repository, trust: kept.repository(repository, trust=trust),
                kept=kept,
                sizes=locked.lock.blobs,
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
            chosen = name or _collection_name(locked.lock.name)
            if locked.signed:
                kept.put_collection(chosen, locked.signed.raw, locked.signed.signature)
            else:
                kept.put_collection(chosen, locked.lock.to_bytes())
    return report


def _check_name(name: str) -> None:
    if _collection_name(name) != name:
        raise UsageError(
            f"{name[:200]!r} cannot name a collection",
            hint="up to 128 letters, digits and . _ -, beginning with a letter or digit",
        )


def _collection_name(text: str) -> str:
    """What a source calls itself, made legal."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:128] or "collection"


def _check_space(path: Path, store: Store, lock: Lock) -> None:
    missing = sum(size - store.arrived(digest, size) for digest, size in lock.blobs.items())
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise StoreError(
            f"its file system does not tell how much is free: {error.strerror}",
            artifact=str(path),
            hint="check the disk",
        ) from error
    if missing + _MARGIN > free and missing > 0:
        raise StoreError(
            f"needs {missing:,} bytes, and only {free:,} are free",
            artifact=str(path),
            hint="choose less (--kube-version, --platform, --exclude), or another disk; nothing was fetched",
        )

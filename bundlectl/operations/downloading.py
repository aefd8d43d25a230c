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
    from collections.abc import Mapping
    from pathlib import Path

    from bundlectl.operations.locking import Locked
    from bundlectl.operations.request import Beside, SourceRequest
    from bundlectl.operations.session import Session
    from mirror.oci.digest import Digest

__all__ = ["check_collection_name", "check_space", "collection_name", "download", "fill_store"]

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
        check_collection_name(name)
    with Store.open(store, create=True, cancelled=session.cancelled) as kept:
        locked = lock_sources(request, session=session, store=kept)
        check_space(kept, locked.lock.blobs)
        return fill_store(locked, kept, name=name or collection_name(locked.lock.name), session=session)


def fill_store(
    locked: Locked,
    kept: Store,
    *,
    name: str,
    session: Session,
    beside: Beside | None = None,
    phase: str = "downloading",
) -> CopyReport:
    """Bring everything that is locked into a store.

    Args:
        locked: what to bring.
        kept: the store, open.
        name: of the collection; it is kept once everything is there.
        session: connections.
        beside: see ``SourceRequest.beside``.
        phase: what it is called while it is done.

    Raises:
        StoreError, InterruptError: see `download`.
    """
    plan = TargetPlan.of(locked.lock, UpstreamNaming())
    before = session.requests()
    with Rooting(locked, session, beside=beside) as rooting:
        roots = rooting.roots(
            plan,
            lambda repository, trust: kept.repository(repository, trust=trust),
            kept=kept,
            sizes=locked.lock.blobs,
        )
        session.listener(PhaseStarted(phase, len(roots)))
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
        if locked.signed:
            kept.put_collection(name, locked.signed.raw, locked.signed.signature)
        else:
            kept.put_collection(name, locked.lock.to_bytes())
    return report


def check_collection_name(name: str) -> None:
    """Hold that a collection can have a name.

    Raises:
        UsageError: it cannot.
    """
    if collection_name(name) != name:
        raise UsageError(
            f"{name[:200]!r} cannot name a collection",
            hint="up to 128 letters, digits and . _ -, beginning with a letter or digit",
        )


def collection_name(text: str) -> str:
    """What a source calls itself, made legal."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")[:128] or "collection"


def check_space(store: Store, sizes: Mapping[Digest, int]) -> None:
    """Hold that the disk has room for what is not in the store yet.

    Args:
        store: open.
        sizes: bytes of everything by digest.

    Raises:
        StoreError: it has not.
    """
    path = store.path
    missing = sum(size - store.arrived(digest, size) for digest, size in sizes.items())
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

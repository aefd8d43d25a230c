"""Removing what nothing names, beside commands that add to the store (ADR 1, "Removing what nothing names")."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, InterruptError
from mirror.filesystem import locked, mapped_errors, read_small
from mirror.layout.index import ADOPTED, INDEX_LIMIT, foreign_entries
from mirror.layout.marking import Marking
from mirror.layout.refs import forget_record, plan_restore
from mirror.oci.descriptor import Descriptor

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mirror.layout.blobs import BlobDirectory
    from mirror.layout.collection_files import CollectionFiles
    from mirror.layout.log import RefLog
    from mirror.layout.records import Record
    from mirror.layout.refs import Ref, RefTable
    from mirror.oci.digest import Digest

__all__ = ["Collected", "GarbageCollector"]

_BATCH: Final = 64
"""Blobs removed at once, while pushes wait: freeing a large file may take tens of milliseconds."""

_SKEW: Final = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Collected:
    """What `gc` removed, or with ``dry_run`` would; sizes in bytes.

    Args:
        dry_run: nothing was changed.
        removed: each blob with its size, sorted.
        referrers: how many referrers were forgotten, because their subject is gone.
        kept_blobs: how many blobs are named.
        kept_bytes: of them.
        young_blobs: how many are named by nothing, and arrived too lately to be removed.
        young_bytes: of them.
        free_bytes: in the file system, at the end.
    """

    dry_run: bool
    removed: tuple[tuple[Digest, int], ...]
    referrers: int
    kept_blobs: int
    kept_bytes: int
    young_blobs: int
    young_bytes: int
    free_bytes: int

    @property
    def removed_bytes(self) -> int:
        """Bytes of all that was removed."""
        return sum(size for _, size in self.removed)


@dataclass(frozen=True, slots=True)
class _File:
    """A blob's file: bytes, and when it arrived or was last said to be there, by the clock of the file system."""

    size: int
    modified: float


class GarbageCollector:
    """One run of `gc` over a store that others use meanwhile.

    Args:
        root: the store's directory.
        log: its refs.
        blobs: its blobs.
        collections: its locks.
    """

    def __init__(self, root: Path, *, log: RefLog, blobs: BlobDirectory, collections: CollectionFiles) -> None:
        self._root = root
        self._log = log
        self._blobs = blobs
        self._collections = collections
        self._seen: object = None
        self._collections_seen: object = None
        self._named = Marking(blobs)
        self._young = Marking(blobs)
        self._cutoff = 0.0
        self._forgotten: set[Digest] = set()

    def collect(self, *, grace: float, dry_run: bool, cancelled: threading.Event) -> Collected:
        """Mark, then sweep in batches.

        Args:
            grace: seconds that a blob may lie there before something names it.
            dry_run: only tell.
            cancelled: ends the sweep between two batches when set.

        Raises:
            ContentError: what the store names cannot be told for sure; nothing that it may name was removed.
            InterruptError: cancelled.
            StoreError: the disk refuses.
        """
        self._mark_adopted()
        self._cutoff = self._oldest_to_keep(grace)
        with self._log.reading() as table:
            self._check_log()
            refs, referrers = list(table.named()), list(table.referring())
        self._mark_all(refs, referrers)
        found = self._files()
        for digest, file in found.items():
            if digest not in self._named.owners and file.modified >= self._cutoff:
                self._young.mark(digest, "", is_manifest=False)
        self._mark_referrers(referrers)
        spare = {digest: file.size for digest, file in found.items() if not self._is_wanted(digest)}
        if dry_run:
            self._forgotten = {
                ref.descriptor.digest for _, ref in referrers if not self._is_wanted(ref.descriptor.digest)
            }
            removed = spare
        else:
            removed = self._sweep(spare, cancelled)
        left = {digest: file.size for digest, file in found.items() if digest not in removed}
        kept = [size for digest, size in left.items() if digest in self._named.owners]
        return Collected(
            dry_run=dry_run,
            removed=tuple(sorted(removed.items())),
            referrers=len(self._forgotten),
            kept_blobs=len(kept),
            kept_bytes=sum(kept),
            young_blobs=len(left) - len(kept),
            young_bytes=sum(left.values()) - sum(kept),
            free_bytes=self._free(),
        )

    # Marking

    def _check_log(self) -> None:
        if self._log.damaged or self._log.damaged_copies():
            raise ContentError(
                "the log of refs was damaged, so what they named cannot be told from what nothing names",
                artifact=str(self._log.path),
                hint="`bundlectl store verify` says what to do; until then nothing is removed",
            )

    def _mark_adopted(self) -> None:
        """Mark what the index of another tool named when the store was made of its layout, also by short names."""
        for path in (self._root / "bundlectl").glob(f"{ADOPTED}*"):
            for entry in foreign_entries(read_small(path, limit=INDEX_LIMIT, artifact=str(path))):
                try:
                    digest = Descriptor.from_json(entry).digest
                except ContentError:
                    continue
                self._named.mark(digest, path.name, is_manifest=False)

    def _oldest_to_keep(self, grace: float) -> float:
        """What arrived then or later is kept. By the file system's clock: another machine may have written it."""
        with locked(self._blobs.sweeping) as held, mapped_errors(self._root, action="write"):
            os.utime(held)
            now = os.fstat(held).st_mtime
        fetching = self._blobs.oldest_lease()
        if fetching is None:
            fetching = now
        elif fetching > now + _SKEW:
            return -math.inf  # the clock was set back under a running download: its blobs may be of any time
        return min(now - max(grace, 0.0), fetching)

    def _mark(self, table: RefTable) -> None:
        """Under the store's lock: mark what was named since the last time."""
        self._check_log()
        seen = (table, table.changes, self._collections.state())
        if seen != self._seen:
            self._mark_all(table.named(), list(table.referring()))
            self._seen = seen

    def _mark_all(self, refs: Iterable[Ref], referrers: list[tuple[Digest, Ref]]) -> None:
        for ref in refs:
            self._named.mark(ref.descriptor.digest, str(ref))
        state = self._collections.state()
        if state != self._collections_seen:
            for name, digests in self._collections.required().items():
                for digest in digests:
                    self._named.mark_blob(digest, f"collection {name}")
            self._collections_seen = state
        self._mark_referrers(referrers)
        if self._named.unreadable:
            digest, reason = next(iter(self._named.unreadable.items()))
            raise ContentError(
                f"{self._named.owners[digest]} needs this manifest, which {reason}: what it names cannot be told",
                artifact=str(digest),
                hint="run the download that brings it again, or delete its tag; until then nothing is removed",
            )

    def _mark_referrers(self, referrers: list[tuple[Digest, Ref]]) -> None:
        """Mark the referrers of what is marked, and theirs."""
        for marking in (self._named, self._young):
            waiting: dict[Digest, list[Digest]] = {}
            for subject, ref in referrers:
                waiting.setdefault(subject, []).append(ref.descriptor.digest)
            marked = [subject for subject in waiting if subject in marking.owners]
            while marked:
                subject = marked.pop()
                for digest in waiting.pop(subject, ()):
                    marked += marking.mark(digest, f"referrer of {subject}")

    def _is_wanted(self, digest: Digest) -> bool:
        return digest in self._named.owners or digest in self._young.owners

    # Sweeping

    def _sweep(self, spare: dict[Digest, int], cancelled: threading.Event) -> dict[Digest, int]:
        removed: dict[Digest, int] = {}

        def sweeping(digests: Iterable[Digest]) -> Callable[[RefTable], list[Record]]:
            def plan(table: RefTable) -> list[Record]:
                self._mark(table)
                removed.update(self._remove(digests))
                return []

            return plan

        self._log.commit(self._forget_referrers)
        # Manifests first, and all at once: one that somebody asks for meanwhile is then either gone or whole.
        manifests = [digest for digest in spare if self._young.is_manifest(digest)]
        self._log.commit(sweeping(manifests))
        others = iter(sorted(spare.keys() - removed.keys()))
        while batch := list(itertools.islice(others, _BATCH)):
            if cancelled.is_set():
                raise InterruptError("interrupted; the same command goes on", artifact=str(self._root))
            self._log.commit(sweeping(batch))
        self._log.commit(self._tidy)
        return removed

    def _forget_referrers(self, table: RefTable) -> list[Record]:
        """Under the store's lock: what to log of referrers whose subject is gone, before their content goes."""
        self._mark(table)
        referrers = list(table.referring())
        records: list[Record] = []
        with locked(self._blobs.sweeping):
            for _, ref in referrers:
                file = self._file(ref.descriptor.digest)
                if file and file.modified >= self._cutoff and ref.descriptor.digest not in self._named.owners:
                    self._young.mark(ref.descriptor.digest, "", is_manifest=False)
        self._mark_referrers(referrers)
        for _, ref in referrers:
            digest = ref.descriptor.digest
            if not self._is_wanted(digest):
                self._forgotten.add(digest)
                records.append(forget_record(ref.repository, digest))
        return records

    def _remove(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Under the store's lock: remove those of these blobs that are still wanted by nobody."""
        removed = {}
        with locked(self._blobs.sweeping):
            old = {}
            for digest in digests:
                file = self._file(digest)
                if file and file.modified < self._cutoff:
                    old[digest] = file
                elif file:
                    self._young.mark(digest, "", is_manifest=False)
            for digest, file in old.items():
                if not self._is_wanted(digest):
                    path = self._blobs.path(digest)
                    with mapped_errors(path, action="remove"):
                        path.unlink(missing_ok=True)
                    removed[digest] = file.size
        return removed

    def _tidy(self, table: RefTable) -> list[Record]:
        """Under the store's lock: that something was deleted need not be remembered once its content is gone."""
        return [
            record
            for repository, digest in list(table.forgotten())
            if self._file(digest) is None
            for record in plan_restore(table, repository, [digest])
        ]

    # Files

    def _files(self) -> dict[Digest, _File]:
        return {digest: file for digest in self._blobs.digests() if (file := self._file(digest))}

    def _file(self, digest: Digest) -> _File | None:
        """A blob's file, or the link by its name, which is never followed; None for a directory, and for nothing."""
        path = self._blobs.path(digest)
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(found.st_mode):
            return None
        return _File(found.st_size if stat.S_ISREG(found.st_mode) else 0, found.st_mtime)

    def _free(self) -> int:
        with mapped_errors(self._root, action="read"):
            return shutil.disk_usage(self._root).free

"""The store: an OCI image layout on disk that several processes may use at once (ADR 1)."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bundlectl.errors import ContentError, StoreError
from bundlectl.events import ignore
from mirror.filesystem import fsync_directory, locked, mapped_errors, read_small, regular_size, write_atomically
from mirror.layout.blobs import BlobDirectory
from mirror.layout.checking import Problem, StoreStats, find_needed, hash_blobs
from mirror.layout.collecting import Collected, GarbageCollector
from mirror.layout.collection_files import CollectionFiles
from mirror.layout.imports import ImportsFile
from mirror.layout.index import ADOPTED, INDEX_LIMIT, IndexFile, adopted_records, foreign_entries
from mirror.layout.log import RefLog
from mirror.layout.manifests import load_manifest
from mirror.layout.newest import NewestFile
from mirror.layout.repository import LayoutRepository
from mirror.layout.sessions import UploadSessions
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from bundlectl.events import Listener
    from mirror.filesystem import FileReader
    from mirror.layout.checking import Needed
    from mirror.layout.records import Record
    from mirror.layout.refs import Ref
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobReader, BlobUpload, Present

__all__ = ["FORMAT_VERSION", "Store"]

FORMAT_VERSION: Final = 1
"""The version of ADR 1 that this code writes, and the highest that it reads."""

_FORMAT: Final = "bundlectl.dev/store"
_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_SMALL: Final = 64 * 1024
_STALE_SECONDS: Final = 7 * 24 * 3600
_MAX_JOBS: Final = 16


class Store:
    """A store on disk. A context manager; thread-safe, and safe between processes.

    Made by `open`. Leaving the ``with`` block flushes and closes it.
    """

    def __init__(self, path: Path, *, read_only: bool, cancelled: threading.Event | None = None) -> None:
        self.path = path
        """The store's directory."""
        self.read_only = read_only
        """Whether nothing is ever written to it."""
        own = path / "bundlectl"
        self._index = IndexFile(path / "index.json", scratch=own / "tmp")
        self._log = RefLog(own, index=self._index, read_only=read_only)
        self._blobs = BlobDirectory(path, read_only=read_only, cancelled=cancelled)
        self._sessions = UploadSessions(own / "uploads", self._blobs)
        self._collections = CollectionFiles(own)
        self._newest = NewestFile(own)
        self._imports = ImportsFile(own)

    @classmethod
    def open(
        cls, path: Path, *, create: bool = False, read_only: bool = False, cancelled: threading.Event | None = None
    ) -> Store:
        """Open a store; heal what a cut left behind, unless ``read_only``.

        Args:
            path: the store's directory.
            create: make a store of a missing or empty directory, or of an image layout of another tool.
            read_only: write nothing, not even a lock file.
            cancelled: when set, ends waits for other processes that fetch the same blob, with an `InterruptError`.

        Raises:
            StoreError: there is no store, it is of a newer version, or the disk refuses.
        """
        path = Path(path)
        version = path / "bundlectl" / "store.json"
        if regular_size(version) is None:
            if read_only or not create:
                raise _no_store(path)
            _create(path)
        _check_version(version)
        store = cls(path, read_only=read_only, cancelled=cancelled)
        try:
            if read_only:
                with store._log.reading():
                    pass
            else:
                _make_directories(path)
                store._log.heal(store._recover)
                store.remove_stale()
        except BaseException:
            store._log.close()
            raise
        return store

    # Refs

    def repository(self, name: str, *, trust: str = "off") -> LayoutRepository:
        """One repository, which need not exist yet.

        Args:
            name: ``registry/repository``.
            trust: the level of what is written through it (``cli.md``, "Trust level").

        Raises:
            UsageError: the name or the level is none.
        """
        return LayoutRepository(name, log=self._log, blobs=self._blobs, trust=trust)

    def repositories(self) -> list[str]:
        """Names of all repositories that hold something, sorted."""
        with self._log.reading() as table:
            return table.repositories()

    def released(self) -> set[str]:
        """Names of the repositories that hold more than what was pushed: what a release put there."""
        with self._log.reading() as table:
            return table.released()

    def refs(self) -> list[Ref]:
        """All refs, sorted by repository, tag and digest."""
        with self._log.reading() as table:
            return table.refs()

    def ref(self, repository: str, tag_or_digest: str) -> Ref | None:
        """The ref of a tag; or, given ``alg:hex``, the ref that keeps that digest, else a tag that points at it.

        Raises:
            ContentError: there is a colon, but it is no digest.
        """
        with self._log.reading() as table:
            if ":" in tag_or_digest:
                return table.ref_of(repository, Digest.parse(tag_or_digest))
            return table.ref(repository, tag_or_digest)

    def referrers(self, repository: str, subject: Digest) -> list[Ref]:
        """The referrers of a manifest in one repository with their trust, sorted by digest; ``tag`` is None."""
        with self._log.reading() as table:
            return table.referrers(repository, subject)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Put off the fsync of refs written meanwhile, by any thread, to the end of the block.

        Refs are visible at once, and survive the process; only a power cut inside the block may lose them.

        Raises:
            StoreError: they could not be brought to disk.
        """
        self._log.begin_batch()
        try:
            yield
        finally:
            self._log.end_batch()

    # Content

    def blob_path(self, digest: Digest) -> Path:
        """Where a blob lies, or would lie. Open it with `open`, which follows no links."""
        return self._blobs.path(digest)

    def size(self, digest: Digest) -> int | None:
        """Bytes of a blob; None when it is not there, or not a regular file."""
        return self._blobs.size(digest)

    def touch(self, digest: Digest, *, within: float = 0.0) -> int | None:
        """Like `size`, for who may be about to name the blob: `gc` spares it for as long as if it had just come.

        Args:
            digest: of the blob.
            within: a blob that came, or was touched, in as many seconds is left alone.

        Raises:
            StoreError: the store cannot be written.
        """
        return self._blobs.touch(digest, within=within)

    def is_forgotten(self, repository: str, digest: Digest) -> bool:
        """Whether a manifest or blob was deleted from a repository, whatever else of the store needs it."""
        with self._log.reading() as table:
            return table.is_forgotten(repository, digest)

    def arrived(self, digest: Digest, size: int) -> int:
        """How many of a blob's ``size`` bytes lie on the disk already, as the blob or as its partial file."""
        return self._blobs.arrived(digest, size)

    def open_blob(self, digest: Digest, offset: int = 0) -> FileReader:
        """Open a blob at ``offset``. Its digest is the receiver's to check (ADR 1, "What is believed on reading").

        Raises:
            MissingError: it is not there.
            ContentError: it is not a regular file.
        """
        return self._blobs.open(digest, offset)

    def put(self, data: bytes, *, expected: Digest | None = None) -> Digest:
        """Store small content and return its digest (sha256, or that of ``expected``).

        Raises:
            ContentError: it has another digest than ``expected``.
            StoreError: the store cannot be written.
        """
        return self._blobs.put(data, expected=expected)

    def begin_blob(self, descriptor: Descriptor) -> Present | BlobUpload:
        """Find a blob present, or take its partial file, waiting while someone else fetches it.

        Raises:
            InterruptError: `interrupt` was called while waiting.
            StoreError: the store cannot be written.
        """
        return self._blobs.begin(descriptor)

    def discard(self, digest: Digest) -> None:
        """Remove a damaged blob, so that the next download fetches it anew."""
        self._blobs.discard(digest)

    def interrupt(self) -> None:
        """End all waits for other fetchers of the same blobs, now and later, with `InterruptError`."""
        self._blobs.interrupt()

    # Uploads whose digest comes last

    def begin_session(self, algorithm: str = "sha256") -> str:
        """Start an upload, for a digest of that algorithm, and return its name (32 hex digits).

        Raises:
            StoreError: the store cannot be written.
        """
        self._check_writable()
        return self._sessions.begin(algorithm)

    def append(self, session: str, reader: BlobReader, *, at: int | None = None) -> int:
        """Append to an upload what ``reader`` gives; what arrived before an error stays.

        Returns:
            The upload's new size in bytes.

        Raises:
            MissingError: no such upload.
            ContentError: the upload does not stand at ``at``.
            StoreError: the disk is full, or another request keeps writing to it (then retryable).
        """
        self._check_writable()
        return self._sessions.append(session, reader, at=at)

    def session_size(self, session: str) -> int:
        """Bytes of an upload that arrived.

        Raises:
            MissingError: no such upload.
        """
        return self._sessions.size(session)

    def finish(self, session: str, digest: Digest) -> int:
        """Make an upload a blob if it has this digest, and return its size; the upload is over either way.

        Raises:
            MissingError: no such upload.
            ContentError: it has another digest; it is dropped.
            StoreError: the disk is full, or refuses.
        """
        self._check_writable()
        return self._sessions.finish(session, digest)

    def abort(self, session: str) -> None:
        """Drop an upload; harmless when it is over."""
        self._check_writable()
        self._sessions.abort(session)

    # Collections

    def put_collection(self, name: str, lock: bytes, signature: bytes | None = None) -> None:
        """Keep a lock's bytes under a name, and its signature; both replace what was there.

        Raises:
            UsageError: it cannot be a name.
            MissingError: a blob that the lock lists is not there.
            StoreError: the store cannot be written.
        """
        self._check_writable()
        self._collections.put(name, lock, signature, is_here=lambda digest: self._blobs.size(digest) is not None)

    def collections(self) -> dict[str, bytes]:
        """The bytes of every collection's lock by name, sorted.

        Raises:
            ContentError: one is not a regular file, or too large.
        """
        return self._collections.all()

    def collections_state(self) -> Hashable:
        """Something that changes whenever a collection or its signature does.

        Raises:
            StoreError: it cannot be read.
        """
        return self._collections.state()

    def collection_signature(self, name: str) -> bytes | None:
        """The signature that was kept with a collection's lock; None where there is none.

        Raises:
            ContentError: not a regular file, or too large.
        """
        return self._collections.signature(name)

    # Releases

    def newest(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Age and name of the newest release that was seen, by kind and channel.

        Raises:
            ContentError: what is remembered is damaged.
        """
        return self._newest.read()

    def remember(self, ages: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
        """Remember these releases in place of those seen before of the same kind and channel.

        Raises:
            StoreError: the store cannot be written.
        """
        self._check_writable()
        self._newest.put(ages)

    def imports(self) -> bytes | None:
        """What is remembered of imports (``bundlectl.operations.replaying``); None where nothing is.

        Raises:
            ContentError, StoreError: it cannot be read.
        """
        return self._imports.read()

    def change_imports(self, change: Callable[[bytes | None], bytes]) -> None:
        """Replace what is remembered of imports by what ``change`` makes of it.

        Raises:
            StoreError: the store cannot be written.
        """
        self._check_writable()
        self._imports.change(change)

    def importing(self) -> AbstractContextManager[None]:
        """Keep other imports out of the store: two at once could each move back what the other moves.

        Raises:
            StoreError: there is another one.
        """
        return self._imports.alone()

    # The whole

    def verify(
        self, *, listener: Listener = ignore, jobs: int | None = None, cancelled: threading.Event | None = None
    ) -> Iterator[Problem]:
        """Hash every blob, walk from every ref, referrer and collection, and yield what is not as it should be.

        A child of an index that no collection lists may be absent. Blobs that nothing needs are
        hashed too; being unreferenced is not a problem.

        Args:
            listener: gets `BytesMoved` as blobs are hashed.
            jobs: threads; by default one for each processor, up to 16.
            cancelled: ends the work early, without an error, when set.

        Raises:
            StoreError: the store cannot be read at all.
        """
        with self._log.reading() as table:
            everything = [*table.refs(), *(ref for _, ref in table.all_referrers())]
            damaged = self._log.damaged
        yield from self._log_problems(damaged)
        needed = find_needed(self._blobs, everything, self.collections())
        yield from needed.problems
        yield from hash_blobs(
            self._blobs,
            needed,
            jobs=jobs or min(os.cpu_count() or 1, _MAX_JOBS),
            listener=listener,
            cancelled=cancelled or threading.Event(),
        )

    def _log_problems(self, damaged: int) -> Iterator[Problem]:
        log = self._log.path
        if damaged:
            yield Problem(
                "different",
                str(log),
                None,
                f"{damaged} stretches of it cannot be read: refs may be missing or old; run your downloads again",
            )
        for path in self._log.damaged_copies():
            yield Problem(
                "different",
                str(path),
                None,
                "the log of refs was lost, or damaged by a power cut or a failing disk: refs may be missing or old; "
                "run your downloads again, then remove this file",
            )

    def needed(self) -> Needed:
        """Walk from every ref, referrer and collection to all they need; no blob is hashed.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._log.reading() as table:
            everything = [*table.refs(), *(ref for _, ref in table.all_referrers())]
        return find_needed(self._blobs, everything, self.collections())

    def stored_bytes(self) -> int:
        """Bytes of all blobs.

        Raises:
            StoreError: the store cannot be read.
        """
        return sum(self._blobs.size(digest) or 0 for digest in self._blobs.digests())

    def stats(self) -> StoreStats:
        """Count refs, blobs and bytes.

        Raises:
            StoreError: the store cannot be read.
        """
        with self._log.reading() as table:
            refs, repositories = table.refs(), table.repositories()
        needed = self.needed()
        sizes = {digest: self._blobs.size(digest) or 0 for digest in self._blobs.digests()}
        spare = [size for digest, size in sizes.items() if digest not in needed.owners]
        own = self.path / "bundlectl"
        return StoreStats(
            refs=len(refs),
            repositories=len(repositories),
            collections=len(self.collections()),
            blobs=len(sizes),
            bytes=sum(sizes.values()),
            unreferenced_blobs=len(spare),
            unreferenced_bytes=sum(spare),
            partial_bytes=sum(_directory_bytes(own / name) for name in ("partial", "uploads")),
        )

    def gc(self, *, grace: float, dry_run: bool = False, cancelled: threading.Event | None = None) -> Collected:
        """Remove blobs that no ref, no referrer of something named and no collection names.

        Others may read and write the store meanwhile. What was named when its writer was told so
        stays, also when this is killed.

        Args:
            grace: seconds that a blob is kept though nothing names it: a push sends blobs first. What a
                running download has fetched stays in any case.
            dry_run: change nothing, and tell what would go.
            cancelled: ends the work early, with an `InterruptError`, when set.

        Raises:
            ContentError: what the store names cannot be told for sure; nothing that it may name was removed.
            InterruptError: cancelled.
            StoreError: the store cannot be written.
        """
        self._check_writable()
        collector = GarbageCollector(self.path, log=self._log, blobs=self._blobs, collections=self._collections)
        return collector.collect(grace=grace, dry_run=dry_run, cancelled=cancelled or threading.Event())

    def remove_stale(self) -> None:
        """Remove temporary files, and uploads that got nothing for a week. Done by `open`; for who keeps a store open.

        Raises:
            StoreError: the store cannot be written.
        """
        oldest = time.time() - _STALE_SECONDS
        for name in ("tmp", "uploads"):
            directory = self.path / "bundlectl" / name
            with mapped_errors(directory, action="clean"):
                for path in directory.iterdir():
                    with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                        if path.lstat().st_mtime < oldest:
                            path.unlink()
        self._blobs.oldest_lease()  # removes those of the dead

    def flush(self) -> None:
        """Bring refs to disk and ``index.json`` up to date.

        Raises:
            StoreError: the disk is full, or refuses.
        """
        self._log.flush()

    def close(self) -> None:
        """Flush, and let go of all files; harmless when repeated.

        Raises:
            StoreError: ``index.json`` could not be written. The refs are safe: it is written on the next open.
        """
        self._blobs.interrupt()
        try:
            self._log.flush()
        finally:
            self._log.close()
            self._blobs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            self.close()
        except StoreError:
            if error is None:
                raise

    def _check_writable(self) -> None:
        if self.read_only:
            raise StoreError(
                "the store was opened read-only",
                artifact=str(self.path),
                hint="use a store on a disk that can be written",
            )

    def _recover(self) -> list[Record]:
        """The records for a log that is not there: what ``index.json`` names and is intact.

        Where there was a log it may have named more: that is kept in mind as a damaged log is, so that
        `gc` does not take what it named for what nothing names.
        """
        size = regular_size(self._index.path)
        raw = read_small(self._index.path, limit=INDEX_LIMIT, artifact=str(self._index.path)) if size else b""
        own = self.path / "bundlectl"
        if foreign_entries(raw):
            kept = own / ADOPTED
            if regular_size(kept) is not None:
                kept = own / f"{ADOPTED}-{secrets.token_hex(4)}"
            write_atomically(kept, raw, scratch=own / "tmp")
        if (not raw or self._index.is_ours(raw)) and next(self._blobs.digests(), None):
            self._log.keep_damaged(b"")
        return list(adopted_records(raw, lambda descriptor: load_manifest(self._blobs, descriptor)))


def _no_store(path: Path) -> StoreError:
    if (path / "index.json").exists():
        return StoreError(
            "is an image layout of another tool, not a store",
            artifact=str(path),
            hint="`bundlectl download --store` takes it over; its full references become refs",
        )
    return StoreError(
        "is not a store", artifact=str(path), hint="make one with `bundlectl download SOURCE --store DIR`"
    )


def _create(path: Path) -> None:
    """Make a store; when two processes do it at once, the second finds it made."""
    with mapped_errors(path, action="make"):
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
        if names - {"lost+found"} and not names & {"bundlectl", "oci-layout"}:
            raise StoreError(
                "is neither empty nor a store", artifact=str(path), hint="name a new or an empty directory"
            )
    _make_directories(path)
    own = path / "bundlectl"
    with locked(own / "lock"):
        _check_layout(path / "oci-layout")
        write_atomically(path / "oci-layout", _LAYOUT, scratch=own / "tmp")
        version = own / "store.json"
        if regular_size(version) is None:
            document = canonical_json({"format": _FORMAT, "version": FORMAT_VERSION})
            write_atomically(version, document, scratch=own / "tmp")
        with mapped_errors(path, action="make"):
            for directory in (path / "blobs", own, path, path.absolute().parent):
                fsync_directory(directory)


def _make_directories(path: Path) -> None:
    with mapped_errors(path, action="make"):
        for name in (
            "bundlectl/tmp",
            "bundlectl/fetching",
            "bundlectl/partial",
            "bundlectl/uploads",
            "bundlectl/collections",
            "bundlectl/signatures",
            "blobs/sha256",
        ):
            (path / name).mkdir(parents=True, exist_ok=True)


def _check_layout(path: Path) -> None:
    if regular_size(path) is None:
        return
    document = _load(path)
    version = document.get("imageLayoutVersion")
    if version != "1.0.0":
        raise StoreError(
            f"is an image layout of version {str(version)[:50]!r}, which this version does not know",
            artifact=str(path.parent),
            hint="use a new directory, and copy its images with skopeo or `bundlectl mirror`",
        )


def _check_version(path: Path) -> None:
    document = _load(path)
    version = document.get("version")
    if document.get("format") != _FORMAT or not isinstance(version, int):
        raise StoreError(
            f"{path.name} is damaged: it does not say what this store is",
            artifact=str(path.parent.parent),
            hint=f'it should hold {{"format":"{_FORMAT}","version":{FORMAT_VERSION}}}',
        )
    if version > FORMAT_VERSION:
        raise StoreError(
            f"the store has format version {version}, this bundlectl reads up to {FORMAT_VERSION}",
            artifact=str(path.parent.parent),
            hint="a newer bundlectl wrote it: upgrade bundlectl",
        )


def _load(path: Path) -> dict[str, Any]:
    """Read a small JSON object; empty when the file holds something else."""
    try:
        document = json.loads(read_small(path, limit=_SMALL, artifact=str(path)))
    except (ContentError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _directory_bytes(path: Path) -> int:
    total = 0
    with mapped_errors(path, action="read"):
        for entry in path.iterdir() if path.is_dir() else ():
            total += regular_size(entry) or 0
    return total

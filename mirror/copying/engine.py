"""Copying many roots at once, each unique blob once.

The order that makes a cut run harmless: blobs, then referrers, then manifests children first,
then tags. A root is finished as soon as its last blob is there, so what a killed run leaves is
whole artifacts, and blobs that nothing names yet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TYPE_CHECKING, Final

from bundlectl.errors import (
    BundlectlError,
    InterruptError,
    MissingError,
    RegistryError,
    StoreError,
)
from bundlectl.events import ArtifactFinished, Listener, TransferPlanned, ignore
from mirror.copying.report import CopyReport, Failure
from mirror.copying.survey import Surveyed, survey
from mirror.copying.transfer import BlobTransfer
from mirror.copying.working import Persistence, Workers, check_cancelled, persist
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.reference import by_digest_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.copying.root import Root
    from mirror.graph import Tree
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import Present, ReadRepository, Repository

__all__ = ["SparseIndexRefusedError", "copy"]


class SparseIndexRefusedError(RegistryError):
    """The target takes no index of which only some platforms are present: the run ends."""


_REFUSED_SPARSE: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})


def copy(
    roots: Sequence[Root],
    *,
    jobs: int,
    listener: Listener = ignore,
    cancel: Event | None = None,
    concluded: Sequence[Failure] = (),
    persistence: Persistence | None = None,
) -> CopyReport:
    """Bring every root to its target.

    Args:
        roots: what to copy; the same content may occur in many of them.
        jobs: threads, and so the most requests under way at once.
        listener: told of bytes and finished artifacts, from worker threads.
        cancel: set by another thread to stop within a second.
        concluded: artifacts that failed before copying began, to be counted in the report.
        persistence: how long each step is tried.

    Returns:
        What happened. A root that failed is listed there with the reason, and all others are
        copied nevertheless.

    Raises:
        StoreError: the target cannot take anything any more (a full disk).
        InterruptError: cancelled; what is at the target is whole, and the same call resumes.
        BundlectlError: the target refuses the kind of content as a whole.
    """
    run = _Run(roots, Workers(jobs, cancel or Event()), listener, persistence or Persistence())
    run.report.artifacts_total += len(concluded)
    run.report.failed.extend(concluded)
    return run.run()


@dataclass(slots=True, eq=False)
class _Job:
    """A root with the blobs it still waits for."""

    surveyed: Surveyed
    waiting: set[_Blob] = field(default_factory=set)
    failed: bool = False

    @property
    def root(self) -> Root:
        return self.surveyed.root


@dataclass(slots=True, eq=False)
class _Blob:
    """A unique blob: where it can be read, where it must be, and who waits for it there.

    ``unreadable`` once every source was tried in vain: no target will fare better then.
    """

    descriptor: Descriptor
    sources: dict[str, ReadRepository] = field(default_factory=dict)
    targets: dict[str, Repository] = field(default_factory=dict)
    waiting: dict[str, list[_Job]] = field(default_factory=dict)
    unreadable: bool = False


class _Run:
    def __init__(
        self,
        roots: Sequence[Root],
        workers: Workers,
        listener: Listener,
        persistence: Persistence,
    ) -> None:
        self.roots = roots
        self.listener = listener
        self.workers = workers
        self.cancel = workers.stopped
        self.persistence = persistence
        self.lock = Lock()
        self.turns: dict[tuple[str, Digest], Lock] = {}
        self.stored: set[tuple[str, Digest]] = set()
        self.report = CopyReport(artifacts_total=len(roots))

    def run(self) -> CopyReport:
        started = time.monotonic()
        with self.workers:
            self.listener(TransferPlanned(artifacts=len(self.roots)))
            jobs = [job for job in self.workers.map(self._survey, self.roots) if job is not None]
            blobs = self._unique_blobs(jobs)
            for job in jobs:
                if not job.waiting:
                    self.workers.submit(self._finish, job)
            for blob in sorted(blobs, key=lambda blob: -blob.descriptor.size):
                self.workers.submit(self._transfer, blob)
            self.workers.drain()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _survey(self, root: Root) -> _Job | None:
        try:
            surveyed = survey(root, self.cancel, self.persistence)
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            self._fail(root.label, error)
            return None
        if surveyed.up_to_date:
            with self.lock:
                self.report.artifacts_skipped += 1
                if surveyed.stand_in:
                    self._not_addressable(root)
            self.listener(ArtifactFinished(root.label, "skipped"))
            return None
        return _Job(surveyed)

    def _unique_blobs(self, jobs: Iterable[_Job]) -> list[_Blob]:
        # Where manifests contradict each other about a digest, only those that lie must fail.
        blobs: dict[tuple[Digest, int, str | None], _Blob] = {}
        manifests: dict[Digest, int] = {}
        for job in jobs:
            root = job.root
            for descriptor in job.surveyed.blobs().values():
                stated = (descriptor.digest, descriptor.size, descriptor.annotations.get(SHA512_ANNOTATION))
                blob = blobs.setdefault(stated, _Blob(descriptor))
                blob.sources.setdefault(root.source.name, root.source)
                blob.targets.setdefault(root.target.name, root.target)
                blob.waiting.setdefault(root.target.name, []).append(job)
                job.waiting.add(blob)
            for tree in job.surveyed.trees:
                manifests.update((entry.descriptor.digest, entry.descriptor.size) for entry in tree.manifests)
        size = sum(blob.descriptor.size for blob in blobs.values())
        self.report.blobs_total = len(blobs)
        self.report.bytes_total = size + sum(manifests.values())
        self.listener(TransferPlanned(blobs=len(blobs), bytes=size))
        return list(blobs.values())

    def _transfer(self, blob: _Blob) -> None:
        """Bring a blob to the first repository that takes it, then queue its mounts into the others."""
        targets = list(blob.targets.values())
        while targets:
            first, *targets = targets
            try:
                outcome = self._place(blob, first, None)
            except (InterruptError, StoreError):
                raise
            except BundlectlError as error:
                # What a registry says of one repository tells nothing of the others.
                of_one = isinstance(error, RegistryError) and not error.retryable and not blob.unreadable
                for target in (first,) if of_one else (first, *targets):
                    self._give_up(blob.waiting[target.name], error)
                if of_one:
                    continue
                return
            with self.lock:
                if outcome is None:
                    self.report.blobs_transferred += 1
                else:
                    self.report.blobs_present += 1
            for target in targets:
                self.workers.submit(self._link, blob, target, first)
            self._arrived(blob, first)
            return

    def _link(self, blob: _Blob, target: Repository, holder: Repository) -> None:
        """Bring a blob into a further repository, without sending it again where that can be."""
        try:
            outcome = self._place(blob, target, holder.name.partition("/")[2])
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            self._give_up(blob.waiting[target.name], error)
            return
        if outcome == "mounted":
            with self.lock:
                self.report.blobs_mounted += 1
        self._arrived(blob, target)

    def _place(self, blob: _Blob, target: Repository, mount_from: str | None) -> Present | None:
        """Return why nothing was sent, or None when the blob was; sources are tried in turn."""
        failure: BundlectlError = MissingError("no source has the blob", artifact=str(blob.descriptor.digest))
        for source in blob.sources.values():
            # The bytes of a blob count once in the progress that is shown, however many repositories get it.
            transfer = BlobTransfer(
                blob.descriptor,
                source,
                target,
                cancel=self.cancel,
                listener=ignore if mount_from else self.listener,
                count=self._count_sent,
            )
            try:
                return persist(
                    lambda transfer=transfer: transfer.attempt(mount_from),  # type: ignore[misc]
                    self.cancel,
                    self.persistence,
                )
            except BundlectlError as error:
                transfer.give_up()
                if isinstance(error, (InterruptError, StoreError)) or not transfer.source_failed(error):
                    raise
                failure = error
        blob.unreadable = True
        raise failure

    def _count_sent(self, count: int) -> None:
        with self.lock:
            self.report.bytes_transferred += count

    def _arrived(self, blob: _Blob, target: Repository) -> None:
        ready = []
        with self.lock:
            for job in blob.waiting[target.name]:
                job.waiting.discard(blob)
                if not job.waiting and not job.failed:
                    ready.append(job)
        for job in ready:
            self.workers.submit(self._finish, job)

    def _finish(self, job: _Job) -> None:
        """Publish a root whose blobs are all there: manifests, referrers, tags."""
        root = job.root
        try:
            *referrers, main = job.surveyed.trees
            for referrer, tree in zip(root.referrers, referrers, strict=True):
                self._publish(root.target, tree, referrer.tag)
            self._publish_root(root, main)
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            if isinstance(error, SparseIndexRefusedError):
                raise
            self._give_up([job], error)
            return
        with self.lock:
            self.report.artifacts_done += 1
        self.listener(ArtifactFinished(root.label, "done"))

    def _publish(self, target: Repository, tree: Tree, tag: str | None) -> None:
        for manifest in tree.manifests[:-1]:
            self._put(target, manifest)
        self._put(target, tree.root, tag)

    def _publish_root(self, root: Root, main: Tree) -> None:
        for manifest in main.manifests[:-1]:
            self._put(root.target, manifest)
        try:
            for tag in root.tags:
                self._put(root.target, main.root, tag)
        except RegistryError as error:
            if not main.left_out or error.error_code not in _REFUSED_SPARSE:
                raise
            only = main.only_child
            if only is None or by_digest_tag(root.descriptor.digest) in root.tags:
                raise SparseIndexRefusedError(
                    "the target refuses an index whose other platforms are absent",
                    status=error.status,
                    error_code=error.error_code,
                    artifact=root.label,
                    hint="mirror all platforms, or (where nothing is pulled by digest) exactly one",
                ) from error
            for tag in root.tags:
                self._put(root.target, only, tag)
            with self.lock:
                self._not_addressable(root)

    def _not_addressable(self, root: Root) -> None:
        self.report.not_addressable.append(f"{root.target.name}@{root.descriptor.digest}")

    def _put(self, target: Repository, manifest: Manifest, tag: str | None = None) -> None:
        """Store a manifest, once at a time: roots of one repository may share it.

        Distribution 2.8 writes its links in place, and refuses an index while a child is stored again.
        """
        check_cancelled(self.cancel)
        place = (target.name, manifest.descriptor.digest)
        with self.lock:
            turn = self.turns.setdefault(place, Lock())
        with turn:
            if tag is None and place in self.stored:
                return
            persist(lambda: target.put_manifest(manifest, tag=tag), self.cancel, self.persistence)
            self.stored.add(place)

    def _give_up(self, jobs: Iterable[_Job], error: BundlectlError) -> None:
        for job in jobs:
            with self.lock:
                if job.failed:
                    continue
                job.failed = True
            self._fail(job.root.label, error)

    def _fail(self, label: str, error: BundlectlError) -> None:
        with self.lock:
            self.report.failed.append(Failure.of(label, error))
        self.listener(ArtifactFinished(label, "failed", str(error)))

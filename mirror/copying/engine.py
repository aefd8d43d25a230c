"""Copying many roots at once, each unique blob once.

The order that makes a cut run harmless: blobs, then referrers, then manifests children first,
then tags. A root is finished as soon as its last blob is there, so what a killed run leaves is
whole artifacts, and blobs that nothing names yet. Blobs begin to move as soon as one root is
surveyed, always the largest of those known.
"""

from __future__ import annotations

import time
from threading import Event, Lock
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, InterruptError, MissingError, RegistryError, StoreError
from bundlectl.events import ArtifactFinished, Listener, TransferPlanned, ignore
from mirror.copying.knowledge import TargetKnowledge
from mirror.copying.ledger import Blob, Job, Ledger, Link
from mirror.copying.publishing import Parcel, Publisher, SparseIndexRefusedError
from mirror.copying.report import CopyReport, Failure
from mirror.copying.survey import survey
from mirror.copying.transfer import BlobTransfer
from mirror.copying.working import Persistence, Workers, persist

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.copying.root import Root
    from mirror.oci.repository import Present, ReadRepository, Repository

__all__ = ["SparseIndexRefusedError", "copy"]


def copy(
    roots: Sequence[Root],
    *,
    jobs: int,
    listener: Listener = ignore,
    cancel: Event | None = None,
    concluded: Sequence[Failure] = (),
    persistence: Persistence | None = None,
    knowledge: TargetKnowledge | None = None,
) -> CopyReport:
    """Bring every root to its target.

    Args:
        roots: what to copy; the same content may occur in many of them.
        jobs: threads, and so the most requests under way at once.
        listener: told of bytes and finished artifacts, from worker threads.
        cancel: set by another thread to stop within a second.
        concluded: artifacts that failed before copying began, to be counted in the report.
        persistence: how long each step is tried.
        knowledge: what need not be asked of the target; told of every root that got there.

    Returns:
        What happened. A root that failed is listed there with the reason, and all others are
        copied nevertheless, and their tags were seen to be right.

    Raises:
        StoreError: the target cannot take anything any more (a full disk).
        InterruptError: cancelled; what is at the target is whole, and the same call resumes.
        BundlectlError: the target refuses the kind of content as a whole.
    """
    run = _Run(
        roots, Workers(jobs, cancel or Event()), listener, persistence or Persistence(), knowledge or TargetKnowledge()
    )
    run.report.artifacts_total += len(concluded)
    run.report.failed.extend(concluded)
    return run.run()


class _Run:
    def __init__(
        self,
        roots: Sequence[Root],
        workers: Workers,
        listener: Listener,
        persistence: Persistence,
        knowledge: TargetKnowledge,
    ) -> None:
        self.roots = roots
        self.listener = listener
        self.workers = workers
        self.cancel = workers.stopped
        self.persistence = persistence
        self.knowledge = knowledge
        self.lock = Lock()
        self.report = CopyReport(artifacts_total=len(roots))
        self.ledger = Ledger()
        self.publisher = Publisher(self.cancel, persistence, self._count_sent)
        self.unsurveyed = len(roots)
        self.parked: list[Blob] = []
        # Small requests first: they free memory, and let the largest of more blobs be found. But
        # while there is latency they leave the line empty, so they never take all threads.
        self.finishing = workers.lane(self._finish)
        self.linking = workers.lane(self._link)
        self.surveying = workers.lane(self._survey, share=0.5)
        self.transferring = workers.lane(self._transfer, ordered=True)

    def run(self) -> CopyReport:
        started = time.monotonic()
        with self.workers:
            self.listener(TransferPlanned(artifacts=len(self.roots)))
            for root in self.roots:
                self.workers.queue(self.surveying, root)
            self.workers.drain()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _survey(self, root: Root) -> None:
        try:
            self._enter(root)
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            self._fail(root.label, error)
        with self.lock:
            self.unsurveyed -= 1
            parked, self.parked = (self.parked, []) if not self.unsurveyed else ([], self.parked)
        for blob in parked:
            self.workers.queue(self.transferring, blob)

    def _enter(self, root: Root) -> None:
        """Find out what a root needs, and queue what is not on its way yet."""
        surveyed = survey(root, self.cancel, self.persistence, self.knowledge)
        if surveyed.up_to_date:
            with self.lock:
                self.report.up_to_date.append(root.label)
                if surveyed.stand_in:
                    self._not_addressable(root)
            self.listener(ArtifactFinished(root.label, "skipped"))
            return
        parcels = tuple(Parcel.of(tree) for tree in surveyed.trees)
        job = Job(root, parcels)
        fresh, links = self.ledger.enter(job, surveyed.blobs().values())
        unheard = [blob for blob in fresh if not (blob.asked or blob.proven)]
        size = sum(blob.descriptor.size for blob in unheard)
        manifests = sum(self.ledger.note(parcel.sizes()) for parcel in parcels)
        with self.lock:
            self.report.blobs_total += len(unheard)
            self.report.bytes_total += size + manifests
        if unheard:
            self.listener(TransferPlanned(blobs=len(unheard), bytes=size))
        for blob in fresh:
            self.workers.queue(self.transferring, blob)
        for link in links:
            self.workers.queue(self.linking, link)
        if self.ledger.entered(job):
            self.workers.queue(self.finishing, job)

    def _transfer(self, blob: Blob) -> None:
        """Bring a blob to the first repository that takes it, then queue its mounts into the others."""
        refused: dict[str, BundlectlError] = {}
        while True:
            target, sources, failed = self.ledger.untried(blob, refused)
            if target is None:
                for job in failed:
                    self._fail(job.root.label, refused[job.root.target.name])
                return
            try:
                outcome = self._place(blob, target, sources, None)
            except (InterruptError, StoreError):
                raise
            except BundlectlError as error:
                if self._goes_on(blob, target, error, refused):
                    continue
                return
            for name, refusal in refused.items():
                self._give_up(self.ledger.give_up(blob, {name}), refusal)
            with self.lock:
                if outcome is None:
                    self.report.blobs_transferred += 1
                else:
                    self.report.blobs_present += 1
            self._arrived(blob, target)
            return

    def _goes_on(
        self, blob: Blob, target: Repository, error: BundlectlError, refused: dict[str, BundlectlError]
    ) -> bool:
        """Whether there is another target or source to try; else the blob was put aside, or given up."""
        if error is not blob.failure:
            # What a registry says of one repository tells nothing of the others.
            if isinstance(error, RegistryError) and not error.retryable:
                refused[target.name] = error
                return True
            self._give_up(self.ledger.give_up(blob), error)
            return False
        with self.lock:
            # A root that is not surveyed yet may name another source.
            if self.unsurveyed:
                self.parked.append(blob)
                return False
        failed = self.ledger.give_up_unreadable(blob)
        self._give_up(failed or (), error)
        return failed is None

    def _link(self, link: Link) -> None:
        """Bring a blob into a further repository, without sending it again where that can be."""
        blob, target = link.blob, link.target
        try:
            outcome = self._place(blob, target, link.sources, blob.held[0].name.partition("/")[2])
        except (InterruptError, StoreError):
            raise
        except BundlectlError as error:
            self._give_up(self.ledger.give_up(blob, {target.name}), error)
            return
        if outcome == "mounted":
            with self.lock:
                self.report.blobs_mounted += 1
        self._arrived(blob, target)

    def _place(
        self, blob: Blob, target: Repository, sources: Sequence[ReadRepository], mount_from: str | None
    ) -> Present | None:
        """Return why nothing was sent, or None when the blob was; sources are tried in turn."""
        for source in sources:
            # The bytes of a blob count once in the progress that is shown, however many repositories get it.
            transfer = BlobTransfer(
                blob.descriptor,
                source,
                target,
                cancel=self.cancel,
                listener=ignore if mount_from else self.listener,
                count=self._count_sent,
                persistence=self.persistence,
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
                self.ledger.in_vain(blob, source, error)
        raise blob.failure or MissingError("no source has the blob", artifact=str(blob.descriptor.digest))

    def _count_sent(self, count: int) -> None:
        with self.lock:
            self.report.bytes_transferred += count

    def _arrived(self, blob: Blob, target: Repository) -> None:
        ready, links = self.ledger.arrived(blob, target)
        for link in links:
            self.workers.queue(self.linking, link)
        for job in ready:
            self.workers.queue(self.finishing, job)

    def _finish(self, job: Job) -> None:
        """Publish a root whose blobs are all there: manifests, referrers, tags."""
        root = job.root
        try:
            tagged = self.publisher.publish(root, job.parcels)
        except (InterruptError, StoreError, SparseIndexRefusedError):
            raise
        except BundlectlError as error:
            self._give_up(self.ledger.fail([job]), error)
            return
        finally:
            job.parcels = ()
        self.knowledge.confirm(root, tagged)
        with self.lock:
            self.report.artifacts_done += 1
            if tagged != root.descriptor.digest:
                self._not_addressable(root)
        self.listener(ArtifactFinished(root.label, "done"))

    def _not_addressable(self, root: Root) -> None:
        self.report.not_addressable.append(f"{root.target.name}@{root.descriptor.digest}")

    def _give_up(self, jobs: Iterable[Job], error: BundlectlError) -> None:
        for job in jobs:
            self._fail(job.root.label, error)

    def _fail(self, label: str, error: BundlectlError) -> None:
        with self.lock:
            self.report.failed.append(Failure.of(label, error))
        self.listener(ArtifactFinished(label, "failed", str(error)))

"""What is still to be brought where: unique blobs, and the roots that wait for them.

Roots are entered while blobs already move. Plans of 50,000 blobs are ordinary, so a blob costs
little here: no map of its own, and manifests are kept as their bytes.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from mirror.oci.artifact import SHA512_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bundlectl.errors import BundlectlError
    from mirror.copying.publishing import Parcel
    from mirror.copying.root import Root
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.repository import ReadRepository, Repository

__all__ = ["Blob", "Job", "Ledger", "Link"]


class Job:
    """A root whose manifests are known, and how many things it still waits for: blobs, and being entered."""

    __slots__ = ("failed", "missing", "parcels", "root")

    def __init__(self, root: Root, parcels: tuple[Parcel, ...]) -> None:
        self.root = root
        self.parcels = parcels
        self.missing = 1
        self.failed = False


class Blob:
    """A unique blob: who waits for it, and which repositories of the target hold it.

    ``failure`` is what the last source that was asked in vain (``asked``, by name) said; ``proven`` is
    one that was not to blame when the target refused. The largest comes first.
    """

    __slots__ = ("asked", "descriptor", "failure", "held", "jobs", "proven")

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.jobs: list[Job] = []
        self.held: tuple[Repository, ...] = ()
        self.proven: tuple[ReadRepository, ...] = ()
        self.asked: tuple[str, ...] = ()
        self.failure: BundlectlError | None = None

    def __lt__(self, other: Blob) -> bool:
        return self.descriptor.size > other.descriptor.size

    def sources(self) -> list[ReadRepository]:
        """Where it may be read, each once; those that were asked in vain are not among them."""
        found = {source.name: source for source in self.proven}
        for job in self.jobs:
            found.setdefault(job.root.source.name, job.root.source)
        return [source for name, source in found.items() if name not in self.asked]

    def targets(self) -> dict[str, Repository]:
        """The repositories that still wait for it, by name."""
        return {job.root.target.name: job.root.target for job in self.jobs}


class Link:
    """A blob that one repository of the target holds, on its way into another."""

    __slots__ = ("blob", "sources", "target")

    def __init__(self, blob: Blob, target: Repository, sources: list[ReadRepository]) -> None:
        self.blob = blob
        self.target = target
        self.sources = sources


class Ledger:
    """Every blob of a run, once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blobs: dict[tuple[Digest, int, str | None], Blob] = {}
        self._manifests: set[Digest] = set()

    def enter(self, job: Job, blobs: Iterable[Descriptor]) -> tuple[list[Blob], list[Link]]:
        """Enter a root with all blobs it needs.

        Returns:
            The blobs that nobody has entered before, and those to be brought from one repository
            of the target into another. The root waits for these, and for what others brought on the way.
        """
        fresh: list[Blob] = []
        links: list[Link] = []
        target = job.root.target
        with self._lock:
            for descriptor in blobs:
                # Where manifests contradict each other about a digest, only those that lie must fail.
                stated = (descriptor.digest, descriptor.size, descriptor.annotations.get(SHA512_ANNOTATION))
                blob = self._blobs.get(stated)
                if blob is None:
                    blob = self._blobs[stated] = Blob(descriptor)
                    fresh.append(blob)
                elif not blob.jobs and not blob.held:
                    fresh.append(blob)  # given up meanwhile; this root may know a better source
                elif any(held.name == target.name for held in blob.held):
                    continue
                elif blob.held and target.name not in blob.targets():
                    links.append(Link(blob, target, [job.root.source]))
                blob.jobs.append(job)
                job.missing += 1
        return fresh, links

    def entered(self, job: Job) -> bool:
        """Let a root be finished once its blobs are there; whether that is so already.

        Until then it waits for one thing more than its blobs, which may arrive while it is entered.
        """
        with self._lock:
            job.missing -= 1
            return not job.missing and not job.failed

    def note(self, manifests: Iterable[tuple[Digest, int]]) -> int:
        """Enter manifests; the bytes of those that are new here."""
        added = 0
        with self._lock:
            for digest, size in manifests:
                if digest not in self._manifests:
                    self._manifests.add(digest)
                    added += size
        return added

    def untried(
        self, blob: Blob, refused: Collection[str]
    ) -> tuple[Repository | None, list[ReadRepository], list[Job]]:
        """What to try next with a blob that no repository holds yet.

        Returns:
            A repository that waits for it and has not refused it, and where it can be read. Where there
            is none: the roots that have failed with that, for they wait for one that did refuse.
        """
        with self._lock:
            chosen = next((target for name, target in blob.targets().items() if name not in refused), None)
            sources = blob.sources()
            return chosen, sources, [] if chosen else self._drop(blob, refused)

    def in_vain(self, blob: Blob, source: ReadRepository, error: BundlectlError) -> None:
        """Enter that a source does not give a blob."""
        with self._lock:
            blob.asked = (*blob.asked, source.name)
            blob.failure = error

    def give_up_unreadable(self, blob: Blob) -> list[Job] | None:
        """Let nobody wait for a blob that no source gives; None where a source is known that was not asked."""
        with self._lock:
            return None if blob.sources() else self._drop(blob, None)

    def arrived(self, blob: Blob, target: Repository) -> tuple[list[Job], list[Link]]:
        """Enter that a repository of the target holds a blob.

        Returns:
            The roots that waited for nothing else, and the further repositories to bring it into.
        """
        ready: list[Job] = []
        links: list[Link] = []
        with self._lock:
            first = not blob.held
            sources = blob.sources() if first else []
            blob.held = (*blob.held, target)
            waiting = [job for job in blob.jobs if job.root.target.name == target.name]
            blob.jobs = [job for job in blob.jobs if job.root.target.name != target.name]
            for job in waiting:
                job.missing -= 1
                if not job.missing and not job.failed:
                    ready.append(job)
            if first:
                links = [Link(blob, other, sources) for other in blob.targets().values()]
        return ready, links

    def fail(self, jobs: Iterable[Job]) -> list[Job]:
        """Mark roots as failed; return those that were not marked before."""
        with self._lock:
            return _failed(jobs)

    def give_up(self, blob: Blob, targets: Collection[str] | None = None) -> list[Job]:
        """Let no root of these repositories (all, when None) wait for a blob any more.

        Returns:
            The roots that have failed with that.
        """
        with self._lock:
            return self._drop(blob, targets)

    def _drop(self, blob: Blob, targets: Collection[str] | None) -> list[Job]:
        gone = [job for job in blob.jobs if targets is None or job.root.target.name in targets]
        blob.proven = blob.proven or tuple(blob.sources()[:1])
        blob.jobs = [job for job in blob.jobs if job not in gone]
        return _failed(gone)


def _failed(jobs: Iterable[Job]) -> list[Job]:
    failed = [job for job in jobs if not job.failed]
    for job in failed:
        job.failed = True
    return failed

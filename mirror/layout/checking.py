"""Verifying and counting a store: what is needed, what is there, and whether it is what its name says."""

from __future__ import annotations

import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bundlectl.errors import BundlectlError, ContentError, MissingError, StoreError
from bundlectl.events import BytesMoved
from mirror.filesystem import BLOCK
from mirror.layout.collection_files import required_blobs
from mirror.layout.manifests import load_manifest
from mirror.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bundlectl.events import Listener
    from mirror.layout.blobs import BlobDirectory
    from mirror.layout.refs import Ref
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest

__all__ = ["Needed", "Problem", "StoreStats", "find_needed", "hash_blobs"]

_DEPTH_LIMIT: Final = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be in a store.

    ``different``: it is there, and is not what it should be. ``missing``: it is needed and not
    there. ``reference`` is a ref that needs it, ``collection NAME``, a file, or empty when
    nothing does; ``digest`` is None when it is not about content.
    """

    kind: Literal["different", "missing"]
    reference: str
    digest: Digest | None
    message: str


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts of a store; sizes in bytes.

    ``partial_bytes`` are of cut downloads and open uploads; unreferenced blobs are those that no
    ref, referrer or collection needs.
    """

    refs: int
    repositories: int
    collections: int
    blobs: int
    bytes: int
    unreferenced_blobs: int
    unreferenced_bytes: int
    partial_bytes: int


@dataclass(slots=True)
class Needed:
    """What refs, referrers and collections need: digest to who needs it first; and what is wrong with it."""

    owners: dict[Digest, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    reported: set[Digest] = field(default_factory=set)

    @property
    def present(self) -> frozenset[Digest]:
        """What is there, with the size that it must have; of it, the manifests were hashed."""
        return frozenset(self.owners.keys() - self.reported)

    def add_problem(self, kind: Literal["different", "missing"], digest: Digest, message: str) -> None:
        """Record a problem, once for each digest."""
        if digest not in self.reported:
            self.reported.add(digest)
            self.problems.append(Problem(kind, self.owners.get(digest, ""), digest, message))


def find_needed(blobs: BlobDirectory, refs: Iterable[Ref], collections: Mapping[str, bytes]) -> Needed:
    """Walk from every ref (and referrer) and every collection to all they need.

    Children of an index may be absent (a platform that was not selected), unless a collection lists them.

    Args:
        blobs: of the store.
        refs: refs and referrers.
        collections: locks by name.
    """
    walker = _Walker(blobs)
    for ref in refs:
        walker.visit(ref.descriptor, str(ref), 0)
    for name, lock in collections.items():
        for digest, size in required_blobs(lock).items():
            walker.check(Descriptor("", digest, size), f"collection {name}")
    return walker.needed


class _Walker:
    def __init__(self, blobs: BlobDirectory) -> None:
        self.blobs = blobs
        self.needed = Needed()
        self.walked: set[Digest] = set()

    def check(self, descriptor: Descriptor, owner: str) -> bool:
        """Whether a needed blob is there with its size; if not, that is a problem."""
        digest = descriptor.digest
        self.needed.owners.setdefault(digest, owner)
        path = self.blobs.path(digest)
        size = self.blobs.size(digest)
        if size is None:
            if os.path.lexists(path):
                self.needed.add_problem("different", digest, f"{path} is not a regular file")
            else:
                self.needed.add_problem("missing", digest, "is not in the store")
        elif size != descriptor.size:
            self.needed.add_problem("different", digest, f"should have {descriptor.size} bytes, but has {size}")
        return size == descriptor.size

    def visit(self, descriptor: Descriptor, owner: str, depth: int) -> None:
        digest = descriptor.digest
        if digest in self.walked or not self.check(descriptor, owner):
            return
        self.walked.add(digest)
        try:
            manifest = load_manifest(self.blobs, descriptor)
        except BundlectlError as error:
            kind: Literal["different", "missing"] = "missing" if isinstance(error, MissingError) else "different"
            self.needed.add_problem(kind, digest, error.message)
            return
        self._descend(manifest, owner, depth)

    def _descend(self, manifest: Manifest, owner: str, depth: int) -> None:
        for child in manifest.children():
            absent = not os.path.lexists(self.blobs.path(child.digest))
            if absent and (manifest.is_index or child.urls):
                continue
            if child.is_manifest and manifest.is_index and depth < _DEPTH_LIMIT:
                self.visit(child, owner, depth + 1)
            else:
                self.check(child, owner)


def hash_blobs(
    blobs: BlobDirectory, needed: Needed, *, jobs: int, listener: Listener, cancelled: threading.Event
) -> Iterator[Problem]:
    """Hash every blob that is there, in threads, and yield those that are not what their names say.

    Args:
        blobs: of the store.
        needed: tells who needs a blob, and which problems were told already.
        jobs: threads.
        listener: gets `BytesMoved` as blobs are hashed.
        cancelled: ends the work early when set.
    """
    closed = threading.Event()

    def moved(count: int) -> bool:
        listener(BytesMoved(count))
        return not (closed.is_set() or cancelled.is_set())

    def check(digest: Digest) -> Problem | None:
        return _hash_one(blobs, digest, needed.owners.get(digest, ""), moved)

    pending: set[Future[Problem | None]] = set()
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
        try:
            for digest in blobs.digests():
                if cancelled.is_set():
                    break
                if digest in needed.reported:
                    continue
                pending.add(pool.submit(check, digest))
                if len(pending) >= jobs * 4:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (problem for future in done if (problem := future.result()))
            for future in pending:
                if problem := future.result():
                    yield problem
        finally:
            # The caller may stop listening in the middle.
            closed.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _hash_one(blobs: BlobDirectory, digest: Digest, owner: str, moved: Callable[[int], bool]) -> Problem | None:
    """Hash one blob; ``moved`` tells of each block, and answers whether to go on."""
    hasher = digest.hasher()
    try:
        with blobs.open(digest) as reader:
            while block := reader.read(BLOCK):
                hasher.update(block)
                if not moved(len(block)):
                    return None
    except MissingError:
        return None  # gone since it was listed
    except (ContentError, StoreError) as error:
        return Problem("different", owner, digest, error.message)
    if hasher.hexdigest() == digest.encoded:
        return None
    return Problem(
        "different",
        owner,
        digest,
        f"its bytes have another digest: remove {blobs.path(digest)} and run the download that brings it again",
    )

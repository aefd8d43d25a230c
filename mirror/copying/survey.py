"""Finding out what a run has to do: what is there already, and what each root needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, StoreError
from mirror.copying.knowledge import TargetKnowledge
from mirror.copying.working import Persistence, Workers, check_cancelled, persist, reading_source
from mirror.graph import Tree, walk
from mirror.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.copying.root import Root
    from mirror.oci.digest import Digest
    from mirror.oci.repository import ReadRepository, Repository

__all__ = ["Estimate", "Surveyed", "estimate", "holds", "survey", "unlisted"]


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A root, and the trees it needs at the target: its referrers', then its own; none if up to date.

    ``stand_in``: what is up to date is its only platform, under the tag of an index that the
    target refuses (``SparseIndexRefusedError`` says when).
    """

    root: Root
    trees: tuple[Tree, ...]
    stand_in: bool = False

    @property
    def up_to_date(self) -> bool:
        """Whether nothing has to be done."""
        return not self.trees

    def blobs(self) -> dict[Digest, Descriptor]:
        """Every blob of every tree, once."""
        return {blob.digest: blob for tree in self.trees for blob in tree.blobs}


def survey(root: Root, cancel: Event, persistence: Persistence, knowledge: TargetKnowledge) -> Surveyed:
    """Ask the target whether ``root`` is there; if not, walk it at the source.

    A tag is written last, so a tag that points at the right digest proves the run before got
    to its end. It does not prove which children of an index were wanted then, nor that the
    signatures are the same ones: where no record of an earlier run proves that, the manifests
    that the lock knows of are looked for, too.

    Raises:
        MissingError, ContentError, RegistryError, TransportError: from either side.
    """
    check_cancelled(cancel)
    recalled = knowledge.recall(root)
    if recalled is not None and knowledge.trusting:
        return _up_to_date(root, recalled)
    if recalled is not None or not knowledge.doubts(root):
        tagged = persist(lambda: _tagged(root, knowledge), cancel, persistence)
        if tagged is not None and tagged == recalled:
            return _up_to_date(root, tagged)
        if tagged is not None and persist(lambda: _is_whole(root, tagged), cancel, persistence):
            knowledge.confirm(root, tagged)
            return _up_to_date(root, tagged)
        knowledge.forget(root)
    trees = []
    with reading_source():
        for referrer in root.referrers:
            check_cancelled(cancel)
            found = referrer.descriptor
            trees.append(persist(lambda found=found: walk(root.source, found), cancel, persistence))  # type: ignore[misc]
        trees.append(persist(lambda: _walk_root(root), cancel, persistence))
    _check_kinds(root, trees)
    return Surveyed(root, tuple(trees))


def holds(roots: Iterable[Root], knowledge: TargetKnowledge, *, jobs: int, cancel: Event) -> bool:
    """Whether each of ``roots`` is at its target as it is remembered to be, with all that it needs.

    What cannot be asked does not hold.

    Raises:
        InterruptError: cancelled.
    """
    with Workers(jobs, cancel) as workers:

        def as_remembered(root: Root) -> bool:
            check_cancelled(workers.stopped)
            try:
                tagged = _tagged(root, knowledge)
                return tagged is not None and tagged == knowledge.recall(root) and _is_whole(root, tagged)
            except (InterruptError, StoreError):
                raise
            except BundlectlError:
                return False

        return all(workers.map(as_remembered, roots))


def _up_to_date(root: Root, tagged: Digest) -> Surveyed:
    return Surveyed(root, (), stand_in=tagged != root.descriptor.digest)


def _check_kinds(root: Root, trees: Sequence[Tree]) -> None:
    """Hold that each manifest is what it is taken along as: a referrer is judged with its root, never by itself.

    Raises:
        ContentError: a referrer refers to nothing of the root, or an image is called a chart.
    """
    *referrers, main = trees
    if root.is_chart not in (None, main.root.is_chart):
        raise ContentError(
            f"is {'a chart' if main.root.is_chart else 'no chart'}, and the lock says otherwise",
            artifact=root.label,
            hint="make a new lock of it",
        )
    known = {item.descriptor.digest for item in main.manifests}
    known.update(tree.root.descriptor.digest for tree in referrers)
    tagged = {item.descriptor.digest for item in root.referrers if item.tag}
    for referrer in (tree.root for tree in referrers if tree.root.descriptor.digest not in tagged):
        if referrer.subject is None or referrer.subject.digest not in known:
            raise ContentError(
                f"{referrer.descriptor.digest} is locked as its referrer, but refers to nothing of it",
                artifact=root.label,
                hint="make a new lock of it",
            )


def _walk_root(root: Root) -> Tree:
    wanted = frozenset(root.manifests) if root.manifests else None
    return walk(root.source, root.descriptor, platforms=root.platforms, only=wanted)


def _tagged(root: Root, knowledge: TargetKnowledge) -> Digest | None:
    """What all tags point at: the root, or the only platform of it that is wanted; None where they do not."""
    found: set[Digest] = set()
    try:
        found.update(knowledge.resolve(root, tag) for tag in root.tags)
        for item in root.referrers:
            if item.tag and knowledge.resolve(root, item.tag) != item.descriptor.digest:
                return None
    except MissingError:
        return None
    digest = found.pop()
    acceptable = {root.descriptor.digest, *(root.manifests if len(root.platforms) == 1 else ())}
    return digest if not found and digest in acceptable else None


def _is_whole(root: Root, tagged: Digest) -> bool:
    if root.is_intact is not None:
        return root.is_intact()
    # A manifest that a tag was just seen to point at is there.
    present = {root.descriptor.digest, tagged, *(item.descriptor.digest for item in root.referrers if item.tag)}
    referrers = {item.descriptor.digest for item in root.referrers} - present
    needed = {*root.manifests, *referrers} - present
    subjects = [root.descriptor.digest, *root.manifests, *(item.descriptor.digest for item in root.referrers)]
    there = all(root.target.has(Descriptor("", item, 0)) for item in needed)
    return there and not unlisted(root.target, referrers, subjects)


def unlisted(target: ReadRepository, referrers: Iterable[Digest], subjects: Iterable[Digest]) -> set[Digest]:
    """Those of ``referrers`` that a repository lists with none of ``subjects``, where clients look for signatures.

    A registry that has no such API lists them under a tag, and a run may have been cut before it wrote that.

    Raises:
        ContentError, RegistryError, TransportError: the registry does not say.
    """
    missing = set(referrers)
    for subject in dict.fromkeys(subjects):
        if not missing:
            break
        missing.difference_update(item.digest for item in target.referrers(subject))
    return missing


@dataclass(slots=True, kw_only=True)
class Estimate:
    """What a run would do. ``bytes`` are exact: unique blobs that no repository of the target has."""

    artifacts: int = 0
    up_to_date: int = 0
    blobs: int = 0
    bytes: int = 0
    pending: list[str] = field(default_factory=list)


def estimate(
    roots: Sequence[Root],
    *,
    jobs: int,
    cancel: Event | None = None,
    persistence: Persistence | None = None,
    knowledge: TargetKnowledge | None = None,
) -> Estimate:
    """Compute what ``copy`` would send, changing nothing at the target.

    Raises:
        MissingError, ContentError, RegistryError, TransportError: the first that either side gave.
    """
    patience, known = persistence or Persistence(), knowledge or TargetKnowledge()
    result = Estimate(artifacts=len(roots))
    with Workers(jobs, cancel or Event()) as workers:
        stopped = workers.stopped
        surveyed = workers.map(lambda root: survey(root, stopped, patience, known), roots)
        wanted: dict[Digest, tuple[Descriptor, dict[str, Repository]]] = {}
        manifests: dict[Digest, int] = {}
        for item in surveyed:
            if item.up_to_date:
                result.up_to_date += 1
                continue
            result.pending.append(item.root.label)
            for blob in item.blobs().values():
                wanted.setdefault(blob.digest, (blob, {}))[1][item.root.target.name] = item.root.target
            for tree in item.trees:
                manifests.update((entry.descriptor.digest, entry.descriptor.size) for entry in tree.manifests)

        def absent(entry: tuple[Descriptor, dict[str, Repository]]) -> int:
            blob, targets = entry
            check_cancelled(stopped)
            present = any(
                persist(lambda t=target: t.has(blob), stopped, patience)  # type: ignore[misc]
                for target in targets.values()
            )
            return 0 if present else blob.size

        sizes = workers.map(absent, wanted.values())
    result.blobs = sum(1 for size in sizes if size)
    result.bytes = sum(sizes) + sum(manifests.values())
    return result

"""``import``: bring an archive into a store or a registry, talking to nothing else (ADR 4)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError, MissingError, StoreError, VerificationError
from bundlectl.events import BytesMoved, Notice, PhaseStarted, TransferPlanned
from bundlectl.operations.downloading import check_collection_name, check_space, collection_name, fill_store
from bundlectl.operations.keeping_parts import keep_parts
from bundlectl.operations.locking import Locked, lock_sources
from bundlectl.operations.mirroring import Filling, fill_registry
from bundlectl.operations.next_steps import NextStep, after_registry, after_store
from bundlectl.operations.replaying import RegistryMemory, StoreMemory, hold_forward, names_of
from bundlectl.operations.site import RegistryContent, StoreContent
from bundles.archive import open_archive
from bundles.plan import TargetPlan, UpstreamNaming
from mirror.archive.checking import check_blob, check_volume
from mirror.archive.sums import volume_name
from mirror.layout import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from bundlectl.operations.preflight import Visibility
    from bundlectl.operations.replaying import ImportMemory
    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundlectl.operations.site import SiteContent
    from bundles.archive import CarriedArchive
    from bundles.lock import Lock
    from bundles.plan import Naming
    from mirror.archive.folder import Folder
    from mirror.archive.reading import VolumeProblem, VolumeSet
    from mirror.copying import CopyReport, Failure
    from mirror.oci.digest import Digest

__all__ = ["ImportReport", "Lacking", "import_into_registry", "import_into_store"]

_KEY_HINT: Final = "say whose signature it must have with --key KEY or --policy FILE; --verify off takes it unchecked"


@dataclass(frozen=True, slots=True)
class Lacking:
    """Content that neither the archive gave nor the target has, and why."""

    digest: Digest
    size: int
    why: str


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """What an import did: a copy's report, and what there is to say of the archive."""

    copied: CopyReport
    archive: CarriedArchive
    problems: list[VolumeProblem] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    lacking: list[Lacking] = field(default_factory=list)
    target: str = ""
    next_steps: list[NextStep] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """As the copy's."""
        return self.copied.exit_code

    def repair_commands(self) -> list[str]:
        """What to type, here and where the archive was made, to get what is lacking."""
        if not self.lacking:
            return []
        lock, name = self.archive.contents.lock.name, f"{self.archive.name}-repair"
        return [
            f"bundlectl inventory {self.target} --out site.inventory.json",
            f"bundlectl export {lock} --since site.inventory.json --name {name} --to DIR --key KEY",
        ]

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``: the one form of copies, and more."""
        inventory, proof = self.archive.inventory, self.archive.proof
        return {
            **self.copied.to_json(),
            "archive": {
                "name": self.archive.name,
                "id": str(inventory.archive_id),
                "issued": inventory.issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "signedBy": str(proof.identity) if proof else None,
            },
            "volumes": {
                "total": len(self.archive.contents.plan().volumes),
                "repaired": self.repaired,
                "problems": [{"name": item.name, "kind": item.kind, "message": item.message} for item in self.problems],
            },
            "lacking": [{"digest": str(item.digest), "size": item.size, "reason": item.why} for item in self.lacking],
            "repair": self.repair_commands(),
            "next": [item.to_json() for item in self.next_steps],
        }


def import_into_store(
    request: SourceRequest, paths: Sequence[Path], *, store: Path, session: Session, name: str | None = None
) -> ImportReport:
    """Bring an archive into a store; the lock is kept there as a collection once everything is there.

    Args:
        request: how the archive is believed; its sources do not count.
        paths: the archive's folder or a file in it, one for each medium.
        store: made when absent.
        session: connections; none is used.
        name: of the collection; the archive's when None.

    Raises:
        VerificationError: nobody is named who must have signed it, or they did not; or it would move names back.
        ContentError, MissingError: there is no archive, or it is not as it was written.
        StoreError: the store cannot be written, the disk is too small, or another import is at it.
        InterruptError: cancelled; the same call resumes.
    """
    if name:
        check_collection_name(name)
    run = _Import(request, paths, session)
    chosen = name or collection_name(run.archive.name)
    with Store.open(store, create=True, cancelled=session.cancelled) as kept, kept.importing():
        content = StoreContent(kept)
        locked = run.lock(content)
        check_space(kept, locked.lock.blobs)
        locked = run.repaired_lock(locked, content)
        lock = locked.lock
        names = names_of(TargetPlan.of(lock, UpstreamNaming()))
        # What is said of a collection later, such as `mirror store:DIR#NAME`, must not go back either.
        names[f"#{chosen}"] = run.archive.contents.lock.digest
        StoreMemory(kept).change(partial(run.hold_forward, names))
        report = run.fill(
            # What of a store is not whole, it sees by itself.
            lambda _: fill_store(locked, kept, name=chosen, session=session, beside=content.open, phase="importing"),
            lock,
            content,
        )
        done = run.report(report, lock, content, target=f"store:{store}")
    if not done.exit_code:
        done.next_steps = after_store(str(store), chosen, lock)
    return done


def import_into_registry(
    request: SourceRequest,
    paths: Sequence[Path],
    *,
    target: Naming,
    session: Session,
    create_projects: Visibility | None = None,
) -> ImportReport:
    """Bring an archive straight into a registry, and ask it at the end whether all of it is there.

    Args:
        request: how the archive is believed; its sources do not count.
        paths: the archive's folder or a file in it, one for each medium.
        target: registry, prefix and map rules.
        session: connections; only the target is reached.
        create_projects: make the projects that are missing (Harbor), as visible as this.

    Raises:
        VerificationError: nobody is named who must have signed it, or they did not; or it would move names back.
        ContentError, MissingError: there is no archive, or it is not as it was written.
        RegistryError, TransportError: the target refuses everything, or cannot be reached.
        StoreError: the state directory cannot be written, or another import from here is at it.
        InterruptError: cancelled; the same call resumes.
    """
    run = _Import(request, paths, session)
    registry = session.target(target.registry)
    content = RegistryContent(registry, target, session)
    locked = run.repaired_lock(run.lock(content), content)
    memory = RegistryMemory(registry, target, session, create_projects=create_projects is not None)

    def ready(plan: TargetPlan) -> None:
        memory.change(partial(run.hold_forward, names_of(plan)))

    filling = Filling(create_projects=create_projects, beside=content.open, ready=ready, phase="importing")
    lock = locked.lock

    def fill(doubted: frozenset[str]) -> CopyReport:
        return fill_registry(locked, target, replace(filling, doubted=doubted), session=session)

    with memory.alone():
        report = run.fill(fill, lock, content)
    shown = "/".join(part for part in (target.registry, target.prefix) if part)
    done = run.report(report, lock, content, target=f"registry:{shown}")
    if not done.exit_code:
        done.next_steps = after_registry(target, lock, session)
    return done


class _Import:
    """What both kinds of import have in common."""

    def __init__(self, request: SourceRequest, paths: Sequence[Path], session: Session) -> None:
        belief = request.belief
        if belief.anchors is None and not request.policies and belief.mode != "off":
            raise VerificationError(
                "nobody is named who must have signed it", artifact=", ".join(map(str, paths)), hint=_KEY_HINT
            )
        # What is repaired lies in the first folder, and so is found before the damaged one that cannot be written.
        paths = sorted(paths, key=lambda path: not os.access(path, os.W_OK))
        self.request = request
        self.session = session
        self.archive = open_archive(paths, belief.anchors)
        self.paths = paths
        self.volumes: VolumeSet = self.archive.volumes()
        self.repaired: list[str] = []
        self.damaged: set[Digest] = set()
        for problem in self.volumes.problems():
            session.listener(Notice("warning", problem.message, problem.name))

    def lock(self, content: SiteContent) -> Locked:
        """What is to be imported, believed and judged."""
        source = "archive:" + os.pathsep.join(map(str, self.paths))
        request = replace(self.request, sources=(source,), archives={source: self.archive}, beside=content.open)
        return lock_sources(request, session=self.session)

    def repaired_lock(self, locked: Locked, content: SiteContent) -> Locked:
        """Repair what is known to be lost, and judge once more what could not be, for its signatures lay there."""
        return self.lock(content) if self.repair() and locked.failed else locked

    def hold_forward(self, names: Mapping[str, Digest], known: ImportMemory) -> ImportMemory:
        """Refuse to move names back, unless that is allowed; what is to be remembered."""
        archive = self.archive
        return hold_forward(
            archive.inventory, names, known, signed=archive.proof is not None, allowed=self.request.allow_rollback
        )

    def repair(self) -> bool:
        """Give back lost and damaged volumes from parity, as far as that goes; whether there are more volumes now."""
        parity = self.archive.contents.parity
        if not parity or not self.volumes.problems():
            return False
        from mirror.archive.repairing import repair  # noqa: PLC0415 -- only with parity

        self.session.listener(PhaseStarted("repairing", len(self.volumes.problems())))
        plan = self.volumes.plan
        longest = max(volume.size for volume in plan.volumes)
        self.session.listener(TransferPlanned(bytes=plan.size + parity * longest))
        try:
            self.repaired += repair(
                self.volumes, parity, self._writable(), progress=self._read, cancelled=self.session.cancelled
            )
        except (MissingError, StoreError, ContentError) as error:
            self.session.listener(Notice("warning", f"cannot be repaired: {error}", self.archive.name))
            return False
        return True

    def _read(self, count: int) -> None:
        self.session.listener(BytesMoved(count))

    def _writable(self) -> Folder:
        return next((item for item in self.volumes.folders if os.access(item.path, os.W_OK)), self.volumes.folders[0])

    def fill(self, fill: Callable[[frozenset[str]], CopyReport], lock: Lock, content: SiteContent) -> CopyReport:
        """Fill the target, and see that everything is there.

        It is filled once more if what failed lies in volumes that parity gives back, or if something that was
        there before turns out not to be whole.

        Args:
            fill: fills it; what reports call by these labels it copies though its tags are right.
            lock: what is to be there.
            content: the target.
        """
        report = fill(frozenset())
        if report.failed and self._look_again(report) and self.repair():
            report = _joined(report, fill(frozenset()))
        # What was copied now, the copy has asked for by itself; what was there before, it knows by its tag alone.
        gaps = self._gaps(report.up_to_date, lock, content)
        if gaps:
            for gap in gaps.values():
                self.session.listener(Notice("warning", f"is not whole at the target: {gap.error}", gap.reference))
            report = _joined(report, fill(frozenset(gaps)))
            failed = {failure.reference for failure in report.failed}
            report.failed += self._gaps(gaps.keys() - failed, lock, content).values()
            report.artifacts_done = report.artifacts_total - len(report.up_to_date) - len(report.failed)
        report.failed = [self._explained(failure) for failure in report.failed]
        return report

    def _gaps(self, labels: Collection[str], lock: Lock, content: SiteContent) -> dict[str, Failure]:
        """Ask the target for all of what reports call by these labels; what of it is not whole there, by its label."""
        if not labels:
            return {}
        asked = _narrowed(lock, labels)
        self.session.listener(PhaseStarted("checking the target", len(asked.artifacts)))
        found = {failure.reference: failure for failure in content.check(asked)}
        # A package bundle is called by its URL and a tag.
        known = ((label, found.get(label) or found.get(label.rpartition(":")[0])) for label in labels)
        return {label: replace(failure, reference=label) for label, failure in known if failure}

    def _look_again(self, report: CopyReport) -> bool:
        """Hash the volumes that failed artifacts lie in; whether some turned out to be damaged."""
        plan = self.volumes.plan
        places = {
            digest: plan.volumes_of(*place)
            for digest in _digests_of(self.archive.lock, report.failed)
            if (place := plan.locate(digest)) is not None
        }
        wanted = {volume for parts in places.values() for volume in parts}
        before = len(self.volumes.problems())
        self.session.listener(PhaseStarted("looking for damage", len(wanted)))
        self.session.listener(TransferPlanned(bytes=sum(volume.size for volume in wanted)))
        for volume in sorted(wanted, key=lambda item: item.number):
            if self.volumes.path(volume) is None:
                continue
            known = self.volumes.problem(volume)
            problem = check_volume(
                self.volumes,
                volume,
                progress=self._read,
                cancelled=self.session.cancelled,
                damaged=self.damaged,
            )
            if problem is not None and problem != known:
                self.session.listener(Notice("warning", problem.message, problem.name))
        for digest in (digest for digest, parts in places.items() if len(parts) > 1):
            check_blob(self.volumes, digest, cancelled=self.session.cancelled, damaged=self.damaged)
        return len(self.volumes.problems()) > before

    def report(self, copied: CopyReport, lock: Lock, content: SiteContent, *, target: str) -> ImportReport:
        """Say what was done, and what is lacking; keep what is here of what is not whole."""
        if copied.failed and self.volumes.problems():
            wanted = {failure.reference for failure in copied.failed}
            parts = [item for item in lock.artifacts if item.reference in wanted]
            self.session.listener(PhaseStarted("keeping parts", len(parts)))
            keep_parts(parts, self.volumes, content, self.session, damaged=self.damaged)
        return ImportReport(
            copied=copied,
            archive=self.archive,
            problems=self.volumes.problems(),
            repaired=self.repaired,
            lacking=self._lacking(copied, self.archive.lock, content),
            target=target,
        )

    def _names(self, digest: Digest) -> str:
        """The volumes that a blob lies in."""
        place = self.volumes.plan.locate(digest)
        parts = self.volumes.plan.volumes_of(*place) if place else ()
        return ", ".join(volume_name(self.archive.name, volume.number) for volume in parts)

    def _explained(self, failure: Failure) -> Failure:
        """Name the volume where what failed is damaged in it."""
        damaged = _digests_of(self.archive.lock, [failure]) & self.damaged if self.damaged else ()
        if not damaged:
            return failure
        digest = min(damaged)
        told = f"{failure.reference}: {digest} is damaged in {self._names(digest)}"
        return replace(failure, error=told, hint="bring another copy of that volume, and run the same command again")

    def _lacking(self, copied: CopyReport, lock: Lock, content: SiteContent) -> list[Lacking]:
        plan = self.volumes.plan
        found = []
        for digest in sorted(_digests_of(lock, copied.failed)):
            place = plan.locate(digest)
            lost = self.volumes.missing(*place) if place else []
            if (place and not lost and digest not in self.damaged) or content.has(digest):
                continue
            why = f"lies in {self._names(digest)}" if place else "was left out: the site had it"
            found.append(Lacking(digest, lock.blobs.get(digest, place[1] if place else 0), why))
        return found


def _joined(first: CopyReport, second: CopyReport) -> CopyReport:
    """What two runs did together, as the second one leaves it."""
    second.seconds += first.seconds
    second.blobs_transferred += first.blobs_transferred
    second.blobs_mounted += first.blobs_mounted
    second.bytes_transferred += first.bytes_transferred
    second.requests_target += first.requests_target
    before = set(first.up_to_date)
    second.up_to_date = [label for label in second.up_to_date if label in before]
    second.artifacts_done = second.artifacts_total - len(second.up_to_date) - len(second.failed)
    return second


def _narrowed(lock: Lock, labels: Iterable[str]) -> Lock:
    """What of a lock reports call by these labels."""
    wanted = set(labels)
    return replace(
        lock,
        artifacts=tuple(item for item in lock.artifacts if item.reference in wanted),
        manifests=tuple(item for item in lock.manifests if any(label.startswith(item.url) for label in wanted)),
    )


def _digests_of(lock: Lock, failed: Iterable[Failure]) -> set[Digest]:
    labels = {item.reference for item in failed}
    found = {digest for item in lock.artifacts if item.reference in labels for digest in item.all_digests()}
    documents = [item for item in lock.manifests if any(label.startswith(item.url) for label in labels)]
    return found | {digest for item in documents for digest in (item.digest, item.oci_digest) if digest}

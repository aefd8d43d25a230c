"""``verify archive:…``: is an archive whole and signed, and if it is damaged, how far can it be repaired (ADR 4)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from bundlectl.errors import ContentError, VerificationError
from bundlectl.events import BytesMoved, PhaseStarted, TransferPlanned
from bundlectl.operations.taking_stock import load_inventory
from bundlectl.operations.verdict import Verdict
from bundlectl.operations.verifying import Finding, VerifyReport
from bundles.archive import open_archive
from bundles.inventory import INVENTORY_LIMIT
from bundles.lock_signature import verify_lock
from mirror.archive.checking import check_parity, check_volumes
from mirror.archive.repairing import lacking
from mirror.archive.sums import SUMS_FILE, parity_name, parse_sha256sums, sum_name, volume_name
from mirror.copying.working import check_cancelled
from mirror.filesystem import mapped_errors, open_regular
from mirror.markup import visible
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.archive import CarriedArchive
    from bundles.inventory import NamedFile
    from mirror.archive.folder import Folder
    from mirror.archive.reading import VolumeSet
    from signing.identity import TrustAnchors

__all__ = ["ArchiveReport", "verify_archive", "verify_inventory"]

_BLOCK: Final = 1024 * 1024
_UNCHECKED: Final = "its signature was not checked, for nobody is named who must have signed it: say who with --key KEY"


@dataclass(slots=True, kw_only=True)
class ArchiveReport(VerifyReport):
    """What was found in an archive.

    ``volumes`` and ``parity`` are how many there should be, ``problems`` and ``right`` how many of them are missing or
    damaged, and are as they should be. With ``lacking`` more volumes of either kind, all others could be rebuilt.
    """

    volumes: int
    problems: int = 0
    parity: int = 0
    right: int = 0
    lacking: int = 0
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Render as ``cli.md`` says, and what is only to be said of archives."""
        return {
            **VerifyReport.to_json(self),
            "volumes": {"total": self.volumes, "problems": self.problems},
            "parity": {"total": self.parity, "right": self.right},
            "repairable": not self.lacking,
            "lacking": self.lacking,
            "warnings": list(self.warnings),
        }


def verify_archive(paths: Sequence[Path], *, request: SourceRequest, session: Session) -> list[Verdict | ArchiveReport]:
    """Check who signed an archive, then read and hash all of it. Nothing of it is changed.

    Args:
        paths: the archive's folder or a file in it, one for each medium.
        request: its ``belief`` says who must have signed it.
        session: cancels, and hears how far it is.

    Returns:
        Whose signature inventory and lock have, where somebody is named who must have signed them; then what was
        found. Where that signature does not hold nothing else is looked at: there is nothing to hold it against.

    Raises:
        MissingError: there is no archive, or its inventory or lock is not there.
        ContentError: they are not as they were written, or the folders hold different archives.
        UsageError: a folder holds several archives.
        StoreError: a medium cannot be read.
        InterruptError: cancelled.
    """
    target = "archive:" + os.pathsep.join(map(str, paths))
    anchors = request.belief.anchors
    try:
        archive = open_archive(paths, anchors)
    except VerificationError as error:
        name = error.artifact or target
        return [Verdict(target=target, kind="Inventory", name=name, verified=False, reason=error.message)]
    report = _Checker(archive, target, session).check()
    if anchors is None:
        report.warnings = (_UNCHECKED,)
        return [report]
    return [*_signatures(archive, target, anchors), report]


def verify_inventory(path: Path, request: SourceRequest) -> Verdict:
    """Say whether the inventory in a file, of a site or of an archive, is signed by someone who counts.

    Raises:
        ConfigError: it cannot be read, or a certificate is to be checked, and the package for that is absent.
        ContentError: not an inventory.
        MissingError, UsageError: there is no such file.
    """
    anchors = request.belief.anchors
    undecided = Verdict(target=str(path), kind="Inventory", name=path.name, verified=False)
    if anchors is None:
        return replace(undecided, reason="nobody is named who must have signed it: say who with --key KEY")
    try:
        inventory, proof, digest = load_inventory(path, anchors)
    except VerificationError as error:
        return replace(undecided, reason=error.message)
    signers = (proof.identity,) if proof else ()
    return replace(undecided, name=inventory.name, verified=bool(proof), digest=digest, signed_by=signers)


def _signatures(archive: CarriedArchive, target: str, anchors: TrustAnchors) -> Iterator[Verdict]:
    """The inventory's signature, which holds, and the lock's own, which somebody else may have made."""
    if archive.proof is None:
        return
    inventory = Digest.of(archive.inventory.to_bytes())
    lock, proof = archive.contents.lock, None
    warnings: tuple[str, ...] = ()
    if archive.signed is not None:
        try:
            proof = verify_lock(archive.signed.raw, archive.lock, archive.signed.signature, anchors, origin=lock.name)
        except VerificationError as error:
            # No failure: the lock that was exported is the one that the inventory's signature covers.
            warnings = (f"the lock in it has a signature of its own, which is not one of theirs: {error.message}",)
    yield Verdict(
        target=target,
        kind="Inventory",
        name=archive.name,
        verified=True,
        digest=inventory,
        signed_by=(archive.proof.identity,),
        warnings=warnings,
    )
    if proof is not None:
        yield Verdict(
            target=f"{target} ({lock.name})",
            kind="Lock",
            name=archive.lock.name,
            verified=True,
            digest=lock.digest,
            signed_by=(proof.identity,),
        )


class _Checker:
    def __init__(self, archive: CarriedArchive, target: str, session: Session) -> None:
        self._archive = archive
        self._session = session
        self._volumes: VolumeSet = archive.volumes()
        plan, lock = self._volumes.plan, archive.lock
        self._report = ArchiveReport(
            target=target,
            deep=True,
            artifacts=len(lock.artifacts) + len(lock.manifests),
            blobs=sum(not member.name for member in plan.members),
            volumes=len(plan.volumes),
            parity=archive.contents.parity,
        )

    def check(self) -> ArchiveReport:
        """Look at all of it."""
        report, volumes = self._report, self._volumes
        there = [volume.size for volume in volumes.plan.volumes if volumes.problem(volume) is None]
        longest = max(volume.size for volume in volumes.plan.volumes)
        self._session.listener(PhaseStarted("verifying", len(there)))
        self._session.listener(TransferPlanned(bytes=sum(there) + longest * report.parity))
        for problem in check_volumes(volumes, progress=self._moved, cancelled=self._session.cancelled).problems:
            self._find("missing" if problem.kind == "missing" else "different", problem.name, problem.message)
        report.problems = len(report.findings)
        self._parity()
        report.lacking = lacking(volumes, report.parity, report.right)
        for tool in self._archive.contents.tool:
            self._tool(tool)
        for folder in self._archive.folders:
            self._sums(folder)
            self._strangers(folder)
        return report

    def _moved(self, count: int) -> None:
        self._report.bytes += count
        self._session.listener(BytesMoved(count))

    def _parity(self) -> None:
        report, folders = self._report, self._archive.folders
        if not report.parity:
            return
        right = check_parity(self._volumes, report.parity, progress=self._moved, cancelled=self._session.cancelled)
        report.right = len(right)
        for number in range(1, report.parity + 1):
            name = parity_name(self._archive.name, number)
            if number in right:
                continue
            if all(folder.size(name) is None for folder in folders):
                self._find("missing", name, "is not there")
            else:
                self._find("different", name, f"is not what {sum_name(name)} says")

    def _tool(self, tool: NamedFile) -> None:
        folder = next((item for item in self._archive.folders if item.size(tool.name) is not None), None)
        if folder is None:
            self._find("missing", tool.name, "is not there")
        elif folder.size(tool.name) != tool.size or self._digest(folder, tool.name) != tool.digest:
            self._find("different", tool.name, "is not what the inventory says")

    def _strangers(self, folder: Folder) -> None:
        """Look for what whoever carried the medium put beside what was signed, to be unpacked or installed with it."""
        known = {volume_name(self._archive.name, number) for number in range(1, self._report.volumes + 1)}
        known.update(tool.name for tool in self._archive.contents.tool)
        for name in folder.taken():
            if name not in known:
                self._find("different", visible(name), "the inventory does not name it: somebody else put it there")

    def _sums(self, folder: Folder) -> None:
        """Look whether ``SHA256SUMS`` says of everything in its folder what that is."""
        name = str(folder.path / SUMS_FILE) if len(self._archive.folders) > 1 else SUMS_FILE
        if folder.size(SUMS_FILE) is None:
            self._find("missing", name, "is not there: the export was not finished, or it was not copied")
            return
        try:
            stated = parse_sha256sums(folder.read(SUMS_FILE, limit=INVENTORY_LIMIT), origin=name)
        except ContentError as error:
            self._find("different", name, error.message)
            return
        numbers = range(1, self._report.volumes + 1)
        volumes = {volume_name(self._archive.name, number) for number in numbers}
        volumes |= {parity_name(self._archive.name, number) for number in range(1, self._report.parity + 1)}
        for file, digest in stated.items():
            self._sum(folder, name, file, digest, is_volume=file in volumes)

    def _sum(self, folder: Folder, sums: str, file: str, digest: Digest, *, is_volume: bool) -> None:
        if is_volume:
            # Its bytes were held against its sum file.
            found = folder.read_sum(sum_name(file))
            if found is not None and found.sha256 != digest:
                self._find("different", sums, f"says of {file} what {sum_name(file)} does not")
        elif folder.size(file) is None:
            self._find("missing", file, f"is not there, and {SUMS_FILE} lists it")
        elif self._digest(folder, file) != digest:
            self._find("different", file, f"is not what {SUMS_FILE} says")

    def _digest(self, folder: Folder, name: str) -> Digest:
        hasher = hashlib.sha256()
        descriptor, _ = open_regular(folder.path / name, artifact=name)
        try:
            with mapped_errors(folder.path / name, action="read"):
                while data := os.read(descriptor, _BLOCK):
                    check_cancelled(self._session.cancelled)
                    hasher.update(data)
        finally:
            os.close(descriptor)
        return Digest("sha256", hasher.hexdigest())

    def _find(self, kind: Literal["missing", "different"], name: str, message: str) -> None:
        """Enter what is wrong; once a file, for what is wrong with it is often seen in more than one way."""
        if all(finding.reference != name for finding in self._report.findings):
            self._report.findings.append(Finding(kind, name, message))

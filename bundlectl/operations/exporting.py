"""``export``: write everything that sources name into an archive that can be carried (ADR 4)."""

from __future__ import annotations

import hashlib
import io
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, Self

from bundlectl.errors import ContentError, StoreError, UsageError, VerificationError
from bundlectl.events import BytesMoved, Notice, PhaseStarted, TransferPlanned
from bundlectl.operations.downloading import collection_name
from bundlectl.operations.export_report import ExportReport, VolumeReport
from bundlectl.operations.fetching_ahead import FetchingAhead
from bundlectl.operations.locking import Locked, lock_sources, refuse_failed
from bundlectl.operations.packing import Packing
from bundlectl.operations.rooting import Rooting
from bundles.archive import LOCK_SUFFIX, find_inventory
from bundles.inventory import (
    INVENTORY_LIMIT,
    INVENTORY_SUFFIX,
    ArchiveContents,
    Inventory,
    NamedFile,
    open_inventory,
    sign_inventory,
)
from bundles.lock_signature import SIGNATURE_SUFFIX
from bundles.needs import locked_names
from mirror.archive.folder import Folder
from mirror.archive.output import PARTIAL_SUFFIX
from mirror.archive.plan import capacity_of
from mirror.archive.reading import VolumeSet
from mirror.archive.sums import SUMS_FILE, parity_name, render_sha256sums, sum_name, volume_name
from mirror.archive.writing import VolumeWriter
from mirror.filesystem import BLOCK, mapped_errors
from mirror.oci.digest import Digest
from signing.identity import NamedKey, TrustAnchors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from mirror.archive.plan import ArchivePlan, Member, Volume
    from mirror.archive.sums import VolumeSum
    from mirror.oci.repository import BlobReader
    from signing.signature import Signer

__all__ = ["SPLIT_SIZE", "ExportSettings", "export", "plan_export"]

SPLIT_SIZE: Final = 4 * 1024**3
"""Bytes: what a volume stays below unless told otherwise, so that FAT32 takes it."""

_MARGIN: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """How an archive is made.

    ``name`` None: the first source's. ``split_size`` in bytes. ``since`` are inventories of what the site has, with the
    digests of their statements. ``volumes`` are the numbers of those that are wanted, all when empty. ``tool`` are
    files of bundlectl itself, by the name that they get. ``issued`` is aware, in UTC.
    """

    issued: dt.datetime
    name: str | None = None
    split_size: int = SPLIT_SIZE
    since: tuple[tuple[Inventory, Digest], ...] = ()
    parity: int = 0
    volumes: frozenset[int] = frozenset()
    tool: Mapping[str, Path] = field(default_factory=dict)
    signer: Signer | None = field(default=None, repr=False)


def plan_export(request: SourceRequest, *, folder: Path, settings: ExportSettings, session: Session) -> ExportReport:
    """Work out what ``export`` would write, to the byte, and write nothing.

    Raises:
        The same as `export`.
    """
    with _Export(request, folder, settings, session) as run:
        return run.plan_report()


def export(request: SourceRequest, *, folder: Path, settings: ExportSettings, session: Session) -> ExportReport:
    """Write everything that the sources name into an archive.

    Volumes that are there already stay; one that was cut is gone on with. Where the folder has no room for
    another volume, the rest is left for another medium.

    Args:
        request: what is exported.
        folder: where to; made when absent.
        settings: how.
        session: connections.

    Raises:
        UsageError: the folder holds another archive, or a volume is asked for that there is not.
        StoreError: the folder cannot be written, or has not room for one volume.
        ContentError, MissingError: something is not what it should be, or not there; all such artifacts are named.
        UsageError, VerificationError, TransportError: from reading the sources.
        KeyProviderError: the key cannot be used.
        InterruptError: cancelled; the same call resumes.
    """
    with _Export(request, folder, settings, session) as run:
        return run.write()


class _Export:
    def __init__(self, request: SourceRequest, folder: Path, settings: ExportSettings, session: Session) -> None:
        self.settings = settings
        self.session = session
        self.folder = Folder(folder)
        self._stack = ExitStack()
        try:
            self._open(request)
        except BaseException:
            self._stack.close()
            raise

    def _open(self, request: SourceRequest) -> None:
        self.locked: Locked = lock_sources(request, session=self.session)
        refuse_failed(self.locked)
        settings, lock = self.settings, self.locked.lock
        self.name = collection_name(settings.name or lock.name)
        if settings.name and self.name != settings.name:
            raise UsageError(f"{settings.name[:200]!r} cannot name an archive", hint="letters, digits and . _ -")
        rooting = self._stack.enter_context(Rooting(self.locked, self.session))
        self.packing = Packing.of(lock, rooting, self.session)
        had = frozenset().union(*(inventory.blobs for inventory, _ in settings.since))
        self.present = {digest: size for digest, size in self.packing.sizes().items() if digest in had}
        members, self._made = self.packing.members(self.present)
        self.lock_raw = self.locked.signed.raw if self.locked.signed else lock.to_bytes()
        self.signature = self.locked.signed.signature if self.locked.signed else None
        lock_file = f"{self.name}{LOCK_SUFFIX}"
        self.inventory = Inventory(
            name=self.name,
            issued=settings.issued,
            refs={item.reference: item.digest for item in locked_names(lock)},
            blobs=frozenset(self.packing.contents),
            weakened=lock.weakened,
            archive=ArchiveContents(
                lock=_named(lock_file, self.lock_raw),
                lock_signature=_named(f"{lock_file}{SIGNATURE_SUFFIX}", self.signature) if self.signature else None,
                members=members,
                volume_size=capacity_of(settings.split_size),
                parity=settings.parity,
                present=tuple(self.present),
                since=tuple(sorted({digest for _, digest in settings.since})),
                tool=tuple(_hashed(name, path) for name, path in sorted(settings.tool.items())),
            ),
        )
        self.plan: ArchivePlan = self._contents.plan()
        self.volumes = self._wanted(settings.volumes)
        if settings.parity:
            from mirror.archive.parity import check_counts  # noqa: PLC0415 -- only with parity

            check_counts(len(self.plan.volumes), settings.parity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stack.close()

    @property
    def _contents(self) -> ArchiveContents:
        if self.inventory.archive is None:
            raise LookupError("an inventory without an archive")
        return self.inventory.archive

    def _wanted(self, numbers: frozenset[int]) -> list[Volume]:
        unknown = numbers - {volume.number for volume in self.plan.volumes}
        if unknown:
            raise UsageError(
                f"there is no volume {min(unknown)}", hint=f"the archive has volumes 1 to {len(self.plan.volumes)}"
            )
        return [volume for volume in self.plan.volumes if not numbers or volume.number in numbers]

    def report(self, left: Iterable[Volume], state: Literal["planned", "left"]) -> ExportReport:
        """What is known before anything is written; ``left`` are volumes that no medium has yet."""
        signer = self.settings.signer
        return ExportReport(
            name=self.name,
            folder=str(self.folder.path),
            archive=str(self.inventory.archive_id),
            artifacts=len(self.locked.lock.artifacts) + len(self.locked.lock.manifests),
            blobs=len(self.packing.contents),
            bytes=sum(self.packing.sizes().values()),
            blobs_present=len(self.present),
            bytes_present=sum(self.present.values()),
            signed_by=signer.public_key.fingerprint if signer else None,
            volumes=[VolumeReport(item.number, self._volume_name(item), item.size, state) for item in left],
            tool=list(self._contents.tool),
            excluded=len(self.locked.lock.excluded),
            weakened=self.locked.lock.weakened,
        )

    def plan_report(self) -> ExportReport:
        """What would be written into a folder with room for all of it."""
        report = self.report(self.volumes, "planned")
        if len(self.volumes) == len(self.plan.volumes):
            size = max(volume.size for volume in self.volumes)
            numbers = range(1, self.settings.parity + 1)
            report.parity = [VolumeReport(item, parity_name(self.name, item), size, "planned") for item in numbers]
        return report

    def write(self) -> ExportReport:
        """Write all of it."""
        self.folder.make()
        with self.folder.held(), FetchingAhead(self.plan.members, self._open_member) as ahead:
            self._refuse_another()
            # It comes last, and so says that all is there.
            self.folder.remove(SUMS_FILE)
            self.folder.sweep()
            self._begin()
            writer = VolumeWriter(
                self.plan,
                self.folder,
                name=self.name,
                archive=str(self.inventory.archive_id),
                open_member=ahead.open,
                cancelled=self.session.cancelled,
                progress=lambda count: self.session.listener(BytesMoved(count)),
            )
            there = {volume.number for volume in self.volumes if writer.finished(volume)}
            fitting = self._fitting(there)
            report = self.report([item for item in self.volumes if item not in fitting], "left")
            self.session.listener(PhaseStarted("exporting", len(fitting)))
            self.session.listener(TransferPlanned(artifacts=len(fitting), bytes=sum(volume.size for volume in fitting)))
            sums: list[VolumeSum] = []
            for found, was_there in writer.write(fitting):
                sums.append(found)
                state: Literal["present", "written"] = "present" if was_there else "written"
                report.volumes.append(VolumeReport(found.volume, found.name, found.size, state, found.sha256))
            report.volumes.sort(key=lambda item: item.number)
            if self.settings.parity and len(sums) == len(self.plan.volumes):
                sums += self._protect(report)
            sums += self._beside(sums)
            self._conclude(sums)
        return report

    def _open_member(self, member: Member) -> BlobReader:
        made = self._made.get(member.digest) if member.name else None
        return io.BytesIO(made) if made is not None else self.packing.open(member.digest, self.session)

    def _volume_name(self, volume: Volume) -> str:
        return volume_name(self.name, volume.number)

    def _refuse_another(self) -> None:
        """Hold that the folder has no other archive, and take over when this one was made the first time."""
        name = find_inventory(self.folder)
        if name is None:
            return
        try:
            raw = self.folder.read(name, limit=INVENTORY_LIMIT)
            found, _ = open_inventory(raw, None, origin=name)
        except ContentError:
            found = None
        if found is None or found.name != self.name or found.archive_id != self.inventory.archive_id:
            raise UsageError(
                f"holds another export already ({name})",
                artifact=str(self.folder.path),
                hint="each archive has a folder of its own; if the sources changed meanwhile, lock them first",
            )
        signer, dated = self.settings.signer, replace(self.inventory, issued=found.issued)
        if signer is None and raw != dated.to_bytes():
            raise UsageError(
                "is signed, and without a key would not be any more",
                artifact=str(self.folder.path / name),
                hint="name the key with --key again",
            )
        # The medium may have been in other hands: a date that this key has not signed before, it does not sign now.
        if signer is None or _is_signed_by(signer, raw):
            self.inventory = dated

    def _begin(self) -> None:
        """Write what comes first onto each medium: the inventory, the lock, the tool."""
        signer = self.settings.signer
        raw = sign_inventory(self.inventory, signer) if signer else self.inventory.to_bytes()
        if signer is None:
            self.session.listener(
                Notice("warning", "the archive is not signed: an import takes it only with --verify off", self.name)
            )
        small = {f"{self.name}{INVENTORY_SUFFIX}": raw, self._contents.lock.name: self.lock_raw}
        if self._contents.lock_signature and self.signature:
            small[self._contents.lock_signature.name] = self.signature
        for name, data in small.items():
            if self.folder.size(name) != len(data) or self.folder.read(name, limit=len(data)) != data:
                self.folder.write(name, data)
        for tool in self._contents.tool:
            self._carry(tool)

    def _carry(self, tool: NamedFile) -> None:
        source, target = self.settings.tool[tool.name], self.folder.path / tool.name
        if self.folder.size(tool.name) == tool.size and _hashed(tool.name, target) == tool:
            return
        with mapped_errors(target, action="write"):
            target.parent.mkdir(parents=True, exist_ok=True)
            leads_out = not target.parent.resolve().is_relative_to(self.folder.path.resolve())
        if leads_out:
            raise StoreError(
                "leads out of the archive's folder",
                artifact=str(target.parent),
                hint="remove the link: somebody else put it there",
            )
        self.folder.write(tool.name, _unchanged(source, tool))

    def _fitting(self, there: set[int]) -> list[Volume]:
        """The wanted volumes that are there or that the folder has room for, in order.

        Raises:
            StoreError: not even one.
        """
        with mapped_errors(self.folder.path, action="use"):
            free = shutil.disk_usage(self.folder.path).free - _MARGIN
        fitting: list[Volume] = []
        for volume in self.volumes:
            if volume.number in there:
                fitting.append(volume)
                continue
            partial = self.folder.size(f"{self._volume_name(volume).rpartition('.')[0]}{PARTIAL_SUFFIX}") or 0
            free -= volume.size - min(partial, volume.size)
            if free >= 0:
                fitting.append(volume)
        if not fitting:
            first = self.volumes[0]
            raise StoreError(
                f"has no room for {self._volume_name(first)} of {first.size:,} bytes",
                artifact=str(self.folder.path),
                hint="free some space, insert another medium, or make smaller volumes with --split-size",
            )
        return fitting

    def _protect(self, report: ExportReport) -> list[VolumeSum]:
        """Write parity volumes."""
        from mirror.archive.repairing import write_parity  # noqa: PLC0415 -- only with parity

        self.session.listener(PhaseStarted("writing parity", self.settings.parity))
        size = max(volume.size for volume in self.plan.volumes)
        self.session.listener(TransferPlanned(bytes=size * self.settings.parity))
        volumes = VolumeSet(self.plan, (self.folder,), name=self.name, archive=str(self.inventory.archive_id))
        found = write_parity(
            volumes,
            self.folder,
            self.settings.parity,
            progress=lambda count: self.session.listener(BytesMoved(count)),
            cancelled=self.session.cancelled,
        )
        report.parity = [VolumeReport(item.volume, item.name, item.size, "written", item.sha256) for item in found]
        return found

    def _beside(self, sums: Sequence[VolumeSum]) -> list[VolumeSum]:
        """What earlier runs wrote into the folder and this one was not asked for: it stands in ``SHA256SUMS``, too."""
        archive, known = str(self.inventory.archive_id), {item.name for item in sums}
        parity = [parity_name(self.name, number) for number in range(1, self.settings.parity + 1)]
        if parity and not known.intersection(parity) and any(self.folder.size(name) is None for name in parity):
            told = "no parity is written: it needs all volumes, in one folder and one run without --volumes"
            self.session.listener(Notice("warning", told, self.name))
        names = [*(self._volume_name(volume) for volume in self.plan.volumes), *parity]
        stated = [self.folder.read_sum(sum_name(name)) for name in names if name not in known]
        return [
            item for item in stated if item and item.archive == archive and self.folder.size(item.name) == item.size
        ]

    def _conclude(self, sums: Sequence[VolumeSum]) -> None:
        """Write the sums of everything that lies in the folder: last, so that whoever sees them sees all of it."""
        digests = {item.name: item.sha256 for item in sums}
        small = [sum_name(item.name) for item in sums]
        small += [f"{self.name}{INVENTORY_SUFFIX}", self._contents.lock.name]
        if self._contents.lock_signature:
            small.append(self._contents.lock_signature.name)
        for name in small:
            digests[name] = Digest.of(self.folder.read(name, limit=INVENTORY_LIMIT))
        digests.update((item.name, item.digest) for item in self._contents.tool)
        self.folder.write(SUMS_FILE, render_sha256sums(digests))


def _named(name: str, data: bytes) -> NamedFile:
    return NamedFile(name, Digest.of(data), len(data))


def _is_signed_by(signer: Signer, raw: bytes) -> bool:
    try:
        open_inventory(raw, TrustAnchors(keys=(NamedKey("the signing key", signer.public_key),)), origin="the folder's")
    except VerificationError:
        return False
    return True


def _unchanged(path: Path, stated: NamedFile) -> Iterator[bytes]:
    """The blocks of a file, which must still be what was hashed."""
    hasher = hashlib.sha256()
    with mapped_errors(path, action="read"), path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
            yield block
    if hasher.hexdigest() != stated.digest.encoded:
        raise ContentError("changed while it was exported", artifact=str(path), hint="run the same command again")


def _hashed(name: str, path: Path) -> NamedFile:
    with mapped_errors(path, action="read"), path.open("rb") as file:
        hasher = hashlib.file_digest(file, "sha256")
        return NamedFile(name, Digest("sha256", hasher.hexdigest()), file.tell())

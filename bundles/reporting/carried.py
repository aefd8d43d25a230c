"""What lies in an archive's folder, beside what its inventory says must be there.

Whoever carries a medium can put more onto it. So what looks like a volume, or lies where the tool does, and is not in
the inventory, is told as wrong. Sum files and ``SHA256SUMS`` are nobody's word (ADR 4): they are shown, and held
against each other, against the sizes on the medium and against the inventory. Volumes are not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from bundlectl.errors import ContentError, MissingError, StoreError
from bundles.inventory import INVENTORY_LIMIT, INVENTORY_SUFFIX, signed_bundle
from bundles.reporting.attached import identity_name
from bundles.reporting.changes import Statement
from mirror.archive.sums import SUMS_FILE, parity_name, sum_name, volume_name
from mirror.markup import visible
from mirror.oci.digest import Digest
from signing.stated import signer_of_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.archive import CarriedArchive
    from bundles.inventory import ArchiveContents, Inventory
    from mirror.archive.folder import Folder
    from mirror.archive.plan import ArchivePlan
    from signing.identity import Proof

__all__ = ["Carried", "CarriedFile", "FileKind", "look_at", "state"]

FileKind: TypeAlias = Literal["inventory", "lock", "lock-signature", "volume", "parity", "sum", "tool", "other"]

_HASHED: Final = 64 * 1024 * 1024
"""Bytes of a file that is read and hashed for the report; what is larger is for ``verify``."""
_SUMS_LIMIT: Final = 16 * 1024 * 1024
_OTHERS: Final = 1_000
"""Files that the inventory does not name, and that are shown."""
_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedFile:
    """A file of an archive: ``size`` and ``sha256`` are what is said of it, None where nothing is.

    ``found`` is its bytes on the medium, None when it is not there. ``hashed`` says that it was read, and is what
    ``sha256`` says; ``problem`` what is wrong with it.
    """

    name: str
    kind: FileKind
    size: int | None = None
    sha256: str | None = None
    found: int | None = None
    hashed: bool = False
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "name": self.name,
            "kind": self.kind,
            "size": self.size,
            "sha256": self.sha256,
            "found": self.found,
            "hashed": self.hashed,
            "problem": self.problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """An archive: who vouches for its inventory, and its files in order of their names."""

    source: str
    statement: Statement
    contents: ArchiveContents
    plan: ArchivePlan = field(repr=False, compare=False)
    files: tuple[CarriedFile, ...]

    def of_kind(self, *kinds: FileKind) -> tuple[CarriedFile, ...]:
        """Its files of some kinds."""
        return tuple(item for item in self.files if item.kind in kinds)

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "source": self.source,
            "id": str(self.statement.inventory.archive_id),
            "inventory": self.statement.to_json(),
            "volumeSize": self.contents.volume_size,
            "parity": self.contents.parity,
            "present": len(self.contents.present),
            "since": [str(digest) for digest in self.contents.since],
            "files": [item.to_json() for item in self.files],
        }


def look_at(source: str, archive: CarriedArchive) -> Carried:
    """Look at the files of an archive that was opened.

    Args:
        source: as the user wrote it.
        archive: its folders, its inventory, and who signed that.

    Raises:
        StoreError: a medium cannot be read.
    """
    name = f"{archive.name}{INVENTORY_SUFFIX}"
    folder = next((folder for folder in archive.folders if folder.size(name) is not None), archive.folders[0])
    raw = folder.read(name, limit=INVENTORY_LIMIT)
    plan = archive.contents.plan()
    return Carried(
        source=source,
        statement=state(raw, archive.inventory, archive.proof),
        contents=archive.contents,
        plan=plan,
        files=_Listing(archive, plan).files(),
    )


def state(raw: bytes, inventory: Inventory, proof: Proof | None) -> Statement:
    """What an inventory is as a file.

    Args:
        raw: the file.
        inventory: what it says.
        proof: who signed it, where that was checked.

    Raises:
        ContentError: the file cannot be unpacked.
    """
    bundle = signed_bundle(raw, origin=inventory.name)
    says = signer_of_bundle(bundle, limit=INVENTORY_LIMIT) if bundle else None
    return Statement(
        inventory=inventory,
        digest=Digest.of(inventory.to_bytes()),
        says=visible(says) if says else None,
        verified_by=identity_name(proof.identity) if proof else None,
    )


class _Listing:
    def __init__(self, archive: CarriedArchive, plan: ArchivePlan) -> None:
        self._folders = archive.folders
        self._name = archive.name
        self._archive_id = str(archive.inventory.archive_id)
        self._contents = archive.contents
        self._plan = plan
        self._sums = tuple(map(_sums, self._folders))

    def files(self) -> tuple[CarriedFile, ...]:
        expected = {item.name: item for item in self._expected()}
        lying = {name for folder in self._folders for name in map(visible, folder.taken())}
        for name in sorted(lying.union(*self._sums) - expected.keys())[:_OTHERS]:
            expected[name] = CarriedFile(name=name, kind="other", problem="the inventory does not name it")
        return tuple(self._checked(expected[name]) for name in sorted(expected))

    def _expected(self) -> Iterator[CarriedFile]:
        contents = self._contents
        yield CarriedFile(name=f"{self._name}{INVENTORY_SUFFIX}", kind="inventory")
        yield _stated(contents.lock.name, "lock", contents.lock.size, contents.lock.digest)
        if contents.lock_signature:
            signature = contents.lock_signature
            yield _stated(signature.name, "lock-signature", signature.size, signature.digest)
        for tool in contents.tool:
            yield _stated(tool.name, "tool", tool.size, tool.digest)
        volumes = self._plan.volumes
        for volume in volumes:
            yield from self._volume(volume_name(self._name, volume.number), "volume", volume.size)
        longest = max(volume.size for volume in volumes)
        for number in range(1, contents.parity + 1):
            yield from self._volume(parity_name(self._name, number), "parity", longest)

    def _volume(self, name: str, kind: FileKind, size: int) -> Iterator[CarriedFile]:
        summed = sum_name(name)
        stated = next((found for folder in self._folders if (found := folder.read_sum(summed))), None)
        problem = None
        if stated is not None and stated.archive != self._archive_id:
            problem = "its sum file is of another archive"
        elif stated is not None and (stated.name, stated.size) != (name, size):
            problem = "its sum file says another name or size than the inventory"
        yield CarriedFile(
            name=name, kind=kind, size=size, sha256=stated.sha256.encoded if stated else None, problem=problem
        )
        yield CarriedFile(name=summed, kind="sum")

    def _checked(self, item: CarriedFile) -> CarriedFile:
        if not _is_inside(item.name):
            return replace(item, problem="its name leads out of the folder")
        looks = [
            _looked_at(item, folder, sums.get(item.name))
            for folder, sums in zip(self._folders, self._sums, strict=True)
        ]
        # A file may lie on several media, and is right where all of them are.
        return next(
            (one for one in looks if one.problem), next((one for one in looks if one.found is not None), looks[0])
        )


def _looked_at(item: CarriedFile, folder: Folder, summed: str | None) -> CarriedFile:
    """What a file is on one medium, whose ``SHA256SUMS`` says ``summed`` of it."""
    item = replace(item, sha256=item.sha256 or summed)
    try:
        item = replace(item, found=folder.size(item.name))
        problem = item.problem or _contradiction(item, summed)
        if problem or item.found is None or item.sha256 is None:
            return replace(item, problem=problem)
        # Volumes are for ``verify``: they would have to be read whole.
        return item if item.kind in ("volume", "parity") or item.found > _HASHED else _hashed(item, folder)
    except (ContentError, MissingError, StoreError) as error:
        return replace(item, problem=error.message)


def _hashed(item: CarriedFile, folder: Folder) -> CarriedFile:
    digest = Digest.of(folder.read(item.name, limit=_HASHED))
    if digest.encoded != item.sha256:
        return replace(item, problem=f"has another checksum: {digest.encoded}")
    return replace(item, hashed=True)


def _contradiction(item: CarriedFile, summed: str | None) -> str | None:
    if summed is not None and item.sha256 != summed:
        return f"{SUMS_FILE} says another checksum: {summed}"
    if None not in (item.size, item.found) and item.found != item.size:
        return f"has {item.found:,} bytes and should have {item.size:,}"
    return None


def _stated(name: str, kind: FileKind, size: int, digest: Digest) -> CarriedFile:
    return CarriedFile(name=name, kind=kind, size=size, sha256=digest.encoded if digest.algorithm == "sha256" else None)


def _sums(folder: Folder) -> dict[str, str]:
    try:
        text = folder.read(SUMS_FILE, limit=_SUMS_LIMIT).decode(errors="replace")
    except MissingError:
        return {}
    lines = (_LINE.fullmatch(line) for line in text.splitlines())
    return {line[2]: line[1] for line in lines if line}


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name

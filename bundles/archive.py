"""An export archive as it lies in folders: its inventory, its lock, and its volumes (ADR 4)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, UsageError
from bundles.inventory import INVENTORY_LIMIT, INVENTORY_SUFFIX, Inventory, open_inventory
from bundles.lock import Lock
from bundles.lock_signature import SIGNATURE_LIMIT, SignedLock
from bundles.needs import locked_names
from mirror.archive.folder import Folder
from mirror.archive.reading import VolumeSet
from mirror.filesystem import mapped_errors
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundles.inventory import ArchiveContents, NamedFile
    from signing.identity import Proof, TrustAnchors

__all__ = ["LOCK_SUFFIX", "CarriedArchive", "archive_folders", "find_inventory", "open_archive"]

LOCK_SUFFIX: Final = ".lock.json"
_LOCK_LIMIT: Final = 64 * 1024 * 1024
_VOLUME: Final = re.compile(r"(.+)-(?:[0-9]{4,}\.tar|p?[0-9]{2,}\.(?:parity|sum\.json))")
_COPY: Final = "copy the archive's whole folder again"


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedArchive:
    """An archive that was opened. ``proof`` says who signed its inventory, where somebody had to.

    ``lock`` is as it is written; how far it is believed is the caller's matter.
    """

    name: str
    folders: tuple[Folder, ...]
    inventory: Inventory = field(repr=False)
    contents: ArchiveContents = field(repr=False)
    lock: Lock = field(repr=False)
    signed: SignedLock | None = field(repr=False)
    proof: Proof | None = None

    def volumes(self) -> VolumeSet:
        """Its volumes, as they lie in the folders now.

        Raises:
            StoreError: a folder cannot be read.
        """
        plan = self.contents.plan()
        return VolumeSet(plan, self.folders, name=self.name, archive=str(self.inventory.archive_id))


def archive_folders(text: str) -> tuple[Path, ...]:
    """Read what stands after ``archive:``: a folder or first volume, or several parted by ``:`` as in ``PATH``."""
    if os.path.lexists(text):
        return (Path(text),)
    return tuple(Path(part) for part in text.split(os.pathsep) if part)


def find_inventory(folder: Folder) -> str | None:
    """The file name of the inventory in a folder; None where there is none.

    Raises:
        UsageError: there are several: which is meant?
        StoreError: the folder cannot be read.
    """
    found = [name for name in folder.names() if name.endswith(INVENTORY_SUFFIX)]
    if len(found) > 1:
        raise UsageError(
            f"has the inventories of {len(found)} archives",
            artifact=str(folder.path),
            hint="an archive has a folder of its own: part them, or name the first volume of the one that is meant",
        )
    return found[0] if found else None


def open_archive(paths: Sequence[Path], anchors: TrustAnchors | None) -> CarriedArchive:
    """Open an archive: read its inventory and lock, and hold them against each other.

    Args:
        paths: its folder, or one of its files; one for each medium.
        anchors: who must have signed it; None to look at no signature.

    Raises:
        MissingError: there is no archive, or a part of it is not there.
        VerificationError: none of ``anchors`` signed it.
        ContentError: it is not as it was written, or the folders hold different archives.
        UsageError: a folder holds several archives.
        StoreError: a folder cannot be read.
    """
    places: dict[Path, str] = {}
    for path in paths:
        folder, name = _place(path)
        places[folder] = places.get(folder) or name
    folders = tuple(map(Folder, places))
    found = [(folder, places[folder.path]) for folder in folders if places[folder.path]]
    if not found:
        shown = ", ".join(map(str, paths))
        raise MissingError(
            "holds no archive: there is no *.inventory.json",
            artifact=shown,
            hint="name the folder that `bundlectl export` wrote, whole",
        )
    file = found[0][1]
    inventory, proof = _agreed(found, anchors, file)
    contents = inventory.archive
    if contents is None:
        raise ContentError("is the inventory of a site, not of an archive", artifact=file, hint=_COPY)
    if file != f"{inventory.name}{INVENTORY_SUFFIX}":
        # A site calls it as its files are called, and those anybody may call anew.
        raise ContentError(f"is the inventory of {inventory.name[:200]!r}: it was renamed", artifact=file, hint=_COPY)
    lock_raw = _beside(folders, contents.lock, limit=_LOCK_LIMIT)
    lock = Lock.from_bytes(lock_raw, origin=contents.lock.name)
    signed = None
    if contents.lock_signature is not None:
        signed = SignedLock(lock_raw, _beside(folders, contents.lock_signature, limit=SIGNATURE_LIMIT))
    _check(inventory, lock, file)
    return CarriedArchive(
        name=inventory.name,
        folders=folders,
        inventory=inventory,
        contents=contents,
        lock=lock,
        signed=signed,
        proof=proof,
    )


def _place(path: Path) -> tuple[Path, str]:
    """The folder and the inventory in it that a path means; "" when it is another medium's folder without one."""
    with mapped_errors(path, action="read"):
        exists, is_folder = path.exists(), path.is_dir()
    if not exists:
        raise MissingError("is not there", artifact=str(path), hint="check the path, and whether the medium is mounted")
    if is_folder:
        return path, find_inventory(Folder(path)) or ""
    match = _VOLUME.fullmatch(path.name)
    stem = match[1] if match else path.name.removesuffix(INVENTORY_SUFFIX).removesuffix(LOCK_SUFFIX)
    if Folder(path.parent).size(f"{stem}{INVENTORY_SUFFIX}") is None:
        raise MissingError(
            f"there is no {stem}{INVENTORY_SUFFIX} beside it",
            artifact=str(path),
            hint="copy the archive's whole folder",
        )
    return path.parent, f"{stem}{INVENTORY_SUFFIX}"


def _agreed(
    found: Iterable[tuple[Folder, str]], anchors: TrustAnchors | None, file: str
) -> tuple[Inventory, Proof | None]:
    """The inventory, which must be of one archive on all media. Each is as old as its medium; the latest counts."""
    opened: dict[bytes, tuple[Inventory, Proof | None]] = {}
    first: Folder | None = None
    for folder, name in found:
        first = first or folder
        raw = folder.read(name, limit=INVENTORY_LIMIT)
        if raw not in opened:
            opened[raw] = open_inventory(raw, anchors, origin=str(folder.path / name))
        if name != file or len({inventory.archive_id for inventory, _ in opened.values()}) > 1:
            raise ContentError(
                f"holds another export than {first.path}",
                artifact=str(folder.path / name),
                hint="import them one after the other",
            )
    return max(opened.values(), key=lambda item: item[0].issued)


def _beside(folders: Sequence[Folder], wanted: NamedFile, *, limit: int) -> bytes:
    """A small file of the archive, from whichever folder has it right."""
    if "/" in wanted.name or wanted.name.startswith("."):
        raise ContentError(f"names {wanted.name[:200]!r}, which is no file of an archive", artifact=wanted.name[:200])
    problem: ContentError | None = None
    for folder in folders:
        if folder.size(wanted.name) is None:
            continue
        raw = folder.read(wanted.name, limit=limit)
        if Digest.of(raw, wanted.digest.algorithm) == wanted.digest:
            return raw
        problem = ContentError("is not what the inventory says", artifact=str(folder.path / wanted.name), hint=_COPY)
    raise problem or MissingError("is not there", artifact=wanted.name, hint=_COPY)


def _check(inventory: Inventory, lock: Lock, origin: str) -> None:
    """Hold the inventory against the lock: what is signed must be what is imported."""
    pinned = {item.reference: item.digest for item in locked_names(lock)}
    sizes = {item.digest: item.size for item in inventory.archive.members} if inventory.archive else {}
    wrong = dict(inventory.refs) != pinned or any(
        digest not in inventory.blobs or sizes.get(digest, size) != size for digest, size in lock.blobs.items()
    )
    if wrong:
        raise ContentError("the inventory and the lock contradict each other", artifact=origin, hint=_COPY)

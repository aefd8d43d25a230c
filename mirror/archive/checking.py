"""Checking volumes one by one, to the last byte (ADR 4)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, InterruptError, MissingError, StoreError
from mirror.archive.plan import Literal, Span
from mirror.archive.sums import parity_name, sum_name
from mirror.filesystem import mapped_errors, open_regular
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from hashlib import _Hash
    from pathlib import Path
    from threading import Event

    from mirror.archive.plan import ArchivePlan, Piece, Volume
    from mirror.archive.reading import VolumeProblem, VolumeSet

__all__ = ["Verified", "check_blob", "check_file", "check_parity", "check_volume", "check_volumes"]

_CHUNK: Final = 1024 * 1024


@dataclass(slots=True)
class Verified:
    """What hashing all volumes showed: problems, and the digests of blobs that are damaged in them."""

    problems: list[VolumeProblem] = field(default_factory=list)
    damaged: set[Digest] = field(default_factory=set)


def check_volumes(volumes: VolumeSet, *, progress: Callable[[int], object], cancelled: Event) -> Verified:
    """Read every volume that is there. A blob that lies in several volumes is hashed over all of them, once more.

    Args:
        volumes: of the archive.
        progress: told of bytes that were read.
        cancelled: ends the work when set.

    Raises:
        InterruptError: cancelled.
    """
    found = Verified()
    for volume in volumes.plan.volumes:
        check_volume(volumes, volume, progress=progress, cancelled=cancelled, damaged=found.damaged)
    for member in volumes.plan.members:
        place = volumes.locate(member.digest) if not member.name else None
        if place and len(volumes.plan.volumes_of(*place)) > 1:
            check_blob(volumes, member.digest, cancelled=cancelled, damaged=found.damaged)
    found.problems = volumes.problems()
    return found


def check_blob(volumes: VolumeSet, digest: Digest, *, cancelled: Event, damaged: set[Digest]) -> None:
    """Read one blob over all the volumes that it lies in, if they are all there.

    Args:
        volumes: of the archive.
        digest: of the blob.
        cancelled: ends the work when set.
        damaged: gets the digest when the blob is not what it should be.

    Raises:
        InterruptError: cancelled.
    """
    place = volumes.locate(digest)
    if place is None or volumes.missing(*place) or _is_right(volumes, digest, cancelled):
        return
    damaged.add(digest)
    parts = volumes.plan.volumes_of(*place)
    if not any(volumes.problem(volume) for volume in parts):
        # Without sum files nobody can tell in which of them the damage is.
        for volume in parts:
            volumes.condemn(volume, f"holds a part of {digest}, which is damaged")


def _is_right(volumes: VolumeSet, digest: Digest, cancelled: Event) -> bool:
    """Whether all of a blob is there and has its digest."""
    place = volumes.locate(digest)
    hasher = digest.hasher()
    try:
        with volumes.open(*(place or (0, 0)), artifact=str(digest)) as reader:
            while data := reader.read(_CHUNK):
                _check_cancelled(cancelled)
                hasher.update(data)
    except (ContentError, MissingError, StoreError):
        return False
    return hasher.hexdigest() == digest.encoded


def check_volume(
    volumes: VolumeSet,
    volume: Volume,
    *,
    progress: Callable[[int], object],
    cancelled: Event,
    damaged: set[Digest] | None = None,
) -> VolumeProblem | None:
    """Read one volume: whatever follows from the plan, the digests of all blobs that lie in it, and its sum file's sum.

    What cannot be read of it is damage like any other; of a volume that was cut, what is there is read.

    Args:
        volumes: of the archive.
        volume: which.
        progress: told of bytes that were read.
        cancelled: ends the work when set.
        damaged: gets the digests of blobs that are not what they should be.

    Raises:
        InterruptError: cancelled.
    """
    path = volumes.path(volume)
    if path is None:
        return volumes.problem(volume)
    wrong, sha256 = check_file(volumes.plan, volume, path, progress=progress, cancelled=cancelled, damaged=damaged)
    known = volumes.problem(volume)
    if known is not None:
        return known
    stated = volumes.stated(volume)
    if not wrong and stated is not None and stated.sha256 != sha256:
        # A sum file is nobody's word: what the inventory's digests show to be right, is.
        cut = [member.digest for member in volumes.plan.cut(volume)]
        if not all(_is_right(volumes, digest, cancelled) for digest in cut):
            wrong = f"is not what {sum_name(path.name)} says"
    return volumes.condemn(volume, wrong) if wrong else None


def check_file(
    plan: ArchivePlan,
    volume: Volume,
    path: Path,
    *,
    progress: Callable[[int], object],
    cancelled: Event,
    damaged: set[Digest] | None = None,
) -> tuple[str, Digest]:
    """Read a file that should be a volume.

    Args:
        plan: of the archive.
        volume: which.
        path: the file, of whatever name.
        progress: told of bytes that were read.
        cancelled: ends the work when set.
        damaged: gets the digests of blobs that are not what they should be.

    Returns:
        What is wrong with it, if anything, and its digest.

    Raises:
        InterruptError: cancelled.
    """
    damaged = set() if damaged is None else damaged
    whole = hashlib.sha256()
    wrong = ""
    try:
        descriptor, _ = open_regular(path, artifact=path.name)
    except (ContentError, MissingError, StoreError) as error:
        return error.message, Digest("sha256", whole.hexdigest())
    try:
        for piece in plan.pieces(volume.start, volume.end):
            try:
                told = _check_piece(piece, descriptor, path, whole, progress, cancelled)
            except StoreError as error:
                told = f"{error.message}, at {piece.offset - volume.start:,}"
            except ContentError as error:
                wrong = wrong or error.message
                break
            wrong = wrong or told
            if told and isinstance(piece, Span):
                damaged.add(piece.member.digest)
            if told:
                os.lseek(descriptor, piece.end - volume.start, os.SEEK_SET)
    finally:
        os.close(descriptor)
    return wrong, Digest("sha256", whole.hexdigest())


def _check_piece(
    piece: Piece,
    descriptor: int,
    path: Path,
    whole: _Hash,
    progress: Callable[[int], object],
    cancelled: Event,
) -> str:
    """Read a piece; returns what is wrong with it."""
    if isinstance(piece, Literal):
        data = b"".join(_read(descriptor, len(piece.data), path, cancelled))
        whole.update(data)
        progress(len(data))
        return "" if data == piece.data else f"is not as it was written at {piece.offset:,} of the archive"
    own = piece.member.digest.hasher()
    _hash(descriptor, piece.size, path, (own, whole), progress, cancelled)
    is_right = piece.size != piece.member.size or own.hexdigest() == piece.member.digest.encoded
    return "" if is_right else f"holds {piece.member.path}, which is damaged"


def check_parity(
    volumes: VolumeSet, count: int, *, progress: Callable[[int], object], cancelled: Event
) -> dict[int, Path]:
    """The parity volumes that are there and have their sums, by number from 1.

    Args:
        volumes: of the archive.
        count: parity volumes that there should be.
        progress: told of bytes that were read.
        cancelled: ends the work when set.

    Raises:
        InterruptError: cancelled.
    """
    right: dict[int, Path] = {}
    size = max(volume.size for volume in volumes.plan.volumes)
    for number in range(1, count + 1):
        name = parity_name(volumes.name, number)
        for folder in volumes.folders:
            stated = folder.read_sum(sum_name(name))
            if stated is None or (stated.archive, stated.volume, stated.size) != (volumes.archive, number, size):
                continue
            try:
                found = _sha256(folder.path / name, size, progress, cancelled)
            except (ContentError, MissingError, StoreError):
                continue
            if found == stated.sha256.encoded:
                right[number] = folder.path / name
                break
    return right


def _sha256(path: Path, size: int, progress: Callable[[int], object], cancelled: Event) -> str:
    """Hash a file, which must be of this size."""
    hasher = hashlib.sha256()
    descriptor, there = open_regular(path, artifact=path.name)
    try:
        if there != size:
            raise ContentError(f"has {there:,} of {size:,} bytes", artifact=path.name)
        _hash(descriptor, size, path, (hasher,), progress, cancelled)
    finally:
        os.close(descriptor)
    return hasher.hexdigest()


def _hash(
    descriptor: int,
    size: int,
    path: Path,
    hashers: tuple[_Hash, ...],
    progress: Callable[[int], object],
    cancelled: Event,
) -> None:
    for data in _read(descriptor, size, path, cancelled):
        for hasher in hashers:
            hasher.update(data)
        progress(len(data))


def _read(descriptor: int, size: int, path: Path, cancelled: Event) -> Iterator[bytes]:
    while size:
        _check_cancelled(cancelled)
        with mapped_errors(path, action="read"):
            data = os.read(descriptor, min(size, _CHUNK))
        if not data:
            raise ContentError("ends early", artifact=path.name)
        size -= len(data)
        yield data


def _check_cancelled(cancelled: Event) -> None:
    if cancelled.is_set():
        raise InterruptError("stopped", hint="the same command resumes")

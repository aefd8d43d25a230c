"""Small archives of made-up members, with everything that is needed to write and read them."""

from __future__ import annotations

import io
import random
from threading import Event
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from mirror.archive.folder import Folder
from mirror.archive.plan import ArchivePlan, Literal, Member
from mirror.archive.reading import VolumeSet
from mirror.archive.sums import VolumeSum, volume_name
from mirror.archive.writing import VolumeWriter
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mirror.archive.plan import Volume
    from mirror.oci.repository import BlobReader

__all__ = ["CAPACITY", "Archive", "noise"]

CAPACITY: Final = 32 * 1024
"""Bytes: the least that a volume takes."""


def noise(size: int, seed: int) -> bytes:
    """Bytes that nothing else has."""
    return random.Random(f"{seed} {size}").randbytes(size)


class Archive:
    """Members of the given sizes, or bytes, in volumes of `CAPACITY` bytes; ``folder`` is where they are written."""

    def __init__(
        self, path: Path, sizes: Sequence[int | bytes], *, seed: int = 0, identity: str = "sha256:one"
    ) -> None:
        self.path = path
        self.folder = Folder(path)
        self.folder.make()
        self.identity = identity
        self.contents = [
            noise(size, seed * 1000 + number) if isinstance(size, int) else size for number, size in enumerate(sizes)
        ]
        self.members = [Member(Digest.of(data), len(data)) for data in self.contents]
        self.by_digest = dict(zip((member.digest for member in self.members), self.contents, strict=True))
        self.plan = ArchivePlan(self.members, CAPACITY)
        self.cancelled = Event()
        self.opened: list[Digest] = []
        self.moved = 0
        self.wrong: dict[Digest, bytes] = {}
        """What the source gives instead."""

    @property
    def volumes(self) -> tuple[Volume, ...]:
        return self.plan.volumes

    def open(self, member: Member) -> BlobReader:
        """As a source does: checked while it is read."""
        self.opened.append(member.digest)
        data = self.wrong.get(member.digest, self.by_digest[member.digest])
        return VerifyingReader(io.BytesIO(data), Descriptor("", member.digest, member.size))

    def writer(self) -> VolumeWriter:
        def moved(count: int) -> None:
            self.moved += count

        return VolumeWriter(
            self.plan,
            self.folder,
            name="a",
            archive=self.identity,
            open_member=self.open,
            cancelled=self.cancelled,
            progress=moved,
        )

    def write(self, *numbers: int) -> list[tuple[VolumeSum, bool]]:
        """Write the volumes of these numbers, or all."""
        return list(self.writer().write([item for item in self.volumes if not numbers or item.number in numbers]))

    def written(self) -> Archive:
        self.write()
        return self

    def file(self, number: int) -> Path:
        return self.path / volume_name("a", number)

    def partial(self, number: int) -> Path:
        return self.path / f"a-{number:04}.partial"

    def bytes_of(self, number: int) -> bytes:
        """What a volume must be, by the plan."""
        volume = self.volumes[number - 1]
        return b"".join(
            piece.data
            if isinstance(piece, Literal)
            else self.by_digest[piece.member.digest][piece.begin : piece.begin + piece.size]
            for piece in self.plan.pieces(volume.start, volume.end)
        )

    def tar(self) -> bytes:
        """All volumes, one after the other, as they must be."""
        return b"".join(self.bytes_of(volume.number) for volume in self.volumes)

    def set(self, *others: Folder) -> VolumeSet:
        """Read it, from its folder and others."""
        return VolumeSet(self.plan, (self.folder, *others), name="a", archive=self.identity)

    def read(self, number: int, volumes: VolumeSet) -> bytes:
        """A member's bytes as they are read from the archive; they must be right."""
        member = self.members[number]
        place = volumes.locate(member.digest)
        if place is None:
            raise LookupError(member.path)
        with volumes.open(*place, artifact=member.path) as reader:
            data = reader.read()
        if Digest.of(data) != member.digest:
            raise ContentError("is damaged", artifact=member.path)
        return data

    def readable(self, volumes: VolumeSet) -> set[int]:
        """The members that all of can be read."""
        places = [self.plan.locate(member.digest) for member in self.members]
        return {number for number, place in enumerate(places) if place and not volumes.missing(*place)}

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())

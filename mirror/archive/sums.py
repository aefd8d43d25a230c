"""Files beside the volumes that let each be checked alone: sum files and ``SHA256SUMS`` (ADR 4)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import ContentError
from mirror.archive.plan import Span
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.archive.plan import ArchivePlan, Volume

__all__ = [
    "SUMS_FILE",
    "VolumeSum",
    "parity_name",
    "parse_sha256sums",
    "render_sha256sums",
    "sum_name",
    "volume_name",
]

SUMS_FILE: Final = "SHA256SUMS"

_MEMBER: Final = (
    rb'\{"digest":"sha(?:256|512):[0-9a-f]{64,128}","name":"[^"\\]{1,255}","offset":\d{1,19},"size":\d{1,19}\}'
)
_SHAPE: Final = re.compile(
    rb'\{"archive":"[^"\\]{1,255}","members":\[(?:' + _MEMBER + rb"(?:," + _MEMBER + rb")*+)?\],"
    rb'"name":"[^"\\]{1,255}","sha256":"[0-9a-f]{64}","size":\d{1,19},"volume":\d{1,9}\}'
)
"""What it looks like: what does not, takes 20 times its size when it is parsed, and nobody has signed it."""


def volume_name(archive: str, number: int) -> str:
    """The file of a volume; numbers count from 1."""
    return f"{archive}-{number:04}.tar"


def parity_name(archive: str, number: int) -> str:
    """The file of a parity volume; numbers count from 1."""
    return f"{archive}-p{number:02}.parity"


def sum_name(volume: str) -> str:
    """The sum file of a volume's, or parity volume's, file."""
    return f"{volume.rpartition('.')[0]}.sum.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSum:
    """What a sum file says of a volume.

    ``archive`` is the digest that names the archive. ``members`` are path, offset within the volume, bytes there, and
    digest of each; of one that is larger than the volume, what of it lies here.
    """

    archive: str
    volume: int
    name: str
    size: int
    sha256: Digest
    members: tuple[tuple[str, int, int, Digest], ...] = ()

    @classmethod
    def of(cls, plan: ArchivePlan, volume: Volume, *, archive: str, name: str, sha256: Digest) -> VolumeSum:
        """Describe a volume that was written.

        Args:
            plan: of the archive.
            volume: which.
            archive: names the archive.
            name: of the volume's file.
            sha256: of its bytes.
        """
        members = tuple(
            (piece.member.path, piece.offset - volume.start, piece.size, piece.member.digest)
            for piece in plan.pieces(volume.start, volume.end)
            if isinstance(piece, Span)
        )
        return cls(archive=archive, volume=volume.number, name=name, size=volume.size, sha256=sha256, members=members)

    def to_bytes(self) -> bytes:
        """Render as canonical JSON."""
        return canonical_json(
            {
                "archive": self.archive,
                "volume": self.volume,
                "name": self.name,
                "size": self.size,
                "sha256": self.sha256.encoded,
                "members": [
                    {"name": name, "offset": offset, "size": size, "digest": str(digest)}
                    for name, offset, size, digest in self.members
                ],
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes, *, origin: str) -> VolumeSum:
        """Read a sum file. Nothing in it is to be believed without another reason.

        Raises:
            ContentError: not one.
        """
        if not _SHAPE.fullmatch(raw):
            raise ContentError("is no sum file of a volume", artifact=origin)
        try:
            found: Any = json.loads(raw)
            result = cls(
                archive=str(found["archive"]),
                volume=int(found["volume"]),
                name=str(found["name"]),
                size=int(found["size"]),
                sha256=Digest.parse(f"sha256:{found['sha256']}"),
                members=tuple(
                    (str(item["name"]), int(item["offset"]), int(item["size"]), Digest.parse(item["digest"]))
                    for item in found["members"]
                ),
            )
            written = result.to_bytes()
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, ContentError) as error:
            raise ContentError("is no sum file of a volume", artifact=origin) from error
        if written != raw:
            raise ContentError("is no sum file of a volume as it is written", artifact=origin)
        return result


def render_sha256sums(digests: Mapping[str, Digest]) -> bytes:
    """What ``sha256sum -c`` reads: sha256 of each file by its path from the folder, sorted."""
    return "".join(f"{digest.encoded}  {name}\n" for name, digest in sorted(digests.items())).encode()


def parse_sha256sums(raw: bytes, *, origin: str) -> dict[str, Digest]:
    """Read what `render_sha256sums` writes. Nothing in it is to be believed without another reason.

    Raises:
        ContentError: not that, or a path leads out of the folder.
    """
    found: dict[str, Digest] = {}
    try:
        for line in raw.decode().splitlines():
            encoded, _, name = line.partition("  ")
            if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
                raise ContentError(f"names {name[:200]!r}, which does not lie in its folder", artifact=origin)
            found[name] = Digest.parse(f"sha256:{encoded}")
    except ValueError as error:
        raise ContentError("is not UTF-8", artifact=origin) from error
    if render_sha256sums(found) != raw:
        raise ContentError("is no list of checksums as it is written", artifact=origin)
    return found

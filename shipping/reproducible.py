"""Archives whose bytes depend on their contents alone: names sorted, owners fixed, one time for all."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FILE = 0o644
PROGRAM = 0o755
FIRST_ZIP_YEAR = 1980


@dataclass(frozen=True)
class Entry:
    """One name in a file system: a regular file, unless it is a link or a folder."""

    content: bytes = b""
    mode: int = FILE
    link: str = ""
    folder: bool = False
    owner: int = 0


def folder(mode: int = PROGRAM, owner: int = 0) -> Entry:
    """An empty directory."""
    return Entry(mode=mode, folder=True, owner=owner)


def write_tar(out: IO[bytes], entries: Mapping[str, Entry], epoch: int) -> None:
    """Write a tar of ``entries`` by path, uncompressed; every file has the time ``epoch``."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in sorted(entries.items()):
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = epoch, entry.mode
            member.uid = member.gid = entry.owner
            if entry.link:
                member.type, member.linkname = tarfile.SYMTYPE, entry.link
            elif entry.folder:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(entry.content)
            archive.addfile(member, io.BytesIO(entry.content))


def compress(content: bytes) -> bytes:
    """The content with gzip, without a name and a time."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0, compresslevel=6) as stream:
        stream.write(content)
    return out.getvalue()


def write_zip(out: IO[bytes], members: Iterable[tuple[str, bytes | Path]], epoch: int, *, store: bool = False) -> None:
    """Write a zip, its members in the given order.

    Args:
        out: where to.
        members: names, with the content or the file that has it.
        epoch: the time of all.
        store: do not compress; for what is compressed already.
    """
    stamp = time.gmtime(epoch)[:6]
    if stamp[0] < FIRST_ZIP_YEAR:
        stamp = (FIRST_ZIP_YEAR, 1, 1, 0, 0, 0)
    method = zipfile.ZIP_STORED if store else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name, stamp)
            member.external_attr = (0o100000 | FILE) << 16
            member.compress_type = method
            member.create_system = 3
            archive.writestr(member, content if isinstance(content, bytes) else content.read_bytes())

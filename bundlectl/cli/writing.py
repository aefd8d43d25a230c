"""Writes a result to a file, whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from bundlectl.errors import StoreError

if TYPE_CHECKING:
    from bundlectl.cli.console import Console

__all__ = ["write_result"]


def write_result(console: Console, out: str, content: bytes) -> None:
    """Write ``content`` to the file ``out``, or to standard output when it is ``-``.

    The file appears under its name once all of it is on disk.

    Raises:
        StoreError: it cannot be written; an earlier file of that name is as it was.
    """
    if out == "-":
        console.raw(content)
        return
    path = Path(out)
    try:
        if path.exists() and not path.is_file():
            # A device or a pipe such as /dev/stdout or >(command): nothing to rename over.
            path.write_bytes(content)
            return
        _replace(path.resolve(), content)
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror}",
            artifact=str(path),
            hint="check the folder, its rights and the room on the disk; or write to - and redirect it",
        ) from error
    console.note(f"wrote {path} ({len(content):,} bytes)")


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # 0666 without the umask: a lock is there to be read by others, unlike what tempfile makes.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Files on this machine."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bundlectl.errors import ConfigError, ContentError, MissingError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_local"]


def read_local(path: Path, *, limit: int) -> bytes:
    """Read a regular file, following links.

    Args:
        path: of the file.
        limit: bytes.

    Raises:
        MissingError: there is none.
        UsageError: not a regular file; a FIFO or a device is not even waited for.
        ConfigError: it cannot be read.
        ContentError: larger than ``limit``.
    """
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(
                    "is not a regular file", artifact=str(path), hint="write it to a file first, and name that"
                )
            with open(descriptor, "rb", closefd=False) as file:
                raw = file.read(limit + 1)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, ValueError) as error:  # a name that no file can have is a ValueError
        raise MissingError("there is no such file", artifact=str(path), hint="check the path") from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            artifact=str(path),
            hint="check the rights on the file and its folder",
        ) from error
    if len(raw) > limit:
        raise ContentError(f"larger than {limit} bytes", artifact=str(path), hint="a release document is far smaller")
    return raw

"""Finding what carries bundlectl itself across a gap, for ``export --with-tool``."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import bundlectl
from bundlectl.errors import ConfigError, ContentError, MissingError, UsageError
from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ToolFile", "find_tool"]

_SUMS: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{0,200})")
_SUMS_LIMIT: Final = 64 * 1024
_HINT: Final = "`make dist` in a checkout makes it; what its offline installer installed has it"


@dataclass(frozen=True, slots=True)
class ToolFile:
    """One file that is put beside an archive's volumes, as it was when it was hashed.

    Args:
        name: its name in ``tool/``, without a folder.
        path: where it is now.
        size: in bytes.
        digest: sha256 of all of it.
    """

    name: str
    path: Path
    size: int
    digest: Digest


def find_tool(explicit: Path | None) -> tuple[ToolFile, ...]:
    """Find the files that ``make dist`` made, and check them.

    Args:
        explicit: the folder that has them. None: the one that the offline installer left in this
            environment, or else ``dist`` of the checkout that is running.

    Returns:
        What the folder's ``SHA256SUMS`` lists and that file itself, by name.

    Raises:
        UsageError: the folder named is not one that ``make dist`` wrote.
        MissingError: there is none, or a file that it lists is not there.
        ContentError: a file is not the one that was made.
        ConfigError: a file cannot be read.
    """
    if explicit is not None:
        if not (explicit / _SUMS).is_file():
            raise UsageError(f"has no {_SUMS}: nothing of the tool is there", artifact=str(explicit), hint=_HINT)
        return _check(explicit)
    for folder in _places():
        if (folder / _SUMS).is_file():
            return _check(folder)
    raise MissingError("what carries bundlectl itself is not on this machine", hint=_HINT)


def _places() -> Iterator[Path]:
    yield Path(sys.prefix, "share", "bundlectl", "dist")
    checkout = Path(bundlectl.__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        yield checkout / "dist"


def _check(folder: Path) -> tuple[ToolFile, ...]:
    sums = _measure(folder, _SUMS)
    if sums.size > _SUMS_LIMIT:
        raise ContentError(f"is larger than {_SUMS_LIMIT} bytes", artifact=str(sums.path), hint=_HINT)
    found = [sums]
    for line in _read(sums).splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ContentError("has a line that is no sha256 and name", artifact=str(sums.path), hint=_HINT)
        file = _measure(folder, match["name"])
        if file.digest.encoded != match["sha256"]:
            raise ContentError(f"is not the file that {_SUMS} lists", artifact=str(file.path), hint=_HINT)
        found.append(file)
    return tuple(sorted(found, key=lambda file: file.name))


def _read(sums: ToolFile) -> str:
    try:
        return sums.path.read_text(encoding="ascii")
    except ValueError as error:
        raise ContentError("is not text", artifact=str(sums.path), hint=_HINT) from error
    except OSError as error:
        raise _unreadable(sums.path, error) from error


def _measure(folder: Path, name: str) -> ToolFile:
    path = folder / name
    try:
        with path.open("rb") as file:
            digest = Digest("sha256", hashlib.file_digest(file, "sha256").hexdigest())
            return ToolFile(name, path, file.tell(), digest)
    except FileNotFoundError as error:
        raise MissingError(f"{_SUMS} lists it and it is not there", artifact=str(path), hint=_HINT) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot be read: {error.strerror}", artifact=str(path))

"""Which tag ``latest`` means, where a registry does not say when something was pushed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import MissingError, UsageError
from mirror.oci.number import read_number

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["newest_tag", "prefix_of_latest"]

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,17})"
_VERSION: Final = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:_([0-9A-Za-z.-]+))?", re.ASCII
)
"""A semantic version as Helm writes it in a tag: ``_`` stands for the ``+`` of its build metadata."""
_LATEST: Final = "latest"


@dataclass(frozen=True, slots=True)
class _Version:
    tag: str
    release: tuple[int, int, int]
    pre: tuple[str, ...]

    def is_newer(self, other: _Version) -> bool | None:
        """Whether it is newer than another; None where nothing says which is.

        As semver has it, but for words: it would order the commits that many versions end with by
        their letters.
        """
        if self.release != other.release:
            return self.release > other.release
        if not self.pre or not other.pre:
            # Build metadata alone have no order.
            return None if self.pre == other.pre else not self.pre
        for one, two in zip(self.pre, other.pre, strict=False):
            if one != two:
                numbers = read_number(one), read_number(two)
                return numbers[0] > numbers[1] if numbers[0] is not None and numbers[1] is not None else None
        return None if self.pre == other.pre else len(self.pre) > len(other.pre)


def prefix_of_latest(version: str) -> str | None:
    """What precedes ``-latest``: empty for ``latest`` itself, None for an exact version."""
    if version == _LATEST:
        return ""
    prefix = version.removesuffix(f"-{_LATEST}")
    return prefix if prefix != version and prefix else None


def newest_tag(tags: Iterable[str], prefix: str, *, place: str) -> str:
    """The highest semantic version among tags.

    Args:
        tags: of one repository.
        prefix: what the tag must be, or begin with up to a ``.``, ``-`` or ``_``; empty for all.
        place: the repository, for messages.

    Raises:
        MissingError: none of the tags is a version.
        UsageError: of the highest two, nothing says which is newer.
    """
    found = [version for tag in tags if _begins(tag, prefix) and (version := _read(tag))]
    if not found:
        which = f" that begins with {prefix}" if prefix else ""
        raise MissingError(
            f"has no tag{which} that is a version", artifact=place, hint="name a tag instead, or push a chart"
        )
    best = found[0]
    for version in found:
        if version.is_newer(best):
            best = version
    rival = next((version for version in found if version is not best and not best.is_newer(version)), None)
    if rival is not None:
        raise UsageError(
            f"nothing says whether {best.tag} or {rival.tag} is the latest", artifact=place, hint="name one of them"
        )
    return best.tag


def _begins(tag: str, prefix: str) -> bool:
    return not prefix or tag == prefix or tag.startswith(tuple(f"{prefix}{mark}" for mark in ".-_"))


def _read(tag: str) -> _Version | None:
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    major, minor, patch = map(int, match.group(1, 2, 3))
    return _Version(tag, (major, minor, patch), tuple(match[4].split(".")) if match[4] else ())

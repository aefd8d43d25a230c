"""Finding one release in the list of EKS-A releases (upstream's ``ReleaseForVersion``, domain.md 1.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, UsageError
from bundles.tree import MapNode
from mirror.oci.number import read_number

if TYPE_CHECKING:
    from semver import Version

    from bundles.document import Document
    from bundles.schema.eksa_release import EksaRelease, EksaReleaseEntry

__all__ = ["compare_versions", "entry_of_version", "latest_release", "release_for_version"]

_NUMBER: Final = r"(?:0|[1-9][0-9]*)"
_PRE: Final = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRE}(?:\.{_PRE})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_LENGTH_LIMIT: Final = 128


def release_for_version(index: EksaRelease, version: str) -> EksaReleaseEntry:
    """Find a release.

    Args:
        index: the list of releases.
        version: ``latest`` for the newest, or a version exactly as its entry writes it (the first
            entry wins). With the build metadata ``latest`` (``v0.26.0-dev+latest``) the entry of
            that version with the greatest build metadata.

    Raises:
        UsageError: ``version`` is not a semantic version.
        MissingError: the list has no such release.
        ContentError: with ``+latest``, a version in the list is not a semantic one.
    """
    if version == "latest":
        return latest_release(index)
    if _semver(version) is None:
        raise UsageError(f"{version[:100]!r} is not a version", hint="write it as v0.24.1, or write latest")
    for entry in index.spec.releases:
        if entry.version == version:
            return entry
    found = _greatest_build(index, version) if version.endswith("+latest") else None
    if found is None:
        newest = _newest(index)
        raise MissingError(
            f"there is no release {version}",
            hint=f"the newest is {newest.version}" if newest else "the list of releases is empty",
        )
    return found


def latest_release(index: EksaRelease) -> EksaReleaseEntry:
    """The release that ``spec.latestVersion`` names, else the greatest version.

    Raises:
        MissingError: the list is empty, or lacks the release that it calls the latest.
    """
    latest = index.spec.latest_version
    if latest:
        for entry in index.spec.releases:
            if entry.version == latest:
                return entry
        raise MissingError(
            f"the list calls {latest[:100]} the latest release and does not have it", hint="name a version instead"
        )
    newest = _newest(index)
    if newest is None:
        raise MissingError("the list of releases is empty", hint="is this the right list?")
    return newest


def entry_of_version(document: Document, version: str) -> MapNode:
    """The entry of a release, as it stands in the document.

    Raises:
        ContentError: there is none.
    """
    spec = document.root.map("spec")
    for item in spec.items("releases") if spec else ():
        if isinstance(item, MapNode) and item.text("version") == version:
            return item
    raise ContentError(
        f"has no release {version[:100]}",
        artifact=document.origin,
        hint="run bundlectl releases to see those there are",
    )


def compare_versions(first: str, second: str) -> int | None:
    """Compare by semver precedence: -1, 0, 1; None when one of them is no version."""
    one, two = _semver(first), _semver(second)
    return None if one is None or two is None else one.compare(two)


@lru_cache(maxsize=4096)
def _semver(text: str) -> Version | None:
    import semver  # noqa: PLC0415 -- 15 ms that most commands save

    if len(text) > _LENGTH_LIMIT or not _VERSION.fullmatch(text):
        return None
    return semver.Version.parse(text.removeprefix("v"))


def _newest(index: EksaRelease) -> EksaReleaseEntry | None:
    best: EksaReleaseEntry | None = None
    for entry in index.spec.releases:
        if _semver(entry.version) and (best is None or (compare_versions(entry.version, best.version) or 0) > 0):
            best = entry
    return best


def _greatest_build(index: EksaRelease, version: str) -> EksaReleaseEntry | None:
    wanted = _semver(version)
    best: EksaReleaseEntry | None = None
    best_build = ""
    for entry in index.spec.releases:
        found = _semver(entry.version)
        if found is None:
            raise ContentError(
                f"{entry.version[:100]!r} in the list of releases is not a version", hint="name an exact version"
            )
        if wanted is None or found.replace(build=None) != wanted.replace(build=None):
            continue
        build = found.build or ""
        if best is None or _build_is_newer(build, best_build):
            best, best_build = entry, build
    return best


def _build_is_newer(build: str, than: str) -> bool:
    """Order build metadata as upstream does, identifier by identifier.

    A number is less than a word, numbers compare as numbers, and different words have no order:
    then the one later in the list counts as newer. A longer one wins a tie.
    """
    first, second = _identifiers(build), _identifiers(than)
    for one, two in zip(first, second, strict=False):
        if one == two:
            continue
        numbers = read_number(one), read_number(two)
        if numbers[0] is not None and numbers[1] is not None:
            return numbers[0] > numbers[1]
        return numbers[0] is None
    return len(first) > len(second)


def _identifiers(build: str) -> list[str]:
    return build.split(".") if build else []

"""Whether what calls itself the latest is older than what a store has seen (``cli.md``, ``--allow-rollback``).

Who controls an address, or what is in front of it, cannot forge a release that is signed, but can
serve last year's. A store remembers the newest that it has seen of each kind and channel.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from bundlectl.errors import VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundlectl.operations.gathering import Gathered
    from mirror.layout import Store

__all__ = ["newest"]

_MOVING: Final = (
    (re.compile(r"eks-a:(?:latest|.*\+latest)"), "Release"),
    (re.compile(r"eks-d:(\d+-\d+)", re.ASCII), "EksDistroRelease"),
    (re.compile(r"packages:(\d+-\d+)", re.ASCII), "PackageBundle"),
)
"""Sources that mean whatever is newest, and the kind of document that tells how new it is."""

_NAMES: Final = {
    "EksDistroRelease": re.compile(r"kubernetes-(\d+-\d+)-eks-(\d+)", re.ASCII),
    "PackageBundle": re.compile(r"v(\d+-\d+)-(\d+(?:-\d+)*)", re.ASCII),
}
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-.*)?", re.ASCII)
_Age: TypeAlias = tuple[int, ...]


def newest(gathered: Gathered, store: Store, *, allowed: bool) -> dict[str, tuple[_Age, str]]:
    """Refuse a source that means the latest and came to something older than the store has seen.

    Of EKS-A the version of the release counts: the numbers of Bundles are one series over all
    lines of releases, of which an older one gets patches later.

    Args:
        gathered: what the sources came to.
        store: remembers.
        allowed: let it be older; then it is what the store remembers.

    Returns:
        What the store should remember, once all is accepted: age and name by kind and channel. Only
        what is signed: an unsigned document could call itself newer than anything.

    Raises:
        VerificationError: it is older.
        ContentError: what the store remembers is damaged.
    """
    seen = store.newest()
    wanted = set(_moving(gathered))
    fresh: dict[str, tuple[_Age, str]] = {}
    for key, age, name, signed in _ages(gathered):
        before, told = seen.get(key, ((), ""))
        older = key in wanted and age < before
        if older and not allowed:
            raise VerificationError(
                f"is older than {told}, which the store has seen, and came as the latest",
                artifact=name,
                hint="somebody may be serving an old release; if it is meant, say --allow-rollback",
            )
        if signed and (older or age > max(before, fresh.get(key, ((), ""))[0])):
            fresh[key] = (age, name)
    return fresh


def _moving(gathered: Gathered) -> Iterator[str]:
    for source in gathered.asked:
        for pattern, kind in _MOVING:
            match = pattern.fullmatch(source)
            if match:
                yield _key(kind, match[1] if match.groups() else "")


def _ages(gathered: Gathered) -> Iterator[tuple[str, _Age, str, bool]]:
    """What can be compared: kind and channel, age, name, and whether it is signed."""
    for name, signed in gathered.releases:
        match = _VERSION.fullmatch(name)
        if match:
            yield _key("Release", ""), (*map(int, match.group(1, 2, 3)), 0 if match[4] else 1), name, signed
    for manifest in gathered.manifests:
        pattern = _NAMES.get(manifest.kind)
        match = pattern.fullmatch(manifest.name) if pattern else None
        if match:
            numbers = tuple(int(part) for part in match[2].split("-"))
            # Names were sequence numbers first; those with a date, which has more parts, are newer.
            age = (len(numbers), *numbers)
            yield _key(manifest.kind, match[1]), age, manifest.name, manifest.trust == "signed"


def _key(kind: str, channel: str) -> str:
    return f"{kind}/{channel}" if channel else kind

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
    from bundles.lock import LockedManifest
    from mirror.layout import Store

__all__ = ["refuse_rollback"]

_MOVING: Final = (
    (re.compile(r"eks-a:(?:latest|.*\+latest)"), "Bundles"),
    (re.compile(r"eks-d:(\d+-\d+)", re.ASCII), "EksDistroRelease"),
    (re.compile(r"packages:(\d+-\d+)", re.ASCII), "PackageBundle"),
)
"""Sources that mean whatever is newest, and the kind of document that tells how new it is."""

_NAMES: Final = {
    "Bundles": re.compile(r"()bundles-(\d+)", re.ASCII),
    "EksDistroRelease": re.compile(r"kubernetes-(\d+-\d+)-eks-(\d+)", re.ASCII),
    "PackageBundle": re.compile(r"v(\d+-\d+)-(\d+(?:-\d+)*)", re.ASCII),
}
_Age: TypeAlias = tuple[int, ...]


def refuse_rollback(gathered: Gathered, store: Store, *, allowed: bool) -> None:
    """Refuse a source that means the latest and came to something older than the store has seen; remember the newest.

    Only what is signed is remembered: an unsigned document could call itself newer than anything.

    Args:
        gathered: what the sources came to.
        store: remembers.
        allowed: let it be older.

    Raises:
        VerificationError: it is older.
        ContentError: what the store remembers is damaged.
        StoreError: the store cannot be written.
    """
    seen = {key: (age, name) for key, (age, name) in store.newest().items()}
    wanted = set(_moving(gathered))
    fresh: dict[str, tuple[_Age, str]] = {}
    for manifest in gathered.manifests:
        found = _age(manifest)
        if found is None:
            continue
        key, age = found
        newest, name = seen.get(key, ((), ""))
        if key in wanted and age < newest and not allowed:
            raise VerificationError(
                f"is older than {name}, which the store has seen, and came as the latest",
                artifact=manifest.name,
                hint="somebody may be serving an old release; if it is meant, say --allow-rollback",
            )
        if manifest.trust == "signed" and age > max(newest, fresh.get(key, ((), ""))[0]):
            fresh[key] = (age, manifest.name)
    if fresh:
        store.remember(fresh)


def _moving(gathered: Gathered) -> Iterator[str]:
    for source in gathered.asked:
        for pattern, kind in _MOVING:
            match = pattern.fullmatch(source)
            if match:
                yield _key(kind, match[1] if match.groups() else "")


def _age(manifest: LockedManifest) -> tuple[str, _Age] | None:
    """Kind and channel of a release document, and how old it is; None when its name does not tell."""
    pattern = _NAMES.get(manifest.kind)
    match = pattern.fullmatch(manifest.name) if pattern else None
    if match is None:
        return None
    numbers = tuple(int(part) for part in match[2].split("-"))
    # Names were sequence numbers first; those with a date, which has more parts, are newer.
    return _key(manifest.kind, match[1]), (len(numbers), *numbers)


def _key(kind: str, channel: str) -> str:
    return f"{kind}/{channel}" if channel else kind

"""What is new, changed and gone since a site was last told of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import datetime as dt

    from bundles.inventory import Inventory
    from bundles.lock import Lock, LockedManifest
    from bundles.needs import Named
    from mirror.oci.digest import Digest

__all__ = ["Change", "ChangeKind", "Differing", "Since", "Statement", "compare"]

ChangeKind: TypeAlias = Literal["new", "changed", "renamed", "same"]
"""``renamed``: the site has the content, and not under this name."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an artifact or document is to a site: ``was`` is the digest that it has under this name.

    ``size`` is the bytes of it that the site lacks; what two artifacts share counts for each.
    """

    kind: ChangeKind
    was: Digest | None
    size: int

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {"kind": self.kind, "was": str(self.was) if self.was else None, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An inventory as a file; ``digest`` is that of the statement in it.

    ``says`` is whom its signature names, ``verified_by`` who signed it, checked here, ``unverified`` why that is not
    known.
    """

    inventory: Inventory = field(repr=False)
    digest: Digest
    says: str | None = None
    verified_by: str | None = None
    unverified: str | None = None

    @property
    def issued(self) -> dt.datetime:
        """When it was made, in its own words."""
        return self.inventory.issued

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report."""
        return {
            "name": self.inventory.name,
            "issued": self.issued.isoformat().replace("+00:00", "Z"),
            "digest": str(self.digest),
            "says": self.says,
            "verifiedBy": self.verified_by,
            "unverified": self.unverified,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """What ``diff`` finds between an inventory and a lock: names, and the bytes that the site lacks, each blob once."""

    added: tuple[Named, ...]
    removed: tuple[Named, ...]
    changed: tuple[tuple[Named, Named], ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """A lock, compared with what a site has; ``size`` is the bytes that the site lacks, each blob once.

    Changes are in the order of the lock's artifacts and documents.
    """

    statement: Statement
    artifacts: tuple[Change, ...]
    documents: tuple[Change, ...]
    gone: tuple[tuple[str, Digest], ...]
    """Names that the site has, and the lock has not."""
    size: int

    def count(self, kind: ChangeKind) -> int:
        """How many artifacts are that."""
        return sum(change.kind == kind for change in self.artifacts)

    def to_json(self) -> dict[str, Any]:
        """Render as it stands in a report; artifacts and documents carry their own change."""
        return {
            "inventory": self.statement.to_json(),
            "new": self.count("new"),
            "changed": self.count("changed"),
            "renamed": self.count("renamed"),
            "same": self.count("same"),
            "size": self.size,
            "gone": [{"reference": reference, "digest": str(digest)} for reference, digest in self.gone],
        }


def compare(lock: Lock, statement: Statement, differing: Differing) -> Since:
    """Say of each artifact and release document of a lock what it is to a site.

    Args:
        lock: what crosses.
        statement: of the site, or of the archive that crossed last.
        differing: what differs between the two.
    """
    had = statement.inventory.blobs
    added = {key for item in differing.added for key in _keys(item)}
    was = {key: before.digest for before, after in differing.changed for key in _keys(after)}

    def change(key: tuple[str, str], own: frozenset[Digest], size: int) -> Change:
        if key in was:
            return Change("changed", was[key], size)
        if key not in added:
            return Change("same", None, size)
        return Change("renamed" if own & had else "new", None, size)

    return Since(
        statement=statement,
        artifacts=tuple(
            change(
                (item.type, item.reference),
                frozenset((item.digest, item.root)),
                sum(lock.blobs[digest] for digest in item.all_digests() if digest not in had),
            )
            for item in lock.artifacts
        ),
        documents=tuple(
            change(_document_key(item), frozenset((item.digest,)), 0 if item.digest in had else item.size)
            for item in lock.manifests
        ),
        gone=tuple(sorted((item.reference, item.digest) for item in differing.removed)),
        size=differing.size,
    )


def _keys(item: Named) -> set[tuple[str, str]]:
    """What names something on both sides; package bundles have several tags, and one name."""
    kind = item.type or ""
    return {(kind, item.reference), (kind, item.name)} if kind == "document" else {(kind, item.reference)}


def _document_key(item: LockedManifest) -> tuple[str, str]:
    return ("document", item.name if item.kind == "PackageBundle" else item.url)

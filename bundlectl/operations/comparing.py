"""``diff``: what changed between two sets of sources, and what it costs to fetch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundlectl.errors import MissingError, RegistryError, TransportError, UsageError
from bundlectl.events import Notice
from bundlectl.operations.locking import Locked, lock_sources, refuse_failed
from bundlectl.operations.taking_stock import is_inventory, load_inventory
from bundles.needs import Named, carried, locked_names, needed_sizes
from bundles.sources import form_of
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bundlectl.operations.request import SourceRequest
    from bundlectl.operations.session import Session
    from bundles.inventory import Inventory
    from bundles.lock import Lock
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest

__all__ = ["Difference", "Side", "diff", "difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """What has a name, by reference; ``bytes`` is what a site that has A must fetch to have B.

    It is None where that cannot be told, because an inventory lists no sizes.
    """

    added: tuple[Named, ...]
    removed: tuple[Named, ...]
    changed: tuple[tuple[Named, Named], ...]
    bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Render for ``--output json``."""
        return {
            "added": [_entry(item) for item in self.added],
            "removed": [_entry(item) for item in self.removed],
            "changed": [
                {**_entry(after), "digest": {"from": str(before.digest), "to": str(after.digest)}}
                for before, after in self.changed
            ],
            "bytes": self.bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two that are compared.

    ``digests`` is everything it consists of, ``sizes`` the bytes of that as far as they are known. The names of
    ``named`` are those of a ``site`` where it is an inventory, of a store or registry of any prefix.
    """

    named: tuple[Named, ...] = field(repr=False)
    digests: frozenset[Digest] = field(repr=False)
    sizes: Mapping[Digest, int] = field(repr=False)
    site: bool = False

    @classmethod
    def of_lock(cls, lock: Lock, carriers: Iterable[Manifest] = ()) -> Side:
        """All that a lock needs.

        Args:
            lock: what is needed.
            carriers: the manifests around its package bundles; a lock does not say how large they are.

        Raises:
            UsageError: two package bundles have one name.
        """
        sizes = needed_sizes(lock, carriers)
        around = {item.oci_digest for item in carried(lock) if item.oci_digest}
        return cls(named=tuple(locked_names(lock)), digests=frozenset(around.union(sizes)), sizes=sizes)

    @classmethod
    def of_inventory(cls, inventory: Inventory) -> Side:
        """All that a site, or an archive, has."""
        members = inventory.archive.members if inventory.archive else ()
        return cls(
            named=tuple(
                Named(reference.rpartition("/")[2], reference, digest) for reference, digest in inventory.refs.items()
            ),
            digests=inventory.blobs,
            sizes={item.digest: item.size for item in members},
            site=True,
        )


def diff(a: str, b: str, *, request: SourceRequest, session: Session) -> Difference:
    """Compare two sources, each resolved unless it is a lock or a store; either may be the file of an inventory.

    Raises:
        The same as ``lock`` and ``load_inventory``.
    """
    before, after = _read(a, request, session), _read(b, request, session)
    old = Side.of_lock(before.lock) if isinstance(before, Locked) else Side.of_inventory(before)
    if not isinstance(after, Locked):
        return difference(old, Side.of_inventory(after))
    # Two locks are compared without asking anybody, though the manifests around package bundles are then not counted.
    carriers = _carriers(after, old.digests, session) if old.site else []
    return difference(old, Side.of_lock(after.lock, carriers))


def _read(text: str, request: SourceRequest, session: Session) -> Locked | Inventory:
    if not form_of(text)[0] and is_inventory(Path(text)):
        return load_inventory(Path(text), request.belief.anchors)[0]
    locked = lock_sources(replace(request, sources=(text,)), session=session)
    refuse_failed(locked)
    return locked


def _carriers(locked: Locked, had: frozenset[Digest], session: Session) -> list[Manifest]:
    """The manifests around package bundles that a site does not have: they are read where an export reads them."""
    wanted = [item for item in carried(locked.lock) if item.oci_digest not in had]
    if not wanted:
        return []
    from bundlectl.operations.rooting import Rooting  # noqa: PLC0415 -- only for these

    found = []
    with Rooting(locked, session) as rooting:
        for item in wanted:
            source, root = rooting.document_source(item)
            try:
                found.append(session.persist(partial(source.manifest, root)))
            except (MissingError, RegistryError, TransportError) as error:
                told = f"the bytes lack the manifest around the {item.kind} {item.name}: {error.message}"
                session.listener(Notice("warning", told, item.url))
    return found


def difference(before: Side, after: Side) -> Difference:
    """Compare two sides."""
    old, new = _by_name(before.named), _by_name(after.named)
    pairs = [(old[name], new[name]) for name in sorted(old.keys() & new.keys())]
    added = {name: new[name] for name in new.keys() - old.keys()}
    removed = {name: old[name] for name in old.keys() - new.keys()}
    if before.site or after.site:
        for was, now in list(_by_path(removed, added)):
            pairs.append((removed.pop(was), added.pop(now)))
    missing = after.digests - before.digests
    unknown = after.site and not missing <= after.sizes.keys()
    return Difference(
        added=tuple(added[name] for name in sorted(added)),
        removed=tuple(removed[name] for name in sorted(removed)),
        changed=tuple(sorted(((was, now) for was, now in pairs if was.digest != now.digest), key=_reference)),
        bytes=None if unknown else sum(after.sizes.get(digest, 0) for digest in missing),
    )


def _reference(pair: tuple[Named, Named]) -> str:
    return pair[1].reference


def _by_name(named: Iterable[Named]) -> dict[str, Named]:
    """Each by the name that a store has for it: what has a tag is called by the tag alone.

    A release document may be a file of the release, too; as such it was listed first.
    """
    return {_store_name(item): item for item in reversed(tuple(named))}


def _store_name(item: Named) -> str:
    try:
        found = Reference.parse(item.reference)
    except UsageError:
        return item.reference  # the URL of a file, or the path of a document
    return f"{found.name}:{found.tag}" if found.tag else f"{found.name}@{item.digest}"


def _by_path(removed: Mapping[str, Named], added: Mapping[str, Named]) -> Iterator[tuple[str, str]]:
    """Pair names that are the same after the host and a prefix: a registry of a site keeps upstream's paths.

    Of several registries or prefixes that have a name, the one with the digest that is wanted counts.
    """
    ending: dict[str, list[str]] = {}
    for name in removed:
        ending.setdefault(name.rpartition("/")[2], []).append(name)
    free = set(removed)
    for name in sorted(added):
        fitting = [was for was in ending.get(name.rpartition("/")[2], ()) if was in free and _same_path(was, name)]
        if fitting:
            digest = added[name].digest
            chosen = min(fitting, key=lambda was: (removed[was].digest != digest, len(was), was))
            free.discard(chosen)
            yield chosen, name


def _same_path(one: str, other: str) -> bool:
    """Whether either ends in what follows the other's host; URLs are compared as they are."""
    if "://" in one or "://" in other:
        return False
    return one.endswith(f"/{other.partition('/')[2]}") or other.endswith(f"/{one.partition('/')[2]}")


def _entry(item: Named) -> dict[str, Any]:
    return {
        "type": item.type,
        "name": item.name,
        "reference": item.reference,
        "digest": str(item.digest),
        "size": item.size,
    }

"""``inventory``: what a site has, so that the next archive can leave it out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, UsageError
from bundlectl.events import Notice
from bundlectl.operations.request import SourceRequest
from bundles.inventory import INVENTORY_LIMIT, Inventory, looks_like_inventory, open_inventory
from bundles.needs import carried, locked_names, needed_sizes, tag_name
from bundles.sources import form_of
from bundles.sources.local import read_local
from mirror.oci.artifact import FILES_REPOSITORY, MANIFESTS_REPOSITORY
from mirror.oci.digest import Digest
from mirror.oci.reference import is_attached

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from mirror.layout import Ref, Store
    from mirror.oci.manifest import Manifest
    from signing.identity import Proof, TrustAnchors

__all__ = ["is_inventory", "load_inventory", "take_inventory"]

_SEVERAL: Final = 5
"""Of what is not there, so many are told by name."""


def take_inventory(source: str, *, session: Session, issued: dt.datetime) -> Inventory:
    """List what a store, one of its collections, or a registry has.

    Nothing is claimed that was not found: blobs of a store are looked for on the disk, those of a registry are
    asked for one by one. What is missing or damaged is told as a warning.

    Args:
        source: ``store:DIR[#NAME]`` or ``registry:HOST[/PREFIX]``.
        session: connections.
        issued: when this is, aware, in UTC.

    Raises:
        UsageError: another form of source.
        MissingError: there is nothing at all, or no such collection.
        ContentError: the collection is damaged.
        StoreError: not a store, or one that cannot be read.
        RegistryError, TransportError: the registry refuses, or is out of reach.
    """
    form, rest = form_of(source)
    if form == "store" and rest:
        return _stock_of_store(rest, session, issued.replace(microsecond=0))
    if form == "registry" and rest:
        return _stock_of_registry(rest, session, issued.replace(microsecond=0))
    raise UsageError(
        "an inventory is taken of a site", artifact=source, hint="name store:DIR[#NAME] or registry:HOST[/PREFIX]"
    )


def is_inventory(path: Path) -> bool:
    """Whether a path is that of a file that begins like an inventory."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return looks_like_inventory(file)
    except (OSError, ValueError):
        return False  # whoever reads it as something else says what is wrong with it


def load_inventory(path: Path, anchors: TrustAnchors | None) -> tuple[Inventory, Proof | None, Digest]:
    """Read the inventory of a site or an archive from a file.

    Args:
        path: of the file, signed or not, compressed or not.
        anchors: who must have signed it; None to look at no signature.

    Returns:
        The inventory; who signed it, None where nobody had to; the digest of the statement.

    Raises:
        MissingError: there is no such file.
        UsageError: not a regular file.
        ConfigError: it cannot be read, or the package that checks certificates is absent.
        VerificationError: none of the anchors signed it.
        ContentError: not an inventory.
    """
    raw = read_local(path, limit=INVENTORY_LIMIT)
    inventory, proof = open_inventory(raw, anchors, origin=str(path))
    # The one form that is read is the one that is written.
    return inventory, proof, Digest.of(inventory.to_bytes())


def _stock_of_store(rest: str, session: Session, issued: dt.datetime) -> Inventory:
    from bundles.sources.store import split_store  # noqa: PLC0415 -- not for a registry
    from mirror.layout import Store  # noqa: PLC0415 -- as above

    path, name = split_store(rest)
    with Store.open(path, read_only=True) as store:
        if name:
            return _stock_of_collection(store, name, session, issued)
        needed = store.needed()
        present = needed.present
        refs = dict(
            _name_in_store(store, ref)
            for ref in store.refs()
            if ref.descriptor.digest in present and not is_attached(ref.tag or "")
        )
    if not needed.owners:
        raise MissingError("holds nothing yet", artifact=str(path), hint="fill it with bundlectl download")
    _tell_absent(needed.reported, session, f"store:{path}", hint="`bundlectl store verify` says more")
    return Inventory(
        name=path.absolute().name, issued=issued, refs=refs, blobs=present, weakened=session.connection.weakened
    )


def _stock_of_collection(store: Store, name: str, session: Session, issued: dt.datetime) -> Inventory:
    from bundles.lock import Lock  # noqa: PLC0415 -- only with a collection

    origin = f"{store.path}#{name}"
    kept = store.collections()
    if name not in kept:
        known = ", ".join(sorted(kept)[:10]) or "none"
        raise MissingError(f"holds no collection {name!r}", artifact=str(store.path), hint=f"it has {known}")
    lock = Lock.from_bytes(kept[name], origin=origin)
    sizes = needed_sizes(lock, _carriers(store, lock))
    present = frozenset(digest for digest, size in sizes.items() if store.size(digest) == size)
    _tell_absent(sizes.keys() - present, session, f"store:{origin}", hint="`bundlectl store verify` says more")
    refs = {item.reference: item.digest for item in locked_names(lock) if item.digest in present}
    return Inventory(name=name, issued=issued, refs=refs, blobs=present, weakened=session.connection.weakened)


def _carriers(store: Store, lock: Lock) -> Iterator[Manifest]:
    """The manifests around a lock's package bundles, as far as they are there."""
    from mirror.oci.descriptor import Descriptor  # noqa: PLC0415 -- only with a collection

    for document in carried(lock):
        if document.oci_digest is not None:
            with suppress(MissingError, ContentError):
                yield store.repository(document.url).manifest(Descriptor("", document.oci_digest, 0))


def _name_in_store(store: Store, ref: Ref) -> tuple[str, Digest]:
    # What was pushed calls itself what it likes.
    if ref.trust != "pushed" and ref.repository in (FILES_REPOSITORY, MANIFESTS_REPOSITORY):
        return tag_name(ref.repository, ref.tag, store.repository(ref.repository).manifest(ref.descriptor))
    return str(ref), ref.descriptor.digest


def _tell_absent(absent: Iterable[Digest], session: Session, artifact: str, *, hint: str) -> None:
    found = sorted(absent)
    if found:
        shown = ", ".join(str(digest) for digest in found[:_SEVERAL])
        more = f" and {len(found) - _SEVERAL:,} more" if len(found) > _SEVERAL else ""
        told = f"{shown}{more}: missing or damaged, so the inventory does not list it; {hint}"
        session.listener(Notice("warning", told, artifact))


def _stock_of_registry(rest: str, session: Session, issued: dt.datetime) -> Inventory:
    from bundlectl.operations.registry_stock import RegistryStock  # noqa: PLC0415 -- not for a store
    from bundles.sources.registry import list_repositories  # noqa: PLC0415 -- as above

    context = session.context(SourceRequest(sources=()), follow=False)
    stock = RegistryStock(session)
    if not stock.walk([session.repository(name) for name in list_repositories(rest, context)]):
        raise MissingError("the registry holds no tags there", artifact=rest, hint="check the prefix and credentials")
    present = stock.settle()
    _tell_absent(stock.absent(), session, f"registry:{rest}", hint="mirror it again to mend the registry")
    return Inventory(
        name=rest.rstrip("/"), issued=issued, refs=stock.names(), blobs=present, weakened=session.connection.weakened
    )

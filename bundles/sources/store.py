"""``store:DIR`` and ``store:DIR#NAME``: what a local store holds, or one collection in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError, UsageError
from bundles.artifact import Excluded
from bundles.lock import Lock, LockedSource
from bundles.lock_signature import as_unsigned
from bundles.selection import Selection
from bundles.sources.context import Loaded, no_contents
from bundles.sources.following import believe_lock
from bundles.sources.held import Held, LooseRefs

if TYPE_CHECKING:
    from bundles.lock import LockedArtifact, LockedManifest
    from bundles.lock_signature import SignedLock
    from bundles.sources.context import SourceContext
    from mirror.layout import Store
    from mirror.oci.digest import Digest

__all__ = ["believe_collection", "read", "split_store"]

_HINT: Final = "download it again into this store"


def read(rest: str, text: str, context: SourceContext) -> Loaded:
    """Read a collection's lock, or make one of everything in the store.

    Nothing is fetched. What was pushed into the store by strangers is left out, and said so.

    Raises:
        StoreError: not a store, or one that cannot be read.
        MissingError: no collection of that name.
        ContentError: a lock in the store is damaged, or content is missing.
        VerificationError: a signer was named, and did not sign the collection.
        UsageError: a signer was named, and the store holds several collections.
    """
    from mirror.layout import Store  # noqa: PLC0415 -- only with a store

    path, name = split_store(rest)
    with Store.open(path, read_only=True) as store:
        kept = store.collections()
        if name and name not in kept:
            known = ", ".join(sorted(kept)[:10]) or "none"
            raise MissingError(f"holds no collection {name!r}", artifact=str(path), hint=f"it has {known}")
        believed = [believe_collection(store, key, kept[key], context) for key in ([name] if name else sorted(kept))]
        if name:
            lock, signed = believed[0]
        elif context.belief.mode == "key" or context.belief.anchors is not None:
            lock, signed = _only_signed(believed, path)
        else:
            lock, signed = _everything(store, [lock for lock, _ in believed], text, path), None
    if context.belief.mode == "off":
        lock = as_unsigned(lock)
    return Loaded(
        source=text,
        kind="store",
        name=name or path.absolute().name,
        contents=no_contents(),
        lock=lock,
        signed=signed,
        store=str(path),
    )


def believe_collection(store: Store, name: str, raw: bytes, context: SourceContext) -> tuple[Lock, SignedLock | None]:
    """A collection's lock. Unless it is signed, or a signer is named, a store believes what it wrote down itself.

    Raises:
        ContentError: the lock is damaged.
        VerificationError: a signer was named, and did not sign it.
    """
    origin = f"{store.path}#{name}"
    signature = store.collection_signature(name)
    if signature is None and context.belief.anchors is None:
        return Lock.from_bytes(raw, origin=origin), None
    return believe_lock(raw, signature, origin, context)


def _only_signed(believed: list[tuple[Lock, SignedLock | None]], path: Path) -> tuple[Lock, SignedLock | None]:
    """The one collection of a store, where everything must be signed: what is beside collections never is."""
    if len(believed) != 1:
        raise UsageError(
            f"holds {len(believed) or 'no'} collections, and each is signed by itself",
            artifact=str(path),
            hint="name the one that is meant: store:DIR#NAME",
        )
    return believed[0]


def split_store(rest: str) -> tuple[Path, str]:
    """Part ``DIR#NAME``; the name is empty where there is none. A folder whose own name has a ``#`` is that folder."""
    folder, hash_sign, name = rest.rpartition("#")
    if not hash_sign or Path(rest).is_dir():
        return Path(rest), ""
    return Path(folder), name


def _everything(store: Store, locks: list[Lock], text: str, path: Path) -> Lock:
    artifacts: dict[tuple[str, str], LockedArtifact] = {}
    manifests: dict[Digest, LockedManifest] = {}
    sizes: dict[Digest, int] = {}
    excluded: set[Excluded] = set()
    for lock in locks:
        manifests.update((item.digest, item) for item in lock.manifests)
        sizes.update(lock.blobs)
        for item in lock.artifacts:
            earlier = artifacts.get((item.type, item.reference))
            if earlier is not None and earlier.digest == item.digest:
                artifacts[item.type, item.reference] = earlier.joined(item, sizes)
                continue
            if earlier is None or _is_current(store, item):
                artifacts[item.type, item.reference] = item
            if earlier is not None:
                gone = item if artifacts[item.type, item.reference] is earlier else earlier
                excluded.add(Excluded(f"{gone.reference}@{gone.digest}", "an older collection's; name that collection"))
    held = LooseRefs(store, artifacts.values(), manifests.values()).read()
    _merge(held, artifacts, manifests, sizes)
    excluded |= held.excluded
    if not artifacts and not manifests:
        raise MissingError("holds nothing yet", artifact=str(path), hint="fill it with bundlectl download")
    try:
        needed = {digest: sizes[digest] for item in artifacts.values() for digest in item.all_digests()}
    except KeyError as error:
        raise ContentError(f"{error.args[0]} has no size", artifact=str(path), hint=_HINT) from error
    return Lock(
        sources=(LockedSource(text, "store", path.absolute().name),),
        selection=Selection().to_json(),
        manifests=tuple(manifests.values()),
        artifacts=tuple(artifacts[key] for key in sorted(artifacts)),
        blobs=needed,
        excluded=tuple(sorted(excluded)),
        weakened=tuple(sorted({text for lock in locks for text in lock.weakened})),
    )


def _merge(
    held: Held,
    artifacts: dict[tuple[str, str], LockedArtifact],
    manifests: dict[Digest, LockedManifest],
    sizes: dict[Digest, int],
) -> None:
    for artifact in held.artifacts:
        artifacts.setdefault((artifact.type, artifact.reference), artifact)
    for manifest in held.manifests:
        manifests.setdefault(manifest.digest, manifest)
    sizes.update(held.sizes)


def _is_current(store: Store, item: LockedArtifact) -> bool:
    """Whether the store's tag still names what a lock pinned."""
    if item.type == "file":
        return True
    name, _, tag = item.reference.rpartition(":")
    ref = store.ref(name, tag) if "/" not in tag else None
    return ref is not None and ref.descriptor.digest == item.digest

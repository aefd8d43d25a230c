"""Writing the manifests of a root whose blobs are all there, tags last, and looking whether the tags hold."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, RegistryError
from mirror.copying.mending import bring_again, lacking
from mirror.copying.working import check_cancelled, persist
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.reference import by_digest_tag
from mirror.remote.errors import AbsentContentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import Event

    from mirror.copying.root import Root
    from mirror.copying.working import Persistence
    from mirror.graph import Tree

__all__ = ["Parcel", "Publisher", "SparseIndexRefusedError"]

_REFUSED_SPARSE: Final = frozenset({"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})


class SparseIndexRefusedError(RegistryError):
    """The target takes no index of which only some platforms are present: the run ends."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """The manifests of one tree as bytes, children first: parsed they would take five times the memory.

    ``sparse`` where platforms were left out; ``only`` is then the one image that was kept, if it is one.
    """

    manifests: tuple[tuple[bytes, str, Digest], ...]
    sparse: bool
    only: int | None

    @classmethod
    def of(cls, tree: Tree) -> Parcel:
        """Pack the manifests of a tree."""
        packed = tuple((item.raw, item.descriptor.media_type, item.descriptor.digest) for item in tree.manifests)
        sparse = bool(tree.left_out)
        child = tree.only_child if sparse else None
        only = None if child is None else [item[2] for item in packed].index(child.descriptor.digest)
        return cls(packed, sparse, only)

    def manifest(self, index: int) -> Manifest:
        """Unpack one manifest; -1 is the root."""
        raw, media_type, digest = self.manifests[index]
        return Manifest.from_bytes(raw, media_type, expected=digest)

    def sizes(self) -> Iterable[tuple[Digest, int]]:
        """Digest and bytes of every manifest."""
        return ((digest, len(raw)) for raw, _, digest in self.manifests)


class Publisher:
    """Writes manifests and tags, each manifest once. Thread-safe.

    Args:
        cancel: set to stop.
        persistence: how long each request is tried.
        count: told of the bytes of blobs that the target lost and were sent again.
    """

    def __init__(self, cancel: Event, persistence: Persistence, count: Callable[[int], None]) -> None:
        self._cancel = cancel
        self._count = count
        self._persistence = persistence
        self._lock = Lock()
        self._turns: dict[tuple[str, Digest], Lock] = {}
        self._stored: set[tuple[str, Digest]] = set()

    def publish(self, root: Root, parcels: tuple[Parcel, ...]) -> Digest:
        """Write referrers, then the root, then its tags, and ask the target what these point at now.

        Args:
            root: whose blobs are all there.
            parcels: its referrers', then its own.

        Returns:
            What the tags point at: the root, or the only image of it where the target refuses a sparse index.

        Raises:
            ContentError: a tag points at something else right after it was written.
            MissingError: a tag is not there right after it was written.
            SparseIndexRefusedError: the target takes no index of which only some platforms are present.
            RegistryError, TransportError, StoreError: from the target.
        """
        *referrers, main = parcels
        for referrer, parcel in zip(root.referrers, referrers, strict=True):
            self._children(root, parcel)
            self._put(root, parcel, -1, referrer.tag)
            if referrer.tag:
                self._look(root, referrer.tag, parcel, -1)
        self._children(root, main)
        written = -1
        try:
            self._tag(root, main, written)
        except RegistryError as error:
            if not main.sparse or error.error_code not in _REFUSED_SPARSE:
                raise
            if main.only is None or by_digest_tag(root.descriptor.digest) in root.tags:
                raise SparseIndexRefusedError(
                    "the target refuses an index whose other platforms are absent",
                    status=error.status,
                    error_code=error.error_code,
                    artifact=root.label,
                    hint="mirror all platforms, or (where nothing is pulled by digest) exactly one",
                ) from error
            written = main.only
            self._tag(root, main, written)
        return main.manifests[written][2]

    def _children(self, root: Root, parcel: Parcel) -> None:
        for index in range(len(parcel.manifests) - 1):
            self._put(root, parcel, index)

    def _tag(self, root: Root, parcel: Parcel, index: int) -> None:
        """Write each tag and look at it, before the next: who follows ``latest`` must find the name as well."""
        for tag in root.tags:
            self._put(root, parcel, index, tag)
            self._look(root, tag, parcel, index)

    def _put(self, root: Root, parcel: Parcel, index: int, tag: str | None = None) -> None:
        """Store a manifest, once at a time: roots of one repository may share it.

        Distribution 2.8 writes its links in place, and refuses an index while a child is stored again.
        """
        check_cancelled(self._cancel)
        target = root.target
        place = (target.name, parcel.manifests[index][2])
        with self._lock:
            turn = self._turns.setdefault(place, Lock())
        with turn:
            if tag is None and place in self._stored:
                return
            manifest = parcel.manifest(index)
            mended: set[Digest] = set()
            while True:
                try:
                    persist(lambda: target.put_manifest(manifest, tag=tag), self._cancel, self._persistence)
                    break
                except AbsentContentError as error:
                    if not self._mend(root, parcel, manifest, error, mended):
                        raise
            self._stored.add(place)

    def _mend(
        self, root: Root, parcel: Parcel, manifest: Manifest, error: AbsentContentError, mended: set[Digest]
    ) -> bool:
        """Bring again what the target lacks of a manifest, each part once; False where there is nothing to bring."""
        held = {digest: index for index, (_, _, digest) in enumerate(parcel.manifests)}
        wanted = [child for child in lacking(manifest, error) if child.digest not in mended]
        if not wanted or any(child.is_manifest and child.digest not in held for child in wanted):
            return False
        mended.update(child.digest for child in wanted)
        for child in wanted:
            if child.is_manifest:
                self._stored.discard((root.target.name, child.digest))
                self._put(root, parcel, held[child.digest])
            else:
                bring_again(
                    child,
                    root.source,
                    root.target,
                    cancel=self._cancel,
                    persistence=self._persistence,
                    count=self._count,
                )
        return True

    def _look(self, root: Root, tag: str, parcel: Parcel, index: int) -> None:
        """Ask the target what a tag points at that has just been written.

        Raises:
            ContentError: at something else.
            MissingError: at nothing.
        """
        check_cancelled(self._cancel)
        raw, _, wanted = parcel.manifests[index]
        found = persist(lambda: root.target.resolve(tag), self._cancel, self._persistence).digest
        if found == wanted:
            return
        # A registry may know what has a sha512 under its sha256 as well.
        if found != Digest.of(raw, found.algorithm):
            raise ContentError(
                f"points at {found} right after it was written as {wanted}",
                artifact=f"{root.target.name}:{tag}",
                hint="something else writes this tag too, or the registry altered it; see who may push there",
            )

"""Walking from a root manifest to everything it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError, MissingError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.platform import Platform
    from mirror.oci.repository import ReadRepository

__all__ = ["Tree", "select_children", "walk"]

_DEPTH_LIMIT: Final = 8
_MANIFEST_LIMIT: Final = 5_000
_ATTESTED: Final = "vnd.docker.reference.digest"


@dataclass(frozen=True, slots=True)
class Tree:
    """A root and what it needs.

    ``manifests`` are children first, the root last, each once; ``blobs`` each once;
    ``left_out`` are children of indexes that no wanted platform selects.
    """

    root: Manifest
    manifests: tuple[Manifest, ...]
    blobs: tuple[Descriptor, ...]
    left_out: tuple[Descriptor, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all manifests and blobs."""
        return sum(item.descriptor.size for item in self.manifests) + sum(blob.size for blob in self.blobs)

    def sizes(self) -> dict[Digest, int]:
        """Bytes of every manifest and blob, by digest."""
        found = {item.descriptor.digest: item.descriptor.size for item in self.manifests}
        found.update((blob.digest, blob.size) for blob in self.blobs)
        return found

    @property
    def only_child(self) -> Manifest | None:
        """The one image that was kept below the root, when it is one; what attests to it does not count."""
        attesting = {child.digest for child in self.root.children() if _ATTESTED in child.annotations}
        images = [item for item in self.manifests[:-1] if not item.is_index and item.descriptor.digest not in attesting]
        return images[0] if len(images) == 1 else None

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that indexes of this tree name and that were kept, sorted."""
        kept = {item.descriptor.digest for item in self.manifests}
        found = {
            child.platform
            for item in self.manifests
            if item.is_index
            for child in item.children()
            if child.platform and child.digest in kept and child.platform.os != "unknown"
        }
        return tuple(sorted(found))


def walk(
    repository: ReadRepository,
    descriptor: Descriptor,
    *,
    platforms: Sequence[Platform] = (),
    only: Collection[Digest] | None = None,
) -> Tree:
    """Fetch a manifest and, through indexes, all manifests below it that are wanted.

    An index is never rewritten: what no platform selects is simply absent. A manifest without
    an index above it has no platform to select by, and is kept.

    Args:
        repository: where to read from.
        descriptor: of the root; size 0 and an empty media type mean unknown.
        platforms: those wanted; none means all.
        only: the manifests that a lock knows of; any other below an index is left out. It
            decides alone: ``platforms`` were applied when the lock was made.

    Raises:
        MissingError: a manifest is not there, or an index has none of the platforms.
        ContentError: a manifest is malformed, or the tree is absurdly deep or wide.
    """
    walker = _Walker(repository, () if only is not None else platforms, only)
    root = walker.visit(descriptor, 0)
    if platforms and root.is_index and root.children() and not walker.descended:
        wanted = ", ".join(str(platform) for platform in platforms)
        raise MissingError(
            f"has no {wanted}",
            artifact=f"{repository.name}@{descriptor.digest}",
            hint="choose another --platform, or leave the artifact out with --exclude",
        )
    return Tree(root, tuple(walker.manifests.values()), tuple(walker.blobs.values()), tuple(walker.left_out))


def select_children(
    children: Iterable[Descriptor], platforms: Sequence[Platform]
) -> tuple[list[Descriptor], list[Descriptor]]:
    """Part the children of an index into wanted and not wanted.

    A child that names no platform is wanted. An attestation (BuildKit gives it the platform
    ``unknown/unknown``) goes with the child it speaks of.
    """
    everything = list(children)
    if not platforms:
        return everything, []

    def chosen(child: Descriptor) -> bool:
        return child.platform is None or any(child.platform.matches(wanted) for wanted in platforms)

    wanted = {str(child.digest) for child in everything if chosen(child)}
    kept: list[Descriptor] = []
    left: list[Descriptor] = []
    for child in everything:
        belongs = str(child.digest) in wanted or child.annotations.get(_ATTESTED) in wanted
        (kept if belongs else left).append(child)
    return kept, left


class _Walker:
    def __init__(
        self, repository: ReadRepository, platforms: Sequence[Platform], only: Collection[Digest] | None
    ) -> None:
        self.repository = repository
        self.platforms = platforms
        self.only = only
        self.manifests: dict[Digest, Manifest] = {}
        self.blobs: dict[Digest, Descriptor] = {}
        self.left_out: list[Descriptor] = []
        self.descended = False

    def visit(self, descriptor: Descriptor, depth: int) -> Manifest:
        if depth > _DEPTH_LIMIT or len(self.manifests) > _MANIFEST_LIMIT:
            raise ContentError(
                "the index is nested too deeply or names too many manifests",
                artifact=f"{self.repository.name}@{descriptor.digest}",
            )
        manifest = self.repository.manifest(descriptor)
        children = manifest.children()
        if manifest.is_index:
            kept, left = select_children(children, self.platforms)
            if self.only is not None:
                left = [child for child in kept if child.is_manifest and child.digest not in self.only]
                kept = [child for child in kept if child not in left]
            self.left_out.extend(left)
            for child in kept:
                self.descended = True
                if not child.is_manifest:
                    self.blobs.setdefault(child.digest, child)
                elif child.digest not in self.manifests:
                    self.visit(child, depth + 1)
        else:
            for blob in children:
                # A layer with URLs may lie elsewhere by licence; registries accept its absence.
                if not blob.urls:
                    self._add(blob)
        self.manifests[manifest.descriptor.digest] = manifest
        return manifest

    def _add(self, blob: Descriptor) -> None:
        known = self.blobs.setdefault(blob.digest, blob)
        if known.size != blob.size:
            raise ContentError(
                f"{blob.digest} is said to have {known.size} bytes and {blob.size} bytes",
                artifact=self.repository.name,
            )

"""One repository of a store, in the protocol that copying speaks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, ContentError, MissingError, UsageError
from mirror.layout.manifests import known_size, load_manifest
from mirror.layout.marking import Marking
from mirror.layout.refs import (
    ProtectedError,
    Ref,
    check_trust,
    forget_record,
    plan_delete_manifest,
    plan_delete_tag,
    plan_put,
    plan_restore,
)
from mirror.oci.reference import Reference, by_digest_tag, check_repository, check_tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.filesystem import FileReader
    from mirror.layout.blobs import BlobDirectory
    from mirror.layout.log import RefLog
    from mirror.layout.records import Record
    from mirror.layout.refs import RefTable
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from mirror.oci.repository import BlobUpload, Present

__all__ = ["LayoutRepository", "check_name"]

_BY_DIGEST = tuple(f"by-digest-{algorithm}-" for algorithm in ("sha256", "sha512"))


class LayoutRepository:
    """What a store holds under one name; implements `Repository` and `Deletable`. Thread-safe.

    Args:
        name: ``registry/repository``, or a repository without a registry for what was pushed.
        log: the store's refs.
        blobs: the store's blobs, which all repositories share.
        trust: the level that what is written through this object carries.

    Raises:
        UsageError: the name or the trust level is none.
    """

    def __init__(self, name: str, *, log: RefLog, blobs: BlobDirectory, trust: str) -> None:
        self._name = check_name(name)
        self._log = log
        self._blobs = blobs
        self._trust = check_trust(trust)

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return self._name

    def resolve(self, tag: str) -> Descriptor:
        """What a tag points at; content kept by digest has the tag ``by-digest-<alg>-<hex>``.

        Raises:
            MissingError: no such tag.
        """
        with self._log.reading() as table:
            ref = table.ref(self._name, tag)
        if ref is None:
            raise MissingError(
                "is not in the store",
                artifact=f"{self._name}:{tag[:128]}",
                hint="`bundlectl store list` shows what is; `bundlectl download` brings more",
            )
        return ref.descriptor

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Read a manifest and check its digest; size 0 and an empty media type mean unknown.

        Raises:
            MissingError: it is not there, or was deleted from this repository.
            ContentError: its file is damaged, or it is no manifest.
        """
        with self._log.reading() as table:
            if table.is_forgotten(self._name, descriptor.digest):
                raise MissingError("was deleted", artifact=f"{self._name}@{descriptor.digest}")
        try:
            return load_manifest(self._blobs, descriptor)
        except BundlectlError as error:
            error.artifact = f"{self._name}@{descriptor.digest}"
            raise

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> FileReader:
        """Open a blob at ``offset``.

        Raises:
            MissingError: it is not there.
            ContentError: its file is damaged.
        """
        return self._blobs.open(descriptor.digest, offset, size=known_size(descriptor))

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob or manifest is there, of the descriptor's size where that is known."""
        size = self._blobs.size(descriptor.digest)
        if size is None or known_size(descriptor) not in (None, size):
            return False
        with self._log.reading() as table:
            return not table.is_forgotten(self._name, descriptor.digest)

    def vouches(self, digest: Digest, *, tag: str | None) -> bool:
        """Whether writing the manifest again would tell the store nothing.

        Args:
            digest: of the manifest.
            tag: that should point at it; None for a referrer, which its subject names.
        """
        with self._log.reading() as table:
            return table.vouches(self._name, digest, tag=tag, trust=self._trust)

    def tags(self) -> list[str]:
        """All tags, sorted, with ``by-digest-...`` for content kept by digest."""
        with self._log.reading() as table:
            return table.tags(self._name)

    def refs(self) -> list[Ref]:
        """All refs of this repository, sorted by tag; those without a tag keep content by digest."""
        with self._log.reading() as table:
            return table.refs_of(self._name)

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Manifests of this repository whose subject is ``subject``, sorted by digest.

        Artifact type and annotations are read from the manifests; those of a damaged one are missing.
        """
        with self._log.reading() as table:
            found = table.referrers(self._name, subject)
        return [self.described(ref.descriptor) for ref in found]

    def described(self, descriptor: Descriptor) -> Descriptor:
        """A manifest's descriptor as referrers are listed: with artifact type and annotations, if it can be read."""
        try:
            manifest = load_manifest(self._blobs, descriptor)
        except (MissingError, ContentError):
            return descriptor
        return replace(descriptor, artifact_type=manifest.artifact_type, annotations=manifest.annotations)

    def begin_blob(self, descriptor: Descriptor, *, mount_from: str | None = None) -> Present | BlobUpload:  # noqa: ARG002 -- all repositories share the blobs
        """Find a blob present, or take its partial file, waiting while someone else fetches it.

        Raises:
            InterruptError: `Store.interrupt` was called while waiting.
            StoreError: the store cannot be written.
        """
        return self._blobs.begin(descriptor)

    def link_blob(self, digest: Digest) -> int | None:
        """Make a blob of the store one of this repository's again, if it was deleted here, for who will name it.

        Returns:
            Its size in bytes, when that is on disk; None when the store has no such blob.

        Raises:
            StoreError: the store cannot be written.
        """
        size = self._blobs.touch(digest)
        if size is not None:
            with self._log.reading() as table:
                forgotten = table.is_forgotten(self._name, digest)
            if forgotten:
                self._log.commit(lambda table: plan_restore(table, self._name, [digest]))
        return size

    def put_manifest(self, manifest: Manifest, *, tag: str | None = None) -> None:
        """Store a manifest, then point ``tag`` at it; return when both are on disk.

        With the tag ``by-digest-...`` of its own digest it is kept by digest. A manifest with a
        subject becomes a referrer, tagged or not. Without tag and subject it is stored only.

        Raises:
            MissingError: the config or a layer is not there (children of an index and layers with URLs may be absent).
            ContentError: a blob has another size, or the tag is the ``by-digest-...`` of something else.
            ProtectedError: a push would move a tag that a release put there.
            StoreError: the store cannot be written.
        """
        digest = manifest.descriptor.digest
        kept = tag == by_digest_tag(digest)
        if tag and not kept:
            self._check_tag(tag, digest)
        self._check_children(manifest, self._blobs.touch)
        self._blobs.put(manifest.raw, expected=digest)
        subject = manifest.subject
        ref = Ref(self._name, None if kept else tag, manifest.descriptor, self._trust)

        def plan(table: RefTable) -> list[Record]:
            # Once more, under the lock under which `gc` removes: what is logged names only what is there.
            self._check_children(manifest, self._blobs.size)
            if self._blobs.size(digest) is None:
                raise MissingError("was removed while it was written", artifact=f"{self._name}@{digest}")
            records = plan_put(table, ref, subject=subject.digest if subject else None, named=tag is not None)
            return records + plan_restore(table, self._name, self._needed(table, manifest))

        self._log.commit(plan)

    def _needed(self, table: RefTable, manifest: Manifest) -> Iterable[Digest]:
        """What comes back with a manifest if it was deleted here: what a push sends along, and all of a release."""
        if self._trust == "pushed" or not table.has_forgotten(self._name):
            return [] if manifest.is_index else [child.digest for child in manifest.children()]
        marking = Marking(self._blobs)
        marking.mark(manifest.descriptor.digest, self._name)
        return marking.owners

    def _check_tag(self, tag: str, digest: Digest) -> None:
        check_tag(tag)
        if tag.startswith(_BY_DIGEST):
            raise ContentError(
                f"the tag {tag} belongs to content of another digest than {digest}",
                artifact=self._name,
                hint=f"use the tag {by_digest_tag(digest)}",
            )

    def _check_children(self, manifest: Manifest, size_of: Callable[[Digest], int | None]) -> None:
        if manifest.is_index:
            return
        for child in manifest.children():
            if child.urls:
                continue
            size = size_of(child.digest)
            artifact = f"{self._name}@{manifest.descriptor.digest}"
            if size is None:
                raise MissingError(f"needs {child.digest}, which is not in the store", artifact=artifact)
            if size != child.size:
                raise ContentError(
                    f"says {child.digest} has {child.size} bytes, but the store's has {size}", artifact=artifact
                )

    def delete_manifest(self, digest: Digest) -> None:
        """Forget a manifest and every tag that points at it; its bytes stay.

        Raises:
            MissingError: it is not there.
            ProtectedError: a push would delete what a release put there, or what that consists of.
            StoreError: the store cannot be written.
        """
        released = self._released()

        def plan(table: RefTable) -> list[Record]:
            if table.is_forgotten(self._name, digest) or self._blobs.size(digest) is None:
                raise MissingError("is not in the store", artifact=f"{self._name}@{digest}")
            records = plan_delete_manifest(table, self._name, digest, trust=self._trust)
            self._check_unneeded(table, digest, released)
            return records

        self._log.commit(plan)

    def delete_blob(self, digest: Digest) -> None:
        """Forget a blob in this repository; its bytes stay until `gc`, and in other repositories.

        Raises:
            MissingError: it is not there, or a manifest.
            ProtectedError: a push would delete what a release put there.
            StoreError: the store cannot be written.
        """
        released = self._released()

        def plan(table: RefTable) -> list[Record]:
            absent = self._blobs.size(digest) is None or table.is_forgotten(self._name, digest)
            if absent or table.names(self._name, digest):
                raise MissingError("is not in the store", artifact=f"{self._name}@{digest}")
            self._check_unneeded(table, digest, released)
            return [forget_record(self._name, digest)]

        self._log.commit(plan)

    def _released(self) -> Marking:
        """All that consists of what releases put into this repository; nothing where that may be deleted."""
        marking = Marking(self._blobs)
        with self._log.reading() as table:
            refs = self._unpushed(table)
        for ref in refs:
            marking.mark(ref.descriptor.digest, str(ref))
        return marking

    def _unpushed(self, table: RefTable) -> list[Ref]:
        return [ref for ref in table.owned(self._name) if "pushed" == self._trust != ref.trust]

    def _check_unneeded(self, table: RefTable, digest: Digest, released: Marking) -> None:
        """Hold, under the lock, that no manifest that a release put into this repository needs a blob or manifest.

        Args:
            table: as it is now.
            digest: of what is to be deleted.
            released: what was needed a moment ago: reading it all takes too long for the lock.
        """
        for ref in self._unpushed(table):
            released.mark(ref.descriptor.digest, str(ref))
        if digest in released.owners:
            raise ProtectedError(
                f"a push cannot delete it: {released.owners[digest]} needs it, which a download put there",
                artifact=f"{self._name}@{digest}",
                hint="change the store with `bundlectl download`",
            )

    def delete_tag(self, tag: str) -> None:
        """Forget one tag, leaving the manifest.

        Raises:
            MissingError: no such tag.
            ProtectedError: a push would delete what a release put there.
            StoreError: the store cannot be written.
        """
        self.resolve(tag)
        self._log.commit(lambda table: plan_delete_tag(table, self._name, tag, trust=self._trust))


def check_name(name: str) -> str:
    """Return ``name`` if it is ``registry/repository`` or a repository name.

    Raises:
        UsageError: it is not.
    """
    try:
        reference = Reference.parse(name)
    except UsageError:
        return check_repository(name)
    if reference.name != name:
        raise UsageError(f"{name[:300]!r} has a tag or digest, where a repository is meant")
    return name

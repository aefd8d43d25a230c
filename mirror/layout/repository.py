"""One repository of a store, in the protocol that copying speaks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, ContentError, MissingError, UsageError
from mirror.layout.filesystem import read_small
from mirror.layout.refs import Ref, check_trust, plan_delete_manifest, plan_delete_tag, plan_put
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import MANIFEST_LIMIT
from mirror.oci.reference import Reference, by_digest_tag, check_repository, check_tag

if TYPE_CHECKING:
    from mirror.layout.blobs import BlobDirectory
    from mirror.layout.filesystem import FileReader
    from mirror.layout.log import RefLog
    from mirror.oci.descriptor import Descriptor
    from mirror.oci.repository import BlobUpload, Present

__all__ = ["LayoutRepository", "check_name", "load_manifest"]

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
        return self._blobs.open(descriptor.digest, offset, size=_known_size(descriptor))

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob or manifest is there, of the descriptor's size where that is known."""
        size = self._blobs.size(descriptor.digest)
        if size is None or _known_size(descriptor) not in (None, size):
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

    def referrers(self, subject: Digest) -> list[Descriptor]:
        """Manifests of this repository whose subject is ``subject``, sorted by digest.

        Artifact type and annotations are read from the manifests; those of a damaged one are missing.
        """
        with self._log.reading() as table:
            found = table.referrers(self._name, subject)
        return [self._described(ref.descriptor) for ref in found]

    def _described(self, descriptor: Descriptor) -> Descriptor:
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
        self._check_children(manifest)
        self._blobs.put(manifest.raw, expected=digest)
        subject = manifest.subject
        ref = Ref(self._name, None if kept else tag, manifest.descriptor, self._trust)
        self._log.commit(
            lambda table: plan_put(table, ref, subject=subject.digest if subject else None, named=tag is not None)
        )

    def _check_tag(self, tag: str, digest: Digest) -> None:
        check_tag(tag)
        if tag.startswith(_BY_DIGEST):
            raise ContentError(
                f"the tag {tag} belongs to content of another digest than {digest}",
                artifact=self._name,
                hint=f"use the tag {by_digest_tag(digest)}",
            )

    def _check_children(self, manifest: Manifest) -> None:
        if manifest.is_index:
            return
        for child in manifest.children():
            if child.urls:
                continue
            size = self._blobs.size(child.digest)
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
            ProtectedError: a push would delete what a release put there.
            StoreError: the store cannot be written.
        """
        with self._log.reading() as table:
            gone = table.is_forgotten(self._name, digest)
        if gone or self._blobs.size(digest) is None:
            raise MissingError("is not in the store", artifact=f"{self._name}@{digest}")
        self._log.commit(lambda table: plan_delete_manifest(table, self._name, digest, trust=self._trust))

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


def load_manifest(blobs: BlobDirectory, descriptor: Descriptor) -> Manifest:
    """Read a manifest out of a store's blobs and check its digest and size.

    Raises:
        MissingError: it is not there.
        ContentError: its file is damaged, or it is no manifest.
    """
    path = blobs.path(descriptor.digest)
    raw = read_small(path, limit=MANIFEST_LIMIT, artifact=str(descriptor.digest))
    wanted = _known_size(descriptor)
    if wanted not in (None, len(raw)):
        raise ContentError(f"should have {wanted} bytes, but has {len(raw)}", artifact=str(descriptor.digest))
    try:
        return Manifest.from_bytes(raw, descriptor.media_type, expected=descriptor.digest)
    except ContentError as error:
        if Digest.of(raw, descriptor.digest.algorithm) == descriptor.digest:
            raise
        raise ContentError(
            "its file in the store is damaged",
            artifact=str(descriptor.digest),
            hint=f"remove {path} and run the download that brings it again",
        ) from error


def _known_size(descriptor: Descriptor) -> int | None:
    """The size a descriptor states; None when it was made from a digest alone."""
    return descriptor.size if descriptor.size or descriptor.media_type else None

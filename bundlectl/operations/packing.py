"""What an archive of a lock consists of: members in their order, and where each is read."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bundles.plan import TargetPlan, UpstreamNaming
from mirror.archive.plan import Member
from mirror.copying.resuming import ResumingReader
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import OCI_INDEX, OCI_MANIFEST, OCTET_STREAM
from mirror.oci.reference import by_digest_tag
from mirror.verifying import VerifyingReader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bundlectl.operations.rooting import Rooting
    from bundlectl.operations.session import Session
    from bundles.lock import Lock
    from bundles.plan import PlannedArtifact, PlannedManifest
    from mirror.oci.repository import BlobReader, ReadRepository

__all__ = ["Content", "Packing"]

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_REF_NAME: Final = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME: Final = "io.containerd.image.name"


@dataclass(frozen=True, slots=True)
class Content:
    """A blob or manifest of a lock, and where it is read. ``sha512`` is what a document states of a file."""

    member: Member
    source: ReadRepository
    is_manifest: bool
    sha512: str = ""


@dataclass(slots=True)
class Packing:
    """All that a lock needs, in the order of an archive.

    ``entries`` are those of ``index.json``: descriptors, those that have a name with it.
    """

    contents: dict[Digest, Content] = field(default_factory=dict)
    entries: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, lock: Lock, rooting: Rooting, session: Session) -> Packing:
        """Work out what an archive of a lock consists of. Of release documents the wrapping manifests are read.

        Args:
            lock: what is packed.
            rooting: opens where things are read.
            session: connections.

        Raises:
            MissingError, ContentError, TransportError, RegistryError: a release document cannot be had.
        """
        plan = TargetPlan.of(lock, UpstreamNaming())
        packing = cls()
        for planned in plan.artifacts:
            packing._artifact(planned, rooting.source(planned.artifact), lock.blobs)
        for document in plan.manifests:
            packing._document(document, rooting, session)
        return packing

    def sizes(self) -> dict[Digest, int]:
        """Bytes of everything by digest."""
        return {digest: content.member.size for digest, content in self.contents.items()}

    def members(self, present: Collection[Digest] = ()) -> tuple[tuple[Member, ...], dict[Digest, bytes]]:
        """The members of an archive that leaves out what a site has.

        Args:
            present: what is left out.

        Returns:
            The members, and the bytes of those that are made here.
        """
        carried = [content.member for digest, content in self.contents.items() if digest not in present]
        digests = {str(member.digest) for member in carried}
        index = canonical_json(
            {
                "manifests": [entry for entry in self.entries if entry["digest"] in digests],
                "mediaType": OCI_INDEX,
                "schemaVersion": 2,
            }
        )
        made = [("oci-layout", _LAYOUT), ("index.json", index)]
        named = [Member(Digest.of(data), len(data), name) for name, data in made]
        return (*named, *carried), {member.digest: data for member, (_, data) in zip(named, made, strict=True)}

    def open(self, digest: Digest, session: Session) -> BlobReader:
        """Open a blob or manifest from its beginning; what it hands out is checked, to the last block.

        Raises:
            MissingError, TransportError, RegistryError: the source does not give it.
            ContentError: it is not what its digest says.
        """
        content = self.contents[digest]
        source, size = content.source, content.member.size
        if content.is_manifest:
            wanted = Descriptor("", digest, size)
            return io.BytesIO(session.persist(lambda: source.manifest(wanted)).raw)
        annotations = {SHA512_ANNOTATION: content.sha512} if content.sha512 else {}
        blob = Descriptor(OCTET_STREAM, digest, size, annotations=annotations)
        return VerifyingReader(
            ResumingReader(source, blob, 0, persistence=session.persistence, cancel=session.cancelled), blob
        )

    def _add(self, content: Content) -> None:
        self.contents.setdefault(content.member.digest, content)

    def _artifact(self, planned: PlannedArtifact, source: ReadRepository, sizes: Mapping[Digest, int]) -> None:
        artifact = planned.artifact
        media_type = OCI_MANIFEST if artifact.type == "file" else artifact.media_type
        self._entry(
            Descriptor(media_type, planned.digest, sizes[planned.digest]),
            _full_name(planned.repository, planned.tag, planned.digest),
        )
        for digest in artifact.manifests:
            self._add(Content(Member(digest, sizes[digest]), source, is_manifest=True))
        for digest in artifact.blobs:
            stated = artifact.sha512 or "" if digest == artifact.digest else ""
            self._add(Content(Member(digest, sizes[digest]), source, is_manifest=False, sha512=stated))
        for referrer in artifact.referrers:
            descriptor = Descriptor(
                referrer.media_type, referrer.digest, sizes[referrer.digest], artifact_type=referrer.artifact_type
            )
            self._entry(
                descriptor, _full_name(planned.repository, referrer.tag, referrer.digest) if referrer.tag else ""
            )
            for digest in referrer.manifests:
                self._add(Content(Member(digest, sizes[digest]), source, is_manifest=True))
            for digest in referrer.blobs:
                self._add(Content(Member(digest, sizes[digest]), source, is_manifest=False))

    def _document(self, planned: PlannedManifest, rooting: Rooting, session: Session) -> None:
        source, wanted = rooting.document_source(planned.manifest)
        manifest = session.persist(lambda: source.manifest(wanted))
        for tag in planned.tags:
            self._entry(manifest.descriptor, _full_name(planned.repository, tag, manifest.descriptor.digest))
        found = manifest.descriptor
        self._add(Content(Member(found.digest, found.size), source, is_manifest=True))
        for child in manifest.children():
            self._add(Content(Member(child.digest, child.size), source, is_manifest=False))

    def _entry(self, descriptor: Descriptor, name: str) -> None:
        entry = descriptor.to_json()
        if name:
            entry["annotations"] = {_CONTAINERD_NAME: name, _REF_NAME: name}
        if entry not in self.entries[-2:]:
            self.entries.append(entry)


def _full_name(repository: str, tag: str, digest: Digest) -> str:
    """A reference as a store names it: by digest for what is kept by it."""
    return f"{repository}@{digest}" if tag == by_digest_tag(digest) else f"{repository}:{tag}"

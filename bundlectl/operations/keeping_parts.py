"""Parts of what an archive has not in full: kept at the site without a name, for the import that brings the rest.

An image may lie on two media, of which only one is here at a time. What the first has of it would else be read again,
and its manifests are not known to the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundlectl.errors import BundlectlError, InterruptError
from bundlectl.events import TransferPlanned
from bundles.plan import upstream_name
from mirror.archive.repository import ArchiveRepository
from mirror.copying.transfer import BlobTransfer
from mirror.oci.artifact import FILES_REPOSITORY
from mirror.oci.descriptor import Descriptor
from mirror.oci.mediatype import OCTET_STREAM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bundlectl.operations.session import Session
    from bundlectl.operations.site import SiteContent
    from bundles.lock import LockedArtifact
    from mirror.archive.reading import VolumeSet
    from mirror.oci.digest import Digest

__all__ = ["keep_parts"]


def keep_parts(
    artifacts: Iterable[LockedArtifact],
    volumes: VolumeSet,
    content: SiteContent,
    session: Session,
    *,
    damaged: Collection[Digest],
) -> None:
    """Bring manifests and blobs of artifacts as blobs that nothing names. What cannot be had or put is passed over.

    Args:
        artifacts: which are not at the site, because some of them is in no volume that is here.
        volumes: of the archive.
        content: the target.
        session: cancels, and hears of bytes.
        damaged: what is known to be damaged in the archive.

    Raises:
        InterruptError: cancelled.
    """
    for artifact in artifacts:
        name = FILES_REPOSITORY if artifact.type == "file" else upstream_name(artifact.reference)[0]
        source, target = ArchiveRepository(name, volumes), content.target(name)
        for digest in sorted(artifact.all_digests() - set(damaged)):
            place = volumes.locate(digest)
            if place is None or volumes.missing(*place):
                continue
            blob = Descriptor(OCTET_STREAM, digest, place[1])
            session.listener(TransferPlanned(bytes=blob.size))
            transfer = BlobTransfer(
                blob,
                source,
                target,
                cancel=session.cancelled,
                listener=session.listener,
                count=lambda _: None,
                persistence=session.persistence,
            )
            try:
                session.persist(lambda transfer=transfer: transfer.attempt(None))  # type: ignore[misc]
            except InterruptError:
                transfer.give_up()
                raise
            except BundlectlError:
                transfer.give_up()

"""Marking: everything that names reach, and who names it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from bundlectl.errors import BundlectlError, ContentError, MissingError
from mirror.filesystem import read_small
from mirror.layout.manifests import load_manifest
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.mediatype import INDEX_TYPES, MANIFEST_LIMIT, MANIFEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.layout.blobs import BlobDirectory

__all__ = ["Marking"]

_IMAGES: Final = MANIFEST_TYPES - INDEX_TYPES
_NAMING: Final = ("digest", "blobSum")
"""The fields by which documents name content; the second in Docker's first schema."""


class Marking:
    """What is named, directly or through manifests, whether it is there or not.

    Unlike `find_needed` it has no limit of depth, looks into whatever an index lists, and goes by
    what bytes say, not by what a descriptor says of them: it errs on the side of keeping, and
    nobody can stop it by a descriptor that is wrong.

    Args:
        blobs: of the store.
    """

    def __init__(self, blobs: BlobDirectory) -> None:
        self._blobs = blobs
        self.owners: dict[Digest, str] = {}
        """Each marked digest, with one of those who name it."""
        self.unreadable: dict[Digest, str] = {}
        """Named manifests whose own content cannot be told, with the reason."""
        self._walked: set[Digest] = set()

    def mark(self, digest: Digest, owner: str, *, is_manifest: bool = True) -> list[Digest]:
        """Mark a manifest and all it names.

        Args:
            digest: of a manifest.
            owner: who names it, for people.
            is_manifest: False where it may be anything, or nothing that is here.

        Returns:
            What was not marked before.
        """
        if digest in self._walked:
            return []
        new = self._own([digest], owner)
        # Digests wait here, not what they name: an index may list thousands of manifests, each of megabytes.
        pending = [digest]
        while pending:
            following = pending.pop()
            if following in self._walked:
                continue
            document = self._read(following)
            if document is None:
                if following == digest and is_manifest:
                    self.unreadable.setdefault(digest, "is not there, or is no manifest")
                continue
            self._walked.add(following)
            found = list(_named_by(document))
            new += self._own(found, owner)
            if not _is_image(document):
                pending += found
        return new

    def _own(self, digests: list[Digest], owner: str) -> list[Digest]:
        new = [digest for digest in dict.fromkeys(digests) if digest not in self.owners]
        self.owners.update(dict.fromkeys(new, owner))
        return new

    def mark_blob(self, digest: Digest, owner: str) -> None:
        """Mark one digest, and nothing that it may name."""
        self.owners.setdefault(digest, owner)

    def is_manifest(self, digest: Digest) -> bool:
        """Whether a blob of unknown kind can be read as a manifest."""
        size = self._blobs.size(digest)
        if size is None or size > MANIFEST_LIMIT:
            return False
        try:
            load_manifest(self._blobs, Descriptor("", digest, 0))
        except (ContentError, MissingError):
            return False
        return True

    def _read(self, digest: Digest) -> dict[str, Any] | None:
        """What may be a manifest; None where it is not there, or something else. What is damaged is `unreadable`."""
        try:
            size = self._blobs.size(digest)
            if size is None or size > MANIFEST_LIMIT:
                return None
            raw = read_small(self._blobs.path(digest), limit=MANIFEST_LIMIT, artifact=str(digest))
        except MissingError:
            return None
        except BundlectlError as error:
            self.unreadable[digest] = error.message
            return None
        if Digest.of(raw, digest.algorithm) != digest:
            self.unreadable[digest] = "is damaged"
            return None
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


def _is_image(document: dict[str, Any]) -> bool:
    """Whether it names nothing that is a manifest in turn; when in doubt, it may."""
    return "manifests" not in document and ("layers" in document or document.get("mediaType") in _IMAGES)


def _named_by(document: dict[str, Any]) -> Iterator[Digest]:
    """Every digest that a document names as content of its own; its subject is not."""
    pending = [value for key, value in document.items() if key != "subject"]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            for text in map(value.get, _NAMING):
                if isinstance(text, str):
                    with suppress(ContentError):
                        yield Digest.parse(text)

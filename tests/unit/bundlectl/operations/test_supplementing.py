"""What an archive left out is read at the target; what it carries never is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NoReturn

import pytest

from bundlectl.errors import MissingError, RegistryError
from bundlectl.operations.supplementing import SupplementedRepository
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import OCI_MANIFEST

if TYPE_CHECKING:
    from mirror.oci.repository import BlobReader


class Held:
    """A repository of so many blobs and manifests that says who asked for what."""

    def __init__(self, name: str, *contents: bytes) -> None:
        self.name = name
        self.contents = {Digest.of(data): data for data in contents}
        self.asked: list[Digest] = []

    def _get(self, descriptor: Descriptor) -> bytes:
        self.asked.append(descriptor.digest)
        if descriptor.digest not in self.contents:
            raise MissingError(f"{self.name} has it not", artifact=str(descriptor.digest))
        return self.contents[descriptor.digest]

    def manifest(self, descriptor: Descriptor) -> Manifest:
        return Manifest.from_bytes(self._get(descriptor), expected=descriptor.digest)

    def open_blob(self, descriptor: Descriptor, offset: int = 0) -> BlobReader:
        return io.BytesIO(self._get(descriptor)[offset:])

    def has(self, descriptor: Descriptor) -> bool:
        return descriptor.digest in self.contents

    def resolve(self, tag: str) -> NoReturn:
        raise MissingError("no tags", artifact=tag)

    def tags(self) -> list[str]:
        return []

    def referrers(self, subject: Digest) -> list[Descriptor]:
        del subject
        return []


IMAGE = canonical_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []})


def described(data: bytes) -> Descriptor:
    return Descriptor("", Digest.of(data), len(data))


def test_what_the_archive_carries_is_not_asked_of_the_target() -> None:
    archive, target = Held("archive", b"blob", IMAGE), Held("target", b"blob", IMAGE)
    both = SupplementedRepository(archive, target)
    assert both.open_blob(described(b"blob"), 2).read() == b"ob"
    assert both.manifest(described(IMAGE)).raw == IMAGE
    assert target.asked == []
    assert both.has(described(b"blob"))
    assert both.name == "archive"


def test_what_it_left_out_is_read_at_the_target() -> None:
    archive, target = Held("archive"), Held("target", b"blob", IMAGE)
    both = SupplementedRepository(archive, target)
    assert both.open_blob(described(b"blob"), 1).read() == b"lob"
    assert both.manifest(described(IMAGE)).raw == IMAGE
    assert archive.asked == []
    assert both.has(described(IMAGE))


def test_of_what_neither_has_the_archive_says_why() -> None:
    both = SupplementedRepository(Held("archive"), Held("target"))
    assert not both.has(described(b"blob"))
    with pytest.raises(MissingError, match="archive has it not"):
        both.open_blob(described(b"blob"))
    with pytest.raises(MissingError, match="archive has it not"):
        both.manifest(described(IMAGE))


def test_a_target_that_does_not_answer_is_not_taken_for_one_that_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Held("target")

    def refuse(_: Descriptor, __: int = 0) -> NoReturn:
        raise RegistryError("is overloaded", status=503)

    monkeypatch.setattr(target, "open_blob", refuse)
    with pytest.raises(RegistryError, match="overloaded"):
        SupplementedRepository(Held("archive"), target).open_blob(described(b"blob"))

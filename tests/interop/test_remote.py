"""Our registry client against docker-registry, which knows no referrers API."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ContentError, MissingError
from mirror.http import HttpClient
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.remote import CredentialStore, RemoteRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.oci.repository import Repository
    from tests.interop.programs import Program

CONFIG = "application/vnd.example.config.v1+json"
SIGNATURE = "application/vnd.example.signature.v1"


@pytest.fixture
def registry(distribution: str) -> Iterator[RemoteRegistry]:
    with HttpClient() as client:
        yield RemoteRegistry(distribution, client=client, credentials=CredentialStore())


def push(repository: Repository, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
    descriptor = Descriptor(media_type, Digest.of(data), len(data))
    upload = repository.begin_blob(descriptor)
    if not isinstance(upload, str):
        upload.write(lambda: io.BytesIO(data[upload.offset() :]))
    return descriptor


def image(repository: Repository, *parts: bytes, subject: Descriptor | None = None) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": push(repository, b"{}", CONFIG).to_json(),
        "layers": [push(repository, part).to_json() for part in parts],
    }
    if subject:
        document |= {"subject": subject.to_json(), "artifactType": SIGNATURE}
    return Manifest.render(document)


def test_what_is_pushed_comes_back_and_stands_under_its_tag(registry: RemoteRegistry) -> None:
    repository = registry.repository("a/b")
    manifest = image(repository, b"x" * 3_000_000, b"y")
    repository.put_manifest(manifest, tag="v1")
    assert repository.resolve("v1") == manifest.descriptor
    assert repository.manifest(manifest.descriptor).raw == manifest.raw
    with repository.open_blob(manifest.children()[1], 2_999_990) as reader:
        assert reader.read(100) == b"x" * 10
    assert repository.tags() == ["v1"]
    assert registry.repositories() == ["a/b"]


def test_a_blob_that_is_there_is_not_sent_again_and_is_mounted_elsewhere(registry: RemoteRegistry) -> None:
    blob = push(registry.repository("a/b"), b"z" * 1000)
    assert registry.repository("a/b").begin_blob(blob) in ("present", "mounted")
    assert registry.repository("c").begin_blob(blob, mount_from="a/b") == "mounted"
    assert registry.repository("c").has(blob)


def test_wrong_bytes_are_refused_and_leave_nothing(registry: RemoteRegistry) -> None:
    repository = registry.repository("a")
    descriptor = Descriptor("application/octet-stream", Digest.of(b"right"), 5)
    upload = repository.begin_blob(descriptor)
    assert not isinstance(upload, str)
    with pytest.raises(ContentError):
        upload.write(lambda: io.BytesIO(b"wrong"))
    assert not repository.has(descriptor)


def test_referrers_are_found_through_the_fallback_tag_and_merged(registry: RemoteRegistry, crane: Program) -> None:
    repository = registry.repository("a")
    subject = image(repository, b"the image")
    repository.put_manifest(subject, tag="v1")
    first = image(repository, b"signature 1", subject=subject.descriptor)
    second = image(repository, b"signature 2", subject=subject.descriptor)
    repository.put_manifest(first)
    repository.put_manifest(second)
    found = repository.referrers(subject.descriptor.digest)
    assert {d.digest for d in found} == {first.descriptor.digest, second.descriptor.digest}
    assert {d.artifact_type for d in found} == {SIGNATURE}
    host, _, name = repository.name.partition("/")
    tags = crane.run("ls", f"{host}/{name}").split()
    assert sorted(tags) == sorted(["v1", str(subject.descriptor.digest).replace(":", "-")])


def test_what_is_absent_is_missing(registry: RemoteRegistry) -> None:
    repository = registry.repository("no/such")
    with pytest.raises(MissingError):
        repository.resolve("v1")
    assert repository.tags() == []
    assert not repository.has(Descriptor("", Digest.of(b"x"), 1))


def test_deleted_manifests_are_gone(registry: RemoteRegistry) -> None:
    repository = registry.repository("a")
    manifest = image(repository, b"x")
    repository.put_manifest(manifest, tag="v1")
    repository.delete_manifest(manifest.descriptor.digest)
    with pytest.raises(MissingError):
        repository.resolve("v1")

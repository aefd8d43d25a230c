"""The embedded registry and bundlectl's own registry client, over HTTP, TLS and passwords."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import bcrypt
import pytest

from bundlectl.errors import MissingError, RegistryError
from mirror.http import HostTransport, HttpClient, Transport
from mirror.layout import Store
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from mirror.remote import Credential, CredentialStore, RemoteRegistry
from mirror.server import Access, Registry, RegistryServer, TlsFiles, access_policy, load_users
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mirror.oci.repository import Repository

LAYER = bytes(range(256)) * 10_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store", create=True) as found:
        yield found


def serving(
    store: Store, *, access: Access | None = None, tls: TlsFiles | None = None
) -> AbstractContextManager[RegistryServer]:
    app = Registry(
        store,
        resolve_name=lambda name, _: [name],
        list_names=store.repositories,
        files=lambda _: None,
        access=access,
    )
    return RegistryServer(app, tls=tls)


def push(target: Repository, data: bytes, kind: str) -> Descriptor:
    descriptor = Descriptor(kind, Digest.of(data), len(data))
    upload = target.begin_blob(descriptor)
    if not isinstance(upload, str):
        upload.write(lambda: io.BytesIO(data[upload.offset() :]))
    return descriptor


def push_image(target: Repository, **more: object) -> Manifest:
    config, layer = push(target, b"{}", OCI_CONFIG), push(target, LAYER, OCI_LAYER)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
        **more,
    }
    return Manifest.render(document)


def test_the_client_pushes_and_reads_back_what_it_pushed(store: Store) -> None:
    with serving(store) as server, HttpClient(Transport()) as client:
        registry = RemoteRegistry(f"127.0.0.1:{server.port}", client=client, credentials=CredentialStore())
        registry.ping()
        repository = registry.repository("some/image")
        manifest = push_image(repository)
        repository.put_manifest(manifest, tag="v1")
        descriptor = repository.resolve("v1")
        assert descriptor == manifest.descriptor
        assert repository.manifest(descriptor).raw == manifest.raw
        layer = manifest.children()[1]
        with repository.open_blob(layer, 1_000_000) as reader:
            assert reader.read(len(LAYER)) != b""
        assert repository.tags() == ["v1"]
        assert registry.repositories() == ["some/image"]
        assert registry.repository("other/image").begin_blob(layer) in ("present", "mounted")
        repository.delete_tag("v1")
        with pytest.raises(MissingError):
            repository.resolve("v1")


def test_a_referrer_needs_no_fallback_tag(store: Store) -> None:
    with serving(store) as server, HttpClient(Transport()) as client:
        registry = RemoteRegistry(f"127.0.0.1:{server.port}", client=client, credentials=CredentialStore())
        repository = registry.repository("some/image")
        subject = push_image(repository)
        repository.put_manifest(subject, tag="v1")
        empty = push(repository, b"{}", EMPTY)
        referrer = Manifest.render(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": "application/vnd.test",
                "config": empty.to_json(),
                "layers": [empty.to_json()],
                "subject": subject.descriptor.to_json(),
            }
        )
        repository.put_manifest(referrer)
        assert repository.referrers(subject.descriptor.digest) == [referrer.descriptor]
        assert repository.tags() == ["v1"]


def test_a_user_pushes_over_tls_and_a_stranger_may_not(store: Store, tmp_path: Path) -> None:
    users = tmp_path / "htpasswd"
    users.write_text(f"alice:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}\n")
    tls = self_signed(tmp_path / "tls", "127.0.0.1")
    access = Access(access_policy(host="127.0.0.1", tls=True, htpasswd=True, anonymous_pull=True), load_users(users))
    with serving(store, access=access, tls=tls) as server:
        host = f"127.0.0.1:{server.port}"
        transport = Transport(hosts={host: HostTransport(ca_file=tls.certificate)}, retries=0)
        with HttpClient(transport) as client:
            known = CredentialStore(explicit={host: Credential("alice", "secret")})
            repository = RemoteRegistry(host, client=client, credentials=known, push=True).repository("some/image")
            repository.put_manifest(push_image(repository), tag="v1")
            stranger = RemoteRegistry(host, client=client, credentials=CredentialStore()).repository("some/image")
            assert stranger.tags() == ["v1"]
            with pytest.raises(RegistryError) as caught:
                stranger.delete_tag("v1")
            assert caught.value.status == 401
            wrong = CredentialStore(explicit={host: Credential("alice", "wrong")})
            with pytest.raises(RegistryError):
                RemoteRegistry(host, client=client, credentials=wrong).repository("some/image").delete_tag("v1")

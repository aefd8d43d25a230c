"""The embedded registry and bundlectl's own registry client, over HTTP, TLS and passwords."""

from __future__ import annotations

import io
import json
import os
import time
from typing import TYPE_CHECKING

import bcrypt
import pytest

from bundlectl.errors import MissingError, RegistryError, StoreError, UsageError
from bundlectl.operations.serving import ServeOptions, serve
from mirror.http import HostTransport, HttpClient, Transport
from mirror.layout import Store
from mirror.oci.artifact import FILES_REPOSITORY, file_tag
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from mirror.remote import Credential, CredentialStore, RemoteRegistry
from mirror.server import Access, Registry, RegistryServer, TlsFiles, access_policy, load_users
from mirror.server.selfsigned import self_signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any

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


def test_a_folder_that_is_no_store_gets_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not a store"):
        serve(
            ServeOptions(
                store=tmp_path / "misspelt",
                listen="127.0.0.1:0",
                tls_self_signed=True,
                tls_directory=tmp_path / "state",
                read_only=True,
            )
        )
    assert not (tmp_path / "misspelt").exists()
    assert not (tmp_path / "state").exists()


def test_a_private_key_is_never_kept_in_a_store_that_will_be_carried(tmp_path: Path) -> None:
    options = ServeOptions(
        store=tmp_path / "store", listen="127.0.0.1:0", tls_self_signed=True, tls_directory=tmp_path / "state"
    )
    with serve(options) as server:
        assert server.url.startswith("https://")
    assert not list((tmp_path / "store").rglob("*.key"))
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "state").rglob("*.key")] == [0o600]


@pytest.mark.parametrize("more", [{"tls_cert": "f"}, {"tls_key": "f"}, {"tls_key": "f", "tls_self_signed": True}])
def test_tls_options_that_contradict_each_other_touch_nothing(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0", **more))
    assert not (tmp_path / "store").exists()


def test_what_is_no_file_under_a_files_name_is_not_found(tmp_path: Path) -> None:
    with serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0")) as server, HttpClient() as client:
        tag = file_tag("https://files.example/f")
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        pushed = client.request(
            "PUT",
            f"{server.url}/v2/{FILES_REPOSITORY}/manifests/{tag}",
            headers={"Content-Type": OCI_INDEX},
            body=json.dumps(index).encode(),
        )
        assert pushed.status == 201
        assert client.request("GET", f"{server.url}/files/files.example/f").status == 404


def test_uploads_that_were_given_up_are_removed_while_the_server_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlectl.operations.serving._FLUSH", 0.02)
    monkeypatch.setattr("bundlectl.operations.serving._SWEEP", 0.1)
    uploads = tmp_path / "store" / "bundlectl" / "uploads"
    with serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0")) as server, HttpClient() as client:
        for _ in range(2):
            assert client.request("POST", f"{server.url}/v2/some/image/blobs/uploads/", retry=True).status == 202
        old, young = sorted(uploads.iterdir())
        eight_days_ago = time.time() - 8 * 24 * 3600
        os.utime(old, (eight_days_ago, eight_days_ago))
        deadline = time.monotonic() + 20
        while old.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list(uploads.iterdir()) == [young]
        answer = client.request("GET", f"{server.url}/v2/some/image/blobs/uploads/{old.name}")
        assert answer.status == 404

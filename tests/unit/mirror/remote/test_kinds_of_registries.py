"""One round trip through registries of every kind the fixtures can make."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import RegistryError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_MANIFEST, OCTET_STREAM
from mirror.remote import Credential, CredentialStore
from registry_fixtures.accounts import Accounts
from registry_fixtures.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.remote import RemoteRegistry

DATA = bytes(range(256)) * 9000
KINDS = {
    "strict": Features(),
    "without mounts or referrers": Features(mount=False, referrers_api=False),
    "fragile, with relative locations": Features(fragile_uploads=True, relative_locations=True),
    "behind a proxy that limits bodies": Features(put_limit=1_000_000, fragile_uploads=True),
    "with large chunks": Features(put_limit=1_000_000, chunk_min_length=600_000),
    "in small pages": Features(page_size=1),
}


def describe(data: bytes) -> Descriptor:
    return Descriptor(OCTET_STREAM, Digest.of(data), len(data))


@pytest.mark.parametrize("features", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("scheme", ["none", "basic", "token"])
def test_content_comes_back_as_it_went_in(
    registry_factory: Callable[..., Any], make_registry: Callable[..., RemoteRegistry], features: Features, scheme: str
) -> None:
    served = registry_factory(features=features, accounts=Accounts(users={"robot": "secret"}, scheme=scheme))  # type: ignore[arg-type]
    store = CredentialStore(explicit={served.host: Credential("robot", "secret")})
    remote = make_registry(host=served.host, credentials=store)
    base, app = remote.repository("base/os"), remote.repository("team/app")
    layer, config = describe(DATA), describe(b"{}")

    base.begin_blob(layer).write(lambda: io.BytesIO(DATA))
    assert base.begin_blob(layer) == "present" or not features.mount
    mounted = app.begin_blob(layer, mount_from="base/os")
    if not isinstance(mounted, str):
        mounted.write(lambda: io.BytesIO(DATA))
    app.begin_blob(config).write(lambda: io.BytesIO(b"{}"))
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    image = Manifest.render(document)
    for tag in ("v1", "v2", "v3"):
        app.put_manifest(image, tag=tag)
    signature = Manifest.render(
        {**document, "subject": image.descriptor.to_json(), "artifactType": "application/x.sig"}
    )
    app.put_manifest(signature)

    found = app.resolve("v1")
    assert found == image.descriptor
    assert app.manifest(found).raw == image.raw
    assert {"v1", "v2", "v3"} <= set(app.tags())
    assert [item.digest for item in app.referrers(found.digest)] == [signature.descriptor.digest]
    with app.open_blob(layer, 1_000_000) as reader:
        assert reader.read() == DATA[1_000_000:]
    app.delete_manifest(signature.descriptor.digest)
    assert app.referrers(found.digest) == []


def test_a_registry_without_sha512_is_told_apart(
    registry_factory: Callable[..., Any], make_registry: Callable[..., RemoteRegistry]
) -> None:
    served = registry_factory(features=Features(sha512=False))
    blob = Descriptor(OCTET_STREAM, Digest.of(DATA, "sha512"), len(DATA))
    with pytest.raises(RegistryError):
        make_registry(host=served.host).repository("a/b").begin_blob(blob).write(lambda: io.BytesIO(DATA))  # type: ignore[union-attr]

"""Manifests and indexes."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import DOCKER_LIST, HELM_CHART, HELM_CONFIG, MANIFEST_LIMIT, OCI_INDEX, OCI_MANIFEST

LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{'1' * 64}", "size": 7}
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{'2' * 64}", "size": 3}


def image(**more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": [LAYER], **more}).encode()


def test_the_bytes_received_are_the_identity() -> None:
    raw = b'{ "schemaVersion" : 2, "mediaType": "%s", "config": %s, "layers": [] }' % (
        OCI_MANIFEST.encode(),
        json.dumps(CONFIG).encode(),
    )
    manifest = Manifest.from_bytes(raw, OCI_MANIFEST)
    assert manifest.raw == raw
    assert manifest.descriptor.digest == Digest.of(raw)
    assert manifest.descriptor.size == len(raw)


def test_a_manifest_without_media_type_takes_the_servers_word() -> None:
    assert Manifest.from_bytes(image(), f"{OCI_MANIFEST}; charset=utf-8").descriptor.media_type == OCI_MANIFEST


def test_a_manifest_that_contradicts_its_server_is_refused() -> None:
    with pytest.raises(ContentError, match="the server says"):
        Manifest.from_bytes(image(mediaType=OCI_MANIFEST), DOCKER_LIST)


def test_another_digest_than_asked_for_is_refused() -> None:
    with pytest.raises(ContentError, match="should have digest"):
        Manifest.from_bytes(image(), OCI_MANIFEST, expected=Digest.of(b"other"))


def test_children_are_config_then_layers() -> None:
    children = Manifest.from_bytes(image(), OCI_MANIFEST).children()
    assert [str(child.digest) for child in children] == [CONFIG["digest"], LAYER["digest"]]


def test_an_artifact_type_falls_back_to_the_configs() -> None:
    assert Manifest.from_bytes(image(), OCI_MANIFEST).artifact_type == CONFIG["mediaType"]
    assert Manifest.from_bytes(image(artifactType="a/b"), OCI_MANIFEST).artifact_type == "a/b"


@pytest.mark.parametrize(
    "document",
    [
        {"schemaVersion": 1},
        {"schemaVersion": 2, "layers": {}},
        {"schemaVersion": 2, "layers": [{}]},
        {"schemaVersion": 2, "layers": [{**LAYER, "size": -1}]},
        {"schemaVersion": 2, "layers": [{**LAYER, "size": True}]},
        {"schemaVersion": 2, "layers": [{**LAYER, "digest": "sha256:../../etc/passwd"}]},
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.artifact.manifest.v1+json"},
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": "x"},
        {"schemaVersion": 2, "mediaType": {}},
        {"schemaVersion": 2, "mediaType": ["x"]},
        {"schemaVersion": 2, "layers": [], "subject": {"digest": 5}},
        [],
    ],
)
def test_malformed_manifests_are_content_errors(document: object) -> None:
    with pytest.raises(ContentError):
        Manifest.from_bytes(json.dumps(document).encode())


def test_an_oversized_manifest_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ContentError, match="larger"):
        Manifest.from_bytes(b" " * (MANIFEST_LIMIT + 1))


def test_absurd_nesting_is_a_content_error() -> None:
    with pytest.raises(ContentError):
        Manifest.from_bytes(b"[" * 100_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["layers", "config", "subject", "size"]), inner)
        ),
        max_leaves=10,
    )
)
def test_any_json_is_a_manifest_or_a_content_error(value: object) -> None:
    document = {"schemaVersion": 2, **value} if isinstance(value, dict) else value
    with contextlib.suppress(ContentError):
        Manifest.from_bytes(json.dumps(document).encode())


def test_a_chart_is_an_image_manifest_with_the_config_of_helm() -> None:
    config = {**CONFIG, "mediaType": HELM_CONFIG}
    assert Manifest.from_bytes(image(config=config)).is_chart
    assert not Manifest.from_bytes(image(layers=[{**LAYER, "mediaType": HELM_CHART}])).is_chart
    assert not Manifest.from_bytes(image(config=None)).is_chart
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "config": config}
    assert not Manifest.from_bytes(json.dumps(index).encode()).is_chart

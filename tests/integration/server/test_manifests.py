"""Pushing and deleting manifests."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import DOCKER_MANIFEST, HELM_CHART, HELM_CONFIG, OCI_INDEX, OCI_MANIFEST

BLOB = bytes(range(256)) * 12  # 3,072 bytes, as in conftest
ABSENT = f"sha256:{'0' * 64}"


def sparse(client: Any) -> dict[str, Any]:
    absent = client.descriptor(b"absent", OCI_MANIFEST)
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [absent]}


def test_a_manifest_goes_in_by_tag_and_comes_out_by_tag_and_digest(client: Any) -> None:
    client.push(b"{}")
    client.push(BLOB)
    raw = json.dumps(client.image(), indent=3).encode()
    put = client.put(raw, "v1")
    digest = Digest.of(raw)
    assert put.status == 201
    assert put.headers["Location"] == f"/v2/test/repo/manifests/{digest}"
    assert put.headers["Docker-Content-Digest"] == str(digest)
    assert "OCI-Subject" not in put.headers
    for reference in ("v1", str(digest)):
        for method in ("GET", "HEAD"):
            answer = client.ask(method, f"/v2/test/repo/manifests/{reference}", Accept="text/plain")
            assert answer.status == 200
            assert answer.headers["Content-Type"] == OCI_MANIFEST
            assert answer.headers["Docker-Content-Digest"] == str(digest)
            assert answer.headers["Content-Length"] == str(len(raw))
            assert answer.body == (raw if method == "GET" else b"")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_manifest_goes_in_by_digest(client: Any, algorithm: str) -> None:
    client.push(b"{}")
    client.push(BLOB)
    raw = json.dumps(client.image()).encode()
    digest = Digest.of(raw, algorithm)
    answer = client.put(raw, str(digest))
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, str(digest))
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").body == raw


def test_a_manifest_by_digest_takes_tags_along(client: Any) -> None:
    client.push(b"{}")
    client.push(BLOB)
    raw = json.dumps(client.image()).encode()
    answer = client.put(raw, f"{Digest.of(raw)}?tag=a&tag=b&tag=a")
    assert (answer.status, answer.headers.get_all("OCI-Tag")) == (201, ["a", "b"])
    assert client.ask("GET", "/v2/test/repo/tags/list").json()["tags"] == ["a", "b"]
    assert client.put(raw, f"{Digest.of(raw)}?tag=.bad").status == 400
    assert client.put(raw, f"{Digest.of(raw)}?tag={ABSENT}").status == 400


@pytest.mark.parametrize("reference", ["v1", ".INVALID_MANIFEST_NAME", ABSENT, "sha256:totallywrong"])
def test_a_missing_manifest_is_unknown(client: Any, reference: str) -> None:
    answer = client.ask("GET", f"/v2/test/repo/manifests/{reference}")
    assert (answer.status, answer.codes) == (404, {"MANIFEST_UNKNOWN"})
    assert client.ask("HEAD", f"/v2/test/repo/manifests/{reference}").status == 404


def test_a_layer_is_no_manifest(client: Any) -> None:
    digest = client.push(BLOB)
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").status == 404
    assert client.ask("DELETE", f"/v2/test/repo/manifests/{digest}").status == 404
    assert client.ask("GET", f"/v2/test/repo/blobs/{digest}").status == 200


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", OCI_MANIFEST),
        (b"not json", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"{}", OCI_MANIFEST),
        (b'{"schemaVersion":1}', "application/vnd.docker.distribution.manifest.v1+json"),
        (b'{"schemaVersion":2,"layers":7}', OCI_MANIFEST),
        (b'{"schemaVersion":2,"layers":[{"digest":"x"}]}', OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, "manifests": []}).encode(), "text/html"),
        (b"[" * 100_000, OCI_MANIFEST),
    ],
)
def test_what_is_no_manifest_is_refused(client: Any, raw: bytes, kind: str) -> None:
    answer = client.put(raw, "v1", kind=kind)
    assert (answer.status, answer.codes) == (400, {"MANIFEST_INVALID"})
    assert client.ask("GET", "/v2/test/repo/manifests/v1").status == 404


@pytest.mark.parametrize("reference", ["sha256:totallywrong", ABSENT, "bad!tag"])
def test_a_manifest_under_a_wrong_reference_is_refused(client: Any, reference: str) -> None:
    client.push(b"{}")
    client.push(BLOB)
    assert client.put(client.image(), reference).status == 400


def test_a_manifest_without_its_blobs_is_refused_and_each_is_named(client: Any) -> None:
    client.push(b"{}")
    answer = client.put(client.image(layers=(b"one", b"two")), "v1")
    assert (answer.status, answer.codes) == (400, {"MANIFEST_BLOB_UNKNOWN"})
    named = [error["detail"]["digest"] for error in answer.json()["errors"]]
    assert named == [str(Digest.of(b"one")), str(Digest.of(b"two"))]


def test_a_layer_that_lies_elsewhere_need_not_be_here(client: Any) -> None:
    client.push(b"{}")
    document = client.image(layers=())
    document["layers"] = [client.descriptor(b"foreign", urls=["https://example.com/layer"])]
    assert client.put(document, "v1").status == 201


def test_a_manifest_of_4_mib_is_taken_and_a_larger_one_is_not(site: Any) -> None:
    with site.client() as client:
        client.push(b"{}")
        document = client.image(layers=(), annotations={"pad": ""})
        room = 4 * 1024 * 1024 - len(json.dumps(document))
        document["annotations"]["pad"] = "x" * room
        assert client.put(document, "large").status == 201
        assert len(client.ask("GET", "/v2/test/repo/manifests/large").body) == 4 * 1024 * 1024
        document["annotations"]["pad"] += "x"
        answer = client.put(document, "larger")
        assert (answer.status, answer.codes) == (413, {"SIZE_INVALID"})
    with site.client() as client:
        endless = io.BytesIO(b"x" * (5 * 1024 * 1024))
        answer = client.ask(
            "PUT", "/v2/test/repo/manifests/v1", endless, Content_Type=OCI_MANIFEST, Transfer_Encoding="chunked"
        )
        assert answer.status == 413


def test_a_helm_chart_without_media_type_is_taken_by_its_content_type(client: Any) -> None:
    client.push(b"{}")
    client.push(BLOB)
    document = {
        "schemaVersion": 2,
        "config": client.descriptor(b"{}", HELM_CONFIG),
        "layers": [client.descriptor(BLOB, HELM_CHART)],
        "annotations": {"org.opencontainers.image.title": "chart"},
    }
    assert client.put(document, "1.0.0_build1").status == 201
    answer = client.ask("GET", "/v2/test/repo/manifests/1.0.0_build1")
    assert answer.headers["Content-Type"] == OCI_MANIFEST


def test_a_docker_manifest_keeps_its_type(client: Any) -> None:
    client.push(b"{}")
    client.push(BLOB)
    assert client.put({**client.image(), "mediaType": DOCKER_MANIFEST}, "v1", kind=DOCKER_MANIFEST).status == 201
    assert client.ask("HEAD", "/v2/test/repo/manifests/v1").headers["Content-Type"] == DOCKER_MANIFEST


def test_an_index_may_be_sparse(client: Any) -> None:
    assert client.put(sparse(client), "v1", kind=OCI_INDEX).status == 201
    assert client.put({**sparse(client), "manifests": []}, "empty", kind=OCI_INDEX).status == 201
    assert client.ask("GET", "/v2/test/repo/manifests/v1").headers["Content-Type"] == OCI_INDEX


def test_a_tag_moves(client: Any) -> None:
    first = client.push_image()
    second = client.push_image(annotations={"a": "b"})
    assert first != second
    assert client.ask("HEAD", "/v2/test/repo/manifests/v1").headers["Docker-Content-Digest"] == str(second)
    assert client.ask("HEAD", f"/v2/test/repo/manifests/{first}").status == 200


def test_a_deleted_tag_is_gone_and_its_manifest_stays(client: Any) -> None:
    digest = client.push_image()
    assert client.ask("DELETE", "/v2/test/repo/manifests/v1").status == 202
    assert client.ask("HEAD", "/v2/test/repo/manifests/v1").status == 404
    assert client.ask("HEAD", f"/v2/test/repo/manifests/{digest}").status == 200
    assert client.ask("DELETE", "/v2/test/repo/manifests/v1").status == 404


def test_a_deleted_manifest_is_gone_at_once_with_its_tags(client: Any) -> None:
    digest = client.push_image("v1")
    client.push_image("v2")
    assert client.ask("DELETE", f"/v2/test/repo/manifests/{digest}").status == 202
    for reference in ("v1", "v2", str(digest)):
        assert client.ask("HEAD", f"/v2/test/repo/manifests/{reference}").status == 404
    assert client.ask("DELETE", f"/v2/test/repo/manifests/{digest}").status == 404
    assert client.ask("GET", "/v2/test/repo/tags/list").status in (200, 404)
    assert client.push_image() == digest
    assert client.ask("HEAD", f"/v2/test/repo/manifests/{digest}").status == 200

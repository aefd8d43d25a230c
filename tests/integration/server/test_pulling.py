"""Pulling: the ping, names, blobs and their ranges."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BLOB = bytes(range(256)) * 12  # 3,072 bytes, as in conftest
ABSENT = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_the_ping_answers(client: Any, path: str) -> None:
    answer = client.ask("GET", path)
    assert (answer.status, answer.json()) == (200, {})
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_health_is_ok(client: Any) -> None:
    answer = client.ask("GET", "/healthz")
    assert (answer.status, answer.body) == (200, b"ok")


def test_a_method_that_is_not_possible_is_refused_with_those_that_are(client: Any) -> None:
    answer = client.ask("POST", "/v2/test/repo/tags/list", b"")
    assert (answer.status, answer.codes) == (405, {"UNSUPPORTED"})
    assert answer.headers["Allow"] == "GET, HEAD"
    assert client.ask("OPTIONS", "/v2/").status == 405


@pytest.mark.parametrize("path", ["/v3/", "/v2/a", "/v2/test/repo/unknown/x", "/favicon.ico"])
def test_an_unknown_path_is_not_found(client: Any, path: str) -> None:
    assert client.ask("GET", path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v2/test%2Frepo/tags/list",
        "/v2/..%2f..%2fetc/tags/list",
        "/v2/a/%2e%2e/b/tags/list",
        "/v2/test;x/tags/list",
        "/v2/UPPER/tags/list",
        "/v2/te%00st/tags/list",
        "/v2/%ff/tags/list",
    ],
)
def test_tricks_with_names_are_refused(client: Any, path: str) -> None:
    assert client.ask("GET", path).status == 400


def test_a_blob_goes_in_with_one_post_and_comes_out(client: Any) -> None:
    digest = client.push(BLOB)
    answer = client.ask("GET", f"/v2/test/repo/blobs/{digest}")
    assert (answer.status, answer.body) == (200, BLOB)
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    assert answer.headers["Content-Length"] == "3072"
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_head_has_the_headers_of_get_and_no_body(client: Any) -> None:
    digest = client.push(BLOB)
    client.push_image()
    for url in (f"/v2/test/repo/blobs/{digest}", "/v2/test/repo/manifests/v1", "/v2/test/repo/tags/list", "/v2/", "/"):
        get, head = client.ask("GET", url), client.ask("HEAD", url)
        assert head.body == b""
        assert head.status == get.status == 200
        shown = [(key, value) for key, value in get.headers.items() if key != "Date"]
        assert [(key, value) for key, value in head.headers.items() if key != "Date"] == shown


def test_a_missing_blob_is_unknown(client: Any) -> None:
    answer = client.ask("GET", f"/v2/test/repo/blobs/{ABSENT}")
    assert (answer.status, answer.codes) == (404, {"BLOB_UNKNOWN"})
    head = client.ask("HEAD", f"/v2/test/repo/blobs/{ABSENT}")
    assert (head.status, head.body) == (404, b"")


def test_a_malformed_digest_is_refused(client: Any) -> None:
    answer = client.ask("GET", "/v2/test/repo/blobs/sha256:totallywrong")
    assert (answer.status, answer.codes) == (400, {"DIGEST_INVALID"})


@pytest.mark.parametrize(
    ("asked", "expected", "told"),
    [
        ("500-1499", BLOB[500:1500], "bytes 500-1499/3072"),
        ("500-", BLOB[500:], "bytes 500-3071/3072"),
        ("-500", BLOB[-500:], "bytes 2572-3071/3072"),
        ("2000-5000", BLOB[2000:], "bytes 2000-3071/3072"),
    ],
)
def test_a_range_of_a_blob_is_sent(client: Any, asked: str, expected: bytes, told: str) -> None:
    digest = client.push(BLOB)
    answer = client.ask("GET", f"/v2/test/repo/blobs/{digest}", Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (206, expected)
    assert answer.headers["Content-Range"] == told


@pytest.mark.parametrize("asked", ["500-0", "5000-10000"])
def test_a_range_outside_is_refused(client: Any, asked: str) -> None:
    digest = client.push(BLOB)
    answer = client.ask("GET", f"/v2/test/repo/blobs/{digest}", Range=f"bytes={asked}")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */3072"


def test_several_ranges_or_another_version_mean_the_whole(client: Any) -> None:
    digest = client.push(BLOB)
    url = f"/v2/test/repo/blobs/{digest}"
    assert client.ask("GET", url, Range="bytes=0-1,5-6").status == 200
    assert client.ask("GET", url, Range="bytes=0-1", If_Range='"other"').status == 200
    assert client.ask("GET", url, Range="bytes=0-1", If_Range=f'"{digest}"').status == 206
    assert client.ask("HEAD", url, Range="bytes=0-1").status == 200


def test_what_a_client_has_is_not_sent_again(client: Any) -> None:
    digest = client.push(BLOB)
    manifest = client.push_image()
    for url, tag in ((f"/v2/test/repo/blobs/{digest}", digest), ("/v2/test/repo/manifests/v1", manifest)):
        answer = client.ask("GET", url, If_None_Match=f'"{tag}"')
        assert (answer.status, answer.body) == (304, b"")
        assert client.ask("GET", url, If_None_Match='"other"').status == 200


def test_a_blob_larger_than_any_buffer_comes_out_whole(client: Any) -> None:
    data = BLOB * 2000
    digest = client.push(data)
    assert client.ask("GET", f"/v2/test/repo/blobs/{digest}").body == data
    assert client.ask("GET", f"/v2/test/repo/blobs/{digest}", Range="bytes=1000000-").body == data[1_000_000:]


def test_a_client_that_leaves_in_the_middle_of_a_blob_closes_its_file(site: Any) -> None:
    with site.client() as client:
        digest = client.push(BLOB * 5000)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", site.server.port), timeout=10) as sock:
            sock.sendall(f"GET /v2/test/repo/blobs/{digest} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            assert sock.recv(1000)
    with site.client() as client:
        for _ in range(100):
            text = client.ask("GET", "/metrics").body.decode()
            if "bundlectl_http_in_flight 1\n" in text:
                break
            threading.Event().wait(0.05)
        assert "bundlectl_http_in_flight 1\n" in text


def test_a_deleted_blob_is_gone_from_its_repository_and_stays_in_others(client: Any) -> None:
    digest = client.push(BLOB)
    client.push(BLOB, "other/repo")
    url = f"/v2/test/repo/blobs/{digest}"
    assert client.ask("DELETE", url).status == 202
    for method in ("HEAD", "GET", "DELETE"):
        assert client.ask(method, url).status == 404
    assert client.ask("GET", f"/v2/other/repo/blobs/{digest}").body == BLOB


def test_a_manifest_may_not_name_a_blob_that_was_deleted(client: Any) -> None:
    digest = client.push(BLOB)
    client.push(b"{}")
    client.ask("DELETE", f"/v2/test/repo/blobs/{digest}")
    answer = client.put(client.image())
    assert (answer.status, answer.codes) == (400, {"MANIFEST_BLOB_UNKNOWN"})


@pytest.mark.parametrize("way", ["push", "mount", "session"])
def test_a_deleted_blob_comes_back_when_it_is_pushed_or_mounted(client: Any, way: str) -> None:
    digest = client.push(BLOB)
    url = f"/v2/test/repo/blobs/{digest}"
    client.ask("DELETE", url)
    if way == "push":
        client.push(BLOB)
    elif way == "mount":
        assert client.ask("POST", f"/v2/test/repo/blobs/uploads/?mount={digest}", b"").status == 201
    else:
        assert client.ask("PUT", f"{client.session()}?digest={digest}", BLOB).status == 201
    assert client.ask("HEAD", url).status == 200


def test_what_was_deleted_stays_so_when_the_registry_starts_again(running: Any, tmp_path: Path) -> None:
    with running(tmp_path / "again") as site, site.client() as client:
        digest = client.push(BLOB)
        client.ask("DELETE", f"/v2/test/repo/blobs/{digest}")
    with running(tmp_path / "again") as site, site.client() as client:
        assert client.ask("HEAD", f"/v2/test/repo/blobs/{digest}").status == 404


def test_a_blob_that_a_release_needs_cannot_be_deleted(site: Any, client: Any) -> None:
    manifest = site.preload()
    layer = manifest.children()[1].digest
    answer = client.ask("DELETE", f"/v2/eks/tool/blobs/{layer}")
    assert (answer.status, answer.codes) == (403, {"DENIED"})
    assert client.ask("GET", f"/v2/eks/tool/blobs/{layer}").body == BLOB


def test_a_download_brings_a_deleted_blob_back(site: Any, client: Any) -> None:
    digest = client.push(BLOB, "eks/tool")
    url = f"/v2/eks/tool/blobs/{digest}"
    assert client.ask("DELETE", url).status == 202
    site.preload()
    assert client.ask("GET", url).body == BLOB


def test_a_blob_of_a_malformed_digest_cannot_be_deleted(client: Any) -> None:
    answer = client.ask("DELETE", "/v2/test/repo/blobs/sha256:xyz")
    assert (answer.status, answer.codes) == (400, {"DIGEST_INVALID"})

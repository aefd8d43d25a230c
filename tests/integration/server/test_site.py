"""What surrounds the API: names, files, the page, metrics, who may do what."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest

from mirror.oci.manifest import Manifest
from mirror.server import Access, AccessPolicy, Users

if TYPE_CHECKING:
    from pathlib import Path

BLOB = bytes(range(256)) * 12  # 3,072 bytes, as in conftest
ABSENT = f"sha256:{'0' * 64}"
FULL = "public.ecr.aws/eks/tool"
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
CLOSED = AccessPolicy(anonymous_pull=False, anonymous_push=False, writable=True)
READABLE = AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=True)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_downloaded_content_is_pulled_without_its_host_or_with_it(site: Any, client: Any) -> None:
    manifest = site.preload()
    for url in ("/v2/eks/tool/manifests/v1", f"/v2/{FULL}/manifests/v1", "/v2/eks/tool/manifests/v1?ns=public.ecr.aws"):
        assert client.ask("GET", url).body == manifest.raw
    assert client.ask("GET", "/v2/_catalog").json() == {"repositories": ["eks/tool"]}
    assert client.ask("GET", "/v2/eks/tool/manifests/v1?ns=no%20host").status == 400


def test_a_push_goes_where_the_name_leads_and_tags_are_listed_together(site: Any, client: Any) -> None:
    site.preload()
    client.push_image("v2", "eks/tool", annotations={"a": "b"})
    client.push_image("mine", "my/own")
    assert site.store.repositories() == ["my/own", FULL]
    found = site.store.ref(FULL, "v2")
    assert found
    assert found.trust == "pushed"
    site.store.repository("eks/tool").put_manifest(Manifest.render(client.image()), tag="older")
    assert client.ask("GET", "/v2/eks/tool/tags/list").json()["tags"] == ["older", "v1", "v2"]
    assert client.ask("HEAD", "/v2/eks/tool/manifests/older").status == 200


def test_a_push_cannot_move_or_delete_what_a_lock_put_there(site: Any, client: Any) -> None:
    manifest = site.preload()
    answer = client.put(client.image(annotations={"evil": "yes"}), "v1", "eks/tool")
    assert (answer.status, answer.codes) == (403, {"DENIED"})
    for reference in ("v1", str(manifest.descriptor.digest)):
        assert client.ask("DELETE", f"/v2/eks/tool/manifests/{reference}").status == 403
    assert client.ask("GET", "/v2/eks/tool/manifests/v1").body == manifest.raw
    assert client.put(manifest.raw, "v1", "eks/tool").status == 201
    found = site.store.ref(FULL, "v1")
    assert found
    assert found.trust == "signed"


def test_files_are_served_whole_in_part_and_by_head(client: Any) -> None:
    client.push(BLOB)
    answer = client.ask("GET", "/files/releases/a%20file.yaml")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, BLOB, "application/yaml")
    assert client.ask("GET", "/files/releases/a%20file.yaml", Range="bytes=10-19").body == BLOB[10:20]
    assert client.ask("HEAD", "/files/tool").headers["Content-Length"] == "3072"


@pytest.mark.parametrize("path", ["page.html", "tool"])
def test_a_file_that_a_browser_might_run_is_plain_bytes(client: Any, path: str) -> None:
    client.push(BLOB)
    answer = client.ask("GET", f"/files/{path}")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["", "absent", "../tool", "a/../tool", "%2e%2e/tool", "tool%00", "a\\tool", "./tool", "x" * 3000]
)
def test_a_file_that_is_not_there_is_not_found(client: Any, path: str) -> None:
    client.push(BLOB)
    assert client.ask("GET", f"/files/{path}").status == 404


def test_metrics_count_requests_bytes_and_uploads(client: Any) -> None:
    digest = client.push(BLOB)
    client.ask("GET", f"/v2/test/repo/blobs/{digest}")
    client.ask("GET", f"/v2/test/repo/blobs/{ABSENT}")
    text = client.ask("GET", "/metrics").body.decode()
    assert 'bundlectl_http_requests_total{method="POST",route="uploads",status="2xx"} 1' in text
    assert 'bundlectl_http_requests_total{method="GET",route="blob",status="2xx"} 1' in text
    assert 'bundlectl_http_requests_total{method="GET",route="blob",status="4xx"} 1' in text
    assert "bundlectl_http_received_bytes_total 3072" in text
    assert 'bundlectl_uploads_total{outcome="finished"} 1' in text


def test_every_request_is_in_the_access_log_once(site: Any) -> None:
    with site.client() as client:
        digest = client.push(BLOB)
        client.ask("GET", f"/v2/test/repo/blobs/{digest}")
        client.ask("GET", "/v2/")
    seen = [(record.method, record.status, record.received, record.sent) for record in site.records]
    assert seen == [("POST", 201, 3072, 0), ("GET", 200, 0, 3072), ("GET", 200, 0, 2)]
    assert len({record.request_id for record in site.records}) == 3


@pytest.mark.parametrize(
    ("request_", "status", "method", "path"),
    [
        (b"\x16\x03\x01 hello\r\n\r\n", 400, "", ""),
        (b"GET /" + b"a" * 70_000, 414, "", ""),
        (b"GET /v2/%0a%1b[31m?password=secret HTTP/1.1\r\nBad Header: 1\r\n\r\n", 400, "GET", "/v2/\n\x1b[31m"),
    ],
)
def test_what_is_no_request_is_counted_and_in_the_access_log(
    site: Any, request_: bytes, status: int, method: str, path: str
) -> None:
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=10) as sock:
        sock.sendall(request_)
        sock.shutdown(socket.SHUT_WR)
        assert f" {status} ".encode() in sock.recv(65536)
        while sock.recv(65536):
            pass
    (record,) = site.records
    assert (record.client, record.method, record.path, record.status) == ("127.0.0.1", method, path, status)
    with site.client() as client:
        counted = client.ask("GET", "/metrics").body.decode()
    assert 'route="none",status="4xx"} 1' in counted
    assert "bundlectl_http_in_flight 1" in counted


def test_strangers_see_nothing_but_health(tmp_path: Path, running: Any) -> None:
    with running(tmp_path, access=Access(CLOSED, Users({"alice": HASH}))) as site, site.client() as client:
        for path in ("/v2/", "/", "/metrics", "/files/tool", "/v2/_catalog", "/v2/test/repo/tags/list"):
            answer = client.ask("GET", path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith('Basic realm="bundlectl"')
        assert client.ask("GET", "/v2/", Authorization=basic("alice", "wrong")).status == 401
        assert client.ask("GET", "/v2/", Authorization=basic("alice", "secret")).status == 200
        assert client.ask("GET", "/healthz").status == 200
        assert client.ask("POST", "/v2/test/repo/blobs/uploads/", b"").status == 401


def test_users_push_where_everyone_may_pull(tmp_path: Path, running: Any) -> None:
    with running(tmp_path, access=Access(READABLE, Users({"alice": HASH}))) as site:
        with site.client(Authorization=basic("alice", "secret")) as client:
            client.push_image()
        with site.client() as client:
            ping = client.ask("GET", "/v2/")
            assert ping.status == 200
            assert ping.headers["WWW-Authenticate"]
            assert client.ask("GET", "/v2/test/repo/manifests/v1").status == 200
            assert client.ask("DELETE", "/v2/test/repo/manifests/v1").status == 401
            assert client.ask("PUT", "/v2/test/repo/manifests/v2", b"{}").status == 401
    assert {record.user for record in site.records} == {"alice", None}


def test_a_web_page_cannot_write_to_an_open_registry(client: Any) -> None:
    answer = client.ask("POST", "/v2/test/repo/blobs/uploads/", b"", Origin="http://evil.example")
    assert (answer.status, answer.codes) == (403, {"DENIED"})


def test_a_failure_inside_is_an_event_and_tells_the_client_nothing(tmp_path: Path, running: Any) -> None:
    with running(tmp_path) as site, site.client() as client:
        manifest = site.preload()
        site.store.blob_path(manifest.descriptor.digest).write_bytes(b"damaged")
        answer = client.ask("GET", f"/v2/{FULL}/manifests/v1")
        assert (answer.status, answer.codes) == (500, {"UNKNOWN"})
        assert str(tmp_path) not in answer.body.decode()
        assert "failed" in str(site.events)
        assert client.ask("GET", "/v2/").status == 200

"""What a client may not exceed, hostile words in places that are written elsewhere, and the server's own health."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_MANIFEST
from mirror.server.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

BLOB = bytes(range(256)) * 12


class Disk(NamedTuple):
    """What ``statvfs`` says."""

    f_bavail: int
    f_frsize: int


def test_a_blob_may_not_be_larger_than_the_limit_however_it_comes(running: Any, tmp_path: Path) -> None:
    with running(tmp_path / "store", limits=Limits(upload_bytes=3000)) as site, site.client() as client:
        assert client.push(BLOB[:3000])
        digest = Digest.of(BLOB)
        answer = client.ask("POST", f"/v2/test/repo/blobs/uploads/?digest={digest}", BLOB)
        assert (answer.status, answer.codes) == (413, {"SIZE_INVALID"})
        location = client.session()
        assert client.ask("PATCH", location, BLOB[:2000]).status == 202
        assert client.ask("PATCH", location, BLOB[2000:]).status == 413
        assert client.ask("PUT", f"{location}?digest={digest}", BLOB[2000:]).status == 413
        assert client.ask("GET", location).headers["Range"] == "0-1999"
        assert client.ask("HEAD", f"/v2/test/repo/blobs/{digest}").status == 404


def test_a_blob_that_does_not_say_its_size_is_stopped_on_the_way(
    running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.message.WATCHED", 10_000)
    with running(tmp_path / "store", limits=Limits(upload_bytes=50_000)) as site, site.client() as client:
        location = client.session()
        answer = client.ask("PATCH", location, iter([BLOB] * 100), Transfer_Encoding="chunked")
        assert answer.status == 413


def test_more_uploads_than_the_limit_wait_and_those_that_are_open_go_on(running: Any, tmp_path: Path) -> None:
    with running(tmp_path / "store", limits=Limits(sessions=2)) as site, site.client() as client:
        first, _ = client.session(), client.session()
        answer = client.ask("POST", "/v2/test/repo/blobs/uploads/", b"")
        assert (answer.status, answer.codes, answer.headers["Retry-After"]) == (429, {"TOOMANYREQUESTS"}, "60")
        assert client.ask("PUT", f"{first}?digest={Digest.of(BLOB)}", BLOB).status == 201
        assert client.session()


def test_uploads_leave_the_disk_its_spare_room_and_pulls_go_on(
    running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "store", limits=Limits(spare_bytes=10_000)) as site, site.client() as client:
        digest = client.push(BLOB)
        monkeypatch.setattr("mirror.server.limits.os.statvfs", lambda _: Disk(12_000, 1))
        answer = client.ask("POST", f"/v2/test/repo/blobs/uploads/?digest={Digest.of(b'x' * 3000)}", b"x" * 3000)
        assert (answer.status, answer.headers["Retry-After"]) == (507, "60")
        assert "full" in answer.body.decode()
        assert client.push(b"small")
        assert client.ask("GET", f"/v2/test/repo/blobs/{digest}").body == BLOB
        mounted = client.ask("POST", f"/v2/other/blobs/uploads/?mount={digest}&from=test/repo", b"")
        assert mounted.status == 201


def test_health_is_bad_when_the_store_cannot_be_read(
    site: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.server.limits._HEALTH_SECONDS", 0.0)
    assert (client.ask("GET", "/healthz").status, client.ask("HEAD", "/healthz").status) == (200, 200)
    log = site.store.path / "bundlectl" / "refs.log"
    log.rename(tmp_path / "kept")
    answer = client.ask("GET", "/healthz")
    assert answer.status == 503
    assert str(tmp_path) not in answer.body.decode()
    (tmp_path / "kept").rename(log)
    assert client.ask("GET", "/healthz").status == 200


def test_health_is_bad_when_the_store_cannot_be_written(site: Any, client: Any, tmp_path: Path) -> None:
    (site.store.path / "bundlectl" / "tmp").rename(tmp_path / "kept")
    assert client.ask("GET", "/healthz").status == 503
    (tmp_path / "kept").rename(site.store.path / "bundlectl" / "tmp")


HOSTILE_HOSTS = [
    "evil.example",
    '"><script>alert(1)</script>',
    "a b",
    "x" * 5000,
    "%0d%0aSet-Cookie:%20a=b",
    "[::1",
    "",
]


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
def test_no_answer_is_led_elsewhere_by_the_host_header(site: Any, client: Any, host: str) -> None:
    client.push_image()
    answers = [
        client.ask("GET", "/", Host=host),
        client.ask("GET", "/v2/test/repo/tags/list?n=0", Host=host),
        client.ask("POST", "/v2/test/repo/blobs/uploads/", b"", Host=host),
        client.ask("GET", "/v2/absent/manifests/v1", Host=host),
    ]
    for answer in answers:
        assert answer.status in (200, 202, 404)
        assert "Set-Cookie" not in answer.headers
        assert answer.headers.get("Location", "/").startswith("/")
        assert b"<script>alert" not in answer.body
    assert site.events == []


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../../etc/passwd",
        "/v2/a/blobs/../../../bundlectl/refs.log",
        "/v2/%2e%2e/%2e%2e/manifests/v1",
        "/v2/a/manifests/..%2f..%2findex.json",
        "/v2/a/blobs/sha256:../../bundlectl/store.json",
        "/v2/a/blobs/uploads/..%2f..%2frefs.log",
        "/v2/a/blobs/uploads/../../refs.log",
        "/files/../bundlectl/refs.log",
        "/files/%2e%2e/bundlectl/refs.log",
        "/files//etc/passwd",
        "/%00",
        "/v2/a/manifests/v1%00",
        "/v2/" + "a/" * 2000 + "manifests/v1",
        "/v2/a/manifests/%e2%80%aev1",
    ],
)
def test_a_path_leads_nowhere_but_into_the_registry(client: Any, path: str) -> None:
    for method in ("GET", "DELETE", "PUT"):
        answer = client.ask(method, path, b"" if method == "PUT" else None)
        assert 400 <= answer.status < 500, answer


def test_a_blob_that_is_a_link_is_not_followed(site: Any, client: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    digest = Digest.of(b"secret")
    path = site.store.blob_path(digest)
    path.symlink_to(secret)
    assert client.ask("GET", f"/v2/test/repo/blobs/{digest}").status == 404
    assert client.ask("HEAD", f"/v2/test/repo/blobs/{digest}").status == 404
    path.unlink()


def test_annotations_and_tags_come_back_as_data_and_never_as_headers_or_markup(site: Any, client: Any) -> None:
    evil = {"org.opencontainers.image.title": "a\r\nSet-Cookie: b=c", "\u202e<script>alert(1)</script>": "\x1b[31m"}
    digest = client.push_image(annotations=evil)
    answer = client.ask("GET", f"/v2/test/repo/manifests/{digest}")
    assert answer.json()["annotations"] == evil
    assert "Set-Cookie" not in answer.headers
    subject = {
        "mediaType": OCI_MANIFEST,
        "digest": str(digest),
        "size": len(answer.body),
    }
    client.attach(subject, "application/x\r\nevil", **evil)
    referrers = client.ask("GET", f"/v2/test/repo/referrers/{digest}?artifactType=a%0d%0ab")
    assert referrers.status == 200
    assert "evil" not in referrers.headers
    assert b"<script>alert" not in client.ask("GET", "/").body
    assert site.events == []


def test_a_manifest_that_changed_on_the_disk_is_read_again_and_not_believed(site: Any, client: Any) -> None:
    digest = client.push_image()
    whole = client.ask("GET", f"/v2/test/repo/manifests/{digest}").body
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").body == whole
    path = site.store.blob_path(digest)
    path.write_bytes(whole.replace(b"amd64", b"arm64") + b" ")
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").status == 404
    path.write_bytes(whole)
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").body == whole
    path.unlink()
    assert client.ask("GET", f"/v2/test/repo/manifests/{digest}").status == 404


def test_a_deleted_manifest_is_not_answered_from_memory(client: Any) -> None:
    digest = client.push_image()
    for reference in ("v1", digest):
        assert client.ask("GET", f"/v2/test/repo/manifests/{reference}").status == 200
    assert client.ask("DELETE", f"/v2/test/repo/manifests/{digest}").status == 202
    for reference in ("v1", digest):
        assert client.ask("GET", f"/v2/test/repo/manifests/{reference}").status == 404


def test_credentials_are_in_no_record_of_the_access_log(site: Any, client: Any) -> None:
    client.ask("GET", "/v2/a/tags/list?token=hidden", Authorization="Basic aGlkZGVuOmhpZGRlbg==")
    told = json.dumps([str(record) for record in site.records])
    assert "/v2/a/tags/list" in told
    assert "hidden" not in told
    assert "aGlkZGVu" not in told

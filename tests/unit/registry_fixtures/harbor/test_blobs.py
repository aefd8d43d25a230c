"""Rows 31 to 33 and 75: blobs asked for and fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from registry_fixtures.cdn import Cdn
from registry_fixtures.harbor import Settings
from tests.unit.registry_fixtures.harbor.conftest import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture

DATA = bytes(range(250)) * 4
BLOB = f"/v2/lab/app/blobs/{Digest.of(DATA)}"


def test_a_blob_that_is_here_is_told_with_its_size(pusher: Client) -> None:
    pusher.push_blob("lab/app", DATA)
    reply = pusher.ask("HEAD", BLOB)
    assert (reply.status, reply.body, reply.headers["Content-Length"]) == (200, b"", "1000")
    assert reply.headers["Docker-Content-Digest"] == str(Digest.of(DATA))
    assert reply.headers["Etag"] == f'"{Digest.of(DATA)}"'
    assert "max-age" in pusher.ask("GET", BLOB).headers["Cache-Control"]


def test_a_blob_that_is_absent_has_no_body_but_a_length(pusher: Client) -> None:
    reply = pusher.ask("HEAD", BLOB)
    assert (reply.status, reply.body) == (404, b"")
    assert int(reply.headers["Content-Length"]) > 0
    reply = pusher.ask("GET", BLOB)
    assert (reply.status, reply.code, reply.json["errors"][0]["detail"]) == (404, "BLOB_UNKNOWN", str(Digest.of(DATA)))


def test_a_blob_of_another_repository_is_absent_even_within_the_project(pusher: Client) -> None:
    pusher.push_blob("lab/other", DATA)
    assert pusher.ask("HEAD", BLOB).status == 404


@pytest.mark.parametrize(
    ("asked", "sent", "told"),
    [
        ("bytes=0-9", DATA[:10], "bytes 0-9/1000"),
        ("bytes=990-", DATA[990:], "bytes 990-999/1000"),
        ("bytes=-5", DATA[-5:], "bytes 995-999/1000"),
        ("bytes=990-5000", DATA[990:], "bytes 990-999/1000"),
    ],
)
def test_one_range_is_sent_alone(pusher: Client, asked: str, sent: bytes, told: str) -> None:
    pusher.push_blob("lab/app", DATA)
    reply = pusher.ask("GET", BLOB, headers={"Range": asked})
    assert (reply.status, reply.body, reply.headers["Content-Range"]) == (206, sent, told)


def test_two_ranges_come_as_parts(pusher: Client) -> None:
    pusher.push_blob("lab/app", DATA)
    reply = pusher.ask("GET", BLOB, headers={"Range": "bytes=0-1,5-6"})
    assert reply.status == 206
    assert reply.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert b"Content-Range: bytes 5-6/1000" in reply.body
    assert DATA[5:7] in reply.body


@pytest.mark.parametrize(
    ("asked", "said", "told"),
    [
        ("bytes=1000-", b"invalid range: failed to overlap", "bytes */1000"),
        ("bytes=5-1", b"invalid range", None),
        ("lines=1-2", b"invalid range", None),
        ("bytes=x", b"invalid range", None),
    ],
)
def test_a_range_that_cannot_be_sent_is_416_in_plain_text(
    pusher: Client, asked: str, said: bytes, told: str | None
) -> None:
    pusher.push_blob("lab/app", DATA)
    reply = pusher.ask("GET", BLOB, headers={"Range": asked})
    assert (reply.status, reply.body.strip(), reply.headers["Content-Range"]) == (416, said, told)
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_storage_elsewhere_is_redirected_to_and_wants_no_authorization(
    harbor_factory: Callable[..., HarborFixture],
) -> None:
    settings = Settings()
    harbor = harbor_factory(settings=settings)
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    admin.push_blob("library/app", DATA)
    with Cdn(depot=harbor.storage.depot).serve() as elsewhere:
        settings.redirect_blobs = elsewhere.url
        reply = admin.ask("GET", f"/v2/library/app/blobs/{Digest.of(DATA)}")
        assert reply.status == 307
        assert reply.headers["Location"].startswith(elsewhere.url)
        assert admin.ask("HEAD", f"/v2/library/app/blobs/{Digest.of(DATA)}").status == 200


def test_a_path_with_manifests_in_it_is_misread_now_and_then_where_that_is_wanted(
    harbor: HarborFixture, pusher: Client
) -> None:
    for name in ("lab/app/manifests", "lab/manifests", "lab/app"):
        pusher.push_blob(name, DATA)
    harbor.settings.misread_paths = True

    def ask(name: str, method: str = "HEAD", path: str = f"blobs/{Digest.of(DATA)}") -> list[int]:
        return [pusher.ask(method, f"/v2/{name}/{path}").status for _ in range(4)]

    assert ask("lab/app/manifests") == [404, 200, 404, 200]
    assert ask("lab/app/manifests", "POST", "blobs/uploads/") == [202, 202, 202, 202]
    assert ask("lab/manifests") == [400, 200, 400, 200]
    assert ask("lab/manifests", "POST", "blobs/uploads/") == [400, 202, 400, 202]
    assert ask("lab/app") == [200, 200, 200, 200]


def test_a_blob_can_be_deleted_by_who_may_delete(owner: Client, pusher: Client) -> None:
    pusher.push_blob("lab/app", DATA)
    assert pusher.ask("DELETE", BLOB).status == 401
    assert owner.ask("DELETE", BLOB).status == 202
    assert owner.ask("HEAD", BLOB).status == 404
    assert owner.ask("DELETE", BLOB).code == "BLOB_UNKNOWN"


def test_a_blob_under_collection_is_as_good_as_absent(harbor: HarborFixture, pusher: Client) -> None:
    pusher.push_blob("lab/app", DATA)
    harbor.database.blobs[Digest.of(DATA)].status = "deleting"
    assert pusher.ask("HEAD", BLOB).status == 404
    assert pusher.push_blob("lab/app", DATA).status == 404
    harbor.database.blobs[Digest.of(DATA)].status = "deletefailed"
    assert pusher.ask("HEAD", BLOB).status == 404
    assert pusher.push_blob("lab/app", DATA).status == 201
    assert pusher.ask("HEAD", BLOB).status == 200

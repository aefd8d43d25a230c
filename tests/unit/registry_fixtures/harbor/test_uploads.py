"""Rows 34 to 45: uploads, mounts, quotas, and what sha512 comes to."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_LAYER
from tests.unit.registry_fixtures.harbor.conftest import LAYER, Client, descriptor, image

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture

DATA = bytes(range(100))
DIGEST = Digest.of(DATA)
OCTETS = {"Content-Type": "application/octet-stream"}


def test_an_upload_begins_at_an_absolute_location_with_a_state(pusher: Client) -> None:
    reply = pusher.ask("POST", "/v2/lab/app/blobs/uploads/")
    assert (reply.status, reply.headers["Range"], reply.headers["Content-Length"]) == (202, "0-0", "0")
    location = f"http://{pusher.host}/v2/lab/app/blobs/uploads/{reply.headers['Docker-Upload-UUID']}?_state="
    assert reply.headers["Location"].startswith(location)
    assert "OCI-Chunk-Min-Length" not in reply.headers


def test_a_post_with_the_blob_in_it_only_begins_a_session(pusher: Client) -> None:
    reply = pusher.ask("POST", f"/v2/lab/app/blobs/uploads/?digest={DIGEST}", DATA)
    assert (reply.status, reply.headers["Range"]) == (202, "0-0")
    location = f"{reply.headers['Location']}&digest={DIGEST}"
    assert pusher.ask("PUT", location, b"").code == "DIGEST_INVALID"
    assert pusher.ask("PUT", location, DATA).status == 201


def test_chunks_are_appended_whatever_their_content_range_says(pusher: Client) -> None:
    first = pusher.begin("lab/app")
    reply = pusher.ask("PATCH", first, DATA[:40], headers={**OCTETS, "Content-Range": "500-509"})
    assert (reply.status, reply.headers["Range"]) == (202, "0-39")
    assert reply.headers["Location"] != first
    reply = pusher.ask("PATCH", reply.headers["Location"], DATA[40:], headers={**OCTETS, "Content-Range": "5-14"})
    assert reply.headers["Range"] == "0-99"
    reply = pusher.ask("PUT", f"{reply.headers['Location']}&digest={DIGEST}")
    assert (reply.status, reply.headers["Docker-Content-Digest"]) == (201, str(DIGEST))
    assert reply.headers["Location"] == f"http://{pusher.host}/v2/lab/app/blobs/{DIGEST}"
    assert pusher.ask("GET", reply.headers["Location"]).body == DATA


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_stale_location_is_refused_and_the_newest_goes_on(owner: Client, method: str) -> None:
    stale = owner.begin("lab/app")
    newest = owner.ask("PATCH", stale, DATA[:10]).headers["Location"]
    query = f"&digest={DIGEST}" if method == "PUT" else ""
    reply = owner.ask(method, f"{stale}{query}", DATA if method in ("PATCH", "PUT") else None)
    assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_INVALID")
    reply = owner.ask("PATCH", newest, DATA[10:20])
    assert (reply.status, reply.headers["Range"]) == (202, "0-19")


@pytest.mark.parametrize("query", ["", "?_state=", "?_state=abcd", "?_state=%%%"])
def test_a_location_without_its_state_is_refused_and_the_session_kept(pusher: Client, query: str) -> None:
    location = pusher.begin("lab/app")
    reply = pusher.ask("GET", location.partition("?")[0] + query)
    assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_INVALID")
    assert pusher.ask("GET", location).status == 204


def test_a_chunk_that_breaks_off_leaves_no_location_that_is_good(harbor: HarborFixture, pusher: Client) -> None:
    location = pusher.begin("lab/app")
    host, _, port = pusher.host.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        target = location.removeprefix(f"http://{pusher.host}")
        head = f"PATCH {target} HTTP/1.1\r\nHost: {pusher.host}\r\nAuthorization: {pusher.authorization}\r\n"
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + DATA[:50])
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    deadline = time.monotonic() + 5
    while pusher.ask("GET", location).status != 404:
        assert time.monotonic() < deadline
    assert pusher.ask("PATCH", location, DATA).code == "BLOB_UPLOAD_INVALID"
    assert harbor.uploads.open_sessions == 1


@pytest.mark.parametrize("media_type", ["text/plain", "application/octet-stream; x=1"])
def test_a_chunk_of_another_type_is_an_unknown_error_of_the_backend(pusher: Client, media_type: str) -> None:
    reply = pusher.ask("PATCH", pusher.begin("lab/app"), DATA, headers={"Content-Type": media_type})
    assert reply.status == 500
    assert reply.json == {"errors": [{"code": "UNKNOWN", "message": "unknown error", "detail": {}}]}


def test_a_wrong_digest_costs_the_upload(pusher: Client) -> None:
    location, wrong = pusher.begin("lab/app"), Digest.of(b"other")
    reply = pusher.ask("PUT", f"{location}&digest={wrong}", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert reply.json["errors"][0]["detail"] == {"Digest": str(wrong), "Reason": {}}
    assert pusher.ask("PUT", f"{location}&digest={DIGEST}", DATA).status == 404
    assert pusher.ask("HEAD", f"/v2/lab/app/blobs/{wrong}").status == 404


def test_an_upload_is_not_finished_without_a_digest_that_is_one(pusher: Client) -> None:
    location = pusher.begin("lab/app")
    reply = pusher.ask("PUT", location, DATA)
    assert (reply.status, reply.code) == (400, "BAD_REQUEST")
    assert "exist blob require digest" in reply.message
    reply = pusher.ask("PUT", f"{location}&digest=sha256:zz", DATA)
    assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert pusher.ask("PUT", f"{location}&digest={DIGEST}", DATA).status == 201


def test_the_state_of_a_session_may_be_asked_for_with_the_right_to_pull(
    harbor: HarborFixture, anyone: Client, pusher: Client
) -> None:
    robot = harbor.add_robot("reader", rights=("repository:pull",))
    location = pusher.ask("PATCH", pusher.begin("lab/app"), DATA).headers["Location"]
    reply = anyone.basic(robot.name, robot.secret).ask("GET", location)
    assert (reply.status, reply.headers["Range"]) == (204, "0-99")
    assert reply.headers["Docker-Upload-UUID"] in reply.headers["Location"]


def test_cancelling_takes_the_right_to_delete(owner: Client, pusher: Client) -> None:
    location = pusher.begin("lab/app")
    assert pusher.ask("DELETE", location).status == 401
    assert owner.ask("DELETE", location).status == 204
    reply = owner.ask("GET", location)
    assert (reply.status, reply.code) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize(
    ("source", "shown"), [("pub/app", "pub/app"), ("pub/app", "pub%2Fapp"), ("lab/app", "lab/app")]
)
def test_a_blob_is_mounted_from_wherever_one_may_pull(pusher: Client, source: str, shown: str) -> None:
    pusher.push_blob(source, DATA)
    for somebody in (pusher, pusher.bearer("repository:lab/app:pull,push", f"repository:{source}:pull")):
        reply = somebody.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={DIGEST}&from={shown}")
        assert (reply.status, reply.headers["Docker-Content-Digest"]) == (201, str(DIGEST))
        assert reply.headers["Location"].endswith(f"/v2/lab/app/blobs/{DIGEST}")
    assert pusher.ask("HEAD", f"/v2/lab/app/blobs/{DIGEST}").status == 200


@pytest.mark.parametrize(
    "query",
    [
        f"mount={DIGEST}&from=pub/app",
        f"mount={DIGEST}&from=pub/never",
        f"mount={DIGEST}&from=lab/app",
        "mount=sha256:zz&from=pub/app",
        f"mount={DIGEST}",
        "from=pub/app",
    ],
)
def test_a_mount_that_finds_nothing_is_an_upload(pusher: Client, query: str) -> None:
    pusher.push_blob("pub/app", b"something else")
    reply = pusher.ask("POST", f"/v2/lab/app/blobs/uploads/?{query}")
    assert reply.status == 202
    assert pusher.ask("PUT", f"{reply.headers['Location']}&digest={DIGEST}", DATA).status == 201


def test_a_source_that_one_may_not_pull_is_named_in_the_refusal(harbor: HarborFixture, anyone: Client) -> None:
    harbor.add_project("secret")
    robot = harbor.add_robot("one", project="lab", rights=("repository:pull", "repository:push"))
    somebody = anyone.basic(robot.name, robot.secret)
    reply = somebody.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={DIGEST}&from=secret/app")
    assert (reply.status, reply.challenge) == (401, 'Basic realm="harbor"')
    assert "secret/app, action: pull" in reply.message
    reply = somebody.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={DIGEST}&from=nope/app")
    assert (reply.status, reply.challenge) == (401, "")
    assert reply.message.startswith("project nope not found")


@pytest.mark.parametrize("query", ["mount=x&", ""])
def test_a_source_must_be_pullable_even_when_nothing_is_mounted(
    harbor: HarborFixture, anyone: Client, query: str
) -> None:
    harbor.add_project("secret")
    robot = harbor.add_robot("one", project="lab", rights=("repository:pull", "repository:push"))
    somebody = anyone.basic(robot.name, robot.secret)
    assert somebody.ask("POST", f"/v2/lab/app/blobs/uploads/?{query}from=secret/app").status == 401


def test_a_token_without_the_source_cannot_mount(harbor: HarborFixture, pusher: Client) -> None:
    harbor.add_project("secret")
    pusher.push_blob("secret/app", DATA)
    holder = pusher.bearer("repository:lab/app:pull,push")
    reply = holder.ask("POST", f"/v2/lab/app/blobs/uploads/?mount={DIGEST}&from=secret/app")
    assert (reply.status, reply.challenge) == (401, 'Basic realm="harbor"')


def test_a_blob_by_sha512_is_kept_by_sha256_alone(pusher: Client) -> None:
    digest = Digest.of(DATA, "sha512")
    reply = pusher.ask("PUT", f"{pusher.begin('lab/app')}&digest={digest}", DATA)
    assert (reply.status, reply.headers["Docker-Content-Digest"]) == (201, str(DIGEST))
    assert pusher.ask("HEAD", f"/v2/lab/app/blobs/{digest}").status == 404
    assert pusher.ask("HEAD", f"/v2/lab/app/blobs/{DIGEST}").status == 200
    reply = pusher.ask("POST", f"/v2/lab/other/blobs/uploads/?mount={digest}&from=lab/app")
    assert (reply.status, reply.code, reply.message) == (404, "NOT_FOUND", f"blob {digest} not found")


def test_the_recorded_size_is_that_of_the_last_part(harbor: HarborFixture, pusher: Client) -> None:
    location = pusher.ask("PATCH", pusher.begin("lab/app"), DATA[:70]).headers["Location"]
    assert pusher.ask("PUT", f"{location}&digest={DIGEST}", DATA[70:]).status == 201
    assert harbor.database.blobs[DIGEST].size == 30
    location = pusher.ask("PATCH", pusher.begin("lab/app"), DATA).headers["Location"]
    assert pusher.ask("PUT", f"{location}&digest={DIGEST}").status == 201
    assert harbor.database.blobs[DIGEST].size == 100


def test_a_put_in_transfer_chunks_is_recorded_as_empty(harbor: HarborFixture, pusher: Client) -> None:
    headers = {"Transfer-Encoding": "chunked"}
    body = b"64\r\n" + DATA + b"\r\n0\r\n\r\n"
    reply = pusher.ask("PUT", f"{pusher.begin('lab/app')}&digest={DIGEST}", body, headers=headers)
    assert reply.status == 201
    assert harbor.database.blobs[DIGEST].size == 0


def test_a_quota_refuses_the_blob_the_mount_and_the_manifest_that_exceed_it(
    harbor: HarborFixture, pusher: Client
) -> None:
    harbor.add_project("small", quota=100_000)
    pusher.push_blob("small/app", bytes(1500))
    big = b"b" * 120_000
    said = (
        "adding 117.2 KiB of storage resource, which when updated to current usage of 1.5 KiB will exceed the "
        "configured upper limit of 97.7 KiB."
    )
    direct = pusher.push_blob("small/app", big)
    patched = pusher.ask("PATCH", pusher.begin("small/app"), big)
    assert patched.status == 202
    after = pusher.ask("PUT", f"{patched.headers['Location']}&digest={Digest.of(big)}")
    pusher.push_blob("lab/app", big)
    mounted = pusher.ask("POST", f"/v2/small/app/blobs/uploads/?mount={Digest.of(big)}&from=lab/app")
    for reply in (direct, after, mounted):
        assert (reply.status, reply.code, reply.message) == (403, "DENIED", said)


def test_a_manifest_counts_against_the_quota_too(harbor: HarborFixture, pusher: Client) -> None:
    project = harbor.add_project("small")
    pusher.push_image("small/app")
    project.storage_limit = project.used
    reply = pusher.put("small/app", "v2", image(annotations={"more": "text"}))
    assert (reply.status, reply.code) == (403, "DENIED")
    assert pusher.put("small/app", "v2", image()).status == 201


def test_what_counts_already_is_free(harbor: HarborFixture, pusher: Client) -> None:
    project = harbor.add_project("small")
    pusher.push_blob("small/app", DATA)
    project.storage_limit = 100
    assert pusher.push_blob("small/other", DATA).status == 201
    assert pusher.ask("POST", f"/v2/small/third/blobs/uploads/?mount={DIGEST}&from=small/app").status == 201


def test_a_project_over_its_quota_takes_no_upload_at_all(harbor: HarborFixture, pusher: Client) -> None:
    project = harbor.add_project("small")
    pusher.push_blob("small/app", bytes(1536))
    project.storage_limit = 1024
    reply = pusher.ask("POST", "/v2/small/app/blobs/uploads/")
    assert (reply.status, reply.code) == (403, "DENIED")
    assert reply.message == (
        "subtracting 0 B of storage resource, which when updated to current usage of 1.5 KiB will exceed the "
        "configured upper limit of 1.0 KiB."
    )


def test_a_project_over_its_quota_still_takes_what_counts_already_and_empty_blobs(
    harbor: HarborFixture, pusher: Client
) -> None:
    project = harbor.add_project("small")
    digest = pusher.push_image("small/app")
    location = pusher.begin("small/app")
    project.storage_limit = 1
    assert pusher.ask("PUT", f"{location}&digest={Digest.of(b'')}", b"").status == 201
    assert pusher.ask("POST", f"/v2/small/b/blobs/uploads/?mount={Digest.of(LAYER)}&from=small/app").status == 201
    assert pusher.put("small/app", str(digest), image()).status == 201
    assert pusher.ask("POST", f"/v2/small/b/blobs/uploads/?mount={DIGEST}&from=lab/app").status == 202


def test_deleting_gives_the_quota_back_at_once_but_not_for_shared_blobs(harbor: HarborFixture, owner: Client) -> None:
    digest = owner.push_image("lab/app")
    owner.push_blob("lab/app", DATA)
    alone = image(layers=[descriptor(DATA, OCI_LAYER)])
    other = owner.push_image("lab/app", "alone", alone)
    project = harbor.database.projects["lab"]
    before = project.used
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{other}").status == 202
    assert before - project.used == len(alone) + len(DATA)
    assert owner.ask("HEAD", f"/v2/lab/app/blobs/{Digest.of(LAYER)}").status == 200
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}").status == 202
    assert project.used == 0


def test_a_proxy_project_takes_no_push(harbor: HarborFixture, pusher: Client) -> None:
    harbor.add_project("prox", proxy=True)
    for reply in (pusher.ask("POST", "/v2/prox/app/blobs/uploads/"), pusher.put("prox/app", "v1", image())):
        assert (reply.status, reply.code) == (403, "DENIED")
        assert reply.message == "denied: can not push artifact to a proxy project: prox"


@pytest.mark.parametrize(("length", "status"), [(245, 202), (246, 500), (255, 500), (256, 500)])
def test_a_name_longer_than_245_characters_fails_inside(pusher: Client, length: int, status: int) -> None:
    name = f"lab/{'x' * (length - 4)}"
    reply = pusher.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert reply.status == status
    if 246 <= length <= 255:
        assert reply.json == {}
    elif length > 255:
        assert reply.code == "UNKNOWN"


def test_a_session_that_was_begun_at_one_name_of_the_host_ends_at_another(pusher: Client) -> None:
    location = pusher.ask("POST", "/v2/lab/app/blobs/uploads/", headers={"Host": "other.site.test"}).headers["Location"]
    assert location.startswith("http://other.site.test/")
    path = location.removeprefix("http://other.site.test")
    assert pusher.ask("PUT", f"{path}&digest={DIGEST}", DATA).status == 201


def test_a_forwarded_scheme_is_that_of_the_location_but_not_of_the_realm(anyone: Client, pusher: Client) -> None:
    forwarded = {"X-Forwarded-Proto": "https"}
    reply = pusher.ask("POST", "/v2/lab/app/blobs/uploads/", headers=forwarded)
    assert reply.headers["Location"].startswith("https://")
    assert 'realm="http://' in str(anyone.ask("GET", "/v2/", headers=forwarded).challenge)

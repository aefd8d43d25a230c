"""Pushing blobs: in one request, in chunks, in streams, cut and continued, mounted."""

from __future__ import annotations

import errno
import fcntl
import io
import socket
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from bundlectl.errors import StoreError
from mirror.oci.digest import Digest
from mirror.server import Access, AccessPolicy

if TYPE_CHECKING:
    from pathlib import Path

BLOB = bytes(range(256)) * 12  # 3,072 bytes, as in conftest
ABSENT = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [BLOB, b"", b"{}"])
def test_post_and_put_make_a_blob(client: Any, algorithm: str, data: bytes) -> None:
    digest = Digest.of(data, algorithm)
    answer = client.ask("PUT", f"{client.session()}?digest={quote(str(digest))}", data)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/test/repo/blobs/{digest}"
    assert client.ask("GET", answer.headers["Location"]).body == data


def test_a_session_begins_at_nothing(client: Any) -> None:
    answer = client.ask("POST", "/v2/test/repo/blobs/uploads/", b"")
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["Content-Length"] == "0"
    assert client.ask("GET", answer.headers["Location"]).status == 204


def test_a_stream_in_chunked_coding_is_taken(client: Any) -> None:
    data = BLOB * 1000
    location = client.session()
    answer = client.ask("PATCH", location, io.BytesIO(data), Transfer_Encoding="chunked")
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(data) - 1}")
    digest = Digest.of(data)
    assert client.ask("PUT", f"{answer.headers['Location']}?digest={digest}", b"").status == 201
    assert client.ask("HEAD", f"/v2/test/repo/blobs/{digest}").headers["Content-Length"] == str(len(data))


def test_chunks_are_put_together_with_the_last_in_the_put(client: Any) -> None:
    location = client.session()
    one = client.ask("PATCH", location, BLOB[:1024], Content_Range="0-1023", Content_Type="application/octet-stream")
    assert (one.status, one.headers["Range"]) == (202, "0-1023")
    two = client.ask("PATCH", one.headers["Location"], BLOB[1024:2048], Content_Range="1024-2047")
    assert (two.status, two.headers["Range"]) == (202, "0-2047")
    url = f"{two.headers['Location']}?digest={Digest.of(BLOB)}"
    assert client.ask("PUT", url, BLOB[2048:], Content_Range="2048-3071").status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_out_of_order_is_refused_and_the_session_goes_on(client: Any, method: str) -> None:
    location = client.session()
    url = f"{location}?digest={Digest.of(BLOB)}"
    early = client.ask(method, url, BLOB[1024:2048], Content_Range="1024-2047")
    assert early.status == 416
    assert early.headers["Location"] == location
    assert client.ask("PATCH", location, BLOB[:1024], Content_Range="0-1023").status == 202
    again = client.ask(method, url, BLOB[:1024], Content_Range="0-1023")
    assert (again.status, again.headers["Range"]) == (416, "0-1023")
    told = client.ask("GET", location)
    assert (told.status, told.headers["Range"], told.headers["Location"]) == (204, "0-1023", location)
    assert client.ask("PATCH", location, BLOB[1024:], Content_Range="1024-3071").status == 202
    assert client.ask("PUT", url, b"").status == 201


@pytest.mark.parametrize("header", ["nonsense", "5-0", "0-99"])
def test_a_content_range_that_is_not_the_chunk_is_refused(client: Any, header: str) -> None:
    location = client.session()
    assert client.ask("PATCH", location, b"hello", Content_Range=header).status == 400
    assert client.ask("GET", location).headers["Range"] == "0-0"


def test_a_chunked_body_must_be_as_long_as_its_content_range(site: Any) -> None:
    with site.client() as client:
        location = client.session()
        answer = client.ask("PATCH", location, io.BytesIO(b"hel"), Content_Range="0-4", Transfer_Encoding="chunked")
        assert (answer.status, answer.headers["Range"]) == (400, "0-2")
    with site.client() as client:
        assert client.ask("GET", location).headers["Range"] == "0-2"


@pytest.mark.parametrize("way", ["post", "put", "chunked", "chunked put", "stream"])
def test_a_wrong_digest_is_refused(client: Any, way: str) -> None:
    if way == "post":
        answer = client.ask("POST", f"/v2/test/repo/blobs/uploads/?digest={ABSENT}", BLOB)
    else:
        location = client.session()
        body: Any = BLOB
        if way == "chunked":
            client.ask("PATCH", location, BLOB, Content_Range="0-3071")
            body = b""
        elif way == "chunked put":
            client.ask("PATCH", location, BLOB[:9], Content_Range="0-8")
            body = BLOB[9:]
        elif way == "stream":
            client.ask("PATCH", location, io.BytesIO(BLOB), Transfer_Encoding="chunked")
            body = b""
        answer = client.ask("PUT", f"{location}?digest={ABSENT}", body)
    assert (answer.status, answer.codes) == (400, {"DIGEST_INVALID"})
    assert client.ask("HEAD", f"/v2/test/repo/blobs/{ABSENT}").status == 404


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:x", "?digest=md5:abc"])
def test_a_put_without_a_good_digest_is_refused(client: Any, query: str) -> None:
    location = client.session()
    answer = client.ask("PUT", location + query, BLOB)
    assert (answer.status, answer.codes) == (400, {"DIGEST_INVALID"})
    assert client.ask("GET", location).status == 204


def test_an_unknown_algorithm_is_refused_before_the_upload(client: Any) -> None:
    url = "/v2/test/repo/blobs/uploads/?digest-algorithm="
    assert client.ask("POST", url + "md5", b"").status == 400
    assert client.ask("POST", url + "sha512", b"").status == 202


def test_a_cancelled_session_is_gone(client: Any) -> None:
    location = client.session()
    assert client.ask("DELETE", location).status == 204
    for method in ("GET", "DELETE", "PATCH"):
        answer = client.ask(method, location, b"x" if method == "PATCH" else None)
        assert (answer.status, answer.codes) == (404, {"BLOB_UPLOAD_UNKNOWN"})
    assert client.ask("PUT", f"{location}?digest={ABSENT}", b"").status == 404


@pytest.mark.parametrize("session", ["0" * 32, "..%2f..%2fx", "abcdefghij.lock", "x"])
def test_a_made_up_session_is_unknown(client: Any, session: str) -> None:
    assert client.ask("PATCH", f"/v2/test/repo/blobs/uploads/{session}", b"x").status == 404


def test_a_cut_upload_is_continued_where_it_stopped(site: Any) -> None:
    data = BLOB * 1000
    with site.client() as client:
        location = client.session()
    with socket.create_connection(("127.0.0.1", site.server.port), timeout=10) as sock:
        sock.sendall(
            f"PATCH {location} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:2_000_000]
        )
    with site.client() as client:
        arrived = -1
        for _ in range(100):
            told = client.ask("GET", location)
            assert told.status == 204
            if arrived == (arrived := int(told.headers["Range"].partition("-")[2])) > 0:
                break
            threading.Event().wait(0.1)
        assert 0 < arrived < 2_000_000
        rest = data[arrived + 1 :]
        assert client.ask("PATCH", location, rest, Content_Range=f"{arrived + 1}-{len(data) - 1}").status == 202
        assert client.ask("PUT", f"{location}?digest={Digest.of(data)}", b"").status == 201


def test_a_refused_upload_with_a_large_body_gets_its_answer(tmp_path: Path, running: Any) -> None:
    policy = AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=False)
    with running(tmp_path, access=Access(policy)) as site, site.client() as client:
        answer = client.ask("POST", f"/v2/test/repo/blobs/uploads/?digest={ABSENT}", BLOB * 300)
        assert (answer.status, answer.codes) == (403, {"DENIED"})
        assert client.ask("GET", "/v2/").status == 200


def test_two_writers_of_one_session_do_not_mix(site: Any) -> None:
    with site.client() as first, site.client() as second:
        location = first.session()
        answers: list[int] = []

        def patch(client: Any) -> None:
            answers.append(client.ask("PATCH", location, BLOB, Content_Range="0-3071").status)

        threads = [threading.Thread(target=patch, args=(client,)) for client in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [202, 416]
        assert first.ask("PUT", f"{location}?digest={Digest.of(BLOB)}", b"").status == 201


@pytest.mark.parametrize("source", ["&from=test/repo", "&from=other%2Fname", ""])
def test_a_blob_that_is_here_is_mounted(client: Any, source: str) -> None:
    digest = client.push(BLOB)
    answer = client.ask("POST", f"/v2/another/repo/blobs/uploads/?mount={digest}{source}", b"")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/another/repo/blobs/{digest}"
    assert client.ask("GET", answer.headers["Location"]).body == BLOB


def test_a_blob_that_is_not_here_has_to_be_uploaded(client: Any) -> None:
    answer = client.ask("POST", f"/v2/another/repo/blobs/uploads/?mount={Digest.of(BLOB)}&from=test/repo", b"")
    assert answer.status == 202
    assert client.ask("PUT", f"{answer.headers['Location']}?digest={Digest.of(BLOB)}", BLOB).status == 201


def test_mounting_a_malformed_digest_is_refused(client: Any) -> None:
    assert client.ask("POST", "/v2/another/repo/blobs/uploads/?mount=x", b"").status == 400


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_second_request_to_an_upload_that_is_being_written_is_told_so(
    site: Any, client: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(site.store._sessions, "_patience", 0.1)
    location = client.session()
    url = f"{location}?digest={Digest.of(b'whole')}"
    with (site.store.path / "bundlectl" / "uploads" / location.rpartition("/")[2]).open() as written:
        fcntl.flock(written, fcntl.LOCK_EX)  # as a request to another worker process does
        answer = client.ask(method, url, b"whole")
        assert (answer.status, answer.codes) == (409, {"BLOB_UPLOAD_INVALID"})
    assert client.ask("PUT", url, b"whole").status == 201


def test_an_upload_in_one_request_that_the_disk_refuses_leaves_nothing(
    tmp_path: Path, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told where it is, so nobody could go on with it."""
    with running(tmp_path / "store") as site, site.client() as client:

        def full(*_args: object, **_more: object) -> int:
            raise StoreError("cannot write it") from OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(site.store._sessions, "append", full)
        answer = client.ask("POST", f"/v2/test/repo/blobs/uploads/?digest={Digest.of(BLOB)}", BLOB)
        assert answer.status == 507
        assert list((tmp_path / "store" / "bundlectl" / "uploads").iterdir()) == []
        assert client.ask("PATCH", client.session(), BLOB).status == 507
        assert len(list((tmp_path / "store" / "bundlectl" / "uploads").iterdir())) == 1

"""Every way to bring a blob, and every way that must fail (end-2, 4, 5, 6, 10, 11, 13, 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.driver import OCTETS, Repository, digest_of, made_up, with_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from tests.conformance.driver import Answer

    Way: TypeAlias = Callable[[Repository, bytes, str, str], Answer]

CHUNK = 1024
EMPTY = b""
EMPTY_JSON = b"{}"
both = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def begin(repository: Repository, algorithm: str) -> str:
    return repository.begin(f"?digest-algorithm={algorithm}" if algorithm != "sha256" else "")


def stream(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 700):
        yield data[start : start + 700]


def patch(repository: Repository, location: str, data: bytes, start: int) -> Answer:
    span = f"{start}-{start + len(data) - 1}"
    return repository.registry.ask("PATCH", location, data, Content_Range=span, Content_Type=OCTETS)


def close(repository: Repository, location: str, digest: str, data: bytes = b"", start: int | None = None) -> Answer:
    span = {} if start is None else {"Content_Range": f"{start}-{start + len(data) - 1}"}
    return repository.registry.ask("PUT", with_query(location, digest=digest), data, Content_Type=OCTETS, **span)


def post_only(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    del algorithm
    answer = repository.ask("POST", f"blobs/uploads/?digest={digest}", data, Content_Type=OCTETS)
    if answer.status == 202 and not repository.registry.strict:
        return close(repository, answer.location, digest, data)
    return answer


def post_put(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    return close(repository, begin(repository, algorithm), digest, data)


def one_chunk(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    answer = patch(repository, begin(repository, algorithm), data, 0)
    repository.registry.expect(answer, 202)
    assert answer.headers["Range"] == f"0-{len(data) - 1}"
    return close(repository, answer.location, digest)


def many_chunks(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    location, start = begin(repository, algorithm), 0
    while start < len(data):
        answer = patch(repository, location, data[start : start + CHUNK], start)
        repository.registry.expect(answer, 202)
        start += len(data[start : start + CHUNK])
        location = answer.location
        assert answer.headers["Range"] == f"0-{start - 1}"
    return close(repository, location, digest)


def last_chunk_in_put(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    answer = patch(repository, begin(repository, algorithm), data[:CHUNK], 0)
    repository.registry.expect(answer, 202)
    return close(repository, answer.location, digest, data[CHUNK:], CHUNK)


def streamed(repository: Repository, data: bytes, digest: str, algorithm: str) -> Answer:
    answer = repository.registry.ask("PATCH", begin(repository, algorithm), stream(data), Content_Type=OCTETS)
    repository.registry.expect(answer, 202)
    return close(repository, answer.location, digest)


WAYS = [post_only, post_put, one_chunk, many_chunks, last_chunk_in_put, streamed]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@both
@every_way
def test_a_blob_arrives_is_read_and_is_deleted(repository: Repository, way: Way, algorithm: str) -> None:
    data = made_up((way.__name__, algorithm))
    digest = digest_of(data, algorithm)
    answer = repository.registry.expect(way(repository, data, digest, algorithm), 201)
    assert repository.registry.ask("GET", answer.location).body == data
    if repository.registry.strict:
        assert answer.headers["Docker-Content-Digest"] == digest
    repository.holds_blob(data, digest)
    repository.delete_blob(digest)
    assert repository.ask("DELETE", f"blobs/{digest}").status == 404


@both
@every_way
def test_a_blob_of_another_digest_than_it_says_is_refused(repository: Repository, way: Way, algorithm: str) -> None:
    wrong = digest_of(b"something else", algorithm)
    answer = repository.registry.expect(way(repository, made_up(way.__name__), wrong, algorithm), 400)
    assert answer.codes == ["DIGEST_INVALID"]
    repository.lacks(f"blobs/{wrong}")


@both
@pytest.mark.parametrize("data", [EMPTY, EMPTY_JSON], ids=["empty", "empty JSON"])
@pytest.mark.parametrize("way", [post_only, post_put, streamed], ids=lambda way: way.__name__)
def test_the_smallest_blobs_arrive(repository: Repository, way: Way, data: bytes, algorithm: str) -> None:
    digest = digest_of(data, algorithm)
    repository.registry.expect(way(repository, data, digest, algorithm), 201)
    repository.holds_blob(data, digest)


@both
def test_a_blob_that_was_never_pushed_is_missing(repository: Repository, algorithm: str) -> None:
    digest = digest_of(made_up("never"), algorithm)
    repository.lacks(f"blobs/{digest}")
    assert repository.ask("GET", f"blobs/{digest}").codes == ["BLOB_UNKNOWN"]
    assert repository.ask("DELETE", f"blobs/{digest}").status in (404, 405)


@both
def test_a_stream_may_end_in_the_closing_request(repository: Repository, algorithm: str) -> None:
    data = made_up("one stream")
    digest = digest_of(data, algorithm)
    location = with_query(begin(repository, algorithm), digest=digest)
    answer = repository.registry.ask("PUT", location, stream(data), Content_Type=OCTETS)
    repository.registry.expect(answer, 201)
    repository.holds_blob(data, digest)


@both
@pytest.mark.parametrize("closing", [False, True], ids=["chunks", "last in the put"])
def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(
    repository: Repository, algorithm: str, *, closing: bool
) -> None:
    data = made_up(("out of order", closing))
    digest = digest_of(data, algorithm)
    answer = patch(repository, begin(repository, algorithm), data[:CHUNK], 0)
    location = repository.registry.expect(answer, 202).location
    early = patch(repository, location, data[2 * CHUNK :], 2 * CHUNK)
    repository.registry.expect(early, 416)
    again = patch(repository, location, data[:CHUNK], 0)
    repository.registry.expect(again, 416)
    told = repository.registry.expect(repository.registry.ask("GET", location), 204)
    assert told.headers["Range"] == f"0-{CHUNK - 1}"
    answer = patch(repository, told.location, data[CHUNK : 2 * CHUNK], CHUNK)
    location = repository.registry.expect(answer, 202).location
    if closing:
        if repository.registry.strict:
            repository.registry.expect(close(repository, location, digest, data[:CHUNK], 0), 416)
        answer = close(repository, location, digest, data[2 * CHUNK :], 2 * CHUNK)
    else:
        answer = patch(repository, location, data[2 * CHUNK :], 2 * CHUNK)
        answer = close(repository, repository.registry.expect(answer, 202).location, digest)
    repository.registry.expect(answer, 201)
    repository.holds_blob(data, digest)


def test_a_fresh_upload_tells_where_it_stands(repository: Repository) -> None:
    answer = repository.ask("POST", "blobs/uploads/", b"")
    repository.registry.expect(answer, 202)
    told = repository.registry.expect(repository.registry.ask("GET", answer.location), 204)
    assert told.headers["Range"] in ("0-0", "0--1")
    assert told.headers["Location"]


@both
def test_a_cancelled_upload_is_gone(repository: Repository, algorithm: str) -> None:
    location = begin(repository, algorithm)
    location = patch(repository, location, made_up("cancelled"), 0).location
    repository.registry.expect(repository.registry.ask("DELETE", location), 204, refusals=(400, 404, 405))
    for method in ("GET", "DELETE", "PUT"):
        assert repository.registry.ask(method, location).status in (400, 404)
    assert repository.registry.ask("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


@both
@pytest.mark.parametrize("named", [True, False], ids=["from", "anonymous"])
def test_a_blob_is_mounted_from_another_repository(
    repository: Repository, other: Repository, algorithm: str, *, named: bool
) -> None:
    data = made_up(("mounted", named))
    digest = other.push(data, algorithm)
    source = f"&from={other.name}" if named else ""
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}{source}", b"")
    repository.registry.expect(answer, 201, refusals=(202,))
    assert repository.registry.ask("GET", answer.location).body == data
    repository.holds_blob(data, digest)
    repository.delete_blob(digest)
    other.holds_blob(data, digest)


@both
def test_a_mount_of_what_is_nowhere_becomes_an_upload(
    repository: Repository, other: Repository, algorithm: str
) -> None:
    data = made_up(("mounted", algorithm, "missing"))
    digest = digest_of(data, algorithm)
    answer = repository.ask("POST", f"blobs/uploads/?mount={digest}&from={other.name}", b"")
    repository.registry.expect(answer, 202)
    repository.registry.expect(close(repository, answer.location, digest, data), 201)
    repository.holds_blob(data, digest)


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", "sha256:abc", "sha256:" + "G" * 64, "md5:" + "0" * 32])
def test_an_upload_cannot_end_under_what_is_no_digest(repository: Repository, text: str) -> None:
    answer = repository.registry.ask("PUT", with_query(repository.begin(), digest=text), b"data")
    repository.registry.expect(answer, 400)
    assert answer.codes == ["DIGEST_INVALID"]


def test_an_algorithm_that_is_not_known_is_refused_at_once(repository: Repository) -> None:
    answer = repository.ask("POST", "blobs/uploads/?digest-algorithm=md4", b"")
    repository.registry.expect(answer, 400, refusals=(202,))


def test_a_blob_may_come_in_again(repository: Repository) -> None:
    data = made_up("twice")
    for _ in range(2):
        digest = repository.push(data)
    repository.holds_blob(data, digest)
    repository.delete_blob(digest)
    repository.push(data)
    repository.holds_blob(data, digest)

"""The ping, repositories that do not exist, ranges, malformed requests (end-1, 2, 3, 8, 12)."""

from __future__ import annotations

import pytest

from tests.conformance.driver import Registry, Repository, digest_of, made_up

SIZE = 3000
both = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def test_the_ping_answers(registry: Registry) -> None:
    registry.expect(registry.ask("GET", "/v2/"), 200)


def test_a_fresh_repository_has_no_tags_and_no_referrers(repository: Repository) -> None:
    assert repository.ask("GET", "tags/list").status in (200, 404)
    assert repository.tags() == []
    assert repository.referrers(digest_of(b"no manifest")) == []


@both
@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("500-1499", 500, 1500),
        ("500-", 500, SIZE),
        ("-500", SIZE - 500, SIZE),
        ("2000-5000", 2000, SIZE),
        ("0-0", 0, 1),
        (f"{SIZE - 1}-", SIZE - 1, SIZE),
        ("-9999", 0, SIZE),
    ],
)
def test_a_part_of_a_blob_is_answered(
    repository: Repository, algorithm: str, wanted: str, start: int, end: int
) -> None:
    data = made_up("ranges", SIZE)
    digest = repository.push(data, algorithm)
    answer = repository.ask("GET", f"blobs/{digest}", Range=f"bytes={wanted}")
    repository.registry.expect(answer, 206, refusals=(200,))
    assert answer.body == data[start:end]
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(end - start)


@both
@pytest.mark.parametrize("wanted", ["500-0", "5000-10000", f"{SIZE}-", "-0"])
def test_a_part_that_no_blob_has_is_refused(repository: Repository, algorithm: str, wanted: str) -> None:
    digest = repository.push(made_up("ranges", SIZE), algorithm)
    answer = repository.ask("GET", f"blobs/{digest}", Range=f"bytes={wanted}")
    repository.registry.expect(answer, 416, refusals=(200, 206))


def test_an_interrupted_pull_goes_on_where_it_stopped(repository: Repository) -> None:
    data = made_up("resumed", 100_000)
    digest = repository.push(data)
    answer = repository.ask("GET", f"blobs/{digest}", Range="bytes=60000-")
    repository.registry.expect(answer, 206, refusals=(200,))
    assert data[:60000] + answer.body == data


@pytest.mark.parametrize("reference", ["never-pushed", digest_of(b"never pushed"), digest_of(b"never", "sha512")])
def test_a_manifest_that_was_never_pushed_is_missing(repository: Repository, reference: str) -> None:
    repository.lacks(f"manifests/{reference}")
    assert set(repository.get(reference).codes) <= {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
    assert repository.ask("DELETE", f"manifests/{reference}").status in (404, 405)


@pytest.mark.parametrize(
    "reference", ["sha256:abc", "sha256:" + "0" * 63, "sha256:" + "Z" * 64, "sha512:" + "0" * 64, "md5:" + "0" * 32]
)
def test_what_is_no_digest_is_refused(repository: Repository, reference: str) -> None:
    raw = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    repository.registry.expect(repository.put(raw, reference, "application/vnd.oci.image.index.v1+json"), 400)
    assert repository.get(reference).status in (400, 404)
    assert repository.ask("GET", f"blobs/{reference}").status in (400, 404)
    assert repository.ask("DELETE", f"blobs/{reference}").status in (400, 404, 405)
    assert repository.ask("GET", f"referrers/{reference}").status in (400, 404)


@pytest.mark.parametrize("name", ["Upper/Case", "dots..dots", "-leading", "trailing-", "under___score", "a/../b"])
def test_what_is_no_name_is_refused(registry: Registry, name: str) -> None:
    refused = (400, 404) if registry.strict else (301, 400, 404)  # some tidy up the path first
    for path in ("tags/list", f"manifests/{digest_of(b'')}", f"blobs/{digest_of(b'')}"):
        assert registry.ask("GET", f"/v2/{name}/{path}").status in refused
    assert registry.ask("POST", f"/v2/{name}/blobs/uploads/", b"").status in refused


@pytest.mark.parametrize("tag", ["-leading", ".leading", "a" * 129, "sp%20ace", "semi;colon"])
def test_what_is_no_tag_is_refused(repository: Repository, tag: str) -> None:
    raw = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
    answer = repository.put(raw, tag, "application/vnd.oci.image.index.v1+json")
    assert answer.status in (400, 404)
    assert repository.tags() == []

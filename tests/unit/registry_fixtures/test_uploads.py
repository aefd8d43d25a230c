from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from registry_fixtures.faults import CutUpload, Fault, FaultPlan
from registry_fixtures.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.registry import ServedRegistry
    from tests.unit.registry_fixtures.conftest import Ask, Reply

DATA = bytes(range(256)) * 1024  # over what the depot keeps in memory
OCTETS = {"Content-Type": "application/octet-stream"}


def _begin(ask: Ask, registry: ServedRegistry) -> str:
    begun = ask(registry.host, "POST", "/v2/a/b/blobs/uploads/")
    assert (begun.status, begun.headers["Range"]) == (202, "0-0")
    return begun.headers["Location"]


def _finish(ask: Ask, registry: ServedRegistry, location: str, data: bytes, body: bytes = b"") -> Reply:
    return ask(registry.host, "PUT", f"{location}&digest={Digest.of(data)}", body=body, headers=OCTETS)


def _stored(registry: ServedRegistry, data: bytes) -> bool:
    held = registry.holdings.find("a/b")
    return held is not None and Digest.of(data) in held.blobs and registry.holdings.depot.read(Digest.of(data)) == data


def test_a_blob_goes_up_in_one_put(registry: ServedRegistry, ask: Ask) -> None:
    done = _finish(ask, registry, _begin(ask, registry), DATA, DATA)
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, str(Digest.of(DATA)))
    assert _stored(registry, DATA)
    assert registry.registry.uploads.open_sessions == 0


def test_a_blob_goes_up_in_one_post(registry: ServedRegistry, ask: Ask) -> None:
    done = ask(registry.host, "POST", f"/v2/a/b/blobs/uploads/?digest={Digest.of(DATA)}", body=DATA, headers=OCTETS)
    assert done.status == 201
    assert _stored(registry, DATA)


def test_without_single_posts_a_session_comes_back(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(single_post=False))
    begun = ask(registry.host, "POST", f"/v2/a/b/blobs/uploads/?digest={Digest.of(DATA)}", body=DATA, headers=OCTETS)
    assert begun.status == 202
    assert not _stored(registry, DATA)


def test_chunks_are_taken_in_order_only(registry: ServedRegistry, ask: Ask) -> None:
    location = _begin(ask, registry)
    half = len(DATA) // 2
    late = ask(
        registry.host,
        "PATCH",
        location,
        body=DATA[half:],
        headers={**OCTETS, "Content-Range": f"{half}-{len(DATA) - 1}"},
    )
    assert (late.status, late.headers["Range"]) == (416, "0-0")
    first = ask(
        registry.host, "PATCH", location, body=DATA[:half], headers={**OCTETS, "Content-Range": f"0-{half - 1}"}
    )
    assert (first.status, first.headers["Range"]) == (202, f"0-{half - 1}")
    looked = ask(registry.host, "GET", first.headers["Location"])
    assert (looked.status, looked.headers["Range"]) == (204, f"0-{half - 1}")
    second = ask(
        registry.host,
        "PATCH",
        looked.headers["Location"],
        body=DATA[half:],
        headers={**OCTETS, "Content-Range": f"{half}-{len(DATA) - 1}"},
    )
    assert _finish(ask, registry, second.headers["Location"], DATA).status == 201
    assert _stored(registry, DATA)


def test_a_content_range_that_lies_about_the_length_is_refused(registry: ServedRegistry, ask: Ask) -> None:
    wrong = {**OCTETS, "Content-Range": "0-99"}
    assert ask(registry.host, "PATCH", _begin(ask, registry), body=b"short", headers=wrong).status == 416


def test_bytes_of_another_digest_are_not_committed(registry: ServedRegistry, ask: Ask) -> None:
    refused = _finish(ask, registry, _begin(ask, registry), DATA, b"other bytes")
    assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (400, "DIGEST_INVALID")
    assert not _stored(registry, DATA)


def test_a_location_must_be_used_as_it_was_given(registry: ServedRegistry, ask: Ask) -> None:
    bare = _begin(ask, registry).partition("?")[0]
    refused = ask(registry.host, "PUT", f"{bare}?digest={Digest.of(b'x')}", body=b"x")
    assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (404, "BLOB_UPLOAD_INVALID")


def test_an_old_location_destroys_a_fragile_session(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(fragile_uploads=True))
    first = _begin(ask, registry)
    newer = ask(registry.host, "PATCH", first, body=b"one", headers=OCTETS).headers["Location"]
    assert ask(registry.host, "PATCH", first, body=b"two", headers=OCTETS).status == 404
    assert ask(registry.host, "GET", newer).status == 404


def test_a_chunk_that_broke_off_is_continued_where_it_stands(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    registry = registry_factory(faults=FaultPlan(Fault(CutUpload(1000), method="PATCH", nth=1)))
    location = _begin(ask, registry)
    with pytest.raises(OSError):  # noqa: PT011 -- reset or end of file, as the kernel pleases
        ask(registry.host, "PATCH", location, body=DATA, headers=OCTETS)
    looked = ask(registry.host, "GET", location)
    assert looked.headers["Range"] == "0-999"
    assert _finish(ask, registry, looked.headers["Location"], DATA, DATA[1000:]).status == 201


def test_a_cancelled_session_is_gone(registry: ServedRegistry, ask: Ask) -> None:
    location = _begin(ask, registry)
    assert ask(registry.host, "DELETE", location).status == 204
    assert ask(registry.host, "GET", location).status == 404


@pytest.mark.parametrize(("source", "status"), [("c/d", 201), ("a/b", 202), ("no/where", 202)])
def test_a_blob_is_mounted_from_a_repository_that_holds_it(
    registry: ServedRegistry, ask: Ask, source: str, status: int
) -> None:
    digest = registry.holdings.put_blob("c/d", DATA)
    mounted = ask(registry.host, "POST", f"/v2/a/b/blobs/uploads/?mount={digest}&from={source}")
    assert mounted.status == status
    assert _stored(registry, DATA) == (status == 201)


def test_mounting_can_be_switched_off(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(mount=False))
    digest = registry.holdings.put_blob("c/d", DATA)
    assert ask(registry.host, "POST", f"/v2/a/b/blobs/uploads/?mount={digest}&from=c/d").status == 202


def test_a_proxy_limits_puts_and_lets_chunks_through(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(put_limit=10))
    location = _begin(ask, registry)
    assert _finish(ask, registry, location, b"x" * 11, b"x" * 11).status == 413
    patched = ask(registry.host, "PATCH", location, body=b"x" * 11, headers=OCTETS)
    assert _finish(ask, registry, patched.headers["Location"], b"x" * 11).status == 201


def test_short_chunks_are_refused_where_a_least_length_was_announced(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    registry = registry_factory(features=Features(chunk_min_length=4))
    begun = ask(registry.host, "POST", "/v2/a/b/blobs/uploads/")
    assert begun.headers["OCI-Chunk-Min-Length"] == "4"
    location = ask(registry.host, "PATCH", begun.headers["Location"], body=b"abc", headers=OCTETS).headers["Location"]
    assert ask(registry.host, "PATCH", location, body=b"def", headers=OCTETS).status == 400


def test_a_location_may_be_relative(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(relative_locations=True))
    assert _begin(ask, registry).startswith("/v2/a/b/blobs/uploads/")


@pytest.mark.parametrize(("supported", "status"), [(True, 201), (False, 400)])
def test_sha512_is_a_feature(
    registry_factory: Callable[..., ServedRegistry], ask: Ask, *, supported: bool, status: int
) -> None:
    registry = registry_factory(features=Features(sha512=supported))
    digest = Digest.of(DATA, "sha512")
    location = _begin(ask, registry)
    assert ask(registry.host, "PUT", f"{location}&digest={digest}", body=DATA, headers=OCTETS).status == status

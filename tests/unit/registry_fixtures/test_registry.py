from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from registry_fixtures.accounts import Accounts
from registry_fixtures.cdn import Cdn
from registry_fixtures.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.registry import ServedRegistry
    from tests.unit.registry_fixtures.conftest import Ask


def _descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def _manifest(subject: dict[str, Any] | None = None, **more: Any) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(b"{}", OCI_CONFIG),
        "layers": [_descriptor(b"layer", OCI_LAYER)],
        **more,
    }
    return canonical_json({**document, "subject": subject} if subject else document)


def _fill(
    registry: ServedRegistry, repository: str = "a/b", tag: str | None = "v1", raw: bytes | None = None
) -> Digest:
    registry.holdings.put_blob(repository, b"{}")
    registry.holdings.put_blob(repository, b"layer")
    return registry.holdings.put_manifest(repository, raw or _manifest(), tag=tag).descriptor.digest


def _put(ask: Ask, host: str, raw: bytes, where: str = "a/b/manifests/v1", media_type: str = OCI_MANIFEST) -> Any:
    return ask(host, "PUT", f"/v2/{where}", body=raw, headers={"Content-Type": media_type})


def test_a_manifest_is_found_by_tag_and_by_digest(registry: ServedRegistry, ask: Ask) -> None:
    digest = _fill(registry)
    for reference in ("v1", str(digest)):
        found = ask(registry.host, "GET", f"/v2/a/b/manifests/{reference}")
        assert (found.status, found.body) == (200, _manifest())
        assert found.headers["Docker-Content-Digest"] == str(digest)
        assert found.headers["Content-Type"] == OCI_MANIFEST
    head = ask(registry.host, "HEAD", "/v2/a/b/manifests/v1")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(_manifest())))


def test_an_accept_that_lacks_the_stored_type_finds_nothing(registry: ServedRegistry, ask: Ask) -> None:
    _fill(registry)
    found = ask(registry.host, "GET", "/v2/a/b/manifests/v1", headers={"Accept": f"{OCI_INDEX}, */*"})
    assert (found.status, json.loads(found.body)["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")


def test_a_known_etag_is_not_sent_again(registry: ServedRegistry, ask: Ask) -> None:
    digest = _fill(registry)
    found = ask(registry.host, "GET", "/v2/a/b/manifests/v1", headers={"If-None-Match": f'"{digest}"'})
    assert (found.status, found.body) == (304, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/a/b/manifests/absent", 404, "MANIFEST_UNKNOWN"),
        ("/v2/no/such/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/a/b/manifests/sha256:short", 400, "DIGEST_INVALID"),
        (f"/v2/a/b/blobs/{Digest.of(b'absent')}", 404, "BLOB_UNKNOWN"),
        ("/v2/a/b/blobs/nonsense", 400, "DIGEST_INVALID"),
        ("/v2/no/such/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/A/B/tags/list", 400, "NAME_INVALID"),
        ("/v2/a/b", 404, "NOT_FOUND"),
        ("/elsewhere", 404, "NOT_FOUND"),
    ],
)
def test_what_is_not_there_is_refused_with_the_codes_of_the_spec(
    registry: ServedRegistry, ask: Ask, path: str, status: int, code: str
) -> None:
    _fill(registry)
    found = ask(registry.host, "GET", path)
    assert (found.status, json.loads(found.body)["errors"][0]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=3-2", 416, b"", "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_a_blob_is_read_by_range(
    registry: ServedRegistry, ask: Ask, asked: str, status: int, body: bytes, content_range: str | None
) -> None:
    digest = registry.holdings.put_blob("a/b", b"0123456789")
    found = ask(registry.host, "GET", f"/v2/a/b/blobs/{digest}", headers={"Range": asked})
    assert (found.status, found.body, found.headers["Content-Range"]) == (status, body, content_range)


def test_a_range_of_another_content_gets_everything(registry: ServedRegistry, ask: Ask) -> None:
    digest = registry.holdings.put_blob("a/b", b"0123456789")
    headers = {"Range": "bytes=5-", "If-Range": '"something else"'}
    assert ask(registry.host, "GET", f"/v2/a/b/blobs/{digest}", headers=headers).status == 200


def test_blobs_do_not_cross_repositories(registry: ServedRegistry, ask: Ask) -> None:
    digest = registry.holdings.put_blob("a/b", b"data")
    assert ask(registry.host, "HEAD", f"/v2/a/b/blobs/{digest}").status == 200
    assert ask(registry.host, "HEAD", f"/v2/a/c/blobs/{digest}").status == 404


def test_a_pushed_manifest_needs_its_children_first(registry: ServedRegistry, ask: Ask) -> None:
    refused = _put(ask, registry.host, _manifest())
    assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (400, "MANIFEST_BLOB_UNKNOWN")
    registry.holdings.put_blob("a/b", b"{}")
    registry.holdings.put_blob("a/b", b"layer")
    done = _put(ask, registry.host, _manifest())
    assert (done.status, done.headers["Docker-Content-Digest"]) == (201, str(Digest.of(_manifest())))


@pytest.mark.parametrize(("sparse", "status"), [(False, 400), (True, 201)])
def test_an_index_of_absent_children_is_a_feature(
    registry_factory: Callable[..., ServedRegistry], ask: Ask, *, sparse: bool, status: int
) -> None:
    registry = registry_factory(features=Features(sparse_indexes=sparse))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_descriptor(_manifest(), OCI_MANIFEST)]}
    assert _put(ask, registry.host, canonical_json(index), media_type=OCI_INDEX).status == status


@pytest.mark.parametrize(
    ("raw", "where", "media_type", "code"),
    [
        (b"no json", "a/b/manifests/v1", OCI_MANIFEST, "MANIFEST_INVALID"),
        (_manifest(), "a/b/manifests/v1", "application/json", "MANIFEST_INVALID"),
        (_manifest(), "a/b/manifests/v1", OCI_INDEX, "MANIFEST_INVALID"),
        (_manifest(), f"a/b/manifests/{Digest.of(b'other')}", OCI_MANIFEST, "MANIFEST_INVALID"),
        (_manifest(), "a/b/manifests/.bad", OCI_MANIFEST, "TAG_INVALID"),
    ],
)
def test_a_bad_manifest_is_refused(
    registry: ServedRegistry, ask: Ask, raw: bytes, where: str, media_type: str, code: str
) -> None:
    _fill(registry)
    refused = _put(ask, registry.host, raw, where, media_type)
    assert (refused.status, json.loads(refused.body)["errors"][0]["code"]) == (400, code)


def test_a_manifest_over_4_mib_is_refused(registry: ServedRegistry) -> None:
    from registry_fixtures.exchange import Request  # noqa: PLC0415

    class Endless:
        def read(self, size: int = -1, /) -> bytes:
            return b" " * size

    request = Request(method="PUT", path="/v2/a/b/manifests/v1", body=Endless())
    assert registry.registry.handle(request).status == 413


def test_referrers_are_listed_filtered_and_paged(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(page_size=1))
    subject = _descriptor(_manifest(), OCI_MANIFEST)
    digest = _fill(registry)
    for kind in ("x/one", "x/two"):
        raw = _manifest(subject, artifactType=kind, annotations={"kind": kind})
        put = _put(ask, registry.host, raw, f"a/b/manifests/{Digest.of(raw)}")
        assert (put.status, put.headers["OCI-Subject"]) == (201, str(digest))
    path, kinds = f"/v2/a/b/referrers/{digest}", []
    while path:
        page = ask(registry.host, "GET", path)
        entries = json.loads(page.body)["manifests"]
        kinds += [(entry["artifactType"], entry["annotations"]["kind"]) for entry in entries]
        link = page.headers["Link"]
        path = link.partition("<")[2].partition(">")[0] if link else ""
    assert sorted(kinds) == [("x/one", "x/one"), ("x/two", "x/two")]
    filtered = ask(registry.host, "GET", f"/v2/a/b/referrers/{digest}?artifactType=x/two")
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert [entry["artifactType"] for entry in json.loads(filtered.body)["manifests"]] == ["x/two"]
    unknown = ask(registry.host, "GET", f"/v2/new/one/referrers/{digest}")
    assert (unknown.status, json.loads(unknown.body)["manifests"]) == (200, [])


def test_without_the_referrers_api_there_is_no_oci_subject(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    registry = registry_factory(features=Features(referrers_api=False))
    digest = _fill(registry)
    put = _put(ask, registry.host, _manifest(_descriptor(_manifest(), OCI_MANIFEST)), "a/b/manifests/ref")
    assert (put.status, put.headers["OCI-Subject"]) == (201, None)
    assert ask(registry.host, "GET", f"/v2/a/b/referrers/{digest}").status == 404


def test_tags_and_the_catalog_come_in_pages(registry: ServedRegistry, ask: Ask) -> None:
    for tag in ("c", "a", "b"):
        _fill(registry, "a/b", tag)
    _fill(registry, "z/z")
    first = ask(registry.host, "GET", "/v2/a/b/tags/list?n=2")
    assert json.loads(first.body) == {"name": "a/b", "tags": ["a", "b"]}
    following = first.headers["Link"].partition("<")[2].partition(">")[0]
    assert json.loads(ask(registry.host, "GET", following).body)["tags"] == ["c"]
    assert json.loads(ask(registry.host, "GET", "/v2/a/b/tags/list?n=0").body)["tags"] == []
    assert ask(registry.host, "GET", "/v2/a/b/tags/list?n=x").status == 400
    assert json.loads(ask(registry.host, "GET", "/v2/_catalog").body)["repositories"] == ["a/b", "z/z"]


def test_deleting_a_digest_takes_its_tags_along(registry: ServedRegistry, ask: Ask) -> None:
    digest = _fill(registry, tag="one")
    _fill(registry, tag="two")
    assert ask(registry.host, "DELETE", "/v2/a/b/manifests/one").status == 202
    assert ask(registry.host, "GET", "/v2/a/b/manifests/two").status == 200
    assert ask(registry.host, "DELETE", f"/v2/a/b/manifests/{digest}").status == 202
    assert ask(registry.host, "GET", "/v2/a/b/manifests/two").status == 404


def test_a_read_only_registry_refuses_every_change(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(features=Features(read_only=True))
    digest = _fill(registry)
    assert ask(registry.host, "POST", "/v2/a/b/blobs/uploads/").status == 405
    assert ask(registry.host, "DELETE", f"/v2/a/b/manifests/{digest}").status == 405
    assert ask(registry.host, "GET", "/v2/a/b/manifests/v1").status == 200


def test_blobs_may_lie_at_another_host_that_takes_no_credentials(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    cdn = Cdn()
    with cdn.serve() as storage:
        registry = registry_factory(features=Features(redirect_blobs=f"{storage.url}/blobs"))
        digest = registry.holdings.put_blob("a/b", b"data")
        cdn.depot.put(b"data")
        moved = ask(registry.host, "GET", f"/v2/a/b/blobs/{digest}")
        path = moved.headers["Location"].removeprefix(storage.url)
        assert moved.status == 307
        assert ask(storage.host, "GET", path).body == b"data"
        assert ask(storage.host, "GET", path, headers={"Authorization": "Bearer x"}).status == 400


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def test_basic_credentials_decide_who_pulls_and_who_pushes(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    accounts = Accounts(scheme="basic", users={"robot": "r", "eye": "e"}, readers=frozenset({"eye"}))
    registry = registry_factory(accounts=accounts)
    _fill(registry)
    for headers, ping, pull, push in (
        ({}, 401, 401, 401),
        (_basic("robot", "wrong"), 401, 401, 401),
        (_basic("eye", "e"), 200, 200, 401),
        (_basic("robot", "r"), 200, 200, 202),
    ):
        assert ask(registry.host, "GET", "/v2/", headers=headers).status == ping
        assert ask(registry.host, "GET", "/v2/a/b/manifests/v1", headers=headers).status == pull
        assert ask(registry.host, "POST", "/v2/a/b/blobs/uploads/", headers=headers).status == push


def test_a_token_opens_what_it_was_asked_for_and_nothing_else(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    registry = registry_factory(accounts=Accounts(scheme="token", users={"robot": "r"}))
    _fill(registry)
    challenge = ask(registry.host, "GET", "/v2/a/b/manifests/v1").headers["WWW-Authenticate"]
    assert 'scope="repository:a/b:pull"' in challenge
    service = challenge.partition('service="')[2].partition('"')[0]
    token_path = f"/token?service={service}&scope=repository:a/b:pull"
    assert ask(registry.host, "GET", token_path, headers=_basic("robot", "wrong")).status == 401
    answer = json.loads(ask(registry.host, "GET", token_path, headers=_basic("robot", "r")).body)
    bearer = {"Authorization": f"Bearer {answer['token']}"}
    assert ask(registry.host, "GET", "/v2/a/b/manifests/v1", headers=bearer).status == 200
    assert ask(registry.host, "POST", "/v2/a/b/blobs/uploads/", headers=bearer).status == 401
    assert ask(registry.host, "GET", "/v2/a/c/tags/list", headers=bearer).status == 401
    registry.registry.gate.expire_tokens()
    assert ask(registry.host, "GET", "/v2/a/b/manifests/v1", headers=bearer).status == 401


def test_a_mount_names_both_repositories_in_its_challenge(
    registry_factory: Callable[..., ServedRegistry], ask: Ask
) -> None:
    registry = registry_factory(accounts=Accounts(scheme="token", anonymous_pull=True))
    path = f"/v2/a/b/blobs/uploads/?mount={Digest.of(b'x')}&from=c/d"
    challenge = ask(registry.host, "POST", path).headers["WWW-Authenticate"]
    assert 'scope="repository:a/b:pull,push repository:c/d:pull"' in challenge


def test_the_log_keeps_schemes_and_no_secrets(registry: ServedRegistry, ask: Ask) -> None:
    digest = registry.holdings.put_blob("a/b", b"data")
    ask(registry.host, "GET", f"/v2/a/b/blobs/{digest}", headers={"Authorization": "Bearer secret"})
    entry = registry.requests.entries("GET", "/v2/*/blobs/*")[0]
    assert (entry.status, entry.sent, entry.authorization) == (200, 4, "Bearer")
    assert "secret" not in repr(entry)

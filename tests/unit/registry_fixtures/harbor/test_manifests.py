"""Rows 19 to 30, 72 and 73: manifests pulled, pushed and deleted."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from mirror.oci.manifest import canonical_json
from mirror.oci.mediatype import (
    ACCEPT_MANIFESTS,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)
from registry_fixtures.harbor import Settings
from tests.unit.registry_fixtures.harbor.conftest import CONFIG, LAYER, Client, descriptor, image, index

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture

ABSENT = f"sha256:{'0' * 64}"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_pushed_is_pulled_by_tag_and_digest(pusher: Client, method: str) -> None:
    digest = pusher.push_image("lab/app")
    for reference in ("v1", str(digest)):
        reply = pusher.ask(method, f"/v2/lab/app/manifests/{reference}")
        assert reply.status == 200
        assert reply.body == (image() if method == "GET" else b"")
        assert reply.headers["Content-Length"] == str(len(image()))
        assert reply.headers["Docker-Content-Digest"] == str(digest)
        assert reply.headers["Etag"] == f'"{digest}"'
        assert reply.headers["Content-Type"] == OCI_MANIFEST


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("lab/app/manifests/none", "artifact lab/app:none not found"),
        (f"lab/app/manifests/{ABSENT}", f"artifact lab/app@{ABSENT} not found"),
        ("lab/zzz/manifests/none", "repository lab/zzz not found"),
        ("lab/app/manifests/-bad-", "artifact lab/app:-bad- not found"),
    ],
)
def test_what_is_absent_is_not_found_in_harbors_own_words(pusher: Client, path: str, message: str) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", f"/v2/{path}")
    assert (reply.status, reply.code, reply.message) == (404, "NOT_FOUND", message)
    assert pusher.ask("HEAD", f"/v2/{path}").status == 404


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/vnd.oci.image.*", DOCKER_MANIFEST, "application/json", OCI_INDEX]
)
def test_an_accept_without_the_very_type_finds_nothing(pusher: Client, accept: str) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", "/v2/lab/app/manifests/v1", accept=accept)
    assert (reply.status, reply.code) == (404, "MANIFEST_UNKNOWN")
    assert pusher.ask("HEAD", "/v2/lab/app/manifests/v1", accept=accept).status == 404


@pytest.mark.parametrize("accept", [f"text/html, {OCI_MANIFEST};q=0.5", ACCEPT_MANIFESTS])
def test_an_accept_may_weigh_its_types(pusher: Client, accept: str) -> None:
    pusher.push_image("lab/app")
    assert pusher.ask("GET", "/v2/lab/app/manifests/v1", accept=accept).status == 200


def test_a_docker_manifest_needs_no_accept(pusher: Client) -> None:
    raw = image(mediaType=DOCKER_MANIFEST)
    for data in (CONFIG, LAYER):
        pusher.push_blob("lab/app", data)
    assert pusher.put("lab/app", "v1", raw, DOCKER_MANIFEST).status == 201
    assert pusher.ask("GET", "/v2/lab/app/manifests/v1", accept="").body == raw


def test_with_the_manifest_cache_no_accept_is_looked_at(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(settings=Settings(manifest_cache=True))
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    admin.push_image("library/app")
    assert admin.ask("GET", "/v2/library/app/manifests/v1", accept="").status == 200


@pytest.mark.parametrize("quotes", ['"', ""])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_known_digest_is_not_sent_again_and_the_answer_is_bare(pusher: Client, method: str, quotes: str) -> None:
    digest = pusher.push_image("lab/app")
    reply = pusher.ask(method, "/v2/lab/app/manifests/v1", headers={"If-None-Match": f"{quotes}{digest}{quotes}"})
    assert (reply.status, reply.body) == (304, b"")
    assert (
        pusher.ask(method, "/v2/lab/app/manifests/v1", accept="", headers={"If-None-Match": str(digest)}).status == 304
    )
    assert not {"Etag", "Docker-Content-Digest", "Content-Type"} & set(reply.headers)


def test_a_pushed_manifest_is_located_by_its_digest(pusher: Client) -> None:
    digest = pusher.push_image("lab/app")
    reply = pusher.put("lab/app", "v2", image(), f"{OCI_MANIFEST}; charset=utf-8")
    assert reply.status == 201
    assert reply.headers["Location"] == f"http://{pusher.host}/v2/lab/app/manifests/{digest}"
    assert reply.headers["Docker-Content-Digest"] == str(digest)
    assert "OCI-Subject" not in reply.headers


def test_a_manifest_with_a_subject_says_so_though_the_subject_is_missing(pusher: Client) -> None:
    pusher.push_image("lab/app")
    reply = pusher.put("lab/app", "x", image(subject=descriptor(b"missing", OCI_MANIFEST)))
    assert (reply.status, reply.headers["OCI-Subject"]) == (201, str(Digest.of(b"missing")))


def test_an_oci_manifest_may_be_without_its_media_type(pusher: Client) -> None:
    document = json.loads(image())
    del document["mediaType"]
    pusher.push_image("lab/app", raw=canonical_json(document))


def test_every_missing_part_is_named_in_an_error_of_its_own(pusher: Client) -> None:
    reply = pusher.put("lab/app", "v1", image())
    assert reply.status == 400
    errors = reply.json["errors"]
    assert [error["code"] for error in errors] == ["MANIFEST_BLOB_UNKNOWN"] * 2
    assert [error["detail"] for error in errors] == [str(Digest.of(data)) for data in (CONFIG, LAYER)]


def test_a_sparse_index_is_refused_also_when_its_child_is_in_another_repository(pusher: Client) -> None:
    pusher.push_image("lab/other")
    reply = pusher.put("lab/app", "v1", index(image()), OCI_INDEX)
    assert (reply.status, reply.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert reply.json["errors"][0]["detail"] == str(Digest.of(image()))


def test_a_child_that_was_deleted_here_but_not_collected_is_not_found(owner: Client) -> None:
    digest = owner.push_image("lab/app", "")
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}").status == 202
    reply = owner.put("lab/app", "v1", index(image()), OCI_INDEX)
    assert (reply.status, reply.code) == (404, "NOT_FOUND")
    assert reply.message == f"artifact lab/app@{digest} not found"
    assert owner.put("lab/app", str(digest), image()).status == 201
    assert owner.put("lab/app", "v1", index(image()), OCI_INDEX).status == 201


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/plain", "", "application/vnd.oci.artifact.manifest.v1+json"]
)
def test_an_unknown_type_is_read_as_a_signed_schema_1(pusher: Client, media_type: str) -> None:
    reply = pusher.put("lab/app", "v1", image(), media_type)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")
    assert reply.message == "unmarshal manifest failed: missing signature key"


def test_a_type_that_is_not_the_documents_is_invalid(pusher: Client) -> None:
    reply = pusher.put("lab/app", "v1", image(), DOCKER_MANIFEST)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}"])
def test_what_is_no_manifest_is_invalid(pusher: Client, raw: bytes) -> None:
    reply = pusher.put("lab/app", "v1", raw)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")


@pytest.mark.parametrize(("size", "status"), [(4 << 20, 201), ((4 << 20) + 1, 413)])
def test_a_manifest_may_have_4_mib(pusher: Client, size: int, status: int) -> None:
    pusher.push_image("lab/app")
    base = len(image(annotations={"fill": ""}))
    raw = image(annotations={"fill": "x" * (size - base)})
    reply = pusher.put("lab/app", "large", raw)
    assert reply.status == status
    if status == 413:
        assert reply.code == "REQUEST_ENTITY_TOO_LARGE"
    else:
        assert pusher.ask("GET", "/v2/lab/app/manifests/large").body == raw


def test_a_manifest_cannot_be_pushed_by_sha512_nor_by_another_digest(pusher: Client) -> None:
    pusher.push_image("lab/app")
    for reference in (str(Digest.of(image(), "sha512")), ABSENT):
        reply = pusher.put("lab/app", reference, image())
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    assert pusher.ask("GET", f"/v2/lab/app/manifests/{Digest.of(image(), 'sha512')}").status == 404


@pytest.mark.parametrize(("tag", "status"), [("-x", 400), ("x" * 129, 400), ("x" * 128, 201)])
def test_a_tag_has_the_usual_form_and_at_most_128_characters(pusher: Client, tag: str, status: int) -> None:
    pusher.push_image("lab/app")
    reply = pusher.put("lab/app", tag, image())
    assert reply.status == status
    if status == 400:
        assert (reply.code, reply.message) == ("BAD_REQUEST", f"bad request: invalid tag name: {tag}")


@pytest.mark.parametrize("changed", [False, True])
def test_an_immutable_tag_is_not_pushed_again_even_with_the_same_digest(
    harbor: HarborFixture, pusher: Client, *, changed: bool
) -> None:
    harbor.add_immutable_rule("lab", tags="v*")
    pusher.push_image("lab/sub/app")
    reply = pusher.put("lab/sub/app", "v1", image(annotations={"a": "b"}) if changed else image())
    assert (reply.status, reply.code) == (412, "PRECONDITION")
    assert reply.message == "Failed to process request due to 'sub/app:v1' configured as immutable."
    assert pusher.put("lab/sub/app", "latest", image()).status == 201


def test_a_push_by_digest_does_not_ask_for_immutable_tags_of_that_digest(harbor: HarborFixture, pusher: Client) -> None:
    harbor.add_immutable_rule("lab")
    digest = pusher.push_image("lab/app")
    assert pusher.put("lab/app", str(digest), image()).status == 201


@pytest.mark.parametrize("tag", ["v1", "never"])
def test_a_tag_cannot_be_deleted(owner: Client, tag: str) -> None:
    owner.push_image("lab/app")
    reply = owner.ask("DELETE", f"/v2/lab/app/manifests/{tag}")
    assert (reply.status, reply.code) == (400, "UNSUPPORTED")
    assert reply.message == f"unsupported digest {tag}: invalid checksum digest format"


def test_deleting_a_digest_takes_its_tags_and_accessories(owner: Client) -> None:
    digest = owner.push_image("lab/app")
    owner.push_image("lab/app", "also")
    attached = image(subject=descriptor(image(), OCI_MANIFEST), artifactType="application/vnd.acme")
    owner.push_image("lab/app", "", attached)
    signature = image(layers=[descriptor(LAYER, SIMPLE_SIGNING)])
    owner.push_image("lab/app", f"sha256-{digest.encoded}.sig", signature)
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}").status == 202
    for reference in ("v1", "also", digest, Digest.of(attached), Digest.of(signature)):
        assert owner.ask("HEAD", f"/v2/lab/app/manifests/{reference}").status == 404
    reply = owner.ask("GET", "/v2/lab/app/tags/list")
    assert (reply.status, reply.json["tags"]) == (200, [])
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}").code == "NOT_FOUND"


def test_a_child_of_an_index_cannot_be_deleted(owner: Client) -> None:
    digest = owner.push_image("lab/app", "")
    assert owner.put("lab/app", "v1", index(image()), OCI_INDEX).status == 201
    reply = owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}")
    assert (reply.status, reply.code) == (412, "VIOLATE_FOREIGN_KEY_CONSTRAINT")
    assert reply.message == "the deleting artifact is referenced by others"


def test_deleting_an_index_takes_the_children_that_nothing_else_holds(owner: Client) -> None:
    lonely, tagged, shared = (image(annotations={"n": name}) for name in ("lonely", "tagged", "shared"))
    owner.push_image("lab/app", "", lonely)
    owner.push_image("lab/app", "kept", tagged)
    owner.push_image("lab/app", "", shared)
    first, second = index(lonely, tagged, shared), index(shared)
    for raw, tag in ((first, "v1"), (second, "v2")):
        assert owner.put("lab/app", tag, raw, OCI_INDEX).status == 201
    assert owner.ask("DELETE", f"/v2/lab/app/manifests/{Digest.of(first)}").status == 202
    there = [owner.ask("HEAD", f"/v2/lab/app/manifests/{Digest.of(raw)}").status for raw in (lonely, tagged, shared)]
    assert there == [404, 200, 200]


def test_an_immutable_tag_keeps_its_digest_from_being_deleted(harbor: HarborFixture, owner: Client) -> None:
    digest = owner.push_image("lab/app")
    harbor.add_immutable_rule("lab")
    reply = owner.ask("DELETE", f"/v2/lab/app/manifests/{digest}")
    assert (reply.status, reply.code) == (412, "PRECONDITION")


def test_a_known_type_with_a_config_that_is_not_json_fails_inside(pusher: Client) -> None:
    pusher.push_blob("lab/app", b"not json")
    pusher.push_blob("lab/app", LAYER)
    reply = pusher.put("lab/app", "v1", image(config=descriptor(b"not json", OCI_CONFIG)))
    assert (reply.status, reply.code, reply.message) == (500, "UNKNOWN", "internal server error")
    raw = image(config=descriptor(b"not json", "application/vnd.acme.thing.config.v1+json"))
    assert pusher.put("lab/app", "v1", raw).status == 201


@pytest.mark.parametrize(
    ("media_type", "urls", "status"),
    [
        (f"{OCI_LAYER.replace('layer', 'layer.nondistributable')}", ["https://elsewhere.test/x"], 201),
        (f"{OCI_LAYER.replace('layer', 'layer.nondistributable')}", None, 400),
        (OCI_LAYER, ["https://elsewhere.test/x"], 400),
    ],
)
def test_only_a_foreign_layer_with_urls_need_not_be_here(
    pusher: Client, media_type: str, urls: list[str] | None, status: int
) -> None:
    pusher.push_image("lab/app")
    layer = descriptor(b"elsewhere", media_type, **({"urls": urls} if urls else {}))
    assert pusher.put("lab/app", "v1", image(layers=[layer])).status == status


def test_an_index_with_a_subject_may_be_empty(pusher: Client) -> None:
    raw = index(subject=descriptor(b"missing", OCI_MANIFEST))
    assert pusher.put("lab/app", str(Digest.of(raw)), raw, OCI_INDEX).status == 201


def test_a_docker_list_is_an_index(pusher: Client) -> None:
    pusher.push_image("lab/app", "")
    raw = index(image(), mediaType=DOCKER_LIST)
    assert pusher.put("lab/app", "v1", raw, DOCKER_LIST).status == 201


def test_only_a_get_counts_as_a_pull(harbor: HarborFixture, pusher: Client) -> None:
    digest = pusher.push_image("lab/app")
    pusher.ask("HEAD", "/v2/lab/app/manifests/v1")
    pusher.ask("GET", "/v2/lab/app/manifests/v1", headers={"If-None-Match": f'"{digest}"'})
    assert harbor.database.projects["lab"].repositories["lab/app"].pulls == 0
    pusher.ask("GET", "/v2/lab/app/manifests/v1")
    assert harbor.database.projects["lab"].repositories["lab/app"].pulls == 1


def test_pushes_at_once_do_not_get_in_each_others_way(pusher: Client) -> None:
    def push(number: int) -> int:
        repository, tag = ("lab/same", f"v{number}") if number % 2 else (f"lab/new{number}", "v1")
        for data in (CONFIG, LAYER):
            assert pusher.push_blob(repository, data).status == 201
        return pusher.put(repository, tag, image(annotations={"of": str(number // 4)})).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(push, range(24))) == {201}
    assert len(pusher.ask("GET", "/v2/lab/same/tags/list").json["tags"]) == 12

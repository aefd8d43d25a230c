from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.oci.digest import Digest
from mirror.oci.reference import check_repository
from mirror.server.message import RefusedError
from mirror.server.paths import Route, parse_path, tag_or_digest

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Route("page")),
        ("/healthz", Route("health")),
        ("/metrics", Route("metrics")),
        ("/v2", Route("api")),
        ("/v2/", Route("api")),
        ("/v2/_catalog", Route("catalog")),
        ("/files/releases/a.yaml", Route("file", "releases/a.yaml")),
        ("/v2/a/tags/list", Route("tags", "a")),
        ("/v2/a/b/manifests/v1", Route("manifest", "a/b", "v1")),
        (f"/v2/a/b/manifests/{DIGEST}", Route("manifest", "a/b", DIGEST)),
        (f"/v2/a/blobs/{DIGEST}", Route("blob", "a", DIGEST)),
        (f"/v2/a/referrers/{DIGEST}", Route("referrers", "a", DIGEST)),
        ("/v2/a/blobs/uploads/", Route("uploads", "a")),
        ("/v2/a/blobs/uploads", Route("uploads", "a")),
        ("/v2/a/blobs/uploads/0123456789abcdef", Route("upload", "a", "0123456789abcdef")),
        ("/v2/a/blobs/uploads/manifests/latest", Route("manifest", "a/blobs/uploads", "latest")),
        ("/v2/manifests/manifests/manifests", Route("manifest", "manifests", "manifests")),
        ("/v2/tags/list/tags/list", Route("tags", "tags/list")),
    ],
)
def test_a_path_is_read_from_its_end(path: str, route: Route) -> None:
    assert parse_path(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../etc/manifests/v1",
        "/v2/a/../b/manifests/v1",
        "/v2/a%2Fb/manifests/v1",
        "/v2/a;x=1/manifests/v1",
        "/v2/A/manifests/v1",
        "/v2//a/manifests/v1",
        "/v2/a//manifests/v1",
        "/v2/a/./tags/list",
        "/v2/a\x00/tags/list",
        "/v2/a\n/tags/list",
        "/v2/a\\b/tags/list",
        f"/v2/{'a' * 256}/tags/list",
        "/v2/é/tags/list",
        "/v2/blobs/uploads//blobs/uploads/",
    ],
)
def test_a_name_outside_the_grammar_is_refused(path: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_path(path)
    assert (caught.value.status, caught.value.code) == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/v1/",
        "/v2/a",
        "/v2/a/b",
        "/v2/manifests/v1",
        "/v2/tags/list",
        "/v3",
        "/v2/a/unknown/x",
        "/files",
        "/v2/a/tags/",
    ],
)
def test_an_unknown_endpoint_is_not_found(path: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_path(path)
    assert caught.value.status == 404


@pytest.mark.parametrize("session", ["..", "a/../b", "short", "a" * 129, "%2e%2e%2e%2e%2e", "abc.def.ghi"])
def test_an_odd_session_id_is_an_unknown_session_or_no_endpoint(session: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_path(f"/v2/a/blobs/uploads/{session}")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "text", [".hidden", "-x", "a" * 129, "sha256:abc", "md5:" + "a" * 32, "a:b:c", "é", "a;b", "a%2Fb"]
)
def test_a_bad_reference_is_absent_for_a_reader_and_invalid_for_a_writer(text: str) -> None:
    with pytest.raises(RefusedError) as reading:
        tag_or_digest(text, reading=True)
    with pytest.raises(RefusedError) as writing:
        tag_or_digest(text, reading=False)
    assert reading.value.status == 404
    assert writing.value.status == 400


def test_a_reference_is_a_tag_or_a_digest() -> None:
    assert tag_or_digest("v1.0", reading=True) == "v1.0"
    assert tag_or_digest(DIGEST, reading=False) == Digest.parse(DIGEST)


@given(st.text(max_size=80).map("/v2/".__add__) | st.text(max_size=80))
def test_every_path_is_a_route_with_a_valid_name_or_refused(path: str) -> None:
    try:
        route = parse_path(path)
    except RefusedError:
        return
    if route.name and route.kind != "file":
        assert check_repository(route.name) == route.name

"""Row 66 and the traps of the artifact lists; tags, copies and accessories by the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, HELM_CONFIG, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from registry_fixtures.harbor import Settings
from tests.unit.registry_fixtures.harbor.conftest import CONFIG, LAYER, Client, descriptor, image, index

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry_fixtures.harbor import HarborFixture

APP = "/projects/lab/repositories/app"


def named(name: str) -> bytes:
    return image(annotations={"name": name})


def tags(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [sorted(tag["name"] for tag in row["tags"] or []) for row in rows]


def test_slashes_in_a_repository_are_encoded_twice_behind_nginx(admin: Client) -> None:
    admin.push_image("lab/a/b")
    for shown, status in (("a%252Fb", 200), ("a%2Fb", 404), ("a/b", 404)):
        reply = admin.api("GET", f"/projects/lab/repositories/{shown}/artifacts/v1")
        assert reply.status == status
        if status == 404:
            assert reply.message == "path /api/v2.0/projects/lab/repositories/a/b/artifacts/v1 was not found"


def test_core_itself_takes_slashes_that_are_encoded_once(harbor_factory: Callable[..., HarborFixture]) -> None:
    harbor = harbor_factory(settings=Settings(nginx=False))
    admin = Client(harbor.host).basic("admin", "Harbor12345")
    admin.push_image("library/a/b")
    for shown, status in (("a%252Fb", 200), ("a%2Fb", 200), ("a/b", 404)):
        assert admin.api("GET", f"/projects/library/repositories/{shown}/artifacts/v1").status == status


def test_an_artifact_tells_of_itself(admin: Client) -> None:
    digest = admin.push_image("lab/app")
    found = admin.api("GET", f"{APP}/artifacts/v1").json
    assert found == admin.api("GET", f"{APP}/artifacts/{digest}").json
    assert (found["type"], found["media_type"], found["manifest_media_type"]) == ("IMAGE", OCI_CONFIG, OCI_MANIFEST)
    assert found["digest"] == str(digest)
    assert found["size"] == len(image()) + len(CONFIG) + len(LAYER)
    assert found["extra_attrs"] == {"architecture": "amd64", "os": "linux"}
    assert (found["repository_name"], tags([found])) == ("lab/app", [["v1"]])
    assert admin.api("GET", f"{APP}/artifacts/v1?with_tag=false").json["tags"] is None


def test_an_index_tells_of_its_children(admin: Client) -> None:
    admin.push_image("lab/app", "")
    raw = index(image())
    admin.put("lab/app", "v1", raw, OCI_INDEX)
    found = admin.api("GET", f"{APP}/artifacts/v1").json
    assert (found["type"], found["media_type"]) == ("IMAGE", OCI_INDEX)
    assert [entry["child_digest"] for entry in found["references"]] == [str(Digest.of(image()))]


@pytest.mark.parametrize(
    ("config", "kind"),
    [(HELM_CONFIG, "CHART"), ("application/vnd.acme.thing.config.v1+json", "THING"), ("application/x", "UNKNOWN")],
)
def test_the_type_comes_from_the_configs_media_type(admin: Client, config: str, kind: str) -> None:
    admin.push_image("lab/app", "v1", image(config=descriptor(CONFIG, config)))
    assert admin.api("GET", f"{APP}/artifacts/v1").json["type"] == kind


def test_what_is_absent_is_an_empty_list_or_not_found_and_hidden_from_robots(
    harbor: HarborFixture, admin: Client
) -> None:
    for path in ("/projects/lab/repositories/never/artifacts",):
        reply = admin.api("GET", path)
        assert (reply.status, reply.json, reply.headers["X-Total-Count"]) == (200, [], "0")
    assert admin.api("GET", "/projects/lab/repositories/never/artifacts/v1").code == "NOT_FOUND"
    robot = harbor.add_robot("lister")
    lister = admin.basic(robot.name, robot.secret)
    assert lister.api("GET", "/projects/nope/repositories/x/artifacts").status == 403
    assert lister.api("GET", "/projects/lab/repositories/never/artifacts").json == []


def test_even_an_unknown_project_is_an_empty_list_to_an_administrator(admin: Client) -> None:
    reply = admin.api("GET", "/projects/nope/repositories/x/artifacts")
    assert (reply.status, reply.json, reply.headers["X-Total-Count"]) == (200, [], "0")


@pytest.fixture
def family(admin: Client) -> Client:
    """``lab/app`` with an index, a child of it, a tagged child, an untagged and a tagged image, an accessory."""
    for tag, name in (("", "child"), ("kid", "tagged child"), ("", "untagged"), ("v2", "image")):
        admin.push_image("lab/app", tag, named(name))
    admin.put("lab/app", "v1", index(named("child"), named("tagged child")), OCI_INDEX)
    attached = image(subject=descriptor(named("image"), OCI_MANIFEST), artifactType="application/vnd.acme")
    admin.push_image("lab/app", "", attached)
    return admin


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [["v1"], ["v2"], [], ["kid"]]),
        ("?q=base=*", [["v1"], ["v2"], [], ["kid"], []]),
        ("?q=tags=nil", [[]]),
        ("?q=base=*,tags=nil", [[], []]),
        ("?q=tags=*", [["v1"], ["v2"], ["kid"]]),
        ("?q=tags=v2", [["v2"]]),
        ("?q=tags=~v", [["v1"], ["v2"]]),
        (f"?q=digest={Digest.of(named('image'))}", [["v2"]]),
        ("?q=media_type=nothing", []),
        ("?q=type={IMAGE%20CHART}", [["v1"], ["v2"], [], ["kid"]]),
        ("?q=tags%253Dnil", [[]]),
        ("?q=push_time=[2000-01-01~]", [["v1"], ["v2"], [], ["kid"]]),
        ("?q=bogus=1", [["v1"], ["v2"], [], ["kid"]]),
        ("?sort=bogus", [["v1"], ["v2"], [], ["kid"]]),
    ],
)
def test_lists_hide_children_and_accessories_and_ignore_what_they_do_not_know(
    family: Client, query: str, expected: list[list[str]]
) -> None:
    rows = family.api("GET", f"{APP}/artifacts{query}").json
    assert sorted(tags(rows)) == sorted(expected)


@pytest.mark.parametrize("query", ["tags", "tags=", "=v", "tags={v1%20kid}", "base=x", "push_time=[a]", "type={a"])
def test_a_query_that_cannot_be_read_is_a_bad_request(family: Client, query: str) -> None:
    assert family.api("GET", f"{APP}/artifacts?q={query}").code == "BAD_REQUEST"


def test_lists_come_in_pages(family: Client) -> None:
    reply = family.api("GET", f"{APP}/artifacts?page_size=3&with_tag=true")
    assert (len(reply.json), reply.headers["X-Total-Count"]) == (3, "4")
    assert reply.headers["Link"] == (
        '</api/v2.0/projects/lab/repositories/app/artifacts?page=2&page_size=3&with_tag=true>; rel="next"'
    )


def test_accessories_are_listed_with_their_subject_for_who_may(harbor: HarborFixture, pusher: Client) -> None:
    digest = pusher.push_image("lab/app")
    signature = image(layers=[descriptor(LAYER, COSIGN_SIMPLE_SIGNING)])
    pusher.push_image("lab/app", f"sha256-{digest.encoded}.sig", signature)
    assert pusher.api("GET", f"{APP}/artifacts/v1/accessories").status == 403
    robot = harbor.add_robot("lister")
    lister = pusher.basic(robot.name, robot.secret)
    (found,) = lister.api("GET", f"{APP}/artifacts/v1/accessories").json
    assert (found["type"], found["digest"]) == ("signature.cosign", str(Digest.of(signature)))
    assert found["subject_artifact_digest"] == str(digest)
    (shown,) = lister.api("GET", f"{APP}/artifacts?with_accessory=true").json
    assert shown["accessories"] == [found]
    assert lister.api("GET", f"{APP}/artifacts").json[0]["accessories"] is None


@pytest.mark.parametrize(
    ("artifact_type", "kind"),
    [
        ("application/vnd.dev.cosign.artifact.sig.v1+json", "signature.cosign"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "signature.cosign"),
        ("application/vnd.cncf.notary.signature", "signature.notation"),
        ("application/vnd.goharbor.harbor.sbom.v1", "sbom.harbor"),
        ("application/vnd.acme", "subject.accessory"),
    ],
)
def test_the_type_of_an_accessory_comes_from_its_artifact_type(admin: Client, artifact_type: str, kind: str) -> None:
    admin.push_image("lab/app")
    subject = descriptor(image(), OCI_MANIFEST)
    admin.push_image("lab/app", "", image(subject=subject, artifactType=artifact_type))
    assert [row["type"] for row in admin.api("GET", f"{APP}/artifacts/v1/accessories").json] == [kind]


def test_a_config_of_an_accessorys_type_counts_too(admin: Client) -> None:
    admin.push_image("lab/app")
    config = descriptor(CONFIG, "application/vnd.cncf.notary.signature")
    admin.push_image("lab/app", "", image(subject=descriptor(image(), OCI_MANIFEST), config=config))
    assert [row["type"] for row in admin.api("GET", f"{APP}/artifacts/v1/accessories").json] == ["signature.notation"]


def test_tags_are_added_and_deleted_one_by_one(harbor: HarborFixture, admin: Client) -> None:
    digest = admin.push_image("lab/app")
    path = f"{APP}/artifacts/{digest}/tags"
    assert admin.api("POST", path, {"name": "v2"}).status == 201
    assert admin.api("POST", path, {"name": "v2"}).code == "CONFLICT"
    assert admin.ask("HEAD", "/v2/lab/app/manifests/v2").headers["Docker-Content-Digest"] == str(digest)
    assert [row["name"] for row in admin.api("GET", path).json] == ["v1", "v2"]
    assert admin.api("DELETE", f"{path}/v2").status == 200
    assert admin.api("DELETE", f"{path}/v2").status == 404
    harbor.add_immutable_rule("lab")
    shown = admin.api("GET", f"{path}?with_immutable_status=true").json
    assert [row["immutable"] for row in shown] == [True]
    reply = admin.api("DELETE", f"{path}/v1")
    assert (reply.status, reply.code) == (412, "PRECONDITION")
    assert admin.api("DELETE", APP).status == 412


def test_a_copy_takes_along_children_accessories_and_all_tags(admin: Client) -> None:
    admin.push_image("lab/app", "", named("child"))
    raw = index(named("child"))
    for tag in ("v1", "also"):
        admin.put("lab/app", tag, raw, OCI_INDEX)
    digest = Digest.of(raw)
    signature = image(layers=[descriptor(LAYER, COSIGN_SIMPLE_SIGNING)])
    admin.push_image("lab/app", f"sha256-{digest.encoded}.sig", signature)
    admin.push_image("lab/app", f"sha256-{digest.encoded}.att", named("attestation"))
    reply = admin.api("POST", "/projects/pub/repositories/b%252Fc/artifacts?from=lab/app:v1")
    assert reply.status == 201
    assert reply.headers["Location"].endswith("/artifacts/v1")
    found = admin.ask("GET", "/v2/pub/b/c/tags/list").json["tags"]
    assert found == ["also", f"sha256-{digest.encoded}.sig", "v1"]
    assert admin.ask("GET", f"/v2/pub/b/c/manifests/{Digest.of(named('child'))}").status == 200
    assert admin.ask("HEAD", f"/v2/pub/b/c/blobs/{Digest.of(LAYER)}").status == 200
    assert len(admin.ask("GET", f"/v2/pub/b/c/referrers/{digest}").json["manifests"]) == 1


def test_a_copy_is_refused_where_it_cannot_be(harbor: HarborFixture, admin: Client) -> None:
    digest = admin.push_image("lab/app")
    signature = image(layers=[descriptor(LAYER, COSIGN_SIMPLE_SIGNING)])
    admin.push_image("lab/app", f"sha256-{digest.encoded}.sig", signature)
    harbor.add_project("prox", proxy=True)
    harbor.add_project("small", quota=1)

    def copy(project: str, source: str) -> tuple[int, str]:
        reply = admin.api("POST", f"/projects/{project}/repositories/x/artifacts?from={source}")
        return reply.status, reply.code

    assert copy("pub", "lab/app:nonex") == (400, "BAD_REQUEST")
    assert copy("pub", f"lab/app@{Digest.of(signature)}") == (403, "DENIED")
    assert copy("prox", "lab/app:v1") == (405, "METHOD_NOT_ALLOWED")
    assert copy("small", "lab/app:v1") == (403, "DENIED")
    assert copy("pub", "nonsense") == (400, "BAD_REQUEST")


def test_an_artifact_is_deleted_as_by_the_registry_api(admin: Client) -> None:
    child = admin.push_image("lab/app", "")
    admin.put("lab/app", "v1", index(image()), OCI_INDEX)
    reply = admin.api("DELETE", f"{APP}/artifacts/{child}")
    assert (reply.status, reply.code) == (412, "VIOLATE_FOREIGN_KEY_CONSTRAINT")
    assert admin.api("DELETE", f"{APP}/artifacts/v1").status == 200
    assert admin.ask("HEAD", f"/v2/lab/app/manifests/{child}").status == 404
    assert admin.api("DELETE", f"{APP}/artifacts/v1").status == 404


def test_repositories_are_listed_by_full_name(admin: Client, anyone: Client) -> None:
    for name in ("lab/b", "lab/a/x", "pub/c"):
        admin.push_image(name)
    assert [row["name"] for row in admin.api("GET", "/projects/lab/repositories").json] == ["lab/a/x", "lab/b"]
    assert [row["name"] for row in admin.api("GET", "/projects/lab/repositories?q=name=~b&sort=-name").json] == [
        "lab/b",
        "lab/a/x",
    ]
    assert [row["name"] for row in anyone.api("GET", "/repositories").json] == ["pub/c"]
    found = admin.api("GET", "/projects/lab/repositories/a%252Fx").json
    assert (found["name"], found["artifact_count"]) == ("lab/a/x", 1)
    assert admin.api("GET", "/projects/lab/repositories/never").status == 404
    assert admin.api("PUT", "/projects/lab/repositories/b", {"description": "said"}).status == 200
    assert admin.api("GET", "/projects/lab/repositories/b").json["description"] == "said"


def test_the_artifacts_of_a_whole_project_are_listed_to_who_logged_in(admin: Client, anyone: Client) -> None:
    for name in ("pub/a", "pub/b"):
        admin.push_image(name, "v1", named("one"))
        admin.push_image(name, "v2", named("two"))
    assert anyone.api("GET", "/projects/pub/artifacts").status == 401
    assert len(admin.api("GET", "/projects/pub/artifacts").json) == 4
    path = "/projects/pub/artifacts?latest_in_repository=true"
    assert admin.api("GET", path).status == 400
    # q is unquoted twice, so that a plus sign must be quoted twice
    assert admin.api("GET", f"{path}&q=media_type={OCI_CONFIG.replace('+', '%2B')}").json == []
    rows = admin.api("GET", f"{path}&q=media_type={OCI_CONFIG.replace('+', '%252B')}").json
    assert sorted((row["repository_name"], *tags([row])[0]) for row in rows) == [("pub/a", "v2"), ("pub/b", "v2")]

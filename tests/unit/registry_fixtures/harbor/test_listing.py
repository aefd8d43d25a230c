"""Rows 54 to 59: tags, the catalog, referrers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.unit.registry_fixtures.harbor.conftest import LAYER, Client, descriptor, image

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture

SUBJECT = Digest.of(image())
REFERRERS = f"/v2/lab/app/referrers/{SUBJECT}"


def attached(kind: str, **more: object) -> bytes:
    return image(subject=descriptor(image(), OCI_MANIFEST), artifactType=kind, **more)


def test_all_tags_come_sorted_unless_a_number_is_asked_for(pusher: Client) -> None:
    for tag in ("v2", "V3", "v1", f"sha256-{SUBJECT.encoded}.sig"):
        pusher.push_image("lab/app", tag)
    names = ["V3", f"sha256-{SUBJECT.encoded}.sig", "v1", "v2"]
    reply = pusher.ask("GET", "/v2/lab/app/tags/list")
    assert reply.json == {"name": "lab/app", "tags": names}
    assert "Link" not in reply.headers
    reply = pusher.ask("GET", "/v2/lab/app/tags/list?n=3")
    assert reply.json["tags"] == names[:3]
    assert reply.headers["Link"] == '</v2/lab/app/tags/list?last=v1&n=3>; rel="next"'
    assert pusher.ask("GET", "/v2/lab/app/tags/list?last=v1&n=3").json["tags"] == ["v2"]


@pytest.mark.parametrize("query", ["n=0", "last=zzz"])
def test_a_page_may_be_empty(pusher: Client, query: str) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", f"/v2/lab/app/tags/list?{query}")
    assert (reply.status, reply.json["tags"]) == (200, [])


def test_no_tags_of_a_repository_that_does_not_exist_can_be_had(pusher: Client) -> None:
    assert pusher.ask("GET", "/v2/lab/never/tags/list?n=0").json["tags"] == []


@pytest.mark.parametrize("number", ["-1", "abc"])
def test_a_number_that_is_none_is_a_bad_request(pusher: Client, number: str) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", f"/v2/lab/app/tags/list?n={number}")
    assert reply.status == 400
    assert reply.message == "the N must be a positive int type"
    assert pusher.ask("GET", "/v2/lab/app/tags/list?n=").status == 200


def test_a_repository_without_a_push_is_not_found_though_it_holds_blobs(pusher: Client) -> None:
    pusher.push_blob("lab/norepo", LAYER)
    reply = pusher.ask("GET", "/v2/lab/norepo/tags/list")
    assert (reply.status, reply.code, reply.message) == (404, "NOT_FOUND", "repository lab/norepo not found")


def test_the_catalog_begins_after_a_repository_that_exists(admin: Client) -> None:
    for name in ("lab/a", "lab/b", "pub/c"):
        admin.push_image(name)
    digest = admin.push_image("lab/emptied")
    admin.ask("DELETE", f"/v2/lab/emptied/manifests/{digest}")
    reply = admin.ask("GET", "/v2/_catalog?n=2")
    assert reply.json == {"repositories": ["lab/a", "lab/b"]}
    assert reply.headers["Link"] == '</v2/_catalog?last=lab%2Fb&n=2>; rel="next"'
    assert admin.ask("GET", "/v2/_catalog?last=lab/b&n=2").json == {"repositories": ["pub/c"]}
    assert admin.ask("GET", "/v2/_catalog?last=nope&n=2").status == 400
    assert len(admin.ask("GET", "/v2/_catalog?last=nope").json["repositories"]) == 3


@pytest.mark.parametrize("repository", ["lab/app", "lab/never"])
def test_an_unknown_subject_has_an_empty_index(pusher: Client, repository: str) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", f"/v2/{repository}/referrers/sha256:{'0' * 64}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, OCI_INDEX)
    assert reply.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert reply.headers["X-Total-Count"] == "0"


def test_referrers_of_a_tag_are_not_listed(pusher: Client) -> None:
    pusher.push_image("lab/app")
    reply = pusher.ask("GET", "/v2/lab/app/referrers/v1")
    assert reply.status == 400
    assert reply.message == "unsupported digest v1: invalid checksum digest format"


def test_referrers_are_filtered_by_type_and_counted_before(pusher: Client) -> None:
    pusher.push_image("lab/app")
    for kind in ("application/vnd.acme", "application/vnd.other"):
        pusher.push_image("lab/app", "", attached(kind, annotations={"of": kind}))
    everything = pusher.ask("GET", REFERRERS)
    assert {entry["artifactType"] for entry in everything.json["manifests"]} == {
        "application/vnd.acme",
        "application/vnd.other",
    }
    assert "OCI-Filters-Applied" not in everything.headers
    reply = pusher.ask("GET", f"{REFERRERS}?artifactType=application/vnd.acme&n=0")
    raw = attached("application/vnd.acme", annotations={"of": "application/vnd.acme"})
    assert reply.json["manifests"] == [
        descriptor(raw, OCI_MANIFEST, artifactType="application/vnd.acme", annotations={"of": "application/vnd.acme"})
    ]
    assert (reply.headers["OCI-Filters-Applied"], reply.headers["X-Total-Count"]) == ("artifactType", "2")


def test_a_subject_that_comes_after_its_referrer_is_not_missed(pusher: Client) -> None:
    pusher.push_image("lab/app", "", attached("application/vnd.acme"))
    assert len(pusher.ask("GET", REFERRERS).json["manifests"]) == 1
    pusher.push_image("lab/app")
    assert len(pusher.ask("GET", REFERRERS).json["manifests"]) == 1


def test_signatures_by_tag_are_listed_with_their_configs_type_also_superseded_ones(pusher: Client) -> None:
    pusher.push_image("lab/app")
    raws = [image(layers=[descriptor(LAYER, COSIGN_SIMPLE_SIGNING)], annotations={"number": number}) for number in "12"]
    for raw in raws:
        pusher.push_image("lab/app", f"sha256-{SUBJECT.encoded}.sig", raw)
    found = pusher.ask("GET", REFERRERS).json["manifests"]
    assert [entry["digest"] for entry in found] == [str(Digest.of(raw)) for raw in raws]
    assert {entry["artifactType"] for entry in found} == {OCI_CONFIG}


def test_attestations_by_tag_are_no_referrers(harbor: HarborFixture, pusher: Client) -> None:
    pusher.push_image("lab/app")
    pusher.push_image("lab/app", f"sha256-{SUBJECT.encoded}.att", image(annotations={"an": "attestation"}))
    assert pusher.ask("GET", REFERRERS).json["manifests"] == []
    assert not harbor.database.projects["lab"].repositories["lab/app"].accessories

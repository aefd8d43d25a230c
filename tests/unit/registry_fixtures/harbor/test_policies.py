"""Rows 48 to 53: what a project's policies keep from being pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mirror.oci.digest import Digest
from mirror.oci.mediatype import COSIGN_SIMPLE_SIGNING, OCI_INDEX, OCI_MANIFEST
from registry_fixtures.harbor.policy import matches
from tests.unit.registry_fixtures.harbor.conftest import LAYER, Client, descriptor, image, index

if TYPE_CHECKING:
    from registry_fixtures.harbor import HarborFixture

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NOTATION = "application/vnd.cncf.notary.signature"


@pytest.fixture
def strict(harbor: HarborFixture, pusher: Client) -> Client:
    """The pusher, with a project ``strict`` that lets only what cosign signed be pulled."""
    harbor.add_project("strict", metadata={"enable_content_trust_cosign": "true"})
    return pusher


def sign_by_tag(client: Client, repository: str, digest: Digest) -> bytes:
    raw = image(layers=[descriptor(LAYER, COSIGN_SIMPLE_SIGNING)])
    client.push_image(repository, f"sha256-{digest.encoded}.sig", raw)
    return raw


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_signed_cannot_be_pulled_even_by_head(strict: Client, method: str) -> None:
    digest = strict.push_image("strict/app")
    for reference in ("v1", digest):
        reply = strict.ask(method, f"/v2/strict/app/manifests/{reference}")
        assert reply.status == 412
    reply = strict.ask("GET", "/v2/strict/app/manifests/v1")
    assert (reply.code, reply.message) == ("PROJECTPOLICYVIOLATION", "The image is not signed by cosign.")
    assert strict.ask(method, "/v2/strict/app/manifests/none").status == 404
    assert strict.ask("GET", f"/v2/strict/app/blobs/{Digest.of(LAYER)}").status == 200


def test_a_signature_of_either_kind_lifts_the_block_whatever_it_contains(strict: Client) -> None:
    digest = strict.push_image("strict/app")
    sign_by_tag(strict, "strict/app", digest)
    assert strict.ask("GET", "/v2/strict/app/manifests/v1").status == 200
    other = image(annotations={"other": "image"})
    strict.push_image("strict/app", "v2", other)
    strict.push_image("strict/app", "", image(subject=descriptor(other, OCI_MANIFEST), artifactType=BUNDLE))
    assert strict.ask("GET", "/v2/strict/app/manifests/v2").status == 200


def test_a_signed_index_does_not_cover_its_children(strict: Client) -> None:
    child = strict.push_image("strict/app", "")
    raw = index(image())
    assert strict.put("strict/app", "v1", raw, OCI_INDEX).status == 201
    sign_by_tag(strict, "strict/app", Digest.of(raw))
    assert strict.ask("GET", "/v2/strict/app/manifests/v1").status == 200
    assert strict.ask("GET", f"/v2/strict/app/manifests/{child}").status == 412


def test_the_signature_itself_can_always_be_pulled(strict: Client) -> None:
    digest = strict.push_image("strict/app")
    raw = sign_by_tag(strict, "strict/app", digest)
    assert strict.ask("GET", f"/v2/strict/app/manifests/sha256-{digest.encoded}.sig").body == raw


def test_a_token_that_may_push_passes_for_signing_clients_alone(harbor: HarborFixture, strict: Client) -> None:
    strict.push_image("strict/app")
    robot = harbor.add_robot("reader", rights=("repository:pull",))
    reader = strict.basic(robot.name, robot.secret)
    scope, agent = "repository:strict/app:pull", {"User-Agent": "cosign/v2.6.5"}
    path = "/v2/strict/app/manifests/v1"
    assert strict.bearer(scope).ask("GET", path, headers=agent).status == 200
    assert strict.bearer(scope).ask("GET", path, headers={"User-Agent": "notation/1"}).status == 200
    assert strict.bearer(scope).ask("GET", path).status == 412
    assert strict.ask("GET", path, headers=agent).status == 412
    assert reader.bearer(scope).ask("GET", path, headers=agent).status == 412


def test_the_notation_policy_speaks_of_notation(harbor: HarborFixture, pusher: Client) -> None:
    harbor.add_project("strict", metadata={"enable_content_trust": "true"})
    digest = pusher.push_image("strict/app")
    sign_by_tag(pusher, "strict/app", digest)
    reply = pusher.ask("GET", "/v2/strict/app/manifests/v1")
    assert (reply.status, reply.message) == (412, "The image is not signed by notation.")
    pusher.push_image("strict/app", "", image(subject=descriptor(image(), OCI_MANIFEST), artifactType=NOTATION))
    assert pusher.ask("GET", "/v2/strict/app/manifests/v1").status == 200


def test_vulnerabilities_keep_an_image_back_in_three_ways(harbor: HarborFixture, pusher: Client) -> None:
    harbor.add_project("strict", metadata={"prevent_vul": "true", "severity": "high"})
    pusher.push_image("strict/app")
    path = "/v2/strict/app/manifests/v1"
    reply = pusher.ask("GET", path)
    assert (reply.status, reply.code) == (412, "PROJECTPOLICYVIOLATION")
    assert reply.message.startswith("current image without vulnerability scanning cannot be pulled due to")
    assert "'Prevent images with vulnerability severity of \"High\" or higher from running.'" in reply.message
    harbor.scan("strict/app", "v1", status="Running")
    assert pusher.ask("GET", path).message.startswith(
        'current image with "Running" status of vulnerability scanning cannot be pulled'
    )
    harbor.scan("strict/app", "v1", High=2, Low=1)
    assert pusher.ask("GET", path).message.startswith("current image with 3 vulnerabilities cannot be pulled")
    harbor.scan("strict/app", "v1", Critical=1)
    assert pusher.ask("GET", path).message.startswith("current image with 1 vulnerability cannot be pulled")
    harbor.scan("strict/app", "v1", Medium=5)
    assert pusher.ask("GET", path).status == 200


def test_indexes_and_what_no_scanner_knows_are_not_held_back_for_vulnerabilities(
    harbor: HarborFixture, pusher: Client
) -> None:
    harbor.add_project("strict", metadata={"prevent_vul": "true", "severity": "low"})
    child = pusher.push_image("strict/app", "")
    assert pusher.put("strict/app", "v1", index(image()), OCI_INDEX).status == 201
    assert pusher.ask("HEAD", "/v2/strict/app/manifests/v1").status == 200
    assert pusher.ask("HEAD", f"/v2/strict/app/manifests/{child}").status == 412
    pusher.push_blob("strict/app", b"{}")
    thing = image(config=descriptor(b"{}", "application/vnd.acme.thing.config.v1+json"))
    pusher.push_image("strict/app", "thing", thing)
    assert pusher.ask("HEAD", "/v2/strict/app/manifests/thing").status == 200


def test_an_administrator_is_held_back_like_anybody(harbor: HarborFixture, admin: Client) -> None:
    harbor.add_project("strict", metadata={"enable_content_trust_cosign": "true"})
    admin.push_image("strict/app")
    assert admin.ask("HEAD", "/v2/strict/app/manifests/v1").status == 412
    assert admin.bearer("repository:strict/app:pull").ask("HEAD", "/v2/strict/app/manifests/v1").status == 412


def test_a_scanners_robot_pulls_everything_with_a_token(harbor: HarborFixture, strict: Client) -> None:
    strict.push_image("strict/app")
    robot = harbor.add_robot("scanner", rights=("repository:pull", "repository:scanner-pull"))
    scanner = strict.basic(robot.name, robot.secret)
    assert scanner.ask("HEAD", "/v2/strict/app/manifests/v1").status == 412
    assert scanner.bearer("repository:strict/app:pull").ask("HEAD", "/v2/strict/app/manifests/v1").status == 200


@pytest.mark.parametrize(
    ("pattern", "text", "matched"),
    [
        ("**", "anything/at:all", True),
        ("*", "one", True),
        ("*", "one/two", False),
        ("v?.*", "v1.27", True),
        ("{dev,test}-*", "test-1", True),
        ("{dev,test}-*", "prod-1", False),
        ("**/app", "a/b/app", True),
        ("**/app", "app", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_are_doublestars(pattern: str, text: str, matched: bool) -> None:  # noqa: FBT001
    assert matches(pattern, text) is matched


def test_an_excluding_selector_is_the_reverse(harbor: HarborFixture, pusher: Client) -> None:
    rule = harbor.add_immutable_rule("lab", tags="sha256-*")
    rule["tag_selectors"][0]["decoration"] = "excludes"
    for tag, status in (("v1", 412), (f"sha256-{'0' * 64}.sig", 201)):
        pusher.push_image("lab/app", tag)
        assert pusher.put("lab/app", tag, image()).status == status

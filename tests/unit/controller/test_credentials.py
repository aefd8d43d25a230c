"""The Secrets that say how a mirror is reached."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.credentials import hide_secrets, pull_secret, with_held
from controller.feed import feed_objects
from controller.mirrors import read_settings
from mirror.remote import Credential
from tests.unit.controller.test_feed import LOGIN, feed_of_a_site, secrets_of

if TYPE_CHECKING:
    from controller.feed import Feed


@pytest.fixture
def wanted() -> Feed:
    return feed_of_a_site()


def test_credentials_and_authority_are_written_as_awss_controller_reads_them(wanted: Feed) -> None:
    found = secrets_of(feed_objects(replace(wanted, credential=LOGIN, authorities="PEM", skip_verify=True), "aws"))
    assert found["eksa-packages", "registry-mirror-secret"] == {
        "ENDPOINT": "harbor.example:8443",
        "USERNAME": "robot$eks",
        "PASSWORD": "p:äss",
        "CACERTCONTENT": "PEM",
        "INSECURE": "true",
    }
    assert found["eksa-packages-site", "registry-mirror-secret"] == found["eksa-packages", "registry-mirror-secret"]
    shared = found["eksa-packages", "registry-mirror-cred"]
    assert (shared["site_ca.crt"], shared["site_insecure"]) == ("PEM", "true")
    assert shared["config.json"] == shared[".dockerconfigjson"]
    login = json.loads(shared["config.json"])["auths"]["harbor.example:8443"]
    assert base64.b64decode(login["auth"]).decode() == "robot$eks:p:äss"
    assert list(found["eksa-packages-site", "registry-mirror-cred"]) == [".dockerconfigjson", "ca.crt"]


def test_what_other_clusters_and_registries_have_stays_and_ones_own_is_renewed(wanted: Feed) -> None:
    (held,) = (
        item
        for item in feed_objects(
            replace(wanted, cluster="other", credential=LOGIN, authorities="OLD", skip_verify=True)
        )
        if (item["metadata"].get("namespace"), item["metadata"]["name"]) == ("eksa-packages", "registry-mirror-cred")
    )
    elsewhere = replace(wanted, registry="second.example", credential=Credential("a", "b"))
    shared = secrets_of(feed_objects(elsewhere, held=held))["eksa-packages", "registry-mirror-cred"]
    assert (shared["other_ca.crt"], shared["other_insecure"]) == ("OLD", "true")
    assert set(json.loads(shared["config.json"])["auths"]) == {"harbor.example:8443", "second.example"}
    again = replace(wanted, cluster="other", authorities="NEW")
    renewed = secrets_of(feed_objects(again, held=held))["eksa-packages", "registry-mirror-cred"]
    assert renewed["other_ca.crt"] == "NEW"
    assert "other_insecure" not in renewed
    assert set(json.loads(renewed["config.json"])["auths"]) == {"harbor.example:8443"}


def test_pods_of_a_cluster_get_the_login_of_its_own_registry_and_no_other_clusters(wanted: Feed) -> None:
    auths = {"auths": {"second.example": {"auth": "c2VjcmV0"}}}
    held = {"data": {"config.json": base64.b64encode(json.dumps(auths).encode()).decode()}}
    for credential, expected in ((LOGIN, {"harbor.example:8443"}), (None, set())):
        objects = feed_objects(replace(wanted, credential=credential), held=held)
        found = secrets_of(objects)
        assert "second.example" in json.loads(found["eksa-packages", "registry-mirror-cred"]["config.json"])["auths"]
        pulled = found["eksa-packages-site", "registry-mirror-cred"][".dockerconfigjson"]
        assert set(json.loads(pulled)["auths"]) == expected


def test_the_controller_finds_the_pull_secret_of_the_clusters_namespace_as_it_would_write_it(wanted: Feed) -> None:
    objects = feed_objects(replace(wanted, credential=LOGIN, authorities="PEM\n"))
    written = {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["data"]
        for item in objects
        if item["kind"] == "Secret"
    }
    settings = read_settings({"data": written["eksa-packages", "registry-mirror-secret"]})
    assert written["eksa-packages-site", "registry-mirror-cred"] == settings.pull_secret()


def mirror_secret(wanted: Feed) -> dict[str, Any]:
    return next(item for item in feed_objects(wanted) if item["metadata"]["name"] == "registry-mirror-secret")


def test_login_and_authority_stay_when_a_newer_bundle_is_fed_without_them(wanted: Feed) -> None:
    first = replace(wanted, credential=LOGIN, authorities="PEM\n", skip_verify=True)
    again = with_held(wanted, mirror_secret(first))
    assert feed_objects(again) == feed_objects(replace(first, skip_verify=False))
    newer = with_held(replace(wanted, credential=Credential("a", "b"), authorities="NEW"), mirror_secret(first))
    assert (newer.credential, newer.authorities) == (Credential("a", "b"), "NEW")


def test_the_port_of_https_does_not_make_another_registry(wanted: Feed) -> None:
    plain, spelled = (replace(wanted, registry=name) for name in ("harbor.example", "harbor.example:443"))
    for given, asked in ((plain, spelled), (spelled, plain)):
        held = mirror_secret(replace(given, credential=LOGIN, authorities="PEM"))
        assert with_held(asked, held) == replace(asked, credential=LOGIN, authorities="PEM")


@pytest.mark.parametrize(
    "held", [None, {}, {"data": {"ENDPOINT": "!"}}, {"data": {"ENDPOINT": base64.b64encode(b"a:b:c").decode()}}]
)
def test_another_registry_is_not_given_the_password_of_the_one_before(
    wanted: Feed, held: dict[str, Any] | None
) -> None:
    before = mirror_secret(replace(wanted, credential=LOGIN, authorities="PEM"))
    elsewhere = replace(wanted, registry="second.example")
    assert with_held(elsewhere, before) == elsewhere
    assert with_held(wanted, held) == wanted


@pytest.mark.parametrize(
    "damaged", ["", "!", base64.b64encode(b"[]").decode(), base64.b64encode(b'{"auths": 1}').decode()]
)
def test_logins_that_are_damaged_are_replaced(wanted: Feed, damaged: str) -> None:
    objects = feed_objects(replace(wanted, credential=LOGIN), held={"data": {"config.json": damaged}})
    shared = secrets_of(objects)["eksa-packages", "registry-mirror-cred"]
    assert set(json.loads(shared["config.json"])["auths"]) == {"harbor.example:8443"}


def test_no_password_is_left_where_secrets_are_hidden(wanted: Feed) -> None:
    shown = hide_secrets(feed_objects(replace(wanted, credential=LOGIN)))
    encoded = base64.b64encode(LOGIN.password.encode()).decode()
    assert encoded not in json.dumps(shown)
    assert LOGIN.password not in repr(replace(wanted, credential=LOGIN))
    hidden = {value for item in shown if item["kind"] == "Secret" for value in item["data"].values()}
    assert hidden == {"(hidden)"}
    with pytest.raises(ValueError, match="base64"):  # so no API server takes it in place of what is there
        base64.b64decode("(hidden)", validate=True)


def test_the_pull_secret_is_dockers(wanted: Feed) -> None:
    made = pull_secret(wanted.registry, LOGIN)
    assert (made["type"], list(made["data"])) == ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"])


def test_a_pull_secret_keeps_the_logins_to_other_registries(wanted: Feed) -> None:
    held = pull_secret("other.example", Credential("a", "b"))
    renewed = pull_secret(wanted.registry, LOGIN, pull_secret(wanted.registry, Credential("c", "d"), held))
    auths = json.loads(base64.b64decode(renewed["data"][".dockerconfigjson"]))["auths"]
    assert (sorted(auths), auths["other.example"]["username"]) == (sorted(["other.example", wanted.registry]), "a")
    assert auths[wanted.registry]["username"] == LOGIN.username
    damaged = pull_secret(wanted.registry, LOGIN, {"data": {".dockerconfigjson": "e30"}})
    assert damaged == pull_secret(wanted.registry, LOGIN)

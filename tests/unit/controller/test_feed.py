"""What points a package controller at a mirror."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.operations.packages import FoundBundle, PackagePlace
from bundles.document import parse_document
from bundles.schema import parse_model
from controller.configuration import aws_values_for
from controller.feed import (
    Feed,
    _leads_somewhere,
    _let_go,
    feed_objects,
    found_controllers,
    hide_secrets,
    pull_secret,
    with_held,
)
from controller.packages_state import Wait
from controller.packages_upgrade import diff_manifests
from controller.reconcile import FINALIZER
from mirror.oci.digest import Digest
from mirror.remote import Credential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.schema.package_bundle import PackageBundle

BUNDLE = b"""\
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata:
  annotations: {eksa.aws.com/signature: MEUC}
  name: v1-33-7
  namespace: eksa-packages
spec:
  minControllerVersion: 1.0
  packages:
  - name: "on"
    workloadonly: true
    source: {repository: greeter, versions: [{name: 1.10, digest: "sha256:00"}]}
"""


@pytest.fixture
def wanted() -> Feed:
    document = parse_document(BUNDLE, origin="bundle")
    place = PackagePlace("harbor.example:8443/eks/eks-anywhere", "harbor.example:8443/eks/images")
    bundle = FoundBundle(
        bundle=cast("PackageBundle", parse_model(document)),
        raw=BUNDLE,
        digest=Digest.of(BUNDLE),
        trust="signed",
        verified_by="sha256:key",
        origin=place.charts,
        place=place,
    )
    return Feed(cluster="site", registry="harbor.example:8443", place=place, bundle=bundle)


LOGIN = Credential("robot$eks", "p:äss")


def secrets_of(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, str]]:
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): {
            name: base64.b64decode(value).decode() for name, value in item["data"].items()
        }
        for item in objects
        if item["kind"] == "Secret"
    }


def test_charts_and_images_may_lie_in_two_places(wanted: Feed) -> None:
    pointing = feed_objects(wanted)[-1]
    assert pointing["metadata"] == {"name": "site", "namespace": "eksa-packages"}
    assert pointing["spec"] == {
        "activeBundle": "v1-33-7",
        "defaultRegistry": "harbor.example:8443/eks/eks-anywhere",
        "defaultImageRegistry": "harbor.example:8443/eks/images",
    }


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
    assert list(found["eksa-packages-site", "registry-mirror-cred"]) == [".dockerconfigjson"]


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


def mirror_secret(wanted: Feed) -> dict[str, Any]:
    return next(item for item in feed_objects(wanted) if item["metadata"]["name"] == "registry-mirror-secret")


def test_login_and_authority_stay_when_a_newer_bundle_is_fed_without_them(wanted: Feed) -> None:
    first = replace(wanted, credential=LOGIN, authorities="PEM\n", skip_verify=True)
    again = with_held(wanted, mirror_secret(first))
    assert feed_objects(again) == feed_objects(replace(first, skip_verify=False))
    newer = with_held(replace(wanted, credential=Credential("a", "b"), authorities="NEW"), mirror_secret(first))
    assert (newer.credential, newer.authorities) == (Credential("a", "b"), "NEW")


@pytest.mark.parametrize("held", [None, {}, {"data": {"ENDPOINT": "!"}}])
def test_another_registry_is_not_given_the_password_of_the_one_before(
    wanted: Feed, held: dict[str, Any] | None
) -> None:
    before = mirror_secret(replace(wanted, credential=LOGIN, authorities="PEM"))
    elsewhere = replace(wanted, registry="second.example")
    assert with_held(elsewhere, before) == elsewhere
    assert with_held(wanted, held) == wanted


def test_a_workload_cluster_that_is_fed_leaves_the_mirror_of_the_others_alone(wanted: Feed) -> None:
    objects = feed_objects(replace(wanted, credential=LOGIN, management="mgmt"))
    found = secrets_of(objects)
    assert ("eksa-packages", "registry-mirror-secret") not in found
    assert found["eksa-packages-site", "registry-mirror-secret"]["USERNAME"] == LOGIN.username
    assert [item["kind"] for item in objects if item["metadata"].get("namespace") == "eksa-system"] == [
        "Role",
        "RoleBinding",
    ]
    assert feed_objects(replace(wanted, management="site")) == feed_objects(wanted)


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
    assert set(secrets_of(shown)["eksa-packages", "registry-mirror-secret"].values()) == {"(hidden)"}


def test_awss_controller_gets_no_account_that_it_would_not_use(wanted: Feed) -> None:
    kinds = {which: {item["kind"] for item in feed_objects(wanted, which)} for which in ("bundlectl", "aws")}
    assert kinds["bundlectl"] - kinds["aws"] == {"ServiceAccount", "Role", "RoleBinding"}


def test_the_pull_secret_is_dockers(wanted: Feed) -> None:
    made = pull_secret(wanted.registry, LOGIN)
    assert (made["type"], list(made["data"])) == ("kubernetes.io/dockerconfigjson", [".dockerconfigjson"])


def test_the_bundle_is_applied_with_the_texts_that_were_signed(wanted: Feed) -> None:
    made = next(item for item in feed_objects(wanted) if item["kind"] == "PackageBundle")
    assert made["spec"]["minControllerVersion"] == "1.0"
    (package,) = made["spec"]["packages"]
    assert (package["name"], package["workloadonly"]) == ("on", True)
    assert package["source"]["versions"][0]["name"] == "1.10"


def test_manifests_are_compared_object_by_object_and_secrets_by_their_hashes() -> None:
    config = "kind: ConfigMap\nmetadata: {name: a}\ndata: {x: '%d'}\n"
    secret = "kind: Secret\nmetadata: {name: s}\ndata: {password: %s}\n"
    before = f"{config % 1}---\n{secret % 'b2xk'}"
    after = f"{secret % 'bmV3'}---\n{config % 1}"
    shown = diff_manifests(before, after)
    assert "Secret/s" in shown
    assert "ConfigMap" not in shown
    assert "b2xk" not in shown
    assert "bmV3" not in shown
    assert diff_manifests(before, before) == ""
    assert diff_manifests(before, after) != shown  # or a password could be found by trying


class Cluster:
    """What `feed` asks of a cluster once everything is as it should be."""

    def __init__(self, *packages: dict[str, Any], deployments: tuple[str, ...]) -> None:
        self.packages = list(packages)
        self.deployments = deployments
        self.merged: list[tuple[str, Any]] = []
        self.leases: Iterator[dict[str, Any]] = iter(())

    def get(self, path: str) -> dict[str, Any] | None:
        name = path.rpartition("/")[2]
        if "/leases/" in path:
            return next(self.leases, None)
        for item in self.packages:
            if "/packages/" in path and item["metadata"]["name"] == name:
                return {**item, "metadata": {**item["metadata"], "resourceVersion": "6"}}
        return {} if name in self.deployments else None

    def items(self, path: str) -> list[dict[str, Any]]:
        namespace = path.split("/namespaces/")[1].partition("/")[0]
        return [item for item in self.packages if item["metadata"]["namespace"] == namespace]

    def merge(self, path: str, patch: Any) -> dict[str, Any]:
        self.merged.append((path, patch))
        return {}


def package(name: str, namespace: str, *finalizers: str, **more: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "resourceVersion": "5", "finalizers": list(finalizers), **more}
    return {"metadata": metadata, "spec": {"packageName": name}}


def test_packages_that_are_awss_from_now_on_are_let_go(wanted: Feed) -> None:
    cluster = Cluster(
        package("ours", "eksa-packages-site", FINALIZER, "theirs/finalizer"),
        package("old", "eksa-packages", FINALIZER),
        package("free", "eksa-packages-site"),
        package("leaving", "eksa-packages-site", FINALIZER, deletionTimestamp="2026-11-26T00:00:00Z"),
        package("other", "eksa-packages-other", FINALIZER),
        deployments=("eks-anywhere-packages",),
    )
    told: list[str] = []
    wait = Wait(1, told.append, threading.Event())
    done = _let_go(cast("Any", cluster), wanted, wait)
    assert [(item.name, item.outcome) for item in done] == [("ours", "changed"), ("old", "changed")]
    assert [patch["metadata"]["finalizers"] for _, patch in cluster.merged] == [["theirs/finalizer"], []]
    assert cluster.merged[0][1]["metadata"]["resourceVersion"] == "6", "not as it was listed"
    assert len(told) == 1
    assert "eksa-packages-site/leaving" in told[0]
    again = Cluster(package("old", "eksa-packages", FINALIZER), deployments=())
    assert (
        _let_go(cast("Any", again), replace(wanted, management="mgmt"), Wait(1, told.append, threading.Event())) == []
    )


def lease(holder: str, *versions: int) -> Iterator[dict[str, Any]]:
    for version in versions:
        yield {"metadata": {"resourceVersion": str(version)}, "spec": {"holderIdentity": holder}}


@pytest.mark.parametrize(
    ("leases", "running"),
    [(lease("host", 1, 1, 2, 3), True), (lease("", 1, 2, 3), False), (lease("killed", *[1] * 99), False), ((), False)],
)
def test_a_controller_of_ours_that_runs_elsewhere_is_known_by_its_lease(
    monkeypatch: pytest.MonkeyPatch, leases: Any, *, running: bool
) -> None:
    monkeypatch.setattr("controller.feed.DURATION", 0.5)
    monkeypatch.setattr("controller.packages_state._LOOK", 0.05)
    cluster = Cluster(deployments=("eks-anywhere-packages",))
    cluster.leases = iter(leases)
    assert _leads_somewhere(cast("Any", cluster), Wait(60, [].append, threading.Event())) is running


@pytest.mark.parametrize("deployments", [("eks-anywhere-packages",), ("bundlectl-controller",), ()])
def test_whose_controller_is_there_is_looked_up(deployments: tuple[str, ...]) -> None:
    names = {"eks-anywhere-packages": "aws", "bundlectl-controller": "bundlectl"}
    assert found_controllers(cast("Any", Cluster(deployments=deployments))) == [names[name] for name in deployments]


def test_what_awss_controller_would_give_to_helm_has_its_pull_secrets_alone() -> None:
    config = {"imagePullSecrets": [{"name": "mine"}], "replicas": 2}
    assert aws_values_for(config, image_registry="harbor.example/x") == {
        "replicas": 2,
        "sourceRegistry": "harbor.example/x",
        "imagePullSecrets": [{"name": "ecr-token"}, {"name": "registry-mirror-cred"}],
    }
    assert aws_values_for({"sourceRegistry": "own"}, image_registry="x")["sourceRegistry"] == "own"

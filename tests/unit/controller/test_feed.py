"""What points a package controller at a mirror."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ContentError
from bundlectl.operations.packages import FoundBundle, PackagePlace
from bundles.aws_keys import aws_key
from bundles.document import parse_document
from bundles.schema import parse_model
from controller.configuration import aws_values_for
from controller.feed import Feed, _leads_somewhere, _let_go, feed, feed_objects, found_controllers
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


def feed_of_a_site() -> Feed:
    """What a cluster is fed with, without a login."""
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


@pytest.fixture
def wanted() -> Feed:
    return feed_of_a_site()


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


def test_awss_controller_gets_no_account_that_it_would_not_use(wanted: Feed) -> None:
    kinds = {which: {item["kind"] for item in feed_objects(wanted, which)} for which in ("bundlectl", "aws")}
    assert kinds["bundlectl"] - kinds["aws"] == {"ServiceAccount", "Role", "RoleBinding"}


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


class Held:
    """A cluster that has objects; one of them may be made by somebody else while it is looked for."""

    def __init__(self, *objects: dict[str, Any], deployment: str, own: str = "mgmt") -> None:
        self.objects = {self.key(item): item for item in objects}
        self.made_meanwhile: dict[str, Any] | None = None
        self.applied: list[dict[str, Any]] = []
        self.refusing: dict[str, int] = {}
        self.version = "1.33"
        environment = [{"name": "CLUSTER_NAME", "value": own}]
        self.deployment: dict[str, Any] = {
            "kind": "Deployment",
            "metadata": {"name": deployment, "namespace": "eksa-packages", "generation": 1},
            "spec": {"replicas": 0, "template": {"spec": {"containers": [{"name": "controller", "env": environment}]}}},
            "status": {"observedGeneration": 1},
        }
        self.objects[self.key(self.deployment)] = self.deployment

    @staticmethod
    def key(item: dict[str, Any]) -> tuple[str, str, str]:
        return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]

    def get(self, path: str) -> dict[str, Any] | None:
        namespace = path.partition("/namespaces/")[2].partition("/")[0]
        plural, name = path.split("/")[-2:]
        for kind, place, known in self.objects:
            if (f"{kind.lower()}s", known) == (plural, name) and place in ("", namespace):
                return self.objects[kind, place, known]
        return None

    def find(self, item: dict[str, Any]) -> dict[str, Any] | None:
        found = self.objects.get(self.key(item))
        if found is None and self.made_meanwhile and self.key(self.made_meanwhile) == self.key(item):
            self.objects[self.key(item)], self.made_meanwhile = self.made_meanwhile, None
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        return [item for item in self.objects.values() if item["kind"] == "Package" and "/packages" in path]

    def create(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.key(item) in self.objects:
            raise ContentError("already exists", artifact=item["metadata"]["name"])
        return self.apply(item)

    def apply(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.refusing.get(item["kind"], 0):
            self.refusing[item["kind"]] -= 1
            raise ContentError("the signature does not hold", artifact=item["metadata"]["name"])
        self.applied.append(item)
        stored = {**item, "metadata": {**item["metadata"], "resourceVersion": str(len(self.applied))}}
        if item["kind"] != "Deployment":
            self.objects[self.key(item)] = stored
        return stored

    def merge(self, path: str, patch: dict[str, Any]) -> None:
        found = self.get(path)
        assert found is not None
        for name in patch["data"]:
            del found["data"][name]

    def kube_version(self) -> str:
        return self.version

    def secrets(self) -> dict[tuple[str, str], dict[str, str]]:
        return secrets_of(list(self.objects.values()))


def fed(cluster: Held, wanted: Feed) -> dict[tuple[str, str], str]:
    """What became of the objects, by kind and name."""
    _, done = feed(cast("Any", cluster), wanted, wait=Wait(1, [].append, threading.Event()))
    return {(item.kind, item.name): item.outcome for item in done}


def test_a_bundle_that_the_controller_fetched_meanwhile_is_there_and_no_failure(wanted: Feed) -> None:
    cluster = Held(deployment="bundlectl-controller", own="site")
    bundle = next(item for item in feed_objects(wanted) if item["kind"] == "PackageBundle")
    cluster.made_meanwhile = bundle
    assert fed(cluster, wanted)["PackageBundle", "v1-33-7"] == "unchanged"
    other = Held(deployment="bundlectl-controller", own="site")
    changed = json.loads(json.dumps(bundle))
    changed["spec"]["packages"][0]["name"] = "another"
    other.made_meanwhile = changed
    with pytest.raises(ContentError, match="another bundle of that name"):
        fed(other, wanted)


@pytest.mark.parametrize(("key", "admitted"), [("MFkwNew", True), ("", False)])
def test_what_a_pod_refuses_that_leaves_with_the_key_before_is_asked_again(
    wanted: Feed, monkeypatch: pytest.MonkeyPatch, key: str, *, admitted: bool
) -> None:
    monkeypatch.setattr("controller.packages_state._LOOK", 0.01)
    cluster = Held(deployment="bundlectl-controller", own="site")
    cluster.refusing = {"PackageBundle": 2, "PackageBundleController": 1}
    if admitted:
        found = fed(cluster, replace(wanted, public_key=key))
        assert (found["PackageBundle", "v1-33-7"], found["PackageBundleController", "site"]) == ("created", "created")
    else:
        with pytest.raises(ContentError, match="does not hold"):
            fed(cluster, wanted)
    assert ("Deployment" in {item["kind"] for item in cluster.applied}) is admitted


AWS = aws_key("PackageBundle")


@pytest.mark.parametrize(
    ("deployment", "held", "key", "becomes"),
    [
        ("bundlectl-controller", "", "site", "site"),
        ("bundlectl-controller", "site", "site", None),
        ("bundlectl-controller", "site", "", None),
        ("bundlectl-controller", "site", "aws", ""),
        ("bundlectl-controller", "", "aws", None),
        ("bundlectl-controller", "aws", "aws", None),
        ("eks-anywhere-packages", "", "aws", "aws"),
        ("eks-anywhere-packages", "aws", "aws", None),
        ("eks-anywhere-packages", "site", "aws", "aws"),
    ],
)
def test_the_controller_gets_the_key_that_the_bundle_is_signed_with(
    wanted: Feed, deployment: str, held: str, key: str, becomes: str | None
) -> None:
    assert AWS is not None
    known = {"": "", "site": "MFkwSite", "aws": AWS.key.base64()}
    cluster = Held(deployment=deployment, own="site")
    (container,) = cluster.deployment["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "EKSA_PUBLIC_KEY", "value": known[held]})
    fed(cluster, replace(wanted, public_key=known[key]))
    written = [
        item["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]
        for item in cluster.applied
        if item["kind"] == "Deployment"
    ]
    assert written == ([] if becomes is None else [known[becomes]])


def test_a_cluster_whose_bundle_is_refused_still_reaches_the_registry_that_it_has(wanted: Feed) -> None:
    before = replace(wanted, registry="second.example", credential=LOGIN)
    secrets = [item for item in feed_objects(before) if item["kind"] == "Secret"]
    cluster = Held(*secrets, deployment="bundlectl-controller", own="site")
    cluster.refusing = {"PackageBundle": 1}
    with pytest.raises(ContentError, match="does not hold"):
        fed(cluster, wanted)
    shared = ("eksa-packages", "registry-mirror-cred")
    found, had = cluster.secrets(), secrets_of(secrets)
    assert found[shared][".dockerconfigjson"] == had[shared][".dockerconfigjson"]
    assert {key: value for key, value in found.items() if key != shared} == {
        key: value for key, value in had.items() if key != shared
    }
    fed(cluster, wanted)
    assert cluster.secrets()["eksa-packages", "registry-mirror-secret"]["ENDPOINT"] == wanted.registry


def test_a_workload_cluster_keeps_the_login_that_it_has_from_the_cluster_of_the_controller(wanted: Feed) -> None:
    (held, *_) = (
        item for item in feed_objects(replace(wanted, credential=LOGIN, authorities="PEM")) if is_mirror(item)
    )
    cluster = Held(held, deployment="bundlectl-controller")
    fed(cluster, wanted)
    given = cluster.secrets()["eksa-packages-site", "registry-mirror-secret"]
    assert (given["USERNAME"], given["CACERTCONTENT"]) == (LOGIN.username, "PEM")


def is_mirror(item: dict[str, Any]) -> bool:
    return bool(item["kind"] == "Secret" and item["metadata"]["name"] == "registry-mirror-secret")


@pytest.mark.parametrize(("own", "reaches"), [("site", True), ("mgmt", False)])
def test_no_login_is_put_where_the_packages_of_another_cluster_would_go(
    wanted: Feed, own: str, *, reaches: bool
) -> None:
    space = {"kind": "Namespace", "metadata": {"name": "apps"}}
    asked = {**package("greeter", "eksa-packages-site"), "kind": "Package"}
    asked["spec"]["targetNamespace"] = "apps"
    cluster = Held(space, asked, deployment="eks-anywhere-packages", own=own)
    fed(cluster, replace(wanted, credential=LOGIN))
    assert (("apps", "registry-mirror-cred") in cluster.secrets()) is reaches


def test_packages_beside_the_controller_leave_the_logins_of_all_clusters_as_they_are(wanted: Feed) -> None:
    asked = {**package("greeter", "eksa-packages-site"), "kind": "Package"}
    asked["spec"]["targetNamespace"] = "eksa-packages"
    space = {"kind": "Namespace", "metadata": {"name": "eksa-packages"}}
    cluster = Held(space, asked, deployment="eks-anywhere-packages", own="site")
    given = replace(wanted, credential=LOGIN, authorities="PEM")
    fed(cluster, given)
    shared = secrets_of(feed_objects(given, "aws"))["eksa-packages", "registry-mirror-cred"]
    assert cluster.secrets()["eksa-packages", "registry-mirror-cred"] == shared


def test_what_is_stale_of_a_cluster_is_taken_away_and_nothing_that_came_meanwhile(wanted: Feed) -> None:
    cluster = Held(deployment="eks-anywhere-packages", own="site")
    fed(cluster, replace(wanted, credential=LOGIN, authorities="PEM", skip_verify=True))
    shared = cluster.objects["Secret", "eksa-packages", "registry-mirror-cred"]
    asked, taken = cluster.find, []

    def find(item: dict[str, Any]) -> dict[str, Any] | None:
        if item["kind"] == "Secret":
            shared["data"]["field_ca.crt"] = "UEVN"  # the controller writes that of another cluster
        return asked(item)

    def merge(path: str, patch: dict[str, Any]) -> None:
        taken.append((path.rpartition("/")[2], sorted(patch["data"])))

    cluster.find, cluster.merge = find, merge  # type: ignore[method-assign]
    fed(cluster, replace(wanted, registry="second.example"))
    assert taken == [("registry-mirror-cred", ["site_ca.crt", "site_insecure"])]


@pytest.mark.parametrize("which", ["bundlectl-controller", "eks-anywhere-packages"])
def test_a_bundle_for_another_kubernetes_is_refused_before_anything_is_written(wanted: Feed, which: str) -> None:
    cluster = Held(deployment=which, own="site")
    cluster.version = "1.34"
    with pytest.raises(ContentError, match=r"is for Kubernetes 1\.33, and site runs 1\.34"):
        fed(cluster, wanted)
    assert cluster.applied == []
    other = Held(deployment=which)
    other.version = "1.34"
    assert fed(other, wanted)["PackageBundleController", "site"] == "created", "of a workload cluster it is not known"


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

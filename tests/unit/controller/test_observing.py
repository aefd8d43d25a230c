"""What is put together of the objects in the cluster, and what admission makes of the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bundles.package_bundle import render_package_bundle
from bundles.package_requires import encode_schema
from bundles.schema.package_bundle import BundledPackage, PackageImage, PackageSource, PackageVersion
from controller.facts import UNKNOWN, ChartFile, Dependency, Observed, Readiness
from controller.metrics import Metrics
from controller.mirrors import MirrorSettings
from controller.observing import LOCATION, Looked, Memory, Observer
from controller.releases import Release, Revision
from controller.trust import Judge
from controller.values import bundle_object
from controller.webhook import Admission
from tests.unit.bundles.signed_documents import BY_KEY, signed

CLOSED = b'{"type": "object", "additionalProperties": false, "properties": {"replicas": {"type": "integer"}}}'
OWN_ACCOUNT = "system:serviceaccount:eksa-packages:bundlectl-controller"


@dataclass
class Stored:
    """Objects that are known, and those that the API server has besides."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    untold: dict[str, dict[str, Any]] = field(default_factory=dict)

    def get(self, key: str) -> dict[str, Any] | None:
        return self.documents.get(key)

    def refresh(self, key: str) -> bool:
        if key in self.untold:
            self.put(self.untold.pop(key))
            return True
        return False

    def all(self, namespace: str = "") -> list[dict[str, Any]]:
        return [
            item for key, item in sorted(self.documents.items()) if key.startswith(f"{namespace}/" if namespace else "")
        ]

    def put(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        self.documents[f"{metadata['namespace']}/{metadata['name']}"] = document


def bundled(name: str, *dependencies: str, workloadonly: bool = False) -> BundledPackage:
    version = PackageVersion(
        name="1.0.0",
        digest=f"sha256:{name[0] * 64}",
        schema=encode_schema(CLOSED, origin=name),
        dependencies=dependencies,
    )
    source = PackageSource(registry="elsewhere.example", repository=name, versions=(version,))
    return BundledPackage(name=name, source=source, workloadonly=workloadonly)


def package(name: str, **more: Any) -> dict[str, Any]:
    namespace = more.pop("namespace", "eksa-packages-site")
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", **more.pop("metadata", {})}
    status = more.pop("status", {})
    return {"metadata": metadata, "spec": {"packageName": name, **more}, "status": status}


@pytest.fixture
def observer() -> Observer:
    packages = bundled("a", "b"), bundled("b"), bundled("c", "d"), bundled("d", "c"), bundled("e", workloadonly=True)
    bundle = bundle_object(signed(render_package_bundle("v1-33-1", packages)), origin="x")
    bundle["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    bundles, controllers = Stored(), Stored()
    bundles.put(bundle)
    spec = {
        "activeBundle": "v1-33-1",
        "defaultRegistry": "mirror.example/x",
        "defaultImageRegistry": "mirror.example/x",
    }
    controllers.put({"metadata": {"name": "site", "namespace": "eksa-packages"}, "spec": spec})
    return Observer(
        packages=cast("Any", Stored()),
        bundles=cast("Any", bundles),
        controllers=cast("Any", controllers),
        clusters=cast("Any", SimpleNamespace(own="site", get=lambda _: SimpleNamespace(version="1.33"))),
        mirrors=cast("Any", SimpleNamespace(get=lambda _: SimpleNamespace(settings=MirrorSettings()))),
        judge=Judge(BY_KEY),
        holder="replica",
        ready_within=60.0,
        drift_interval=180.0,
        clock=lambda: 1000.0,
    )


def seen(observer: Observer, document: dict[str, Any], looked: Looked | None = None) -> Observed:
    cast("Any", observer.packages).put(document)
    metadata = document["metadata"]
    found = observer.observe(f"{metadata['namespace']}/{metadata['name']}", looked or Looked(), Memory(2000.0))
    assert found is not None
    return found


def test_what_is_wanted_is_what_the_bundle_pins(observer: Observer) -> None:
    found = seen(observer, package("b", config="replicas: 2", targetNamespace="apps"))
    assert found.refusal is None
    assert found.wanted is not None
    assert found.wanted.repository == "mirror.example/x/b"
    assert found.wanted.source.digest == f"sha256:{'b' * 64}"
    assert found.wanted.values == {"replicas": 2, "sourceRegistry": "mirror.example/x"}
    assert (found.wanted.target_version, found.wanted.namespace) == ("1.0.0 (latest)", "apps")


def test_another_value_digest_or_retry_is_another_thing_to_want(observer: Observer) -> None:
    documents = [
        package("b", config="replicas: 2"),
        package("b", config="replicas: 3"),
        package("b", config="replicas: 2", metadata={"annotations": {"bundlectl.dev/retry": "1"}}),
    ]
    wanted = [seen(observer, document).wanted for document in documents]
    assert len({each.fingerprint for each in wanted if each}) == 3


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (package("b", namespace="elsewhere"), "Namespace"),
        (package("b", namespace="eksa-packages-other"), "NoController"),
        (package("nobody"), "PackageMissing"),
        (package("b", packageVersion="2.0.0"), "VersionMissing"),
        (package("e"), "WorkloadOnly"),
        (package("b", config="replicas: many"), "ConfigRefused"),
        (package("b", targetNamespace="x", metadata={"annotations": {LOCATION: "y"}}), "Immutable"),
        (package("b", targetNamespace="../x"), "Namespace"),
        (package("b", targetNamespace="x/secrets"), "Namespace"),
    ],
)
def test_refusals_have_their_reasons(observer: Observer, document: dict[str, Any], reason: str) -> None:
    refusal = seen(observer, document).refusal
    assert refusal is not None
    assert refusal.reason == reason


def test_a_cycle_is_named(observer: Observer) -> None:
    assert seen(observer, package("c")).cycle == ("c", "d", "c")
    assert seen(observer, package("a")).cycle == ()


def test_a_dependency_counts_once_it_is_installed_in_the_version_of_this_bundle(observer: Observer) -> None:
    assert seen(observer, package("a")).dependencies == (Dependency(package="b"),)
    source = {"registry": "", "repository": "b", "version": "1.0.0"}
    for digest, state in ((f"sha256:{'b' * 64}", "installed"), (f"sha256:{'0' * 64}", "updating")):
        status = {"state": "installed", "source": {**source, "digest": digest}}
        cast("Any", observer.packages).put(package("b", status=status))
        assert seen(observer, package("a")).dependencies == (Dependency(package="b", name="b", state=state),)
    made = package("b", metadata={"ownerReferences": [{"uid": "uid-other"}]})
    cast("Any", observer.packages).put(made)
    assert seen(observer, package("a")).dependencies[0].needs_owner


def test_where_a_dependency_would_be_may_be_another_package_or_one_that_leaves(observer: Observer) -> None:
    document = package("b")
    document["spec"]["packageName"] = "c"
    cast("Any", observer.packages).put(document)
    assert seen(observer, package("a")).dependencies == (Dependency(package="b", name="b", taken_by="c"),)
    leaving = package("b", metadata={"deletionTimestamp": "2026-11-26T00:00:00Z"})
    cast("Any", observer.packages).put(leaving)
    assert seen(observer, package("a")).dependencies == (Dependency(package="b", name="b", state="uninstalling"),)


def test_one_of_two_that_is_installed_will_do_as_a_dependency(observer: Observer) -> None:
    source = {"registry": "", "repository": "b", "version": "1.0.0", "digest": f"sha256:{'b' * 64}"}
    for name, state in (("first", "installing"), ("second", "installed")):
        document = package(name, status={"state": state, "source": source})
        document["spec"]["packageName"] = "b"
        cast("Any", observer.packages).put(document)
    assert seen(observer, package("a")).dependencies == (Dependency(package="b", name="second", state="installed"),)


def test_what_was_looked_up_for_one_bundle_does_not_count_for_the_next(observer: Observer) -> None:
    document = package("b")
    looked = Looked(chart=ChartFile("apps"), images=(), aim=seen(observer, document).wanted)
    assert seen(observer, document, looked).images == ()
    image = {"repository": "tools/b", "digest": f"sha256:{'1' * 64}"}
    stored = cast("Any", observer.bundles).get("eksa-packages/v1-33-1")
    versions = (PackageVersion(name="1.0.0", digest=f"sha256:{'b' * 64}", images=(PackageImage(**image),)),)
    newer = BundledPackage(name="b", source=PackageSource(repository="b", versions=versions))
    bundle = bundle_object(signed(render_package_bundle("v1-33-1", (newer,))), origin="x")
    bundle["metadata"] |= {"uid": "u", "resourceVersion": "2"}
    cast("Any", observer.bundles).put(bundle)
    later = seen(observer, document, looked)
    assert (later.chart, later.images) == (UNKNOWN, UNKNOWN)
    assert later.wanted is not None
    assert later.wanted.version == versions[0]
    assert stored is not bundle


def test_workloads_are_not_restarted_because_the_login_to_the_mirror_is_gone_for_a_moment(observer: Observer) -> None:
    login = MirrorSettings(endpoint="mirror.example", username="site", password="x")
    with_login = replace(observer, mirrors=cast("Any", SimpleNamespace(get=lambda _: SimpleNamespace(settings=login))))
    before, fresh = seen(with_login, package("b")).wanted, seen(observer, package("b")).wanted
    assert before is not None
    assert fresh is not None
    assert "imagePullSecrets" not in fresh.values
    made = Revision(number=1, status="deployed", fingerprint=before.fingerprint)
    kept = seen(observer, package("b"), Looked(release=Release(revisions=(made,)))).wanted
    assert kept is not None
    assert (kept.fingerprint, kept.values) == (before.fingerprint, before.values)
    earlier = replace(made, status="superseded", fingerprint=fresh.fingerprint)
    appeared = Looked(release=Release(revisions=(earlier, replace(made, number=2))))
    assert seen(observer, package("b"), appeared).wanted == kept, "not back to what was before there was a login"
    went_back = Looked(release=Release(revisions=(made, replace(earlier, status="deployed"))))
    assert seen(observer, package("b"), went_back).wanted == fresh
    changed = seen(observer, package("b", config="replicas: 2"), Looked(release=Release(revisions=(made,)))).wanted
    assert changed is not None
    assert "imagePullSecrets" not in changed.values


def test_pull_secrets_of_another_form_are_a_charts_own_matter_where_there_is_no_login(observer: Observer) -> None:
    stored = cast("Any", observer.bundles).get("eksa-packages/v1-33-1")
    version = PackageVersion(name="1.0.0", digest=f"sha256:{'b' * 64}")
    source = PackageSource(repository="b", versions=(version,))
    bundle = bundle_object(
        signed(render_package_bundle("v1-33-1", (BundledPackage(name="b", source=source),))), origin="x"
    )
    cast("Any", observer.bundles).put(
        {**bundle, "metadata": {**stored["metadata"], **bundle["metadata"], "resourceVersion": "2"}}
    )
    with_login = package("b", config="imagePullSecrets: null")
    login = MirrorSettings(endpoint="mirror.example", username="site", password="x")
    at_first = replace(observer, mirrors=cast("Any", SimpleNamespace(get=lambda _: SimpleNamespace(settings=login))))
    made = seen(at_first, with_login).wanted
    assert made is not None
    held = Release(revisions=(Revision(number=1, status="deployed", fingerprint=made.fingerprint),))
    assert seen(observer, with_login, Looked(release=held)).wanted == made
    found = seen(observer, package("b", config="imagePullSecrets: theirs")).wanted
    assert found is not None
    assert found.values["imagePullSecrets"] == "theirs"


def test_where_a_release_is_cannot_be_a_path(observer: Observer) -> None:
    leaving = package("b", metadata={"annotations": {LOCATION: "x/secrets"}, "deletionTimestamp": "2026-11-26"})
    assert seen(observer, leaving).location == ""


def test_the_time_that_a_revision_waits_begins_when_it_is_seen_and_when_it_was_ready(observer: Observer) -> None:
    now = 0.0
    timed = replace(observer, clock=lambda: now)
    memory = Memory(2000.0)
    waiting = Looked(release=Release(revisions=(Revision(number=1, status="deployed"),)))

    def stale(looked: Looked, uid: str = "u") -> float:
        cast("Any", timed.packages).put(package("b", metadata={"uid": uid}))
        found = timed.observe("eksa-packages-site/b", looked, memory)
        assert found is not None
        return found.stale_for

    assert stale(waiting) == 0
    now = 10.0
    assert stale(waiting) == 10
    assert stale(replace(waiting, readiness=Readiness(ready=False))) == 10
    assert stale(replace(waiting, readiness=Readiness(ready=True))) == 0
    now = 15.0
    assert stale(waiting) == 5
    assert stale(waiting, uid="another of the same name") == 0


def test_a_namespace_that_was_prepared_is_looked_at_again_after_the_interval(observer: Observer) -> None:
    now = 0.0
    timed = replace(observer, clock=lambda: now)
    cast("Any", timed.packages).put(package("b", metadata={"annotations": {LOCATION: "apps"}}))
    fingerprint = MirrorSettings().fingerprint
    memory = Memory(2000.0, prepared=f"{fingerprint} apps", prepared_until=180.0)
    prepared = []
    for seconds in (0.0, 179.0, 180.0):
        now = seconds
        found = timed.observe("eksa-packages-site/b", Looked(), memory)
        assert found is not None
        prepared.append(found.prepared)
    assert prepared == [True, True, False]


def test_a_release_belongs_to_the_package_that_it_names_as_long_as_that_exists(observer: Observer) -> None:
    release = Release(revisions=(Revision(number=1, status="deployed", owner="uid-other"),))
    assert seen(observer, package("b"), Looked(release=release)).owner == ""
    cast("Any", observer.packages).put(package("other"))
    assert seen(observer, package("b"), Looked(release=release)).owner == "eksa-packages-site/other"
    back_to_aws = Release(revisions=(*release.revisions, Revision(number=2, status="deployed")))
    assert seen(observer, package("b"), Looked(release=back_to_aws)).owner == "eksa-packages-site/other"


def review(document: dict[str, Any], before: dict[str, Any] | None = None, user: str = "somebody") -> dict[str, Any]:
    operation = "UPDATE" if before else "CREATE"
    asked = {
        "uid": "1",
        "operation": operation,
        "object": document,
        "oldObject": before,
        "userInfo": {"username": user},
    }
    return {"request": asked}


def told(observer: Observer, kind: str, asked: dict[str, Any]) -> str:
    response = Admission(observer, OWN_ACCOUNT, Metrics()).review(kind, asked)["response"]
    assert response["uid"] == "1"
    return "" if response["allowed"] else str(response["status"]["message"])


def test_a_package_is_let_in_that_could_be_installed(observer: Observer) -> None:
    assert told(observer, "Package", review(package("b", config="replicas: 2"))) == ""
    assert "replicas: " in told(observer, "Package", review(package("b", config="replicas: many")))
    assert "must start with" in told(observer, "Package", review(package("b", namespace="elsewhere")))


def test_what_was_applied_just_before_counts_though_the_watch_did_not_tell_of_it_yet(observer: Observer) -> None:
    bundles, controllers = cast("Stored", observer.bundles), cast("Stored", observer.controllers)
    pointing = controllers.documents["eksa-packages/site"]
    bundles.untold, bundles.documents = bundles.documents, {}
    assert told(observer, "PackageBundleController", review(pointing)) == ""
    for held in (bundles, controllers):
        held.untold, held.documents = held.documents, {}
    assert told(observer, "Package", review(package("b"))) == ""
    newer = bundle_object(signed(render_package_bundle("v1-33-2", (bundled("new"),))), origin="x")
    bundles.untold = {
        "eksa-packages/v1-33-2": {**newer, "metadata": {**newer["metadata"], "uid": "n", "resourceVersion": "2"}}
    }
    assert "not found" in told(observer, "Package", review(package("new")))
    controllers.untold = {"eksa-packages/site": {**pointing, "spec": {**pointing["spec"], "activeBundle": "v1-33-2"}}}
    assert told(observer, "Package", review(package("new"))) == ""


def test_of_a_bundle_that_is_refused_the_api_server_is_not_asked(observer: Observer) -> None:
    stored = cast("Stored", observer.bundles)
    hostile = {**stored.documents["eksa-packages/v1-33-1"], "metadata": {"name": "v1-33-9", "namespace": "x"}}
    stored.untold = {"eksa-packages/v1-33-8": hostile}
    hostile["spec"] = {**hostile["spec"], "activeBundle": "v1-33-8"}
    assert told(observer, "PackageBundle", review(hostile)) != ""
    assert stored.untold


def test_internal_counts_from_the_controllers_account_alone(observer: Observer) -> None:
    internal = package("nobody", metadata={"annotations": {"anywhere.eks.aws.com/internal": "true"}})
    assert "not found in bundle" in told(observer, "Package", review(internal))
    assert told(observer, "Package", review(internal, user=OWN_ACCOUNT)) == ""


def test_where_a_release_is_only_the_controller_says(observer: Observer) -> None:
    before = package("b", metadata={"annotations": {LOCATION: "apps"}})
    moved = package("b", metadata={"annotations": {LOCATION: "elsewhere"}})
    assert "is the controller's" in told(observer, "Package", review(moved, before))
    assert told(observer, "Package", review(moved, before, user=OWN_ACCOUNT)) == ""
    assert "immutable" in told(
        observer, "Package", review({**before, "spec": {"packageName": "b", "targetNamespace": "x"}}, before)
    )


def test_what_is_being_deleted_and_what_did_not_change_is_let_through(observer: Observer) -> None:
    gone = package("nobody", metadata={"deletionTimestamp": "2026-11-26T00:00:00Z"})
    assert told(observer, "Package", review(gone, package("nobody"))) == ""
    assert told(observer, "Package", review(package("nobody"), package("nobody"))) == ""


@pytest.mark.parametrize("request_", [{}, {"request": None}, {"request": {"object": 3, "operation": "CREATE"}}])
def test_a_review_that_is_none_is_answered(observer: Observer, request_: dict[str, Any]) -> None:
    for kind in ("Package", "PackageBundle", "PackageBundleController"):
        assert "response" in Admission(observer, OWN_ACCOUNT, Metrics()).review(kind, request_)

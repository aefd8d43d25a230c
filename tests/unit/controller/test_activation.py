"""Bundles and PackageBundleControllers, against a real registry on loopback and a model of the API server."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.operations.session import Connection, Session
from bundles.package_bundle import render_package_bundle
from bundles.schema.package_bundle import BundledPackage, PackageSource, PackageVersion
from controller.activation import BundleReconciler, ControllerReconciler
from controller.metrics import Metrics
from controller.observing import Observer
from controller.packages import Outcome
from controller.trust import Judge
from controller.values import bundle_object
from mirror.http import Transport
from mirror.oci.artifact import wrap_package_bundle
from tests.unit.bundles.signed_documents import BY_KEY, OTHER_SIGNER, SIGNER, signed
from tests.unit.controller.test_observing import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry_fixtures.registry import ServedRegistry

REPOSITORY = "x/eks-anywhere-packages-bundles"
SITE = "eksa-packages/site"


def raw_bundle(name: str, *, chart: str = "a", signer: Any = SIGNER) -> bytes:
    version = PackageVersion(name="1.0.0", digest=f"sha256:{chart * 64}")
    package = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    return signed(render_package_bundle(name, (package,)), signer)


class Kept(Stored):
    """Objects of a kind, each write a new version."""

    version = 0

    def path(self, key: str, subresource: str = "") -> str:
        return f"{key}/{subresource}" if subresource else key

    def put(self, document: dict[str, Any]) -> None:
        Kept.version += 1
        metadata = {"uid": document["metadata"]["name"], **document["metadata"], "resourceVersion": str(Kept.version)}
        super().put({**document, "metadata": metadata})


class Place:
    """An API server with one PackageBundleController, and the mirror beside it."""

    def __init__(self, served: ServedRegistry, session: Session, active: str) -> None:
        self.served = served
        self.bundles, self.controllers = Kept(), Kept()
        self.patches: list[Any] = []
        self.told: list[tuple[str, str]] = []
        spec = {"activeBundle": active, "defaultRegistry": f"{served.host}/x", "upgradeCheckShortInterval": "20s"}
        self.controllers.put({"metadata": {"name": "site", "namespace": "eksa-packages"}, "spec": spec})
        self.observer = Observer(
            packages=cast("Any", Kept()),
            bundles=cast("Any", self.bundles),
            controllers=cast("Any", self.controllers),
            clusters=cast("Any", SimpleNamespace(own="site", get=lambda _: SimpleNamespace(version="1.33"))),
            mirrors=cast("Any", SimpleNamespace(get=lambda _: SimpleNamespace(session=session))),
            judge=Judge(BY_KEY),
            holder="replica",
            ready_within=60.0,
            drift_interval=180.0,
        )
        tell = lambda kind, metadata, level, reason, message: self.told.append((reason, message))  # noqa: E731, ARG005
        self.metrics = Metrics()
        shared: Any = (self, self.observer, SimpleNamespace(tell=tell), self.metrics)
        self.of_controllers = ControllerReconciler(*shared, auto_activate=False, may_write=lambda: True)
        self.of_bundles = BundleReconciler(*shared)

    def create(self, collection: str, body: dict[str, Any]) -> dict[str, Any]:
        assert collection == "eksa-packages"
        stored = copy.deepcopy(body)
        # As the API server does with what a definition does not know, and with null.
        stored["spec"].pop("unknown", None)
        return stored

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        key = path.removesuffix("/status")
        objects = self.controllers if key in self.controllers.documents else self.bundles
        before = objects.documents[key]
        self.patches.append(body)
        return {**before, "status": {**(before.get("status") or {}), **body["status"]}}

    def push(self, raw: bytes, *tags: str) -> None:
        wrapped = wrap_package_bundle(raw)
        for blob in (*wrapped.blobs.values(), raw):
            self.served.holdings.put_blob(REPOSITORY, blob)
        for tag in tags:
            self.served.holdings.put_manifest(REPOSITORY, wrapped.manifest.raw, tag=tag)

    def status(self) -> tuple[str, str, str]:
        status = self.controllers.documents[SITE]["status"]
        ready = next(item for item in status["conditions"] if item["type"] == "Ready")
        return status["state"], ready["status"], ready["reason"]


@pytest.fixture
def place(registry: ServedRegistry) -> Iterator[Place]:
    transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
    with Session(Connection(transport=transport, jobs=2)) as session:
        yield Place(registry, session, "v1-33-7")


def test_what_is_active_is_fetched_and_the_newest_beside_it(place: Place) -> None:
    place.push(raw_bundle("v1-33-7"), "v1-33-7")
    place.push(raw_bundle("v1-33-8"), "v1-33-8", "v1-33-latest")
    assert place.of_controllers.reconcile(SITE) == Outcome(again_after=86400.0)
    assert set(place.bundles.documents) == {"eksa-packages/v1-33-7", "eksa-packages/v1-33-8"}
    assert place.status() == ("upgrade available", "True", "Active")
    written = len(place.patches)
    place.of_controllers.reconcile(SITE)
    assert len(place.patches) == written


@pytest.mark.parametrize("answers", [True, False])
def test_who_lost_the_lead_while_the_mirror_took_its_time_writes_nothing(place: Place, *, answers: bool) -> None:
    if answers:
        place.push(raw_bundle("v1-33-7"), "v1-33-7", "v1-33-latest")
    leads = iter([True])
    shared: Any = (place, place.observer, SimpleNamespace(tell=None), Metrics())
    reconciler = ControllerReconciler(*shared, auto_activate=False, may_write=lambda: next(leads, False))
    assert reconciler.reconcile(SITE) == Outcome()
    assert place.patches == []


def test_what_is_active_is_fetched_though_the_newest_is_not_good(place: Place) -> None:
    place.push(raw_bundle("v1-33-7"), "v1-33-7")
    place.push(raw_bundle("v1-33-8", signer=OTHER_SIGNER), "v1-33-8", "v1-33-latest")
    assert place.of_controllers.reconcile(SITE) == Outcome(again_after=20.0)
    assert set(place.bundles.documents) == {"eksa-packages/v1-33-7"}
    assert place.status() == ("disconnected", "False", "Disconnected")


@pytest.mark.parametrize(("newest", "state"), [("v1-33-8", "upgrade available"), ("v1-33-7", "active")])
def test_a_controller_whose_active_bundle_was_altered_is_not_ready(place: Place, newest: str, state: str) -> None:
    raw = raw_bundle("v1-33-7")
    place.push(raw, "v1-33-7")
    place.push(raw_bundle(newest), "v1-33-latest")
    altered = bundle_object(raw, origin="x")
    altered["spec"]["packages"][0]["source"]["versions"][0]["digest"] = f"sha256:{'b' * 64}"
    place.bundles.put(altered)
    assert place.of_controllers.reconcile(SITE) == Outcome(again_after=20.0)
    assert place.status() == ("active", "False", "BundleNotVerified")
    place.bundles.put(bundle_object(raw, origin="x"))
    place.of_controllers.reconcile(SITE)
    assert place.status() == (state, "True", "Active")


def test_a_bundle_that_changed_in_the_registry_is_told_but_not_one_that_the_api_server_pruned(place: Place) -> None:
    place.push(raw_bundle("v1-33-7").replace(b"\nspec:\n", b"\nspec:\n  unknown: x\n"), "v1-33-7", "v1-33-latest")
    for _ in range(2):
        place.of_controllers.reconcile(SITE)
    assert place.status() == ("active", "True", "Active")
    place.push(raw_bundle("v1-33-7", chart="b"), "v1-33-7", "v1-33-latest")
    place.of_controllers.reconcile(SITE)
    assert place.status() == ("disconnected", "False", "Disconnected")
    assert "is not v1-33-7 in the cluster" in place.controllers.documents[SITE]["status"]["detail"]


def test_a_bundle_is_judged_once_and_its_state_written_once(place: Place) -> None:
    place.bundles.put(bundle_object(raw_bundle("v1-33-7"), origin="x"))
    for _ in range(3):
        assert place.of_bundles.reconcile("eksa-packages/v1-33-7") == Outcome()
    assert len(place.patches) == 1
    assert place.metrics.value("events_total", reason="Verified") == len(place.told) == 1
    assert place.bundles.documents["eksa-packages/v1-33-7"]["status"]["state"] == "available"

"""What another bundle would change, and that it is activated only where nobody else was faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import pytest

from bundlectl.errors import ConfigError, ContentError, MissingError
from bundlectl.operations import Session
from bundlectl.operations.request import SourceRequest
from bundles.belief import Belief
from bundles.package_bundle import render_package_bundle
from bundles.schema.package_bundle import BundledPackage, PackageSource, PackageVersion
from controller.api import ClusterError
from controller.helm import HelmError
from controller.packages_upgrade import (
    PackageChange,
    Upgrade,
    activate,
    diff_manifests,
    plan_upgrade,
    preview,
    preview_all,
)
from controller.releases import Release, Revision
from controller.values import Package, PackageBundle, PackageBundleController, bundle_object
from tests.unit.bundlectl.operations.packages import chart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.helm import HelmTarget

BEFORE, AFTER = "v1-33-1", "v1-33-2"
OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {version: '%s'}\n"
HOME = "eksa-packages"


def bundle(name: str = AFTER, digest: str = "a") -> dict[str, Any]:
    version = PackageVersion(name="1.1.0", digest=f"sha256:{digest * 64}")
    package = BundledPackage(name="hello", source=PackageSource(repository="hello", versions=(version,)))
    return bundle_object(render_package_bundle(name, (package,)), origin=name)


def pointing(active: str, registry: str = "r.example/eks") -> dict[str, Any]:
    spec = {"activeBundle": active, "defaultRegistry": registry, "defaultImageRegistry": registry}
    return {"metadata": {"name": "site", "namespace": HOME}, "spec": spec}


def package(name: str = "hello", namespace: str = "apps", **metadata: Any) -> dict[str, Any]:
    spec = {"packageName": "hello", "targetNamespace": namespace}
    return {"metadata": {"name": name, "namespace": f"{HOME}-site", **metadata}, "spec": spec}


class Access:
    """A cluster with one PackageBundleController, and what is put beside it."""

    def __init__(self, active: str = BEFORE) -> None:
        self.kubeconfig = Path("kubeconfig")
        self.active = active
        self.registry = "r.example/eks"
        self.bundles: dict[str, dict[str, Any]] = {}
        self.packages: list[dict[str, Any]] = []
        self.releases: dict[str, Release | ContentError | ClusterError] = {}
        self.asked: list[str] = []
        self.elsewhere: Access | ClusterError | None = None
        self.closed = False

    def get(self, path: str) -> dict[str, Any] | None:
        kind, _, name = path.rpartition("/")
        if kind.endswith("/packagebundlecontrollers"):
            return pointing(self.active, self.registry)
        return self.bundles.get(name) if kind.endswith("/packagebundles") else None

    def find(self, document: dict[str, Any]) -> dict[str, Any] | None:
        return self.bundles.get(document["metadata"]["name"])

    def items(self, _path: str) -> list[dict[str, Any]]:
        return self.packages

    def create(self, document: dict[str, Any]) -> None:
        self.bundles[document["metadata"]["name"]] = document

    def merge(self, _path: str, patch: dict[str, Any]) -> None:
        self.active = patch["spec"]["activeBundle"]

    def patch(self, path: str, steps: Sequence[dict[str, Any]]) -> None:
        assert path.endswith("/packagebundlecontrollers/site")
        (test, change) = steps
        assert (test["op"], test["path"], change["path"]) == ("test", "/spec/activeBundle", "/spec/activeBundle")
        if self.active != test["value"]:
            raise ContentError("a test failed", artifact=path)
        self.active = change["value"]

    def workload(self, cluster: str, _folder: Path) -> Access:
        assert cluster == "site"
        if self.elsewhere is None:
            raise MissingError("is not there", artifact="its kubeconfig")
        if isinstance(self.elsewhere, ClusterError):
            raise self.elsewhere
        return self.elsewhere

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def release(self, namespace: str, name: str) -> Release | None:
        assert name == "hello"
        self.asked.append(namespace)
        found = self.releases.get(namespace)
        if isinstance(found, Exception):
            raise found
        return found


def planned(access: Access, name: str = AFTER, *, brings: bool = True) -> Upgrade:
    controller = PackageBundleController.from_json(pointing(access.active))
    document = bundle(name)
    return Upgrade(
        controller=controller,
        bundle=PackageBundle.from_json(document),
        document=document if brings else None,
        changes=(),
    )


@pytest.mark.parametrize("before", [BEFORE, ""])
def test_a_bundle_is_brought_and_activated_and_again_nothing_is_changed(before: str) -> None:
    access = Access(before)
    assert activate(cast("Any", access), planned(access)) is True
    assert (access.active, list(access.bundles)) == (AFTER, [AFTER])
    assert activate(cast("Any", access), planned(access, brings=False)) is False


def test_what_somebody_else_activated_meanwhile_stays_active() -> None:
    access = Access()
    upgrade = planned(access)
    access.active = "v1-33-9"
    with pytest.raises(ContentError, match="somebody else activated v1-33-9 meanwhile"):
        activate(cast("Any", access), upgrade)
    assert access.active == "v1-33-9"


def test_another_bundle_of_that_name_that_came_meanwhile_is_not_activated() -> None:
    access = Access()
    upgrade = planned(access)
    access.bundles[AFTER] = bundle(digest="b")
    with pytest.raises(ContentError, match="another bundle of that name is in the cluster"):
        activate(cast("Any", access), upgrade)
    assert access.active == BEFORE


def test_packages_that_are_being_deleted_are_not_upgraded() -> None:
    access = Access()
    access.bundles[AFTER] = bundle()
    access.packages = [package(), package("leaving", deletionTimestamp="2026-01-01T00:00:00Z")]
    request = SourceRequest(sources=(), belief=Belief(mode="off"))
    with Session() as session:
        found = plan_upgrade(cast("Any", access), "site", AFTER, request=request, session=session)
    assert [change.package.metadata.name for change in found.changes] == ["hello"]


@pytest.mark.parametrize("registry", ["", "harbor", "https://harbor.example"])
def test_a_cluster_that_is_fed_from_nowhere_is_told_so_and_not_called_wrong_usage(registry: str) -> None:
    access = Access()
    access.registry = registry
    request = SourceRequest(sources=(), belief=Belief(mode="off"))
    with Session() as session, pytest.raises(ConfigError, match="has the defaultRegistry"):
        plan_upgrade(cast("Any", access), "site", AFTER, request=request, session=session)


class Helm:
    """Has a manifest in one namespace, and renders another; it is asked for no history."""

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.rendered: list[str] = []

    def manifest(self, target: HelmTarget, name: str) -> str:
        if target.namespace != self.namespace:
            raise HelmError("release: not found", artifact=name, missing=True)
        return OBJECT % "old"

    def render(self, target: HelmTarget, _name: str, _chart: Path, _values: object) -> str:
        self.rendered.append(target.namespace)
        return OBJECT % "new"


class Fetcher:
    def __init__(self, folder: Path, values: str = "") -> None:
        self.chart = folder / "hello.tgz"
        self.chart.write_bytes(chart("hello", "1.1.0", {"values.yaml": values}))

    def fetch(self, repository: str, _digest: str) -> Path:
        assert repository == "r.example/eks/hello"
        return self.chart


RELEASE = Release(revisions=(Revision(number=1, status="deployed"),))
CHANGE = PackageChange(
    package=Package.from_json(package()),
    version=PackageVersion(name="1.1.0", digest=f"sha256:{'a' * 64}"),
    repository="hello",
)


def shown(access: Access, helm: Helm, folder: Path, change: PackageChange = CHANGE, values: str = "") -> str:
    controller = PackageBundleController.from_json(pointing(BEFORE))
    fetcher = cast("Any", Fetcher(folder, values))
    return preview(change, controller, fetcher=fetcher, helm=cast("Any", helm), access=cast("Any", access))


@pytest.mark.parametrize(("namespace", "asked"), [("apps", ["apps"]), (HOME, ["apps", HOME])])
def test_what_is_installed_is_looked_for_where_either_controller_keeps_its_records(
    tmp_path: Path, namespace: str, asked: list[str]
) -> None:
    access, helm = Access(), Helm(namespace)
    access.releases = {namespace: RELEASE}
    assert "-  version: old\n+  version: new" in shown(access, helm, tmp_path)
    assert (access.asked, helm.rendered) == (asked, [namespace])


def test_of_what_is_not_installed_everything_is_new(tmp_path: Path) -> None:
    access, helm = Access(), Helm()
    assert "+  version: new" in shown(access, helm, tmp_path)
    assert helm.rendered == ["apps"]
    access.releases = {"apps": RELEASE}  # which is gone when helm looks
    assert "version: old" not in shown(access, helm, tmp_path)


def test_a_record_that_only_helm_can_read_is_read_by_helm(tmp_path: Path) -> None:
    access = Access()
    access.releases = {"apps": ContentError("helm's record of the release cannot be read")}
    assert "-  version: old" in shown(access, Helm("apps"), tmp_path)


def test_who_may_not_see_what_is_installed_is_told_so_and_not_that_all_is_new(tmp_path: Path) -> None:
    access = Access()
    access.releases = {"apps": ClusterError("secrets is forbidden", artifact="x", status=403)}
    with pytest.raises(ClusterError, match="forbidden"):
        shown(access, Helm(), tmp_path)


def shown_all(access: Access, folder: Path) -> list[dict[str, Any]]:
    upgrade = replace(planned(access), changes=(CHANGE, replace(CHANGE, version=None)))
    fetcher, helm = cast("Any", Fetcher(folder)), cast("Any", Helm("apps"))
    return preview_all(upgrade, fetcher=fetcher, helm=helm, access=cast("Any", access))


def test_packages_are_looked_at_in_the_cluster_that_they_are_in(tmp_path: Path) -> None:
    access, there = Access(), Access()
    access.elsewhere, there.releases = there, {"apps": RELEASE}
    found, lacking = shown_all(access, tmp_path)
    assert ("version: old" in found["diff"], lacking["diff"]) == (True, None)
    assert (there.asked, access.asked, there.closed) == (["apps"], [], True)


@pytest.mark.parametrize("elsewhere", [None, ClusterError("forbidden", artifact="x", status=403)])
def test_where_nothing_says_that_it_is_another_cluster_it_is_the_one_that_is_reached(
    tmp_path: Path, elsewhere: ClusterError | None
) -> None:
    access = Access()
    access.elsewhere, access.releases = elsewhere, {"apps": RELEASE}
    assert "version: old" in shown_all(access, tmp_path)[0]["diff"]


def test_where_the_other_cluster_does_not_answer_not_all_is_called_new(tmp_path: Path) -> None:
    access = Access()
    access.elsewhere = ClusterError("no answer", artifact="x", status=0)
    with pytest.raises(ClusterError, match="no answer"):
        shown_all(access, tmp_path)


def test_of_two_kinds_of_one_name_none_hides_the_other() -> None:
    gateway = "apiVersion: %s/v1\nkind: Gateway\nmetadata: {name: a, namespace: apps}\nspec: {size: %d}\n"
    before, after = (f"{gateway % ('istio.example', size)}---\n{gateway % ('k8s.example', 1)}" for size in (1, 2))
    shown = diff_manifests(before, after)
    assert shown.startswith("--- a/Gateway/apps/a\n+++ b/Gateway/apps/a\n")
    assert "-  size: 1\n+  size: 2" in shown
    assert diff_manifests(after, gateway % ("k8s.example", 1)).count("-  size: 2") == 1


def test_neither_a_package_nor_a_chart_makes_up_paths_of_the_api(tmp_path: Path) -> None:
    wrong = replace(CHANGE, package=Package.from_json(package(namespace="../x")))
    chartless = replace(CHANGE, package=Package.from_json(package(namespace="")))
    for change, values in ((wrong, ""), (chartless, "defaultNamespace: ../x\n")):
        access = Access()
        with pytest.raises(ContentError, match=r"hello: a namespace cannot be called '\.\./x'"):
            shown(access, Helm(), tmp_path, change, values)
        assert access.asked == []

"""What is checked before helm installs anything, and what is waited for."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ContentError, InterruptError, MissingError
from bundlectl.operations import Session
from bundlectl.operations.packages import FoundBundle, PackagePlace, bundles_in_registry
from bundlectl.operations.request import SourceRequest
from bundles.belief import Belief
from bundles.document import parse_document
from bundles.package_bundle import render_package_bundle
from bundles.plan import Naming
from bundles.schema import parse_model
from bundles.schema.package_bundle import BundledPackage, PackageBundle, PackageImage, PackageSource, PackageVersion
from controller import packages_state
from controller.charts import ChartFetcher
from controller.helm import HelmError
from controller.local import LocalRequest, install_locally, prepare, uninstall_locally
from controller.packages_state import Wait, wait_until_gone, wait_until_installed
from controller.releases import Release, Revision
from mirror.oci.digest import Digest
from mirror.remote import Credential
from tests.unit.bundlectl.operations.packages import PackageSite

if TYPE_CHECKING:
    from controller.packages_cluster import ClusterAccess
    from registry_fixtures.registry import ServedRegistry

NEEDS = {"top": ("left", "right"), "left": ("base",), "right": ("base",), "base": ()}


class Access:
    """A cluster of which only what is asked for is there."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces
        self.runs = "1.33"
        self.packages: list[list[dict[str, Any]]] = []
        self.there: Release | None = None
        self.kubeconfig = Path("kubeconfig")

    def release(self, namespace: str, name: str) -> Release | None:
        assert (namespace, name) == ("base-system", "base")
        return self.there

    def get(self, path: str) -> dict[str, Any] | None:
        return {} if path.rpartition("/")[2] in self.namespaces else None

    def kube_version(self) -> str:
        return self.runs

    def items(self, path: str) -> list[dict[str, Any]]:
        assert path.endswith("/namespaces/eksa-packages-site/packages")
        return self.packages.pop(0) if len(self.packages) > 1 else self.packages[0]


class Helm:
    """Notes what it is told to do."""

    def __init__(self) -> None:
        self.did: list[tuple[Any, ...]] = []

    def install(self, _target: object, name: str, chart: Path, _values: object, **_labels: object) -> None:
        assert chart.is_file()
        self.did.append(("install", name))

    def rollback(self, _target: object, name: str, revision: int) -> None:
        self.did.append(("rollback", name, revision))

    def uninstall(self, _target: object, name: str) -> None:
        self.did.append(("uninstall", name))


def as_access(access: Access) -> ClusterAccess:
    return cast("ClusterAccess", access)


@pytest.fixture
def site(registry: ServedRegistry) -> PackageSite:
    return PackageSite(registry)


@pytest.fixture
def found(site: PackageSite) -> FoundBundle:
    image = PackageImage(repository="tools/app", digest=str(site.image("tools/app").digest))
    packages = tuple(
        BundledPackage(
            name=name,
            source=PackageSource(
                repository=name,
                versions=(
                    PackageVersion(
                        name="1.0.0",
                        digest=site.chart(name, "1.0.0", values=f"defaultNamespace: {name}-system\n"),
                        images=(image,),
                        dependencies=needs,
                    ),
                ),
            ),
        )
        for name, needs in NEEDS.items()
    )
    return _bundle(site, packages)


def _bundle(site: PackageSite, packages: tuple[BundledPackage, ...]) -> FoundBundle:

    raw = render_package_bundle("v1-33-1", packages)
    model = cast("PackageBundle", parse_model(parse_document(raw, origin="bundle")))
    place = PackagePlace(site.packages, site.packages)
    return FoundBundle(
        bundle=model, raw=raw, digest=Digest.of(raw), trust="off", verified_by=None, origin="bundle", place=place
    )


ALL = tuple(f"{name}-system" for name in NEEDS)
WANTED = LocalRequest(package="Top", release="mine", namespace="here", values={"size": 3})


def prepared(found: FoundBundle, request: LocalRequest, access: Access, folder: Path) -> list[Any]:
    with Session() as session:
        fetcher = ChartFetcher(session, folder / "charts")
        return list(prepare(request, found, session=session, fetcher=fetcher, access=as_access(access)))


def test_what_is_needed_comes_first_and_once_and_only_what_was_asked_for_gets_the_values(
    found: FoundBundle, tmp_path: Path
) -> None:
    releases = prepared(found, WANTED, Access(*ALL, "here"), tmp_path)
    assert [(one.name, one.namespace, one.is_dependency) for one in releases] == [
        ("base", "base-system", True),
        ("left", "left-system", True),
        ("right", "right-system", True),
        ("mine", "here", False),
    ]
    registry = found.place.images if found.place else ""
    assert releases[0].values == {"sourceRegistry": registry}
    assert releases[-1].values == {"size": 3, "sourceRegistry": registry}
    assert all(one.chart.is_file() for one in releases)


def test_pods_get_the_pull_secret_that_is_there_or_that_will_be(found: FoundBundle, tmp_path: Path) -> None:
    secret = [{"name": "registry-mirror-cred"}]
    there = prepared(found, WANTED, Access(*ALL, "here", "registry-mirror-cred"), tmp_path)
    given = prepared(found, replace(WANTED, credential=Credential("a", "b")), Access(*ALL, "here"), tmp_path)
    assert there[-1].values["imagePullSecrets"] == given[-1].values["imagePullSecrets"] == secret


def test_namespaces_must_be_there_unless_they_are_to_be_made(found: FoundBundle, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="the cluster has no namespace here"):
        prepared(found, WANTED, Access(*ALL), tmp_path)
    assert prepared(found, replace(WANTED, create_namespace=True), Access(), tmp_path)


def test_a_package_for_workload_clusters_stays_out_of_a_cluster_that_manages_others(
    site: PackageSite, found: FoundBundle, tmp_path: Path
) -> None:
    packages = tuple(
        BundledPackage(name=one.name, source=one.source, workloadonly=one.name == "base")
        for one in found.bundle.spec.packages
    )
    for_workloads = _bundle(site, packages)
    with pytest.raises(ContentError, match=r"base 1\.0\.0: should only be installed on a workload cluster"):
        prepared(for_workloads, WANTED, Access(*ALL, "here", "anywhere.eks.amazonaws.com"), tmp_path)
    assert prepared(for_workloads, WANTED, Access(*ALL, "here"), tmp_path)


def test_neither_a_bundle_nor_a_chart_names_arguments_of_helm_or_paths_of_the_api(
    site: PackageSite, found: FoundBundle, tmp_path: Path
) -> None:
    packages = tuple(
        BundledPackage(
            name="--post-renderer=x" if one.name == "base" else one.name,
            source=PackageSource(
                repository=one.source.repository,
                versions=tuple(
                    PackageVersion(
                        name=version.name,
                        digest=version.digest,
                        images=version.images,
                        dependencies=tuple("--post-renderer=x" if need == "base" else need for need in NEEDS[one.name]),
                    )
                    for version in one.source.versions
                ),
            ),
        )
        for one in found.bundle.spec.packages
    )
    with pytest.raises(ContentError, match="a release cannot be called '--post-renderer=x'"):
        prepared(_bundle(site, packages), WANTED, Access(*ALL, "here"), tmp_path)
    digest = site.chart("top", "2.0.0", values="defaultNamespace: ../x\n")
    away = replace(WANTED, namespace="", create_namespace=True)
    with pytest.raises(ContentError, match=r"or a namespace '\.\./x'"):
        prepared(changed(found, site, digest=digest), away, Access(*ALL), tmp_path)


BASE = LocalRequest(package="base", release="base", values={})


def there(status: str, *, began: float = 0.0, chart: str = "base", **labels: str) -> Release:
    made = Revision(number=2, status=status, began=began, **labels)
    return Release(revisions=(Revision(number=1, status="deployed", bundle="v1-33-1"), made), chart=chart)


def installed(found: FoundBundle, folder: Path, release: Release) -> list[tuple[Any, ...]]:
    access, helm = Access(*ALL), Helm()
    access.there = release
    releases = prepared(found, BASE, access, folder)
    install_locally(releases, helm=cast("Any", helm), access=as_access(access), wait=None)
    return helm.did


def test_a_helm_that_works_at_a_release_is_not_disturbed_and_one_that_was_killed_is_undone(
    found: FoundBundle, tmp_path: Path
) -> None:
    with pytest.raises(HelmError, match=r"base-system/base: a helm works at it since 1[0-9] s \(pending-upgrade\)"):
        installed(found, tmp_path, there("pending-upgrade", began=time.time() - 10.5))
    done = installed(found, tmp_path, there("pending-upgrade", began=time.time() - 301))
    assert done == [("rollback", "base", 1), ("install", "base")]
    assert installed(found, tmp_path, there("failed", began=time.time())) == [("install", "base")]


def test_a_release_of_a_chart_whose_name_only_begins_so_is_anothers(found: FoundBundle, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="is there already, of the chart base-2"):
        installed(found, tmp_path, there("deployed", chart="base-2"))


def test_what_a_controller_took_over_is_not_taken_away() -> None:
    access, helm = Access(), Helm()
    for labels in ({}, {"bundle": "v1-33-1", "owner": "uid"}):
        access.there = there("deployed", **labels)
        with pytest.raises(ContentError, match="was not installed by packages install --from"):
            uninstall_locally(("base",), "base-system", helm=cast("Any", helm), access=as_access(access))
    access.there = there("deployed", bundle="v1-33-1")
    uninstall_locally(("base",), "base-system", helm=cast("Any", helm), access=as_access(access))
    assert helm.did == [("uninstall", "base")]


def test_a_bundle_for_another_kubernetes_is_refused(found: FoundBundle, tmp_path: Path) -> None:
    access = Access(*ALL, "here")
    access.runs = "1.34"
    with pytest.raises(ContentError, match=r"is for Kubernetes 1\.33, and the cluster runs 1\.34"):
        prepared(found, WANTED, access, tmp_path)


def changed(found: FoundBundle, site: PackageSite, **changes: Any) -> FoundBundle:
    """The bundle with another version of ``top``."""
    top, *others = found.bundle.spec.packages
    (version,) = top.source.versions
    fields = {name: getattr(version, name) for name in ("name", "digest", "images", "dependencies")}
    source = PackageSource(repository=top.source.repository, versions=(PackageVersion(**{**fields, **changes}),))
    return _bundle(site, (BundledPackage(name=top.name, source=source), *others))


def test_a_missing_image_another_chart_and_a_circle_stop_it(
    found: FoundBundle, site: PackageSite, tmp_path: Path
) -> None:
    access = Access(*ALL, "here")
    gone = PackageImage(repository="tools/gone", digest=f"sha256:{'0' * 64}")
    with pytest.raises(MissingError, match=r"1 of its images are not in .*: tools/gone@sha256:0"):
        prepared(changed(found, site, images=(gone,)), WANTED, access, tmp_path)
    with pytest.raises(MissingError, match="the chart that the bundle signs is not in the mirror"):
        prepared(changed(found, site, digest=f"sha256:{'0' * 64}"), WANTED, access, tmp_path)
    image = site.image("top", "an-image")
    with pytest.raises(ContentError, match="is not a Helm chart"):
        prepared(changed(found, site, digest=str(image.digest)), WANTED, access, tmp_path)
    with pytest.raises(ContentError, match="packages need each other: top needs top"):
        prepared(changed(found, site, dependencies=("top",)), WANTED, access, tmp_path)


def test_a_bundle_that_nobody_published_is_missing(site: PackageSite) -> None:
    request = SourceRequest(sources=(), belief=Belief(mode="off"))
    with Session() as session, pytest.raises(MissingError) as refused:
        bundles_in_registry(request, Naming.parse(site.to), session=session)
    assert "bundlectl mirror packages:VERSION" in str(refused.value.hint)


def package(state: str, version: str = "", **more: Any) -> dict[str, Any]:
    status = {"state": state, "currentVersion": version, **more}
    return {"metadata": {"name": "a", "generation": 2}, "spec": {"packageName": "A"}, "status": status}


def waited(*steps: list[dict[str, Any]], seconds: float = 30.0) -> list[str]:
    access, told = Access(), []
    access.packages = list(steps)
    wait = Wait(seconds, told.append, threading.Event())
    wait_until_installed(as_access(access), "site", {"a": PackageVersion(name="1.1", digest="sha256:11")}, wait)
    return told


def test_an_installation_is_followed_until_the_wanted_version_is_the_one_that_runs() -> None:
    seen: dict[str, Any] = {"observedGeneration": 2, "spec": {"packageName": "A"}}
    done = package("installed", "1.1", source={"digest": "sha256:11"}, **seen)
    told = waited(
        [],
        [package("installed", "1.0", observedGeneration=1)],
        [package("updating", "1.0", targetVersion="1.1", detail="1 of 2 pods are ready")],
        [package("installed", "1.1", observedGeneration=1)],
        [package("installed", "1.1", spec={"packageName": "A", "config": "old: 1"})],
        [package("installed", "1.1", source={"digest": "sha256:10"}, **seen)],  # of the bundle before
        [done],
    )
    assert told == ["a: installed 1.0", "a: updating 1.1, 1 of 2 pods are ready", "a: installed 1.1"]


def test_a_package_that_was_rolled_back_is_not_waited_for_any_longer() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "RolledBack", "message": "no pod was ready"}
    left = {"conditions": [{**condition, "observedGeneration": 2}], "targetVersion": "1.1 (latest)"}
    with pytest.raises(ContentError, match="was rolled back: no pod was ready"):
        waited([package("installed", "1.0", **left)])
    earlier = package("installed", "1.0", **{**left, "targetVersion": "1.05 (latest)"})
    assert waited([earlier], [package("installed", "1.1", observedGeneration=2)])[-1] == "a: installed 1.1"
    with pytest.raises(MissingError, match=r"not installed within 0 s: a: installed 1\.0"):
        waited([package("installed", "1.0", conditions=[{**condition, "observedGeneration": 1}])], seconds=0)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("ChartNotVerified", ContentError), ("ConfigRefused", ContentError), ("ImagesMissing", MissingError)],
)
def test_what_is_not_what_it_should_be_ends_a_wait_otherwise_than_what_is_missing(reason: str, kind: type) -> None:
    with pytest.raises(kind, match="not installed within 0 s: a: installing, told") as refused:
        waited([refusal(reason)], seconds=0)
    assert type(refused.value) is kind


def refusal(reason: str, generation: int = 2) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": "why"}
    return package("installing", detail="told", conditions=[{**condition, "observedGeneration": generation}])


def test_a_refusal_that_stands_ends_a_wait_unless_it_may_be_about_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packages_state, "_SETTLED", 0.0)
    before, done = [package("installing")], [package("installed", "1.1", observedGeneration=2)]
    with pytest.raises(ContentError, match=r"^refused: a: installing, told"):
        waited(before, [refusal("ConfigRefused")])
    for passing in ([refusal("ConfigRefused", 1)], [refusal("ImagesMissing")]):
        assert waited(before, passing, done)[-1] == "a: installed 1.1"
    assert waited([refusal("ConfigRefused")], done)[-1] == "a: installed 1.1"


def test_a_wait_ends_when_it_is_cancelled() -> None:
    access, cancelled = Access(), threading.Event()
    access.packages = [[package("installing")]]
    cancelled.set()
    with pytest.raises(InterruptError):
        wait_until_gone(as_access(access), "site", ["a"], Wait(30.0, lambda _: None, cancelled))

"""What is checked before helm installs anything, and what is left alone."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from bundlectl.errors import ContentError, MissingError, UsageError, VerificationError
from bundlectl.operations import Session
from bundlectl.operations.packages import FoundBundle, PackagePlace, bundles_in_registry
from bundlectl.operations.request import SourceRequest
from bundles.belief import Belief
from bundles.document import parse_document
from bundles.package_bundle import render_package_bundle
from bundles.plan import Naming
from bundles.schema import parse_model
from bundles.schema.package_bundle import BundledPackage, PackageBundle, PackageImage, PackageSource, PackageVersion
from controller.charts import ChartFetcher
from controller.helm import HelmError
from controller.local import LocalRequest, install_locally, prepare, uninstall_locally
from controller.packages_state import Wait
from controller.releases import Release, Revision
from mirror.oci.digest import Digest
from mirror.remote import Credential
from tests.unit.bundlectl.operations.packages import PackageSite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.packages_cluster import ClusterAccess
    from registry_fixtures.registry import ServedRegistry

NEEDS = {"top": ("left", "right"), "left": ("base",), "right": ("base",), "base": ()}


class Access:
    """A cluster of which only what is asked for is there."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces
        self.runs = "1.33"
        self.releases: list[Release | None] = [None]
        """Of ``base``, as they are found one time after the other; others are not there."""
        self.marked: list[int] = []
        self.applied: list[dict[str, Any]] = []
        self.kubeconfig = Path("kubeconfig")

    def release(self, namespace: str, name: str) -> Release | None:
        if (namespace, name) != ("base-system", "base"):
            return None
        return self.releases.pop(0) if len(self.releases) > 1 else self.releases[0]

    def mark_ready(self, _namespace: str, _name: str, revision: int) -> None:
        self.marked.append(revision)

    def get(self, path: str) -> dict[str, Any] | None:
        return {"data": {}} if path.rpartition("/")[2] in self.namespaces else None

    def apply(self, document: dict[str, Any]) -> None:
        self.applied.append(document)

    def kube_version(self) -> str:
        return self.runs


class Helm:
    """Notes what it is told to do; ``begin`` gets the labels of what is installed, and may fail."""

    def __init__(self, begin: Callable[[Mapping[str, str]], None] = lambda _: None) -> None:
        self.did: list[tuple[Any, ...]] = []
        self.begin = begin

    def install(
        self,
        _target: object,
        name: str,
        chart: Path,
        _values: object,
        *,
        labels: Mapping[str, str],
        description: str,
    ) -> None:
        assert chart.is_file()
        assert description
        self.did.append(("install", name))
        self.begin(labels)

    def manifest(self, _target: object, name: str, *, revision: int | None) -> str:
        self.did.append(("manifest", name, revision))
        return ""

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
    access.releases = [release]
    install(found, folder, access, helm)
    return helm.did


def install(found: FoundBundle, folder: Path, access: Access, helm: Helm, **options: Any) -> list[dict[str, Any]]:
    releases = prepared(found, BASE, access, folder)
    return install_locally(releases, helm=cast("Any", helm), access=as_access(access), **{"wait": None, **options})


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


def test_a_release_of_another_tool_is_left_alone_though_its_chart_is_of_that_name(
    found: FoundBundle, tmp_path: Path
) -> None:
    theirs = Release(revisions=(Revision(number=1, status="deployed"),), chart="base")
    with pytest.raises(ContentError, match="and was not installed by packages install --from"):
        installed(found, tmp_path, theirs)
    kept = prepared(found, WANTED, with_base(theirs), tmp_path)
    assert [one.name for one in kept if one.is_there] == ["base"], "what others need stays, whoever keeps it"


def with_base(release: Release) -> Access:
    access = Access(*ALL, "here")
    access.releases = [release]
    return access


def test_what_another_helm_began_since_it_was_looked_at_is_not_undone(found: FoundBundle, tmp_path: Path) -> None:
    access, helm = Access(*ALL), Helm()
    begun = Revision(number=1, status="pending-install", bundle="v1-33-1", began=time.time())
    access.releases = [None, Release(revisions=(begun,), chart="base")]
    with pytest.raises(HelmError, match=r"a helm works at it since \d+ s \(pending-install\)"):
        install(found, tmp_path, access, helm)
    assert helm.did == []


@pytest.mark.parametrize("ours", [True, False])
def test_only_what_this_run_made_is_rolled_back(found: FoundBundle, tmp_path: Path, *, ours: bool) -> None:
    access = Access(*ALL)
    before = Revision(number=1, status="deployed", bundle="v1-33-1", ready=True)
    access.releases = [Release(revisions=(before,), chart="base")]

    def fail(labels: Mapping[str, str]) -> None:
        holder = labels["bundlectl.dev/holder"] if ours else ""
        made = Revision(number=2, status="failed" if ours else "pending-upgrade", holder=holder)
        access.releases = [Release(revisions=(before, made), chart="base")]
        raise HelmError("it did not go", artifact="base")

    helm = Helm(fail)
    with pytest.raises((HelmError, ContentError), match="it did not go") as refused:
        install(found, tmp_path, access, helm)
    assert helm.did == [("install", "base"), *([("rollback", "base", 1)] if ours else [])]
    assert ("was rolled back to revision 1" in refused.value.message) is ours
    told = "what ran before runs again" if ours else "what is there stays as it is"
    assert told in str(refused.value.hint)


@pytest.mark.parametrize("newest", [True, False])
def test_a_run_waits_for_its_own_revision_and_notes_that_it_was_ready_unless_another_followed(
    found: FoundBundle, tmp_path: Path, *, newest: bool
) -> None:
    access = Access(*ALL)

    def make(labels: Mapping[str, str]) -> None:
        holder = labels["bundlectl.dev/holder"]
        made = [Revision(number=number, status="superseded", holder=holder) for number in ((1,) if newest else (1, 2))]
        access.releases = [Release(revisions=tuple(made), chart="base")]

    helm = Helm(make)
    (done,) = install(found, tmp_path, access, helm, wait=Wait(5.0, lambda _: None, threading.Event()))
    assert (done["outcome"], helm.did[-1], access.marked) == ("installed", ("manifest", "base", 1), [1] * newest)


def test_a_login_is_added_to_those_that_the_namespace_has(found: FoundBundle, tmp_path: Path) -> None:
    access, asked = Access(*ALL, "registry-mirror-cred"), []

    def make(held: Mapping[str, Any] | None) -> dict[str, Any]:
        asked.append(held)
        return {"kind": "Secret", "metadata": {"name": "registry-mirror-cred"}}

    install(found, tmp_path, access, Helm(), pull_secret=make)
    assert asked == [{"data": {}}]
    assert access.applied[0]["metadata"] == {"name": "registry-mirror-cred", "namespace": "base-system"}


def test_what_others_need_is_asked_for_no_values_once_it_is_there(
    found: FoundBundle, site: PackageSite, tmp_path: Path
) -> None:
    schema = base64.b64encode(gzip.compress(json.dumps({"type": "object", "required": ["title"]}).encode())).decode()
    *others, base = found.bundle.spec.packages
    (version,) = base.source.versions
    gone = (PackageImage(repository="tools/gone", digest=f"sha256:{'0' * 64}"),)
    picky = PackageVersion(name=version.name, digest=version.digest, images=gone, schema=schema)
    source = PackageSource(repository="base", versions=(picky,))
    needing = _bundle(site, (*others, BundledPackage(name="base", source=source)))
    with pytest.raises(ContentError, match=r'base 1\.0\.0: .*"title" is a required property') as refused:
        prepared(needing, WANTED, Access(*ALL, "here"), tmp_path)
    assert "install it first" in str(refused.value.hint)
    access, helm = with_base(there("deployed")), Helm()
    releases = prepared(needing, WANTED, access, tmp_path)
    access.releases = [None]
    with pytest.raises(MissingError, match="base-system/base: was there, and went away meanwhile"):
        install_locally(releases, helm=cast("Any", helm), access=as_access(access), wait=None)
    assert helm.did == []


def test_nothing_is_installed_from_a_bundle_whose_signature_leaves_out_its_digests(
    found: FoundBundle, tmp_path: Path
) -> None:
    with pytest.raises(VerificationError, match="its signature leaves out the digests of charts or images"):
        prepared(replace(found, trust="declared"), WANTED, Access(*ALL, "here"), tmp_path)


@pytest.mark.parametrize(("name", "namespace"), [("", "apps"), ("a,b", "apps"), ("a", ""), ("a", "../kube-system")])
def test_what_no_release_is_called_is_not_looked_for(name: str, namespace: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a") as refused:
        uninstall_locally((name,), namespace, helm=cast("Any", Helm()), access=as_access(Access()))
    assert "--" not in str(refused.value.hint), "to delete has no option that names a release"


def test_what_a_controller_took_over_is_not_taken_away() -> None:
    access, helm = Access(), Helm()
    for labels in ({}, {"bundle": "v1-33-1", "owner": "uid"}):
        access.releases = [there("deployed", **labels)]
        with pytest.raises(ContentError, match="was not installed by packages install --from"):
            uninstall_locally(("base",), "base-system", helm=cast("Any", helm), access=as_access(access))
    access.releases = [there("deployed", bundle="v1-33-1")]
    uninstall_locally(("base",), "base-system", helm=cast("Any", helm), access=as_access(access))
    assert helm.did == [("uninstall", "base")]


@pytest.mark.parametrize("wrong", [{"release": "A b"}, {"release": "-x"}, {"namespace": "a/b"}])
def test_names_that_are_none_are_told_as_usage(found: FoundBundle, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a"):
        prepared(found, replace(WANTED, **wrong), Access(*ALL, "here"), tmp_path)


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

"""The package controller on a real control plane, with two registries over TLS with a login, and both helms."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bundles.schema.package_bundle import PackageImage
from tests.interop.cluster import cluster_in, wait_for
from tests.interop.packages_site import (
    PASSWORD,
    USER,
    Controller,
    Site,
    may_do_all_in,
    package,
    prepare,
    secured_docker_registry,
    secured_registry,
)
from tests.interop.programs import Program, bundlectl
from tests.interop.workloads import UNREADY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.interop.cluster import Cluster

SITES = [("docker-registry", "helm3"), ("serve", "helm4")]


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_in(tmp_path_factory.mktemp("control-plane")) as started:
        yield started


@pytest.fixture(scope="module", params=SITES, ids=[" ".join(each) for each in SITES])
def placed(
    request: pytest.FixtureRequest, control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Site, str]]:
    """A site, and the helm that its controller uses."""
    registry, helm = request.param
    folder = tmp_path_factory.mktemp(registry)
    start = secured_registry if registry == "serve" else secured_docker_registry
    with start(folder / registry) as mirror:
        yield prepare(control_plane, mirror, f"site-{helm}", folder / "controller"), helm


@pytest.fixture(scope="module")
def controller(placed: tuple[Site, str]) -> Iterator[Controller]:
    with placed[0].running(placed[1], "--ready-within", "4") as started:
        yield started


@pytest.fixture
def site(placed: tuple[Site, str], controller: Controller) -> Site:
    """A site whose controller runs."""
    assert controller.pid
    return placed[0]


def test_a_package_is_installed_within_five_seconds(site: Site, record_property: Any) -> None:
    image = site.mirror.image("tools/greeter")
    digest = site.mirror.chart("greeter", "1.0.0")
    site.activate(site.mirror.bundle("v1-33-1", package("greeter", ("1.0.0", digest), images=(image,))))
    wait_for(lambda: bundle_state(site, "v1-33-1") == "available", "the bundle is available")
    began = time.monotonic()
    site.install("greeter", "greeter", config='{replicas: 2, motto: "ahoi \\U0001f6a2"}')
    status = site.wait("greeter", state="installed")
    took = time.monotonic() - began
    record_property("told", f"{site.name}: {took:.1f} s from the creation of a Package to installed")
    assert took < 5
    assert (status["currentVersion"], status["targetVersion"], status["detail"]) == ("1.0.0", "1.0.0 (latest)", "")
    assert status["source"] == {"registry": "", "repository": "greeter", "version": "1.0.0", "digest": digest}
    assert site.deployment("greeter")["status"]["readyReplicas"] == 2


def test_a_dependency_is_installed_first_and_goes_with_what_needed_it(site: Site) -> None:
    base, web = site.mirror.chart("base", "3.0.0"), site.mirror.chart("web", "1.0.0")
    packages = package("web", ("1.0.0", web), dependencies=("base",)), package("base", ("3.0.0", base))
    site.activate(site.mirror.bundle("v1-33-2", *packages))
    allow_in_default(site)
    site.install("web", "web")
    site.wait("web", state="installed")
    dependency = site.package("base")
    assert dependency["status"]["state"] == "installed"
    assert dependency["spec"] == {"packageName": "base"}
    assert ("WaitingForDependencies", "Waiting for dependencies: base") in site.events("web")
    site.cluster.call("DELETE", site.path("Package", "web"))
    site.wait_gone("web")
    site.wait_gone("base")
    assert "base" not in deployments(site, "default")


def test_a_change_of_the_configuration_is_applied(site: Site) -> None:
    activate_one(site, "v1-33-3", "changing", ("1.0.0", {}))
    site.install("changing", "changing", config={"replicas": 1})
    site.wait("changing", state="installed")
    site.install("changing", "changing", config={"replicas": 3})
    wait_for(lambda: site.deployment("changing")["spec"]["replicas"] == 3, "three are wanted")
    status = site.wait("changing", state="installed", detail="")
    assert status["observedGeneration"] == 2
    assert condition(status, "Verified")["status"] == "True"


def test_activating_a_newer_bundle_upgrades_and_what_never_gets_ready_is_rolled_back(site: Site) -> None:
    activate_one(site, "v1-33-4", "moving", ("1.0.0", {}))
    site.install("moving", "moving")
    site.wait("moving", state="installed", currentVersion="1.0.0")
    activate_one(site, "v1-33-5", "moving", ("2.0.0", {}))
    site.wait("moving", state="installed", currentVersion="2.0.0")
    activate_one(site, "v1-33-6", "moving", ("3.0.0", {"annotations": UNREADY}))
    status = site.wait("moving", state="installed", detail="3.0.0 was rolled back")
    assert (status["currentVersion"], status["targetVersion"]) == ("2.0.0", "3.0.0 (latest)")
    assert condition(status, "Ready")["reason"] == "RolledBack"
    assert "pods of the version before are kept until others are ready" in status["detail"]
    assert site.deployment("moving")["metadata"]["labels"]["chart-version"] == "2.0.0"
    assert "RolledBack" in dict(site.events("moving"))
    before = site.package("moving")["metadata"]["resourceVersion"]
    time.sleep(3)
    assert site.package("moving")["metadata"]["resourceVersion"] == before
    activate_one(site, "v1-33-7", "moving", ("4.0.0", {}))
    site.wait("moving", state="installed", currentVersion="4.0.0", detail="")


def test_an_upgrade_that_helm_fails_at_is_rolled_back_with_helms_own_words(site: Site) -> None:
    activate_one(site, "v1-33-11", "failing", ("1.0.0", {}))
    site.install("failing", "failing", config={"replicas": 1})
    site.wait("failing", state="installed")
    site.install("failing", "failing", config={"replicas": -1})
    status = site.wait("failing", state="installed", detail="1.0.0 was rolled back")
    assert "must be greater than or equal to 0" in status["detail"]
    assert site.deployment("failing")["spec"]["replicas"] == 1
    site.install("failing", "failing", config={"replicas": 2})
    site.wait("failing", state="installed", detail="")
    wait_for(lambda: site.deployment("failing")["spec"]["replicas"] == 2, "two are wanted")


def test_what_the_installer_may_not_do_is_told_and_done_once_it_may(site: Site) -> None:
    target = f"{site.namespace}-target"
    site.cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": target}})
    activate_one(site, "v1-33-12", "waiting", ("1.0.0", {}))
    site.install("waiting", "waiting", namespace=target)
    account = f"system:serviceaccount:{site.namespace}:package-installer"
    wait_for(lambda: f'User "{account}" cannot' in site.status("waiting").get("detail", ""), "it is told")
    may_do_all_in(site.cluster, site.namespace, target)
    site.wait("waiting", state="installed", detail="")
    assert site.deployment("waiting", target)["status"]["readyReplicas"] == 1


def test_a_deleted_package_is_uninstalled_before_it_goes(site: Site) -> None:
    activate_one(site, "v1-33-8", "leaving", ("1.0.0", {}))
    site.install("leaving", "leaving")
    site.wait("leaving", state="installed")
    site.cluster.call("DELETE", site.path("Package", "leaving"))
    site.wait_gone("leaving")
    assert "leaving" not in deployments(site, site.namespace)


def test_the_pull_secret_is_in_the_target_namespace_and_in_the_values(site: Site) -> None:
    assert site.mirror.certificate is not None
    activate_one(site, "v1-33-10", "pulling", ("1.0.0", {}))
    site.install("pulling", "pulling")
    site.wait("pulling", state="installed")
    secret = site.cluster.get(f"/api/v1/namespaces/{site.namespace}/secrets/registry-mirror-cred")
    login = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"][site.mirror.host]
    assert base64.b64decode(login["auth"]).decode() == f"{USER}:{PASSWORD}"
    assert base64.b64decode(secret["data"]["ca.crt"]).decode() == site.mirror.certificate.read_text().strip()
    pod = site.deployment("pulling")["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry-mirror-cred"}]


def allow_in_default(site: Site) -> None:
    may_do_all_in(site.cluster, site.namespace, "default")


def activate_one(site: Site, bundle: str, name: str, *versions: tuple[str, dict[str, Any]]) -> None:
    """Activate a bundle of one package, whose charts are pushed."""
    pushed = [(version, site.mirror.chart(name, version, **values)) for version, values in versions]
    site.activate(site.mirror.bundle(bundle, package(name, *pushed)))


def condition(status: dict[str, Any], kind: str) -> Any:
    return next(item for item in status["conditions"] if item["type"] == kind)


def deployments(site: Site, namespace: str) -> set[str]:
    found = site.cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
    return {item["metadata"]["name"] for item in found}


def bundle_state(site: Site, name: str) -> Any:
    return (site.cluster.get(site.path("PackageBundle", name, "eksa-packages")).get("status") or {}).get("state")


def refused(site: Site, name: str, reason: str, told: str) -> Any:
    """Wait until a refusal is told in the status and as an Event; the status."""

    def found() -> Any:
        status = site.status(name)
        return status if told in status.get("detail", "") else None

    status = wait_for(found, f"{name}: {told}")
    assert condition(status, "Ready")["reason"] == reason
    wait_for(lambda: any(each[0] == reason and told in each[1] for each in site.events(name)), f"{name}: {reason}")
    return status


def ask(site: Site, name: str, package: str, *values: str) -> subprocess.CompletedProcess[str]:
    """Ask for the same Package on the command line, and wait for it a moment."""
    program = Program(bundlectl(site.folder).path, site.folder, (), {"KUBECONFIG": str(site.cluster.kubeconfig)})
    target = ("--package-name", name, "--cluster", site.name, "--target-namespace", site.namespace)
    trusted = ("--verify", site.mirror.key, "--wait", "--timeout", "2")
    return program.attempt("packages", "install", package, *target, *trusted, *values)


def test_every_refusal_is_told_in_the_status_as_an_event_and_on_the_command_line(site: Site) -> None:
    mirror = site.mirror
    closed = b'{"type": "object", "additionalProperties": false, "properties": {"replicas": {"type": "integer"}}}'
    good = {name: mirror.chart(name, "1.0.0") for name in ("schema", "no-image", "one", "two", "other-digest")}
    absent = PackageImage(repository="tools/absent", digest=f"sha256:{'1' * 64}")
    site.activate(
        mirror.bundle(
            "v1-33-20",
            package("schema", ("1.0.0", good["schema"]), schema=closed),
            package("no-chart", ("1.0.0", mirror.image("no-chart").digest)),
            package("other-digest", ("1.0.0", f"sha256:{'2' * 64}")),
            package("no-image", ("1.0.0", good["no-image"]), images=(absent,)),
            package("one", ("1.0.0", good["one"]), dependencies=("two",)),
            package("two", ("1.0.0", good["two"]), dependencies=("one",)),
        )
    )
    for asked, config, reason, told, code in (
        ("schema", {"replicas": "many"}, "ConfigRefused", "replicas: ", 3),
        ("no-chart", None, "ChartNotVerified", "is not a Helm chart", 3),
        ("other-digest", None, "ChartMissing", "the chart that the bundle signs is not in the mirror", 4),
        ("no-image", None, "ImagesMissing", f"not in the mirror: tools/absent@sha256:{'1' * 64}", 4),
        ("one", None, "DependencyCycle", "packages need each other: one needs two needs one", 3),
        ("nobody", None, "PackageMissing", "Package nobody is not in the active bundle (v1-33-20).", 4),
    ):
        site.install(asked, asked, config=config)
        assert refused(site, asked, reason, told)["currentVersion"] == ""
        values = ("--set", f"replicas={config['replicas']}") if config else ()
        shown = ask(site, asked, asked, *values)
        said = "Package nobody is not in the bundle (v1-33-20)" if asked == "nobody" else told
        assert (shown.returncode, said in shown.stderr) == (code, True), shown.stderr
    there = deployments(site, site.namespace)
    assert not there & {"schema", "no-chart", "other-digest", "no-image", "one", "two", "nobody"}


def test_nothing_is_installed_from_a_bundle_that_was_altered_or_is_not_signed(site: Site) -> None:
    altered = site.mirror.bundle("v1-33-21", package("altered", ("1.0.0", site.mirror.chart("altered", "1.0.0"))))
    other = site.mirror.chart("altered", "1.0.1")
    altered["spec"]["packages"][0]["source"]["versions"][0]["digest"] = other
    unsigned = site.mirror.bundle("v1-33-22", package("altered", ("1.0.0", other)))
    unsigned["metadata"]["annotations"].pop("eksa.aws.com/signature")
    for bundle, told in ((altered, "does not hold"), (unsigned, "is not signed")):
        site.activate(bundle)
        wait_for(partial(is_invalid, site, bundle["metadata"]["name"]), "the bundle is invalid")
        name = f"from-{bundle['metadata']['name']}"
        site.install(name, "altered")
        assert condition(refused(site, name, "BundleNotVerified", told), "Verified")["status"] == "False"
        shown = ask(site, name, "altered")
        assert (shown.returncode, told in shown.stderr) == (3, True), shown.stderr
    assert not any(name.startswith("from-") for name in deployments(site, site.namespace))


def is_invalid(site: Site, name: str) -> bool:
    return bool(bundle_state(site, name) == "invalid")


def test_health_metrics_and_logs_tell_how_it_is_and_no_secret(site: Site, controller: Controller) -> None:
    assert site.name
    for path, told in (("healthz", "ok"), ("readyz", "ok"), ("metrics", "bundlectl_controller_leader 1\n")):
        with urllib.request.urlopen(f"{controller.url}/{path}", timeout=5) as answer:
            assert told in answer.read().decode()
    text = controller.log.read_text()
    assert all(json.loads(line)["level"] for line in text.splitlines() if not line.startswith("listening"))
    assert PASSWORD not in text

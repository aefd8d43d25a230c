"""An API server takes manifests of curated packages as it takes them with AWS's definitions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes.client import ApiException

from controller.crds import GROUP, PLURALS, VERSION
from tests.interop.cluster import MERGE, STRICT, WARN, path_of
from tests.interop.programs import data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.interop.cluster import Cluster
    from tests.interop.programs import Program

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
DIGEST = "sha256:" + "0" * 64

SAMPLES = f"""\
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundleController
metadata:
  name: site
spec:
  activeBundle: v1-33-2026-06-26-1782500000
  defaultRegistry: harbor.example/eks
  defaultImageRegistry: harbor.example/eks
  bundleRepository: bundles
  upgradeCheckInterval: 24h0m0s
  upgradeCheckShortInterval: 90s
  createNamespace: true
  privateRegistry: ""
  logLevel: 4
---
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: PackageBundle
metadata:
  name: v1-33-2026-06-26-1782500000
  annotations:
    eksa.aws.com/excludes: LnNwZWMucGFja2FnZXNbXS5zb3VyY2UucmVnaXN0cnkKLnNwZWMucGFja2FnZXNbXS5zb3VyY2UucmVwb3NpdG9yeQo=
    eksa.aws.com/signature: bm90IG9uZQ==
spec:
  minControllerVersion: v0.4.4
  packages:
  - name: hello-eks-anywhere
    source:
      registry: ""
      repository: hello-eks-anywhere
      versions:
      - name: 0.1.2-a6847010915747a9fc8a412b233a2b1ee608ae76
        digest: {DIGEST}
        images:
        - repository: hello-eks-anywhere
          digest: {DIGEST}
        schema: H4sIAAAAAAAA/6quBQQAAP//Q7+mowIAAAA=
        dependencies: [emissary-crds]
  - name: emissary-crds
    workloadonly: true
    source:
      repository: emissary-ingress/crds
      versions:
      - {{name: 3.9.1, digest: "{DIGEST}"}}
---
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: Package
metadata:
  name: my-hello
spec:
  packageName: hello-eks-anywhere
  packageVersion: 0.1.2-a6847010915747a9fc8a412b233a2b1ee608ae76
  targetNamespace: greetings
  config: |
    title: "hello"
    replicas: 2
---
apiVersion: packages.eks.amazonaws.com/v1alpha1
kind: Package
metadata:
  name: least
spec:
  packageName: emissary-crds
"""
CONTROLLER, BUNDLE, PACKAGE, LEAST = yaml.safe_load_all(SAMPLES)
SOURCE = {"version": "1", "registry": "", "repository": "hello-eks-anywhere", "digest": DIGEST}


@pytest.fixture
def placed(namespace: str) -> Callable[[Any], Any]:
    """A manifest for the namespace of this test."""

    def place(document: Any) -> Any:
        return {**document, "metadata": {**document["metadata"], "namespace": namespace}}

    return place


@pytest.fixture(autouse=True)
def _defined(packages_cluster: Cluster) -> None:
    """Every test here needs the kinds."""


def with_spec(document: Any, **fields: Any) -> Any:
    return {**document, "spec": {**document["spec"], **fields}}


def refusal(error: pytest.ExceptionInfo[ApiException]) -> str:
    return str(json.loads(error.value.body)["message"])


@pytest.mark.parametrize("kind", PLURALS)
def test_a_definition_is_structural_for_the_api_server(cluster: Cluster, kind: str) -> None:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{PLURALS[kind]}.{GROUP}"
    conditions = {one["type"]: one["status"] for one in cluster.get(path)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("document", [CONTROLLER, BUNDLE, PACKAGE, LEAST], ids=["pbc", "bundle", "package", "least"])
def test_a_sample_applies_strictly_and_is_stored_as_it_is(
    cluster: Cluster, placed: Callable[[Any], Any], document: Any
) -> None:
    stored, warnings = cluster.apply(placed(document), fieldValidation=STRICT)
    assert warnings == []
    assert stored["spec"] == document["spec"]


def test_a_bundle_that_aws_signed_still_verifies_when_it_comes_back_from_the_cluster(
    cluster: Cluster, ours: Program, tmp_path: Path
) -> None:
    signed = yaml.safe_load(data("packagebundle-v1-24-116.aws-signed.yaml").read_text())
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": signed["metadata"]["namespace"]}})
    _, warnings = cluster.apply(signed, fieldValidation=STRICT)
    assert warnings == []
    status = {"status": {"state": "available", "spec": signed["spec"]}}
    cluster.call("PATCH", f"{path_of(signed)}/status", status, content_type=MERGE)
    back = tmp_path / "back.yaml"
    back.write_text(json.dumps(cluster.get(path_of(signed))))
    assert "verified, signed by aws" in ours.run("verify", back)


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (with_spec(CONTROLLER, activeBundel="x"), "spec.activeBundel"),
        (with_spec(PACKAGE, packageVersoin="x"), "spec.packageVersoin"),
        (with_spec(BUNDLE, packages=[{**BUNDLE["spec"]["packages"][1], "nme": "x"}]), "spec.packages[0].nme"),
    ],
)
def test_an_unknown_field_is_refused_where_this_is_asked_for_and_dropped_with_a_warning_otherwise(
    cluster: Cluster, placed: Callable[[Any], Any], document: Any, path: str
) -> None:
    manifest = placed(document)
    collection = path_of(manifest).rpartition("/")[0]
    with pytest.raises(ApiException) as error:
        cluster.call("POST", collection, manifest, fieldValidation=STRICT)
    assert f'unknown field "{path}"' in refusal(error)
    stored, warnings = cluster.call("POST", collection, manifest, fieldValidation=WARN)
    assert [path in warning for warning in warnings] == [True]
    assert path.rpartition(".")[2] not in json.dumps(stored["spec"])


def test_an_unknown_field_is_refused_when_it_is_applied(cluster: Cluster, placed: Callable[[Any], Any]) -> None:
    with pytest.raises(ApiException) as error:
        cluster.apply(placed(with_spec(PACKAGE, packageVersoin="x")), fieldValidation=STRICT)
    assert ".spec.packageVersoin: field not declared in schema" in refusal(error)


def test_what_a_controller_leaves_out_has_awss_defaults(cluster: Cluster, placed: Callable[[Any], Any]) -> None:
    stored, _ = cluster.apply(placed({**CONTROLLER, "spec": {"activeBundle": ""}}), fieldValidation=STRICT)
    assert stored["spec"] == {
        "activeBundle": "",
        "bundleRepository": "eks-anywhere-packages-bundles",
        "createNamespace": False,
        "defaultImageRegistry": "783794618700.dkr.ecr.us-west-2.amazonaws.com",
        "defaultRegistry": "public.ecr.aws/eks-anywhere",
        "upgradeCheckInterval": "24h",
        "upgradeCheckShortInterval": "1h",
    }


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({**PACKAGE, "spec": {"config": ""}}, "spec.packageName: Required value"),
        ({**BUNDLE, "spec": {}}, "spec.packages: Required value"),
        (with_spec(PACKAGE, config={"title": "hello"}), "spec.config"),
        (with_spec(CONTROLLER, createNamespace="yes"), "spec.createNamespace"),
        (with_spec(BUNDLE, packages=[{"source": LEAST}]), "spec.packages[0].name: Required value"),
        (
            with_spec(BUNDLE, packages=[{"name": "x", "source": {"repository": "x", "versions": []}}]),
            "spec.packages[0].source.versions in body should have at least 1 items",
        ),
    ],
)
def test_a_manifest_without_what_must_be_there_or_of_another_type_is_refused(
    cluster: Cluster, placed: Callable[[Any], Any], document: Any, why: str
) -> None:
    manifest = placed(document)
    with pytest.raises(ApiException) as error:
        cluster.call("POST", path_of(manifest).rpartition("/")[0], manifest)
    assert why in refusal(error)


@pytest.mark.parametrize(
    ("document", "status", "why"),
    [
        (PACKAGE, {"state": "broken", "currentVersion": "", "source": SOURCE}, 'Unsupported value: "broken"'),
        (PACKAGE, {"state": "installed"}, "status.currentVersion: Required value"),
        (PACKAGE, {"currentVersion": "", "source": {}}, "status.source.digest: Required value"),
        (BUNDLE, {"state": "broken"}, 'Unsupported value: "broken"'),
        (BUNDLE, {"spec": BUNDLE["spec"]}, "status.state: Required value"),
        (CONTROLLER, {"state": "broken"}, 'Unsupported value: "broken"'),
    ],
)
def test_a_status_that_awss_definition_would_refuse_is_refused(
    cluster: Cluster, placed: Callable[[Any], Any], document: Any, status: Any, why: str
) -> None:
    manifest = placed(document)
    cluster.apply(manifest)
    with pytest.raises(ApiException) as error:
        cluster.call("PATCH", f"{path_of(manifest)}/status", {"status": status}, content_type=MERGE)
    assert why in refusal(error)


@pytest.mark.parametrize(
    ("document", "states", "status"),
    [
        (
            PACKAGE,
            [
                "initializing",
                "installing",
                "installing dependencies",
                "installed",
                "updating",
                "uninstalling",
                "unknown",
            ],
            {"currentVersion": "", "source": SOURCE, "spec": PACKAGE["spec"]},
        ),
        (BUNDLE, ["available", "ignored", "invalid", "controller upgrade required"], {"spec": BUNDLE["spec"]}),
        (CONTROLLER, ["ignored", "active", "disconnected", "upgrade available"], {"spec": CONTROLLER["spec"]}),
    ],
    ids=PLURALS,
)
def test_status_is_written_apart_from_the_spec(
    cluster: Cluster, placed: Callable[[Any], Any], document: Any, states: list[str], status: Any
) -> None:
    manifest = placed({**document, "status": {**status, "state": states[0]}})
    stored, _ = cluster.apply(manifest)
    assert "status" not in stored
    for state in states:
        wanted = {"status": {**status, "state": state, "detail": "why"}, "spec": {"packageName": "changed"}}
        stored, _ = cluster.call("PATCH", f"{path_of(manifest)}/status", wanted, content_type=MERGE)
        assert stored["status"]["state"] == state
    assert stored["status"]["spec"] == document["spec"]
    assert (stored["spec"], stored["metadata"]["generation"]) == (document["spec"], 1)


def test_conditions_are_kept_one_a_type(cluster: Cluster, placed: Callable[[Any], Any]) -> None:
    manifest = placed(PACKAGE)
    cluster.apply(manifest)
    held = {"type": "Ready", "status": "False", "reason": "Waiting", "message": "", "observedGeneration": 1}
    held["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {"currentVersion": "", "source": SOURCE, "observedGeneration": 1, "conditions": [held]}
    where = f"{path_of(manifest)}/status"
    stored, _ = cluster.call("PATCH", where, {"status": status}, content_type=MERGE)
    assert stored["status"] == status
    with pytest.raises(ApiException) as error:
        cluster.call("PATCH", where, {"status": {"conditions": [held, held]}}, content_type=MERGE)
    assert "Duplicate value" in refusal(error)


def test_a_table_has_awss_columns(cluster: Cluster, placed: Callable[[Any], Any]) -> None:
    columns = {}
    for document in (CONTROLLER, BUNDLE, PACKAGE):
        manifest = placed(document)
        cluster.apply(manifest)
        table, _ = cluster.call("GET", path_of(manifest), accept=TABLE)
        columns[document["kind"]] = [column["name"] for column in table["columnDefinitions"]]
    assert columns == {
        "PackageBundleController": ["Name", "ActiveBundle", "State", "Detail"],
        "PackageBundle": ["Name", "State"],
        "Package": ["Name", "Package", "Age", "State", "CurrentVersion", "TargetVersion", "Detail"],
    }


def test_pbc_is_short_for_packagebundlecontroller(cluster: Cluster) -> None:
    resources = cluster.get(f"/apis/{GROUP}/{VERSION}")["resources"]
    short = {resource["name"]: resource["shortNames"] for resource in resources if "shortNames" in resource}
    assert short == {"packagebundlecontrollers": ["pbc"]}

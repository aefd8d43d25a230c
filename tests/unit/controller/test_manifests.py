"""What the controller is installed with: its rights, its chart, and what charts need."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from controller.bindings import far_reaching, installer_rights
from controller.manifests import Installation, controller_objects, installation
from controller.packaging import chart_files, pack_chart

WANTED = Installation(image="registry.example/bundlectl:1", clusters=("site", "other"), replicas=2, public_key="MFkw")


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for item in objects for rule in item.get("rules", ()) if item["kind"] in ("Role", "ClusterRole")]


def test_secrets_are_named_one_by_one_and_nothing_is_allowed_to_all() -> None:
    for rule in rules(installation(WANTED)):
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
        if "secrets" in rule["resources"]:
            assert rule["resourceNames"]
            assert "create" not in rule["verbs"]
        if "impersonate" in rule["verbs"]:
            assert (rule["resources"], rule["resourceNames"]) == (["serviceaccounts"], ["package-installer"])


def test_of_the_kinds_packages_alone_are_made_or_changed_outside_of_the_controllers_own_namespace() -> None:
    everywhere = next(item for item in controller_objects(WANTED) if item["kind"] == "ClusterRole")
    changing = [rule for rule in rules([everywhere]) if {"create", "patch", "update", "delete"} & set(rule["verbs"])]
    changed = {resource for rule in changing for resource in rule["resources"] if not resource.endswith("/status")}
    assert changed == {"packages", "events", "validatingwebhookconfigurations"}


def test_the_secret_of_a_workload_cluster_alone_may_be_read_besides() -> None:
    objects = installation(WANTED)
    outside = [item for item in objects if item["metadata"].get("namespace") == "eksa-system"]
    assert [item["kind"] for item in outside] == ["Role", "RoleBinding"]
    assert rules(outside) == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["other-kubeconfig"]}
    ]


def test_every_object_comes_after_its_namespace_and_has_a_name_of_its_own() -> None:
    objects = installation(WANTED)
    known = {"eksa-system"}
    seen = set()
    for item in objects:
        metadata = item["metadata"]
        if item["kind"] == "Namespace":
            known.add(metadata["name"])
        assert metadata.get("namespace", "eksa-system") in known
        key = (item["kind"], metadata.get("namespace"), metadata["name"])
        assert key not in seen
        seen.add(key)


def test_no_right_to_uninstall_goes_with_the_namespace_that_has_the_packages() -> None:
    granting = [item for item in installation(WANTED) if any("impersonate" in rule["verbs"] for rule in rules([item]))]
    assert [item["kind"] for item in granting] == ["ClusterRole"]


def test_what_the_controller_fills_is_shipped_empty_so_that_applying_again_takes_nothing_away() -> None:
    (secret,) = (item for item in controller_objects(WANTED) if item["kind"] == "Secret")
    assert secret["metadata"]["name"] == "bundlectl-webhook-tls"
    assert not {"data", "stringData", "type"} & set(secret)
    hooks = next(item for item in controller_objects(WANTED) if item["kind"] == "ValidatingWebhookConfiguration")
    assert not any("caBundle" in hook["clientConfig"] for hook in hooks["webhooks"])


def test_nodes_can_be_emptied_and_replicas_stand_apart() -> None:
    objects = {item["kind"]: item for item in controller_objects(WANTED)}
    selected = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    budget = objects["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    (spread,) = objects["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    for selector in (budget["selector"], spread["labelSelector"], objects["Deployment"]["spec"]["selector"]):
        assert selector["matchLabels"].items() <= selected


def test_the_pod_may_do_nothing_to_its_node() -> None:
    (pod,) = (item["spec"]["template"]["spec"] for item in controller_objects(WANTED) if item["kind"] == "Deployment")
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_chart_says_what_the_manifests_say() -> None:
    files = {path.partition("/")[2]: content.decode() for path, content in chart_files().items()}
    values = yaml.safe_load(files["values.yaml"])
    assert set(values) == set(json.loads(files["values.schema.json"])["properties"])
    text = files["templates/controller.yaml"]
    for expression, value in (
        ("{{ .Values.image }}", WANTED.image),
        ("{{ .Values.clusterName }}", "site"),
        ("{{ int .Values.replicas }}", "2"),
        ("{{ .Values.publicKey }}", "MFkw"),
    ):
        assert expression in text
        text = text.replace(expression, value)
    assert "{{" not in text
    assert list(yaml.safe_load_all(text)) == controller_objects(WANTED)


@pytest.mark.parametrize("image", ["a'b", "a: b", "a\nb", 'a"b', "{{ evil }}", ""])
def test_no_value_of_the_chart_can_end_the_text_it_is_put_into(image: str) -> None:
    schema = json.loads(chart_files()["bundlectl-controller/values.schema.json"])
    assert not Draft7Validator(schema).is_valid({"image": image, "clusterName": "site"})


def test_the_packed_chart_is_the_same_each_time() -> None:
    packed = pack_chart()
    assert packed == pack_chart()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert set(archive.getnames()) == set(chart_files())


def render(kind: str, group: str = "apps/v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "x", **more.pop("metadata", {})}, **more}


def rights(*objects: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    bound = installer_rights("greeter", objects, namespace="eksa-packages-site", target_namespace="hello")
    for role, binding in zip(bound[::2], bound[1::2], strict=True):
        assert binding["roleRef"]["name"] == role["metadata"]["name"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "package-installer", "namespace": "eksa-packages-site"}
        ]
    return {(item["kind"], item["metadata"].get("namespace", "")): item["rules"] for item in bound[::2]}


def test_a_chart_of_one_namespace_needs_one_role() -> None:
    found = rights(render("Deployment"), render("NetworkPolicy", "networking.k8s.io/v1"), render("Service", "v1"))
    assert set(found) == {("Role", "hello")}
    granted = {(rule["apiGroups"][0], name) for rule in found["Role", "hello"] for name in rule["resources"]}
    assert {("apps", "deployments"), ("networking.k8s.io", "networkpolicies"), ("", "services")} <= granted
    assert ("", "secrets") in granted  # helm's records


def test_what_has_no_namespace_needs_a_cluster_role_and_other_namespaces_their_own() -> None:
    definition = render(
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        spec={"group": "a.example", "names": {"kind": "Lens", "plural": "lenses"}, "scope": "Cluster"},
    )
    found = rights(definition, render("Lens", "a.example/v1"), render("ConfigMap", "v1", metadata={"namespace": "far"}))
    assert set(found) == {("Role", "hello"), ("Role", "far"), ("ClusterRole", "")}
    granted = {(rule["apiGroups"][0], name) for rule in found["ClusterRole", ""] for name in rule["resources"]}
    assert granted == {("apiextensions.k8s.io", "customresourcedefinitions"), ("a.example", "lenses")}


def test_to_grant_a_right_it_must_be_had_and_a_foreign_role_may_be_bound_by_its_name_alone() -> None:
    group = "rbac.authorization.k8s.io/v1"
    own = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}
    found = rights(
        render("ClusterRole", group, rules=[own]),
        render("RoleBinding", group, roleRef={"kind": "ClusterRole", "name": "view"}),
    )
    assert own in found["ClusterRole", ""]
    bind = {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles"],
        "verbs": ["bind"],
        "resourceNames": ["view"],
    }
    assert bind in found["Role", "hello"]
    assert not any("escalate" in rule["verbs"] for each in found.values() for rule in each)


def test_outside_of_the_target_namespace_only_what_the_chart_has_may_be_changed() -> None:
    group = "rbac.authorization.k8s.io/v1"
    found = rights(
        render("ClusterRole", group, rules=[], metadata={"name": "mine"}),
        render("ClusterRole", group, rules=[], metadata={"name": "also"}),
        render("ConfigMap", "v1", metadata={"namespace": "kube-system", "name": "dashboard"}),
    )
    changing = {"get", "update", "patch", "delete"}
    for place, names in ((("ClusterRole", ""), ["also", "mine"]), (("Role", "kube-system"), ["dashboard"])):
        able = [rule for rule in found[place] if changing & set(rule["verbs"])]
        assert [rule["resourceNames"] for rule in able] == [names]
        assert {verb for rule in found[place] if rule not in able for verb in rule["verbs"]} == {
            "list",
            "watch",
            "create",
        }


def test_what_goes_far_is_told() -> None:
    group = "rbac.authorization.k8s.io/v1"
    all_of_it = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    bound = installer_rights(
        "mine",
        [
            render(
                "ClusterRole", group, rules=[all_of_it, {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
            ),
            render("RoleBinding", group, roleRef={"kind": "ClusterRole", "name": "cluster-admin"}),
            render("Deployment"),
        ],
        namespace="eksa-packages-site",
        target_namespace="hello",
    )
    assert far_reaching(bound, target_namespace="hello") == [
        "bind clusterroles, cluster-admin in hello",
        "* * in the whole cluster",
        "get secrets in the whole cluster",
    ]


def test_what_shows_the_secrets_of_others_or_changes_what_others_do_goes_far() -> None:
    group = "rbac.authorization.k8s.io/v1"
    reading = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    bound = installer_rights(
        "mine",
        [
            render("Secret", "v1", metadata={"namespace": "kube-system"}),
            render("Secret", "v1"),
            render("Role", group, rules=[{**reading, "resourceNames": ["own"]}], metadata={"namespace": "far"}),
            render("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
        ],
        namespace="eksa-packages-site",
        target_namespace="hello",
    )
    assert far_reaching(bound, target_namespace="hello") == [
        "list, watch, create secrets in kube-system",
        "list, watch, create mutatingwebhookconfigurations in the whole cluster",
    ]


def test_no_pod_gets_the_token_of_the_account_that_installs() -> None:
    accounts = [item for item in installation(WANTED) if item["metadata"]["name"] == "package-installer"]
    assert [item["automountServiceAccountToken"] for item in accounts] == [False, False]


ANYTHING = st.none() | st.text() | st.integers() | st.just({}) | st.lists(st.integers() | st.just({}), max_size=2)
KINDS = (
    st.sampled_from(["Role", "ClusterRole", "RoleBinding", "CustomResourceDefinition", "Pod", "Namespace"]) | st.text()
)


@given(KINDS, st.dictionaries(st.sampled_from(["apiVersion", "spec", "rules", "roleRef"]), ANYTHING))
def test_whatever_a_chart_renders_to_gives_roles(kind: str, rest: dict[str, Any]) -> None:
    item = {"kind": kind, "metadata": {"name": "x"}, **rest}
    assert rights(item)["Role", "hello"]
    far_reaching(installer_rights("x", [item], namespace="a", target_namespace="b"), target_namespace="b")

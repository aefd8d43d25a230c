"""helm 3 and helm 4 install into a cluster whose control plane is real and whose nodes are kwok's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kubernetes import config
from kubernetes.client import ApiException

from tests.interop.cluster import wait_for
from tests.interop.workloads import UNREADY, write_workload_chart

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.cluster import Cluster
    from tests.interop.programs import Program


@pytest.fixture
def target(cluster: Cluster, namespace: str) -> tuple[str, ...]:
    """What makes helm work in the namespace of this test."""
    return "--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace


def pods(cluster: Cluster, namespace: str) -> list[Any]:
    return list(cluster.get(f"/api/v1/namespaces/{namespace}/pods")["items"])


def is_ready(pod: Any) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


def test_helm_waits_until_the_pods_of_a_chart_are_ready_and_takes_them_away_again(
    cluster: Cluster, namespace: str, target: tuple[str, ...], helm: Program, tmp_path: Path
) -> None:
    chart = write_workload_chart(tmp_path, "greeter", "1.0.0", replicas=2)
    helm.run("install", "greeter", chart, *target, "--wait", "--timeout", "60s")
    assert [is_ready(pod) for pod in pods(cluster, namespace)] == [True, True]
    helm.run("uninstall", "greeter", *target, "--wait", "--timeout", "60s")
    wait_for(lambda: not pods(cluster, namespace), "no pods are left")


def test_an_upgrade_whose_pods_stay_unready_is_rolled_back_to_the_last_good_revision(
    cluster: Cluster, namespace: str, target: tuple[str, ...], helm: Program, tmp_path: Path
) -> None:
    good = write_workload_chart(tmp_path, "greeter", "1.0.0")
    bad = write_workload_chart(tmp_path, "greeter", "2.0.0", annotations=UNREADY)
    helm.run("install", "greeter", good, *target, "--wait")
    rollback = "--atomic" if helm.path.parent.name.startswith("helm3") else "--rollback-on-failure"
    assert helm.attempt("upgrade", "greeter", bad, *target, rollback, "--timeout", "3s").returncode != 0
    released = helm.document("list", *target, "--output", "json")
    assert [(one["status"], one["revision"], one["chart"]) for one in released] == [("deployed", "3", "greeter-1.0.0")]
    deployment = cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/greeter")
    assert deployment["metadata"]["labels"]["chart-version"] == "1.0.0"


def test_helm_in_the_name_of_an_account_may_do_what_the_account_is_granted_and_no_more(
    cluster: Cluster, namespace: str, target: tuple[str, ...], helm: Program, tmp_path: Path
) -> None:
    chart = write_workload_chart(tmp_path, "greeter", "1.0.0")
    account = f"system:serviceaccount:{namespace}:installer"
    install = ("install", "greeter", chart, *target, "--kube-as-user", account, "--wait")
    refused = helm.attempt(*install)
    assert refused.returncode != 0
    assert f'User "{account}" cannot' in refused.stderr
    grant(cluster, namespace, account, role="admin")
    helm.run(*install)


def test_the_holder_of_a_token_may_do_what_its_account_is_granted_and_no_more(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    token = cluster.call("POST", path, {"spec": {}})[0]["status"]["token"]
    with config.new_client_from_config(str(cluster.write_kubeconfig(tmp_path / "kubeconfig", token))) as client:
        pods_path = f"/api/v1/namespaces/{namespace}/pods"
        with pytest.raises(ApiException, match="cannot list resource"):
            cluster.call("GET", pods_path, client=client)
        grant(cluster, namespace, f"system:serviceaccount:{namespace}:default", role="view")
        assert cluster.call("GET", pods_path, client=client)[0]["items"] == []
        client.rest_client.pool_manager.clear()


def grant(cluster: Cluster, namespace: str, user: str, *, role: str) -> None:
    """Bind a role, and wait until the API server goes by it."""
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": group, "name": user}],
    }
    cluster.apply(binding)
    asked = {"user": user, "resourceAttributes": {"namespace": namespace, "verb": "list", "resource": "pods"}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    wait_for(lambda: cluster.call("POST", path, {"spec": asked})[0]["status"]["allowed"], f"{user} is granted {role}")

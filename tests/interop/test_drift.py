"""What counts as drift, on a real API server: what somebody changed, and nothing that nobody did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.connecting import connect_with_file
from controller.drift import find_drift
from controller.objects import Places, read_objects
from tests.interop.cluster import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.interop.cluster import Cluster
    from tests.interop.programs import Program

TEMPLATES = Path(__file__).with_name("drift_templates.yaml")
DUPLICATE = """\
apiVersion: v1
kind: Pod
metadata: {name: twice}
spec: {containers: [{name: a, image: a, env: [{name: A, value: "1"}, {name: A, value: "2"}]}]}
"""
"""Only helm 3 takes it: an apply on the server's side does not."""


@pytest.fixture
def drift(cluster: Cluster, namespace: str, helm: Program) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Looks for drift of the release ``odd``."""
    with connect_with_file(cluster.kubeconfig, "cluster") as api:
        places = Places(api)

        def look() -> tuple[str, ...]:
            target = ("--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace)
            objects = read_objects(helm.run("get", "manifest", "odd", *target), origin="odd")
            return find_drift(api, places, objects, namespace, as_user="")

        yield look


def test_what_charts_leave_to_others_or_write_oddly_is_no_drift_and_a_change_is(
    cluster: Cluster, namespace: str, helm: Program, drift: Callable[[], tuple[str, ...]], tmp_path: Path
) -> None:
    chart = tmp_path / "odd"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "odd", "version": "1.0.0"}))
    templates = TEMPLATES.read_text()
    is_older = helm.path.parent.name.startswith("helm3")
    (chart / "templates" / "all.yaml").write_text(f"{templates}---\n{DUPLICATE}" if is_older else templates)
    target = ("--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace)
    repairing = () if is_older else ("--force-conflicts", "--server-side=true")
    helm.run("install", "odd", chart, *target)
    role = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{namespace}-whole"
    wait_for(lambda: cluster.get(role)["rules"], "the rules of the role are put together")
    assert drift() == ()
    helm.run("upgrade", "odd", chart, *target, *repairing, "--set", "changed=yes")
    assert drift() == ()

    scale = {"spec": {"replicas": 5}}
    for name in ("scaled", "fixed"):
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        cluster.call("PATCH", path, scale, content_type="application/merge-patch+json")
    cluster.call("DELETE", f"/apis/batch/v1/namespaces/{namespace}/jobs/passing")
    cluster.call("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/words")
    pictures = f"/api/v1/namespaces/{namespace}/configmaps/pictures"
    cluster.call("PATCH", pictures, {"data": {"ship": "sunk"}}, content_type="application/merge-patch+json")
    stolen = {"data": {"a": "ZXZpbA=="}}
    path = f"/api/v1/namespaces/{namespace}/secrets/mixed"
    cluster.call("PATCH", path, stolen, content_type="application/merge-patch+json")
    assert set(drift()) == {"Deployment/fixed", "ConfigMap/pictures", "ConfigMap/words", "Secret/mixed"}

    history = helm.document("history", "odd", *target, "--output", "json")
    helm.run("rollback", "odd", str(history[-1]["revision"]), *target, *repairing)
    assert drift() == ()

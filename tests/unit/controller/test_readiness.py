"""Readiness of objects, and the objects of a manifest."""

from __future__ import annotations

from typing import Any

import pytest

from bundlectl.errors import ContentError
from controller.objects import read_objects
from controller.readiness import waited_for

VERSIONS = {
    "ConfigMap": "v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "Job": "batch/v1",
    "PersistentVolumeClaim": "v1",
    "Pod": "v1",
}


def of(kind: str, spec: dict[str, Any] | None = None, version: str = "", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": version or VERSIONS.get(kind, "apps/v1"),
        "kind": kind,
        "metadata": {"name": "x", "generation": 2},
        "spec": spec or {},
        "status": status,
    }


def judged(found: dict[str, Any] | None, kind: str = "") -> list[str]:
    return waited_for([found or of(kind)], lambda _: found)


SEEN = {"observedGeneration": 2}


def part(replicas: int, partition: int) -> dict[str, Any]:
    return {"replicas": replicas, "updateStrategy": {"rollingUpdate": {"partition": partition}}}


@pytest.mark.parametrize(
    "ready",
    [
        of("Deployment", {"replicas": 2}, replicas=2, updatedReplicas=2, availableReplicas=2, **SEEN),
        of("Deployment", {"replicas": 0}, **SEEN),
        of("StatefulSet", {"replicas": 1}, readyReplicas=1, updatedReplicas=1, **SEEN),
        of("StatefulSet", {"replicas": 1, "updateStrategy": {"type": "OnDelete"}}, readyReplicas=1, **SEEN),
        of("StatefulSet", part(3, 2), readyReplicas=3, updatedReplicas=1, **SEEN),
        of("StatefulSet", part(3, 5), readyReplicas=3, **SEEN),
        of("ReplicaSet", {"replicas": 2}, availableReplicas=2, **SEEN),
        of("DaemonSet", desiredNumberScheduled=1, updatedNumberScheduled=1, numberAvailable=1, **SEEN),
        of("DaemonSet", {"updateStrategy": {"type": "OnDelete"}}, desiredNumberScheduled=1, numberAvailable=1, **SEEN),
        of("Job", {"suspend": True}),
        of("Job", version="batch.volcano.sh/v1alpha1"),
        of("Job", conditions=[{"type": "Complete", "status": "True"}]),
        of("Pod", phase="Succeeded"),
        of("Pod", phase="Running", conditions=[{"type": "Ready", "status": "True"}]),
        of("PersistentVolumeClaim", phase="Bound"),
        of("CustomResourceDefinition", conditions=[{"type": "Established", "status": "True"}]),
        of("ConfigMap"),
    ],
)
def test_what_is_ready_is_not_waited_for(ready: dict[str, Any]) -> None:
    assert judged(ready) == []


@pytest.mark.parametrize(
    ("unready", "told"),
    [
        (of("Deployment", {"replicas": 2}, replicas=2, updatedReplicas=2, availableReplicas=1, **SEEN), "1 of 2 pods"),
        (
            of("Deployment", {}, replicas=2, updatedReplicas=1, availableReplicas=1, **SEEN),
            "1 pods of the version before",
        ),
        (
            of("Deployment", {}, replicas=1, updatedReplicas=1, availableReplicas=1, observedGeneration=1),
            "not seen yet",
        ),
        (of("StatefulSet", {"replicas": 2}, readyReplicas=2, updatedReplicas=1, **SEEN), "1 of 2 pods"),
        (of("StatefulSet", part(3, 1), readyReplicas=3, updatedReplicas=1, **SEEN), "1 of 2 pods are of this version"),
        (of("ReplicaSet", availableReplicas=0, **SEEN), "0 of 1 pods"),
        (of("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=1, **SEEN), "1 of 3 pods"),
        (of("Job", conditions=[{"type": "Failed", "status": "True"}]), "it failed"),
        (of("Job"), "it runs"),
        (of("Pod"), "it is Pending"),
        (of("PersistentVolumeClaim", phase="Lost"), "it is Lost"),
        (of("CustomResourceDefinition"), "not served yet"),
    ],
)
def test_what_is_not_ready_is_told_with_what_it_lacks(unready: dict[str, Any], told: str) -> None:
    (missing,) = judged(unready)
    assert missing.startswith(f"{unready['kind']}/x: ")
    assert told in missing


def test_what_is_not_there_is_waited_for() -> None:
    assert judged(None, "Deployment") == ["Deployment/x: it is not there"]


def test_a_job_that_the_cluster_deletes_when_it_is_done_is_not_missed() -> None:
    job = of("Job", {"ttlSecondsAfterFinished": 0})
    assert waited_for([job], lambda _: None) == []
    assert waited_for([of("Job")], lambda _: None) == ["Job/x: it is not there"]


def test_a_claim_that_no_pod_wants_yet_is_not_waited_for_and_one_that_a_pod_waits_for_is_told() -> None:
    claim, pod = of("PersistentVolumeClaim"), of("Pod")
    assert waited_for([claim], lambda found: found) == []
    assert waited_for([claim], lambda _: None) == ["PersistentVolumeClaim/x: it is not there"]
    told = ["PersistentVolumeClaim/x: it is Pending", "Pod/x: it is Pending"]
    assert waited_for([claim, pod], lambda found: found) == told


def test_what_is_being_deleted_is_not_ready() -> None:
    pod = of("Pod", phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert judged(pod) == ["Pod/x: it is being deleted"]


def test_the_objects_of_a_manifest_have_the_types_of_yaml_and_lists_are_taken_apart() -> None:
    manifest = """
---
# Source: a/templates/a.yaml
kind: Service
metadata: {name: a}
spec: {ports: [{port: 80}], text: "80", on: yes}
---
---
kind: ConfigMapList
items: [{kind: ConfigMap, metadata: {name: b}}, {kind: ConfigMap, metadata: {name: c}}]
"""
    service, *maps = read_objects(manifest, origin="x")
    assert service["spec"]["ports"] == [{"port": 80}]
    assert service["spec"]["text"] == "80"
    assert [item["metadata"]["name"] for item in maps] == ["b", "c"]
    odd = "kind: List\nitems: [{metadata: {name: a}}, {kind: A, metadata: {name: 3}}, {kind: A, metadata: [a]}, 3]"
    assert read_objects(odd, origin="x") == []
    with pytest.raises(ContentError):
        read_objects("a: [", origin="x")

"""Whether objects are ready, by the rules that ``kubectl rollout status`` and helm go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controller.objects import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["leaves_when_done", "waited_for"]

_KEPT: Final = "ttlSecondsAfterFinished"
_PENDING: Final = "it is Pending"


def leaves_when_done(document: Mapping[str, Any]) -> bool:
    """Whether an object is deleted by the cluster itself once it has done its work."""
    spec = document.get("spec")
    return _kind(document) == ("batch", "Job") and isinstance(spec, dict) and _number(spec, _KEPT, -1) >= 0


def waited_for(objects: Iterable[dict[str, Any]], find: Callable[[dict[str, Any]], dict[str, Any] | None]) -> list[str]:
    """The objects that are not ready, each with what it lacks; kinds without a rule are ready as they are.

    Args:
        objects: of a manifest.
        find: gets what the cluster has of an object.
    """
    missing = []
    blocked = False
    for document in objects:
        lacks = _RULES.get(_kind(document))
        if lacks is None:
            continue
        found = find(document)
        if found is None:
            told = "" if leaves_when_done(document) else "it is not there"
        else:
            told = "it is being deleted" if found["metadata"].get("deletionTimestamp") else lacks(found)
        if told:
            missing.append(f"{shown(document)}: {told}")
            blocked = blocked or (lacks, told) != (_claim, _PENDING)
    # A claim may be bound only once a pod wants it, and there may be none yet; pods are waited for themselves.
    return missing if blocked else []


def _deployment(found: Mapping[str, Any]) -> str:
    wanted = _number(found.get("spec"), "replicas", 1)
    status = found.get("status")
    updated, available = _number(status, "updatedReplicas"), _number(status, "availableReplicas")
    earlier = _number(status, "replicas") - updated
    if updated >= wanted and earlier > 0:
        return _unseen(found) or f"{earlier} pods of the version before are kept until others are ready"
    if updated < wanted or available < wanted:
        return _unseen(found) or f"{min(updated, available)} of {wanted} pods are ready"
    return _unseen(found)


def _stateful_set(found: Mapping[str, Any]) -> str:
    wanted = _number(found.get("spec"), "replicas", 1)
    status, strategy = found.get("status"), _strategy(found)
    # Pods below the partition stay of the version before, and with OnDelete all do until somebody deletes them.
    updating = max(0, wanted - _number(strategy.get("rollingUpdate"), "partition")) if _rolls(strategy) else 0
    ready, updated = _number(status, "readyReplicas"), _number(status, "updatedReplicas")
    if ready >= wanted and updated < updating:
        return _unseen(found) or f"{updated} of {updating} pods are of this version"
    return _unseen(found) or (f"{ready} of {wanted} pods are ready" if ready < wanted else "")


def _daemon_set(found: Mapping[str, Any]) -> str:
    status = found.get("status")
    wanted = _number(status, "desiredNumberScheduled")
    updated = _number(status, "updatedNumberScheduled") if _rolls(_strategy(found)) else wanted
    ready = min(updated, _number(status, "numberAvailable"))
    return _unseen(found) or (f"{ready} of {wanted} pods are ready" if ready < wanted else "")


def _replica_set(found: Mapping[str, Any]) -> str:
    wanted = _number(found.get("spec"), "replicas", 1)
    ready = _number(found.get("status"), "availableReplicas")
    return _unseen(found) or (f"{ready} of {wanted} pods are ready" if ready < wanted else "")


def _pod(found: Mapping[str, Any]) -> str:
    phase = (found.get("status") or {}).get("phase", "Pending")
    return "" if phase == "Succeeded" or _has(found, "Ready") else f"it is {phase}"


def _job(found: Mapping[str, Any]) -> str:
    if _has(found, "Complete") or (found.get("spec") or {}).get("suspend"):
        return ""
    return "it failed" if _has(found, "Failed") else "it runs"


def _claim(found: Mapping[str, Any]) -> str:
    phase = (found.get("status") or {}).get("phase", "Pending")
    return "" if phase == "Bound" else _PENDING if phase == "Pending" else f"it is {phase}"


def _definition(found: Mapping[str, Any]) -> str:
    return "" if _has(found, "Established") else "it is not served yet"


_RULES: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], str]] = {
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Pod"): _pod,
    ("", "ReplicationController"): _replica_set,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
}
"""By group and kind: others have kinds of the same names."""


def _kind(document: Mapping[str, Any]) -> tuple[str, str]:
    group, slash, _ = str(document.get("apiVersion", "")).partition("/")
    return (group if slash else "", str(document.get("kind")))


def _strategy(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return (found.get("spec") or {}).get("updateStrategy") or {}


def _rolls(strategy: Mapping[str, Any]) -> bool:
    return bool(strategy.get("type", "RollingUpdate") == "RollingUpdate")


def _has(found: Mapping[str, Any], kind: str) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(item.get("type") == kind and item.get("status") == "True" for item in conditions)


def _unseen(found: Mapping[str, Any]) -> str:
    seen = _number(found.get("status"), "observedGeneration")
    return "its change was not seen yet" if seen < _number(found.get("metadata"), "generation") else ""


def _number(document: Any, name: str, otherwise: int = 0) -> int:  # noqa: ANN401 -- JSON
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, int) else otherwise

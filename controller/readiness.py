"""Whether objects are ready, by the rules that ``kubectl rollout status`` and helm go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.objects import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["judged_kinds", "waited_for"]


def judged_kinds() -> frozenset[str]:
    """The kinds that can be not ready; objects of all others are as soon as they are there."""
    return frozenset(_RULES)


def waited_for(objects: Iterable[dict[str, Any]], find: Callable[[dict[str, Any]], dict[str, Any] | None]) -> list[str]:
    """The objects that are not ready, each with what it lacks.

    Args:
        objects: of a manifest.
        find: gets what the cluster has of an object.
    """
    missing = []
    for document in objects:
        lacks = _RULES.get(str(document["kind"]))
        if lacks is None:
            continue
        found = find(document)
        told = "it is not there" if found is None else lacks(found)
        if told:
            missing.append(f"{shown(document)}: {told}")
    return missing


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
    status = found.get("status") or {}
    ready = min(_number(status, "readyReplicas"), _number(status, "updatedReplicas"))
    rolling = (found["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    partition = _number((found["spec"].get("updateStrategy") or {}).get("rollingUpdate"), "partition")
    if not rolling or partition:
        ready = _number(status, "readyReplicas")
    return _unseen(found) or (f"{ready} of {wanted} pods are ready" if ready < wanted else "")


def _daemon_set(found: Mapping[str, Any]) -> str:
    status = found.get("status")
    wanted = _number(status, "desiredNumberScheduled")
    ready = min(_number(status, "updatedNumberScheduled"), _number(status, "numberAvailable"))
    return _unseen(found) or (f"{ready} of {wanted} pods are ready" if ready < wanted else "")


def _pod(found: Mapping[str, Any]) -> str:
    phase = (found.get("status") or {}).get("phase", "Pending")
    return "" if phase == "Succeeded" or _has(found, "Ready") else f"it is {phase}"


def _job(found: Mapping[str, Any]) -> str:
    if _has(found, "Complete"):
        return ""
    return "it failed" if _has(found, "Failed") else "it runs"


def _claim(found: Mapping[str, Any]) -> str:
    phase = (found.get("status") or {}).get("phase", "Pending")
    return "" if phase == "Bound" else f"it is {phase}"


def _definition(found: Mapping[str, Any]) -> str:
    return "" if _has(found, "Established") else "it is not served yet"


_RULES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "CustomResourceDefinition": _definition,
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "Job": _job,
    "PersistentVolumeClaim": _claim,
    "Pod": _pod,
    "StatefulSet": _stateful_set,
}


def _has(found: Mapping[str, Any], kind: str) -> bool:
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(item.get("type") == kind and item.get("status") == "True" for item in conditions)


def _unseen(found: Mapping[str, Any]) -> str:
    seen = _number(found.get("status"), "observedGeneration")
    return "its change was not seen yet" if seen < _number(found.get("metadata"), "generation") else ""


def _number(document: Any, name: str, otherwise: int = 0) -> int:  # noqa: ANN401 -- JSON
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, int) else otherwise

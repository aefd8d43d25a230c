"""Objects of a release that somebody changed: found by applying each as a dry run on the server's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controller.api import APPLY, ClusterError
from controller.objects import shown
from controller.readiness import leaves_when_done

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.api import Api
    from controller.objects import Places

__all__ = ["find_drift"]

_OF_THE_SERVER: Final = ("managedFields", "resourceVersion", "generation")
_NOT_TAKEN: Final = frozenset({400, 405, 415, 422})
"""An object that cannot be applied so: a webhook knows no dry runs, an API no apply, a field cannot be changed."""
_NOT_TYPED: Final = "typed patch object"
"""In the API server's words, of status 500: a list has an entry twice, which only helm 3 takes."""


def find_drift(
    api: Api, places: Places, objects: Iterable[dict[str, Any]], namespace: str, *, as_user: str
) -> tuple[str, ...]:
    """The objects that are not there, or that applying would change; nothing is changed.

    An object that the API server does not take this way counts as it is, as long as it is there.

    Args:
        api: of the cluster.
        places: its kinds.
        objects: of the release's manifest.
        namespace: of the release.
        as_user: whom to impersonate.

    Raises:
        ClusterError: refused, or no answer.
        ContentError: the cluster does not know a kind.
    """
    manifest = list(objects)
    scaled = {place for document in manifest if (place := _scaled(document, namespace))}
    drifted = []
    for document in manifest:
        path = places.path(document, namespace)
        there = api.find(path, as_user=as_user)
        if there is None:
            if not leaves_when_done(document):
                drifted.append(shown(document))
            continue
        asked = _asked(document, replicas=_place(document["kind"], document, namespace) not in scaled)
        query = {"dryRun": "All", "fieldManager": "bundlectl-drift", "force": "true"}
        try:
            would = api.patch(path, asked, APPLY, as_user=as_user, **query)
        except ClusterError as error:
            if error.status not in _NOT_TAKEN and _NOT_TYPED not in error.message:
                raise
            continue
        if _compared(there) != _compared(would):
            drifted.append(shown(document))
    return tuple(drifted)


def _scaled(document: dict[str, Any], namespace: str) -> tuple[str, str, str] | None:
    """What a HorizontalPodAutoscaler, or one of KEDA's, sets the number of pods of."""
    spec = document.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
    if not isinstance(target, dict):
        return None
    kind, _, place = _place(str(target.get("kind") or "Deployment"), document, namespace)
    return kind, str(target.get("name")), place


def _place(kind: str, document: dict[str, Any], namespace: str) -> tuple[str, str, str]:
    metadata = document["metadata"]
    return kind, metadata["name"], metadata.get("namespace") or namespace


def _asked(document: dict[str, Any], *, replicas: bool) -> dict[str, Any]:
    """An object without what other controllers of the cluster fill in; what is null asks for nothing."""
    asked: dict[str, Any] = _without_nulls(document)
    if not replicas and isinstance(asked.get("spec"), dict):
        asked["spec"] = {name: value for name, value in asked["spec"].items() if name != "replicas"}
    if "aggregationRule" in asked:
        asked.pop("rules", None)
    return asked


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 -- JSON
    if isinstance(value, dict):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _compared(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in document["metadata"].items() if name not in _OF_THE_SERVER}
    return {**{name: value for name, value in document.items() if name != "status"}, "metadata": metadata}

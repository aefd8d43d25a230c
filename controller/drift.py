"""Objects of a release that somebody changed: found by applying each as a dry run on the server's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controller.api import APPLY
from controller.objects import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.api import Api
    from controller.objects import Places

__all__ = ["find_drift"]

_OF_THE_SERVER: Final = ("managedFields", "resourceVersion", "generation")


def find_drift(
    api: Api, places: Places, objects: Iterable[dict[str, Any]], namespace: str, *, as_user: str
) -> tuple[str, ...]:
    """The objects that are not there, or that applying would change; nothing is changed.

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
    drifted = []
    for document in objects:
        path = places.path(document, namespace)
        there = api.find(path, as_user=as_user)
        if there is None:
            drifted.append(shown(document))
            continue
        would = api.patch(
            path, document, APPLY, as_user=as_user, dryRun="All", fieldManager="bundlectl-drift", force="true"
        )
        if _compared(there) != _compared(would):
            drifted.append(shown(document))
    return tuple(drifted)


def _compared(document: dict[str, Any]) -> dict[str, Any]:
    metadata = {name: value for name, value in document["metadata"].items() if name not in _OF_THE_SERVER}
    return {**{name: value for name, value in document.items() if name != "status"}, "metadata": metadata}

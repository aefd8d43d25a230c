"""Under which release document, component and package an artifact is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.lock import Lock, LockedArtifact

__all__ = ["Placed", "place_all"]

_KINDS: Final = ("Bundles", "EksDistroRelease", "PackageBundle", "Release")
"""Of release documents, in the order in which an artifact that several name is shown under one."""
_DEPTH: Final = 4


class Placed(NamedTuple):
    """An artifact, the URL of the document that it is shown under, its component, and the chart that names it.

    Texts are empty where there is none: an artifact can be named by a SOURCE itself.
    """

    artifact: LockedArtifact
    release: str
    component: str
    package: str


def place_all(lock: Lock) -> list[Placed]:
    """All artifacts of a lock, in the order in which they are shown."""
    placing = _Placing(lock)
    return sorted((placing.place(item) for item in lock.artifacts), key=placing.order)


class _Placing:
    def __init__(self, lock: Lock) -> None:
        ranked = sorted(lock.manifests, key=lambda item: (_KINDS.index(item.kind), item.url))
        self._ranks = {item.url: rank for rank, item in enumerate(ranked)}
        self._charts = {_label(item): item for item in lock.artifacts if item.type == "chart"}

    def place(self, artifact: LockedArtifact) -> Placed:
        chart = self._chart(artifact)
        package = artifact.name if artifact.type == "chart" else chart.name if chart else ""
        components = artifact.components or (chart.components if chart else ())
        return Placed(artifact, self._release(artifact, 0), min(components, default=""), package)

    def order(self, placed: Placed) -> tuple[int, str, str, tuple[str, str, str]]:
        rank = self._ranks.get(placed.release, len(self._ranks))
        return (rank, placed.component, placed.package, placed.artifact.identity)

    def _chart(self, artifact: LockedArtifact) -> LockedArtifact | None:
        return next((self._charts[origin] for origin in _origins(artifact) if origin in self._charts), None)

    def _release(self, artifact: LockedArtifact, depth: int) -> str:
        named = [origin for origin in _origins(artifact) if origin in self._ranks]
        if named:
            return min(named, key=self._ranks.__getitem__)
        chart = self._chart(artifact)
        return self._release(chart, depth + 1) if chart is not None and depth < _DEPTH else ""


def _label(chart: LockedArtifact) -> str:
    """What a chart is called where it names images: ``NAME-VERSION``. A tag has ``_`` for the ``+`` of a version."""
    name, _, version = chart.reference.rpartition("/")[2].partition("@")[0].partition(":")
    return f"{name}-{version.replace('_', '+')}"


def _origins(artifact: LockedArtifact) -> Iterator[str]:
    """Where an artifact is named: URLs of documents, and labels of charts (``LABEL!values.yaml:12``)."""
    for place in artifact.found_in:
        origin = place.partition("#")[0]
        yield origin if "://" in origin else origin.partition("!")[0]

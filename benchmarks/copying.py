"""Copies by bundlectl and by other tools, in pairs: from registry to registry, again, and out of a store."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from images import Recipe
from pairing import Observed
from scenes import Place, Source, differences, filled, lock_of, opened, store_of
from tools import Task, Tool, copying_tools, resync_tools, store_tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pairing import Chosen, Contest
    from results import Plan

__all__ = ["first_copy", "fresh", "from_store", "observed", "recipe_of", "resync", "temporary"]

IMAGES = 40
MEGABYTES = 630.0
AGAIN_REPOSITORIES = 50
AGAIN_TAGS = 20
AGAIN_MEGABYTES = 8.0


def first_copy(
    chosen: Chosen, *, round_trip: float = 0.0, unshared: bool = False, kind: str = "docker-registry"
) -> tuple[Source, Contest]:
    """Copy the images into an empty registry, with each tool in each round.

    Args:
        chosen: how much, against which tools.
        round_trip: milliseconds to each of the registries.
        unshared: images that have no layer in common.
        kind: of both registries.
    """
    folder = chosen.plan.folder
    place = folder / f"source-{kind}{'-unshared' if unshared else ''}"
    with filled(place, recipe_of(chosen.plan, unshared=unshared), round_trip=round_trip, kind=kind) as source:

        def once(tool: Tool, number: int) -> Observed:
            with fresh(folder / f"{tool.name}-{number}", round_trip, kind) as target:
                task = Task(source.listing.images, source.place.host, target.host, target.log.parent)
                return observed(tool, task, source, target)

        return source, chosen.contest(copying_tools(), once)


def from_store(chosen: Chosen) -> tuple[Source, Contest]:
    """Copy the images out of a store of ours, which is an OCI image layout, into an empty registry."""
    folder = chosen.plan.folder
    with (
        filled(folder / "source-docker-registry", recipe_of(chosen.plan)) as source,
        temporary(folder / "from-store") as home,
    ):
        store = store_of(source, home)

        def once(tool: Tool, number: int) -> Observed:
            with fresh(folder / f"{tool.name}-{number}", 0.0, "docker-registry") as target:
                task = Task(source.listing.images, source.place.host, target.host, target.log.parent, store)
                return observed(tool, task, source, target)

        return source, chosen.contest(store_tools(), once)


def resync(chosen: Chosen) -> tuple[Source, Contest]:
    """Mirror a thousand images that are there already, from a lock and from a sync file."""
    plan = chosen.plan
    recipe = Recipe(plan.count(AGAIN_REPOSITORIES, least=2), AGAIN_TAGS, AGAIN_MEGABYTES * plan.scale, layers=1)
    with filled(plan.folder / "source-thousand", recipe) as source, temporary(plan.folder / "again") as home:
        lock = lock_of(source, home)
        # What is at the target is what is at the source, under the same names.
        shutil.copytree(source.place.log.parent / "storage", home / "target" / "storage")
        with opened(home / "target") as target:
            task = Task(source.listing.images, source.place.host, target.host, home, lock=lock)
            tools = resync_tools()
            for tool in tools:  # each has been here before
                observed(tool, task, source, target)
            return source, chosen.contest(tools, lambda tool, _: observed(tool, task, source, target))


def recipe_of(plan: Plan, *, unshared: bool = False) -> Recipe:
    """The forty images, or as many as this run does."""
    return Recipe(plan.count(IMAGES, least=4), 1, MEGABYTES * plan.scale, unshared)


@contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A folder, gone afterwards with its content."""
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@contextmanager
def fresh(folder: Path, round_trip: float, kind: str) -> Iterator[Place]:
    """An empty registry, gone afterwards with its content."""
    with opened(folder, round_trip=round_trip, kind=kind) as place:
        yield place
    shutil.rmtree(folder)


def observed(tool: Tool, task: Task, source: Source, target: Place) -> Observed:
    """Run a tool, and see that everything is there; requests of that look are not counted.

    Raises:
        RuntimeError: it failed, or something is not there.
    """
    before = source.place.requests(), target.requests()
    measured = tool.measure(task)
    after = source.place.requests(), target.requests()
    faults = differences(target.near, source.listing.images)
    if faults:
        raise RuntimeError(f"{tool.name}: {'; '.join(faults[:3])}")
    return Observed(measured, after[0] - before[0], after[1] - before[1])

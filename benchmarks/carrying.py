"""Archives in pairs with what people would type instead: written from a store, and brought into a registry."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from copying import fresh, observed, recipe_of, temporary
from pairing import Observed
from programs import bundlectl, run
from scenes import filled, store_of
from tools import OURS, Task, Tool, regctl_from
from vast import serve_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pairing import Chosen, Contest
    from scenes import Source

__all__ = ["Weighed", "exporting", "importing"]

GIGABYTES = 8.0
IMAGES, LAYERS = 4, 4
BY_HAND = "cat and sha256sum"
AT_ONCE = 4
"""Processes of regctl, as the goal says."""


class Weighed:
    """How many bytes the blobs of a store have, and the archive of it."""

    def __init__(self, blobs: int, archive: int) -> None:
        self.blobs = blobs
        self.archive = archive

    @property
    def beyond(self) -> float:
        """What the archive takes beside the blobs, as a part of them."""
        return self.archive / self.blobs - 1


def exporting(chosen: Chosen) -> tuple[Weighed, Contest]:
    """Write an archive of eight gigabytes in a store; and all its blobs into one file, with its checksum."""
    plan = chosen.plan
    with temporary(plan.folder / "exporting") as home:
        store = _store(home, GIGABYTES * plan.scale * 1e9 / IMAGES / LAYERS)
        program = bundlectl(home)
        weighed = Weighed(0, 0)

        def ours(task: Task) -> list[list[str | Path]]:
            return [[program.path, "export", f"store:{store}", "--to", task.folder / "archive", "-o", "json", "-q"]]

        def by_hand(task: Task) -> list[list[str | Path]]:
            whole = task.folder / "whole"
            return [["bash", "-c", f"cat {store}/blobs/sha256/* >{whole} && sha256sum {whole} >{whole}.sum"]]

        def once(tool: Tool, number: int) -> Observed:
            with temporary(home / f"{'ours' if tool.name == OURS else 'hand'}-{number}") as place:
                measured = tool.measure(Task((), "", "", place))
                if tool.name == OURS:
                    weighed.blobs, weighed.archive = _bytes(store / "blobs"), _bytes(place / "archive")
                return Observed(measured, 0, 0)

        form = "cat of the same blobs into a file, then sha256sum of it"
        tools = [Tool(OURS, "export store:…, unsigned, one process", ours), Tool(BY_HAND, form, by_hand)]
        return weighed, chosen.unless_told(BY_HAND).contest(tools, once)


def importing(chosen: Chosen) -> tuple[Source, Contest]:
    """Bring an archive into an empty registry; and with regctl each image of it, from the layout unpacked before."""
    folder = chosen.plan.folder
    with (
        filled(folder / "source-docker-registry", recipe_of(chosen.plan)) as source,
        temporary(folder / "importing") as home,
    ):
        archive, unpacked, key = _archive(source, home)

        def ours(task: Task) -> list[list[str | Path]]:
            program = bundlectl(task.folder)
            return [[program.path, "import", archive, "--to", task.target, "--key", key, "-o", "json", "-q"]]

        def once(tool: Tool, number: int) -> Observed:
            with fresh(folder / f"{tool.name}-{number}", 0.0, "docker-registry") as target:
                task = Task(source.listing.images, source.place.host, target.host, target.log.parent, unpacked)
                return observed(tool, task, source, target)

        tools = [Tool(OURS, "import ARCHIVE --key KEY, one process", ours), *regctl_from("ocidir://", AT_ONCE)]
        return source, chosen.unless_told("regctl").contest(tools, once)


def _store(home: Path, size: float) -> Path:
    """A store of a few images with large layers."""
    store = home / "store"
    with serve_source(home, images=IMAGES, layers=LAYERS, size=size) as references:
        program = bundlectl(home)
        sources = [f"image:{reference}" for reference in references]
        run([program.path, "download", *sources, "--no-referrers", "--store", store, "-q"], program.variables())
    return store


def _archive(source: Source, home: Path) -> tuple[Path, Path, Path]:
    """An archive of the images, the layout that it unpacks to, and the key that checks it."""
    program = bundlectl(home)
    variables = program.variables()
    archive, unpacked, key = home / "archive", home / "unpacked", home / "transfer.key"
    store = store_of(source, home)
    run([program.path, "keys", "generate", key, "-q"], variables)
    run([program.path, "export", f"store:{store}", "--to", archive, "--key", key, "-q"], variables)
    shutil.rmtree(store)
    unpacked.mkdir()
    run(["bash", "-c", f"cat {archive}/*.tar | tar -x -C {unpacked}"], variables)
    return archive, unpacked, key.with_name(f"{key.name}.pub")


def _bytes(folder: Path) -> int:
    files: Sequence[Path] = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)

"""What memory ``mirror`` takes: with layers larger than the memory, and with very many small ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from programs import bundlectl, run
from vast import serve_source, serve_target

if TYPE_CHECKING:
    from pathlib import Path

    from results import Plan

__all__ = ["Mirrored", "large_layers", "many_blobs"]

GIGABYTES = 8.0
FEW = 5_000
MANY = 50_000
LAYERS = 100
TINY = 200


@dataclass(frozen=True)
class Mirrored:
    """A run: blobs and bytes sent, seconds, CPU seconds, peak memory in bytes."""

    blobs: int
    bytes: int
    seconds: float
    cpu: float
    peak: int


def large_layers(plan: Plan) -> Mirrored:
    """Mirror eight layers of a gigabyte, four images of two, between registries that hold nothing of them."""
    return _mirrored(plan.folder / "large", images=4, layers=2, size=GIGABYTES * plan.scale * 1e9 / 8)


def many_blobs(plan: Plan) -> tuple[Mirrored, Mirrored]:
    """Mirror a few thousand blobs, then ten times as many."""
    few, many = (plan.count(count / LAYERS) for count in (FEW, MANY))
    return (
        _mirrored(plan.folder / "few", images=few, layers=LAYERS, size=TINY),
        _mirrored(plan.folder / "many", images=many, layers=LAYERS, size=TINY),
    )


def _mirrored(folder: Path, *, images: int, layers: int, size: float) -> Mirrored:
    """Mirror between a source that makes things up and a target that checks and forgets.

    Raises:
        RuntimeError: a blob was not sent.
    """
    folder.mkdir()
    with (
        serve_source(folder, images=images, layers=layers, size=size) as references,
        serve_target(folder) as target,
    ):
        program = bundlectl(folder)
        sources = [f"image:{reference}" for reference in references]
        ran = run(
            [program.path, "mirror", *sources, "--to", target, "--no-referrers", "-o", "json", "-q"],
            program.variables(),
        )
    blobs, sent = ran.report["blobs"]["transferred"], ran.report["bytes"]["transferred"]
    if blobs != images * (layers + 1) or ran.report["artifacts"]["done"] != images:
        raise RuntimeError(f"{images} images of {layers} layers are not all new at the target: {ran.out}")
    return Mirrored(blobs, sent, ran.seconds, ran.cpu, ran.peak)

"""Pulls from ``bundlectl serve`` and from docker-registry, the same content, turn about."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from copying import recipe_of, temporary
from pairing import Spread
from programs import docker_registry, serve_store
from pulls import Pulled
from scenes import filled, store_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from images import Listing
    from pairing import Chosen

__all__ = ["CONNECTIONS", "Duel", "pulling"]

CONNECTIONS = 8
SECONDS = 4.0


@dataclass(frozen=True)
class Duel:
    """One kind of pull: pairs of what came from us and from docker-registry."""

    pairs: Sequence[tuple[Pulled, Pulled]]

    def spreads(self, value: Callable[[Pulled], float]) -> tuple[Spread, Spread, Spread]:
        """Of ours, of the other's, and of ours over the other's."""
        mine, theirs = ([value(pair[side]) for pair in self.pairs] for side in (0, 1))
        ratios = [one / other for one, other in zip(mine, theirs, strict=True)]
        return Spread.of(mine), Spread.of(theirs), Spread.of(ratios)


def pulling(chosen: Chosen) -> tuple[Listing, dict[str, Duel]]:
    """Pull manifests, then large blobs, each by turns from both registries."""
    folder = chosen.plan.folder
    place = folder / "source-docker-registry"
    with temporary(folder / "pulling") as home:
        with filled(place, recipe_of(chosen.plan)) as source:
            store, listing = store_of(source, home), source.listing
        kinds = {"manifests": _manifests(listing), "blobs": _blobs(listing)}
        # Once more, without the log of requests, which costs it some.
        with docker_registry(place) as other, serve_store(home, store) as server:
            rounds, seconds = chosen.count(), max(0.5, SECONDS * chosen.plan.scale)
            hosts = (server.found, other)
            return listing, {kind: _duel(hosts, paths, rounds, seconds) for kind, paths in kinds.items()}


def _duel(hosts: tuple[str, str], paths: Sequence[str], rounds: int, seconds: float) -> Duel:
    pairs = []
    for number in range(rounds):
        order = hosts if number % 2 == 0 else hosts[::-1]
        found = {host: _pulled(host, paths, seconds) for host in order}
        pairs.append((found[hosts[0]], found[hosts[1]]))
    return Duel(pairs)


def _pulled(host: str, paths: Sequence[str], seconds: float) -> Pulled:
    command: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("pulls.py"),
        host,
        f"--connections={CONNECTIONS}",
    ]
    ended = subprocess.run(
        [*command, f"--seconds={seconds:g}"], input="\n".join(paths), capture_output=True, text=True, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"pulls from {host}: {ended.stderr[-2000:]}")
    return Pulled(**json.loads(ended.stdout))


def _manifests(listing: Listing) -> list[str]:
    """As a node asks: by tag, then by digest."""
    return [
        f"/v2/{image.repository}/manifests/{reference}"
        for image in listing.images
        for reference in (image.tag, image.digest)
    ]


def _blobs(listing: Listing) -> list[str]:
    return [f"/v2/{image.repository}/blobs/{image.largest}" for image in listing.images]

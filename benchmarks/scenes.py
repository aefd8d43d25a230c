"""The places that are copied between: real registries that count their requests, near and far."""

from __future__ import annotations

import os
import re
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

from images import Listing, Recipe
from latency import delayed
from programs import bundlectl, distribution3, docker_registry, run

from mirror.oci.mediatype import MANIFEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from images import Image

__all__ = ["REGISTRIES", "Place", "Source", "differences", "filled", "lock_of", "opened", "store_of"]

REGISTRIES = {"docker-registry": docker_registry, "distribution3": distribution3}
ACCEPT = ", ".join(sorted(MANIFEST_TYPES))
_REQUEST = re.compile(rb'"[A-Z]+ /v2/\S+ HTTP/1\.[01]"')


@dataclass(frozen=True)
class Place:
    """A registry: its own host, the host by which tools reach it, and the log of its requests."""

    near: str
    host: str
    log: Path

    def requests(self) -> int:
        """How many requests it has answered; ``/v2/`` itself not counted."""
        return len(_REQUEST.findall(self.log.read_bytes()))


@dataclass(frozen=True)
class Source:
    """A registry that holds images, and what they are."""

    place: Place
    listing: Listing


@contextmanager
def opened(folder: Path, *, round_trip: float = 0.0, kind: str = "docker-registry") -> Iterator[Place]:
    """Start a registry over a folder, so many milliseconds away."""
    with ExitStack() as stack:
        near = stack.enter_context(REGISTRIES[kind](folder, access_log=True))
        host = stack.enter_context(delayed(near, round_trip, folder))
        yield Place(near, host, folder / "registry.log")


@contextmanager
def filled(folder: Path, recipe: Recipe, *, round_trip: float = 0.0, kind: str = "docker-registry") -> Iterator[Source]:
    """Start a registry with images in it, made when the folder does not have them yet."""
    with opened(folder, round_trip=round_trip, kind=kind) as place:
        listing = folder / "images.json"
        if not listing.is_file():
            command: list[str | Path] = [
                sys.executable,
                Path(__file__).with_name("images.py"),
                place.near,
                listing,
                *recipe.options(),
            ]
            run(command, {"PATH": os.environ["PATH"]})
        yield Source(place, Listing.read(listing))


def lock_of(source: Source, folder: Path) -> Path:
    """Lock all images of a registry."""
    lock = folder / "bundle.lock.json"
    program = bundlectl(folder)
    references = [f"image:{source.place.host}/{image.name}" for image in source.listing.images]
    run([program.path, "lock", *references, "--no-referrers", "--out", lock, "-q"], program.variables())
    return lock


def store_of(source: Source, folder: Path) -> Path:
    """Download all images of a registry."""
    store = folder / "store"
    program = bundlectl(folder)
    references = [f"image:{source.place.host}/{image.name}" for image in source.listing.images]
    run([program.path, "download", *references, "--no-referrers", "--store", store, "-q"], program.variables())
    return store


def differences(host: str, images: tuple[Image, ...]) -> list[str]:
    """What a registry does not hold under its tag."""
    connection = HTTPConnection(host, timeout=30)
    faults = []
    try:
        for image in images:
            connection.request("HEAD", f"/v2/{image.repository}/manifests/{image.tag}", headers={"Accept": ACCEPT})
            response = connection.getresponse()
            response.read()
            found = response.headers.get("Docker-Content-Digest", "")
            if response.status != 200 or found != image.digest:
                faults.append(f"{image.name}: {response.status} {found}, not {image.digest}")
    finally:
        connection.close()
    return faults

"""Images of two platforms to copy: made up, the same on every machine, pushed into a registry once.

Run as a process of its own, for whoever measures memory must stay small:

    python benchmarks/images.py HOST LISTING --repositories 40 --megabytes 630
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.oci.digest import Digest
    from mirror.oci.manifest import Manifest
    from registry_fixtures.holdings import Holdings, RepositoryHoldings

__all__ = ["Image", "Listing", "Recipe", "push_images"]

PLATFORMS = (("linux", "amd64", ""), ("linux", "arm64", "v8"))
BASES = 4
"""Base layers a platform, each below a quarter of the repositories."""
BASE_PART = 0.4
"""Of the bytes that an image names, those of its base layer."""
OWN_LAYERS = (2, 3, 4)
"""Layers over the base, one of these counts for each repository."""
SPREAD = 8.0
"""How many times larger than the smallest the largest layer over the base is."""
PUSHES = 8


@dataclass(frozen=True)
class Image:
    """An image by its tag: the digest of its index, and that of its largest layer."""

    repository: str
    tag: str
    digest: str
    largest: str

    @property
    def name(self) -> str:
        """``repository:tag``."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Listing:
    """What a registry was given: images, bytes and number of unique blobs, bytes counted once for each image."""

    images: tuple[Image, ...]
    size: int
    blobs: int
    named: int

    @property
    def shared(self) -> float:
        """The part of the bytes that images name that another image names, too, and need not be sent again."""
        return 1 - self.size / self.named

    @classmethod
    def read(cls, path: Path) -> Listing:
        """Read what ``python benchmarks/images.py`` wrote."""
        found = json.loads(path.read_bytes())
        return cls(tuple(Image(**item) for item in found.pop("images")), **found)


@dataclass(frozen=True)
class Recipe:
    """What to make: repositories, tags in each, unique megabytes in all; whether base layers are shared."""

    repositories: int
    tags: int
    megabytes: float
    unshared: bool = False
    layers: int = 0
    """Layers over the base; 0: two to four."""

    def options(self) -> list[str]:
        """Options of the command above."""
        words = [f"--{key}={value}" for key, value in asdict(self).items() if key != "unshared"]
        return [*words, *(["--unshared"] if self.unshared else [])]


def push_images(recipe: Recipe, host: str) -> Listing:
    """Make the images and push them into an empty registry without passwords."""
    from registry_fixtures.depot import BlobDepot  # noqa: PLC0415 -- the module is imported for its values, too
    from registry_fixtures.holdings import Holdings  # noqa: PLC0415

    depot = BlobDepot()
    holdings = Holdings(depot)
    images = tuple(_Making(recipe, holdings).images())
    with ThreadPoolExecutor(PUSHES) as pool:
        for done in [pool.submit(_push, host, holdings, name) for name in holdings.names()]:
            done.result()
    sizes: dict[Digest, int] = {}
    named = 0
    for image in images:
        found = {digest: depot.size(digest) or 0 for digest in _blobs_of(holdings.repository(image.repository), image)}
        named += sum(found.values())
        sizes |= found
    depot.close()
    return Listing(images, sum(sizes.values()), len(sizes), named)


class _Making:
    def __init__(self, recipe: Recipe, holdings: Holdings) -> None:
        from registry_fixtures.noise import Dice  # noqa: PLC0415

        self._recipe = recipe
        self._holdings = holdings
        self._dice = Dice(0)
        self._layers: dict[str, Any] = {}
        count = recipe.repositories * recipe.tags
        bases = count if recipe.unshared else min(BASES, recipe.repositories)
        # Bytes of one platform's image, so that unique bytes add up to what is asked for.
        self._each = recipe.megabytes * 1e6 / len(PLATFORMS) / (count * (1 - BASE_PART) + bases * BASE_PART)

    def images(self) -> Iterator[Image]:
        for number in range(self._recipe.repositories):
            repository = f"team-{number % 5}/app-{number:02d}"
            for release in range(self._recipe.tags):
                yield self._image(repository, f"v1.{release}.0", number)

    def _image(self, repository: str, tag: str, number: int) -> Image:
        base = f"{repository}:{tag}" if self._recipe.unshared else f"base-{number % BASES}"
        children, all_layers = [], []
        for system, architecture, variant in PLATFORMS:
            platform = {"os": system, "architecture": architecture, **({"variant": variant} if variant else {})}
            layers = [self._layer(f"{base} {architecture}", self._each * BASE_PART)]
            own = self._own_sizes(repository)
            layers += [self._layer(f"{repository}:{tag} {architecture} {n}", size) for n, size in enumerate(own)]
            children.append(self._manifest(repository, platform, layers))
            all_layers += layers
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children}
        made = self._holdings.put_manifest(repository, json.dumps(index).encode(), tag=tag)
        largest = max(all_layers, key=lambda layer: layer.size)
        return Image(repository, tag, str(made.descriptor.digest), str(largest.digest))

    def _own_sizes(self, repository: str) -> list[float]:
        count = self._recipe.layers or OWN_LAYERS[self._dice.pick(len(OWN_LAYERS), "layers", repository)]
        weights = [self._dice.size(1, SPREAD, "weight", repository, str(number)) for number in range(count)]
        return [self._each * (1 - BASE_PART) * weight / sum(weights) for weight in weights]

    def _layer(self, seed: str, size: float) -> Any:  # noqa: ANN401 -- registry_fixtures.layers.Layer
        from registry_fixtures.layers import write_layer  # noqa: PLC0415

        if seed not in self._layers:
            self._layers[seed] = write_layer(self._holdings.depot, seed, "opt/app", max(40, int(size)))
        return self._layers[seed]

    def _manifest(self, repository: str, platform: dict[str, str], layers: Sequence[Any]) -> dict[str, Any]:
        rootfs = {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]}
        config = json.dumps({**platform, "config": {}, "rootfs": rootfs}).encode()
        digest = self._holdings.put_blob(repository, config)
        for layer in layers:
            self._holdings.link_blob(repository, layer.digest)
        described = [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "size": layer.size,
                "digest": str(layer.digest),
            }
            for layer in layers
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "size": len(config),
                "digest": str(digest),
            },
            "layers": described,
        }
        made = self._holdings.put_manifest(repository, json.dumps(document).encode())
        return {**made.descriptor.to_json(), "platform": platform}


def _blobs_of(held: RepositoryHoldings, image: Image) -> Iterable[Digest]:
    index = held.find(image.tag)
    if index is None:
        raise KeyError(image.name)
    children = [held.manifests[child.digest] for child in index.children()]
    return {entry.digest for manifest in children for entry in manifest.children()}


def _push(host: str, holdings: Holdings, name: str) -> None:
    held = holdings.repository(name)
    connection = HTTPConnection(host, timeout=60)
    try:
        for digest in sorted(held.blobs):
            location = _ask(connection, "POST", f"/v2/{name}/blobs/uploads/", 202)
            parts = urlsplit(location)
            _ask(connection, "PUT", f"{parts.path}?{parts.query}&digest={digest}", 201, holdings.depot.read(digest))
        named = {digest: tag for tag, digest in held.tags.items()}
        for manifest in sorted(held.manifests.values(), key=lambda one: one.is_index):
            _put_manifest(connection, name, manifest, named)
    finally:
        connection.close()


def _put_manifest(connection: HTTPConnection, name: str, manifest: Manifest, tags: dict[Digest, str]) -> None:
    found = manifest.descriptor
    path = f"/v2/{name}/manifests/{tags.get(found.digest, found.digest)}"
    _ask(connection, "PUT", path, 201, manifest.raw, found.media_type)


def _ask(
    connection: HTTPConnection, method: str, path: str, expected: int, body: bytes | None = None, kind: str = ""
) -> str:
    headers = {"Content-Type": kind or "application/octet-stream"} if body is not None else {}
    connection.request(method, path, body=body, headers=headers)
    response = connection.getresponse()
    said = response.read()
    if response.status != expected:
        raise RuntimeError(f"{method} {path}: {response.status} {said[:500]!r}")
    return response.headers.get("Location", "")


def main() -> None:
    """Make and push, and write the listing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("listing", type=Path)
    parser.add_argument("--repositories", type=int, default=40)
    parser.add_argument("--tags", type=int, default=1)
    parser.add_argument("--layers", type=int, default=0)
    parser.add_argument("--megabytes", type=float, default=630.0)
    parser.add_argument("--unshared", action="store_true")
    chosen = vars(parser.parse_args())
    host, listing = chosen.pop("host"), chosen.pop("listing")
    made = push_images(Recipe(**chosen), host)
    listing.write_text(json.dumps(asdict(made)))


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # for registry_fixtures
    main()

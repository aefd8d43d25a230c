"""Registries for more content than a disk or a test should hold: one makes it up, one hashes it and lets it go.

Each a process of its own, until SIGTERM:

    python benchmarks/vast.py source --images 4 --layers 2 --size 1e9
    python benchmarks/vast.py target
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for registry_fixtures

from mirror.oci.digest import Digest  # noqa: E402 -- found there
from registry_fixtures.depot import BlobDepot, Draft  # noqa: E402
from registry_fixtures.exchange import LoggedRequest, Request, RequestLog  # noqa: E402
from registry_fixtures.holdings import Holdings  # noqa: E402
from registry_fixtures.noise import noise  # noqa: E402
from registry_fixtures.registry import Registry  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["serve_source", "serve_target"]

BLOCK = 1024 * 1024
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


@contextmanager
def serve_source(folder: Path, *, images: int, layers: int, size: float) -> Iterator[list[str]]:
    """A registry of images whose layers are made up as they are read; yields their references."""
    options = [f"--images={images}", f"--layers={layers}", f"--size={size:g}"]
    with _serving(folder, "source", options) as host:
        yield [f"{host}/vast/app-{number}:v1" for number in range(images)]


@contextmanager
def serve_target(folder: Path) -> Iterator[str]:
    """A registry that checks every digest and keeps nothing but the sizes; yields its host."""
    with _serving(folder, "target", []) as host:
        yield host


@contextmanager
def _serving(folder: Path, side: str, options: list[str]) -> Iterator[str]:
    from programs import serving  # noqa: PLC0415 -- not for the registries themselves

    with serving(
        [sys.executable, Path(__file__), side, *options],
        {"PATH": os.environ["PATH"], "HOME": str(folder)},
        log=folder / f"vast-{side}.log",
        ready=r"listening on (\S+)\n",
    ) as server:
        yield server.found


class _MadeUp(BlobDepot):
    """Blobs that are one block, over and over; small ones are kept as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[Digest, tuple[bytes, int]] = {}

    def make(self, seed: str, size: int) -> Digest:
        """Make up a blob; as large as may be, it takes no more than a block."""
        block = b"".join(noise(seed, min(size, BLOCK)))
        found = hashlib.sha256()
        for start in range(0, size, BLOCK):
            found.update(memoryview(block)[: size - start])
        digest = Digest("sha256", found.hexdigest())
        self._blocks[digest] = block, size
        return digest

    def size(self, digest: Digest) -> int | None:
        found = self._blocks.get(digest)
        return found[1] if found else super().size(digest)

    def blocks(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        if digest not in self._blocks:
            yield from super().blocks(digest, start, stop)
            return
        block, size = self._blocks[digest]
        end = size if stop is None else min(stop, size)
        while start < end:
            inside = start % BLOCK
            piece = block[inside : inside + end - start]
            start += len(piece)
            yield piece


class _Forgetful(BlobDepot):
    """Hashes what comes, and remembers how much it was."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[Digest, int] = {}

    def draft(self) -> Draft:
        return _Hashed(self)

    def size(self, digest: Digest) -> int | None:
        return self._sizes.get(digest)

    def keep(self, digest: Digest, size: int) -> None:
        """Remember that it was here."""
        self._sizes[digest] = size


class _Hashed(Draft):
    def __init__(self, depot: _Forgetful) -> None:
        super().__init__(depot)
        self._forgetful = depot

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)

    def finish(self, expected: Digest | None = None) -> Digest:
        self._memory = bytearray()
        digest = super().finish(expected)
        self._forgetful.keep(digest, self.size)
        return digest


class _NoLog(RequestLog):
    """Remembers no request, of which there are very many."""

    def begin(self, request: Request) -> LoggedRequest:
        return LoggedRequest(request.method, request.path, "", {}, "")


def _fill(holdings: Holdings, depot: _MadeUp, *, images: int, layers: int, size: int) -> None:
    for image in range(images):
        repository = f"vast/app-{image}"
        digests = [depot.make(f"{image} {number}", size) for number in range(layers)]
        for digest in digests:
            holdings.link_blob(repository, digest)
        rootfs = {"type": "layers", "diff_ids": [str(digest) for digest in digests]}
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": CONFIG,
                "size": len(config),
                "digest": str(holdings.put_blob(repository, config)),
            },
            "layers": [{"mediaType": LAYER, "size": size, "digest": str(digest)} for digest in digests],
        }
        holdings.put_manifest(repository, json.dumps(document).encode(), tag="v1")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=("source", "target"))
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--size", type=float, default=1e9, help="bytes of a layer")
    chosen = parser.parse_args()
    # Blocked before any thread starts, so that sigwait below is the one that sees it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if chosen.side == "source":
        depot = _MadeUp()
        holdings = Holdings(depot)
        _fill(holdings, depot, images=chosen.images, layers=chosen.layers, size=int(chosen.size))
    else:
        holdings = Holdings(_Forgetful())
    with Registry(holdings, log=_NoLog()).serve() as served:
        print(f"listening on {served.host}", flush=True)
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()

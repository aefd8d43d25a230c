"""Builds what is carried across a gap to get bundlectl there (``make dist``; docs/how-to/carry-the-tool.md).

The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import debian
import sources
import wheels
from image import python_layer, tool_layer, wheels_layer, write_image
from offline import write_offline

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> None:
    """Build all of it, or pin again what the image is made of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=sources.ROOT / "dist", help="the folder to write into")
    parser.add_argument("--lock-image", action="store_true", help="pin the Debian packages of the image, build nothing")
    options = parser.parse_args()
    if options.lock_image:
        debian.lock()
        return
    os.umask(0o022)
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=out) as work:
        made = Path(work, "made")
        made.mkdir()
        build(Path(work, "tree"), made)
        for old in [*out.glob("bundlectl-*"), out / "SHA256SUMS"]:
            old.unlink(missing_ok=True)
        for file in sorted(made.iterdir()):
            print(f"{file.stat().st_size:>12,}  {file.rename(out / file.name)}")


def build(tree: Path, out: Path) -> None:
    """Build everything into ``out``, from a copy of the checkout that is made in ``tree``."""
    cache = cache_folder()
    commit = sources.commit()
    with timed("wheel and source"):
        sources.snapshot(tree)
        own, _ = sources.build(tree, out, commit.epoch)
    version = own.name.split("-")[1]
    with timed("wheels of what it needs"):
        needed, pip = wheels.carried_requirements(tree)
        carried = wheels.provide(needed, cache / "wheels")
        (pip_wheel,) = wheels.provide([pip], cache / "wheels")
    requirement = wheels.Requirement("bundlectl", version, frozenset()).line([sources.sha256(own)])
    lines = [one.line(digest for file, digest in carried.items() if wheels.name_of(file) == one.name) for one in needed]
    with timed("offline installer"):
        installer = out / f"bundlectl-{version}-offline.pyz"
        write_offline(installer, [requirement, *lines], [own, *carried], pip_wheel, commit.epoch)
    with timed("image"):
        # One layer at a time is in memory.
        layers = {
            architecture: (
                partial(python_layer, architecture, cache / "debs"),
                partial(wheels_layer, machine, lines, carried),
                partial(tool_layer, machine, requirement, own),
            )
            for architecture, machine in wheels.MACHINES.items()
        }
        write_image(out / f"bundlectl-{version}.oci", version, commit, layers, cache / "layers")
    sums = "".join(f"{sources.sha256(file)}  {file.name}\n" for file in sorted(out.iterdir()))
    (out / "SHA256SUMS").write_text(sums)


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Say how long a step took."""
    began = time.monotonic()
    yield
    print(f"{step}: {time.monotonic() - began:.1f} s", flush=True)


def cache_folder() -> Path:
    """Where downloads are kept: where the programs of ``make interop-tools`` are."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BUNDLECTL_CI_CACHE") or home / "bundlectl-ci")


if __name__ == "__main__":
    main()

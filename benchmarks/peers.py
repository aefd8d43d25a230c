"""Our mirror of some images against the copies of another tool: one upstream, targets of one kind, turn about."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from programs import bundlectl, docker_registry, find_program, run, serve_store
from results import Plan, Result, judged

from mirror.oci.mediatype import MANIFEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["pairing"]

IMAGES = 24
ROUNDS = 5
AT_A_TIME = 4
"""Processes of the other tool, which copies one image each; more gain nothing on two cores."""
PREFIX = "peers"
ACCEPT = ", ".join(sorted(MANIFEST_TYPES))


@dataclass(frozen=True)
class _Image:
    """An image of the upstream: its real name, where it is served, its path below a target, its digest and bytes."""

    reference: str
    served: str
    path: str
    tag: str
    digest: str
    blobs: frozenset[str]


@dataclass(frozen=True)
class _Tool:
    name: str
    command: Callable[[str, str], list[str | Path]]


def pairing(folder: Path, lock: Path, origins: Sequence[str], plan: Plan) -> list[Result]:
    """Mirror the same images with bundlectl and with crane (or skopeo), each round into empty registries.

    Args:
        folder: to work in.
        lock: what the upstream holds.
        origins: ``--origin`` options that lead to it.
        plan: how many images and rounds.
    """
    tool = _tool()
    if tool is None:
        return [Result("mirror : crane", "", verdict="left out", why="no crane and no skopeo: make interop-tools")]
    document = json.loads(lock.read_bytes())
    images = _images(document, origins, plan.count(IMAGES, least=4))
    size = sum(document["blobs"][digest] for digest in frozenset().union(*(image.blobs for image in images)))
    pairs, faults = [], []
    for number in range(plan.count(ROUNDS)):
        with _target(folder / f"ours-{number}") as host:
            mine = _mirrored(folder, host, images, origins)
            faults += _different(host, images)
        with _target(folder / f"theirs-{number}") as host:
            pairs.append((mine, _copied(folder, tool, host, images)))
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(mine / other for mine, other in pairs)
    return [
        Result(
            f"mirror : {tool.name}",
            f"{len(images)} images, {size / 1e6:,.0f} MB, {len(pairs)} pairs, {ours:.2f} s : {theirs:.2f} s",
            ours,
            f"{ratio:.2f} x",
            *judged(faults),
        )
    ]


def _tool() -> _Tool | None:
    crane, skopeo = find_program("crane"), find_program("skopeo")
    if crane:
        return _Tool("crane copy", lambda source, target: [crane, "copy", "--insecure", source, target])
    if skopeo:
        plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        copy: list[str | Path] = [skopeo, "--insecure-policy", "copy", "--all", *plain]
        return _Tool("skopeo copy", lambda source, target: [*copy, f"docker://{source}", f"docker://{target}"])
    return None


def _images(document: dict[str, Any], origins: Sequence[str], count: int) -> list[_Image]:
    """So many of the lock's images, spread evenly over it."""
    hosts = dict(pair.split("=", 1) for pair in origins[1::2])
    found = []
    for item in document["artifacts"]:
        name, _, tag = item["reference"].rpartition(":")
        host, _, path = name.partition("/")
        if item["type"] == "image" and host in hosts and path:
            served = f"{hosts[host]}/{path}:{tag}"
            needed = frozenset([*item["manifests"], *item["blobs"]])
            found.append(_Image(item["reference"], served, f"{PREFIX}/{path}", tag, item["digest"], needed))
    step = max(1, len(found) // count)
    return found[::step][:count]


@contextmanager
def _target(folder: Path) -> Iterator[str]:
    """An empty docker-registry where there is one, else an empty store of ours; its host."""
    folder.mkdir()
    if find_program("docker-registry"):
        with docker_registry(folder) as host:
            yield host
    else:
        with serve_store(folder, folder / "store") as server:
            yield server.found


def _mirrored(folder: Path, host: str, images: Sequence[_Image], origins: Sequence[str]) -> float:
    program = bundlectl(folder)
    sources = [f"image:{image.reference}" for image in images]
    options = ["--to", f"{host}/{PREFIX}", "--no-referrers", "-q"]
    return run([program.path, "mirror", *sources, *options, *origins], program.variables()).seconds


def _copied(folder: Path, tool: _Tool, host: str, images: Sequence[_Image]) -> float:
    """Seconds from the start of the first copy to the end of the last."""
    environment = bundlectl(folder).variables()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        began = time.perf_counter()
        copies = [
            pool.submit(run, tool.command(image.served, f"{host}/{image.path}:{image.tag}"), environment)
            for image in images
        ]
        for copy in copies:
            copy.result()
        return time.perf_counter() - began


def _different(host: str, images: Sequence[_Image]) -> list[str]:
    """What our target does not hold under its tag."""
    connection = HTTPConnection(host, timeout=30)
    faults = []
    try:
        for image in images:
            connection.request("HEAD", f"/v2/{image.path}/manifests/{image.tag}", headers={"Accept": ACCEPT})
            response = connection.getresponse()
            response.read()
            found = response.headers.get("Docker-Content-Digest", "")
            if response.status != 200 or found != image.digest:
                faults.append(f"{image.path}:{image.tag}: {response.status} {found}, not {image.digest}")
    finally:
        connection.close()
    return faults

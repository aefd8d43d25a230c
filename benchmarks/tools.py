"""The tools that copy images, each in the form that its users use at its best."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from programs import Ran, bundlectl, find_program, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from images import Image

__all__ = ["AT_ONCE", "OURS", "Measured", "Task", "Tool", "copying_tools", "regctl_from", "resync_tools", "store_tools"]

AT_ONCE = 8
"""Processes at once of a tool that copies one image each, and what regsync's ``parallel`` is set to."""
OURS = "bundlectl"


@dataclass(frozen=True)
class Task:
    """What to copy: images of a registry (or of a store, by the names they have in it) into another registry."""

    images: Sequence[Image]
    source: str
    target: str
    folder: Path
    """To write a tool's configuration into, and its home; a new one each time."""
    store: Path | None = None
    lock: Path | None = None


@dataclass(frozen=True)
class Tool:
    """A tool, how it was run in words, and its commands for a task, of which so many run at once."""

    name: str
    form: str
    commands: Callable[[Task], list[list[str | Path]]]
    at_once: int = 1
    usual: bool = True
    """Whether people use this form: goals are against those."""

    def measure(self, task: Task) -> Measured:
        """Do the task once.

        Raises:
            RuntimeError: a command failed.
        """
        commands = self.commands(task)
        environment = bundlectl(task.folder).variables()
        with ThreadPoolExecutor(self.at_once) as pool:
            began = time.perf_counter()
            started = [pool.submit(run, command, environment) for command in commands]
            ran = [future.result() for future in started]
            seconds = time.perf_counter() - began
        return Measured(seconds, sum(one.cpu for one in ran), max(one.peak for one in ran), ran)


@dataclass(frozen=True)
class Measured:
    """Seconds from the start of the first process to the end of the last; CPU of all; peak bytes of one."""

    seconds: float
    cpu: float
    peak: int
    ran: Sequence[Ran]


def copying_tools() -> list[Tool]:
    """What copies from registry to registry on this machine; ours is the first."""
    ours = Tool(OURS, "mirror image:… --no-referrers, one process", _by_reference)
    return [ours, *_regsync(), *_crane(), *_skopeo("docker://"), *regctl_from("")]


def store_tools() -> list[Tool]:
    """What copies from an OCI image layout into a registry; ours is the first."""
    ours = Tool(OURS, "mirror store:… --no-referrers, one process", _from_store)
    return [ours, *_skopeo("oci:"), *regctl_from("ocidir://")]


def resync_tools() -> list[Tool]:
    """What brings a registry up to date from a list: ours from a lock, and regsync."""
    ours = Tool(OURS, "mirror bundle.lock.json --no-referrers, one process", _from_lock)
    return [ours, *_regsync()[:1]]


def _regsync() -> list[Tool]:
    program = find_program("regsync")
    if not program:
        return []
    tuned = {"reqConcurrent": AT_ONCE}
    return [
        Tool(
            "regsync",
            f"once, parallel: {AT_ONCE}, one process",
            lambda task: [[program, "once", "-c", _sync_file(task)]],
        ),
        Tool(
            "regsync-tuned",
            f"the same with reqConcurrent: {AT_ONCE}, which is 3 unless set",
            lambda task: [[program, "once", "-c", _sync_file(task, **tuned)]],
            usual=False,
        ),
    ]


def _crane() -> list[Tool]:
    program = find_program("crane")
    if not program:
        return []
    form = f"copy, {AT_ONCE} processes at once"
    return [Tool("crane", form, lambda task: _each(task, [program, "copy", "--insecure"], "", ""), AT_ONCE)]


def _skopeo(source: str) -> list[Tool]:
    program = find_program("skopeo")
    if not program:
        return []
    copy: list[str | Path] = [
        program,
        "--insecure-policy",
        "copy",
        "--all",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ]
    form = f"copy --all {source}…, {AT_ONCE} processes at once"
    return [Tool("skopeo", form, lambda task: _each(task, copy, source, "docker://"), AT_ONCE)]


def regctl_from(source: str, at_once: int = AT_ONCE) -> list[Tool]:
    """``regctl`` for each image of a registry (an empty ``source``) or of an image layout (``ocidir://``)."""
    program = find_program("regctl")
    if not program:
        return []
    form = f"image copy{f' {source}…' if source else ''}, {at_once} processes at once"
    return [
        Tool("regctl", form, lambda task: _each(task, [program, *_plain(task), "image", "copy"], source, ""), at_once)
    ]


def _mirror(task: Task, sources: Sequence[str | Path]) -> list[list[str | Path]]:
    program = bundlectl(task.folder).path
    return [[program, "mirror", *sources, "--to", task.target, "--no-referrers", "-o", "json", "-q"]]


def _by_reference(task: Task) -> list[list[str | Path]]:
    return _mirror(task, [f"image:{task.source}/{image.name}" for image in task.images])


def _from_store(task: Task) -> list[list[str | Path]]:
    return _mirror(task, [f"store:{task.store}"])


def _from_lock(task: Task) -> list[list[str | Path]]:
    return _mirror(task, [str(task.lock)])


def _each(task: Task, copy: Sequence[str | Path], before: str, after: str) -> list[list[str | Path]]:
    """One command an image; in a store an image is found by the whole of its name, or by its digest."""
    commands: list[list[str | Path]] = []
    for image in task.images:
        source = f"{task.source}/{image.name}"
        if before == "oci:":
            source = f"{task.store}:{source}"
        elif before == "ocidir://":
            source = f"{task.store}@{image.digest}"
        commands.append([*copy, before + source, f"{after}{task.target}/{image.name}"])
    return commands


def _plain(task: Task) -> list[str]:
    return [f"--host=reg={host},tls=disabled" for host in (task.source, task.target) if host]


def _sync_file(task: Task, **settings: int) -> Path:
    document = {
        "version": 1,
        "creds": [{"registry": host, "tls": "disabled", **settings} for host in (task.source, task.target)],
        "defaults": {"parallel": AT_ONCE},
        "sync": [
            {"source": f"{task.source}/{image.name}", "target": f"{task.target}/{image.name}", "type": "image"}
            for image in task.images
        ],
    }
    written = task.folder / "regsync.yml"
    written.write_text(json.dumps(document))  # JSON is YAML
    return written

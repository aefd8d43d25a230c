"""The images of a chart, found by rendering it with ``helm template``, without network."""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ConfigError, ContentError
from bundles.helm.archive import read_chart_file
from bundles.helm.images import PLACES_LIMIT, ChartImages, FoundImage, judge_reference, too_many_images
from bundles.helm.schemas import refers_elsewhere
from bundles.helm.yamlnodes import Listing, Node, Scalar, Table, read_yaml_documents
from mirror.copying.working import check_cancelled
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

    from bundles.artifact import Excluded

__all__ = ["Rendering", "render", "template"]

_SOURCE: Final = re.compile(rb"^# Source: ([^\r\n]{1,500})", re.MULTILINE)
_BLOCK: Final = 64 * 1024
_KEPT_ERRORS: Final = 4096
_LOOK: Final = 0.1
"""Seconds between two looks whether to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """How charts are rendered.

    Attributes:
        helm: the program; the caller has looked it up.
        timeout: seconds for one chart.
        output_limit: bytes of one chart's rendered documents.
        kube_version: what ``.Capabilities.KubeVersion`` says; Helm's own default when empty.
        values: laid over the chart's, such as ``sourceRegistry`` for AWS's packages.
        namespace: what ``.Release.Namespace`` says.
        release: what ``.Release.Name`` says.
        definitions: whether the chart's ``crds/`` are among the documents.
        cancel: set by another thread to stop: helm has a session of its own, which no Ctrl-C reaches.
    """

    helm: Path | None
    timeout: float = 60.0
    output_limit: int = 32 * 1024 * 1024
    kube_version: str = ""
    values: Mapping[str, object] | None = None
    namespace: str = "bundlectl"
    release: str = "bundlectl"
    definitions: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)


def render(archive: Path, label: str, rendering: Rendering) -> ChartImages:
    """Render a chart and list every ``image`` in the documents that come out (`template`)."""
    return _images(template(archive, label, rendering), label)


def template(archive: Path, label: str, rendering: Rendering) -> bytes:
    """Render a chart; the documents that come out, as YAML.

    Helm gets an empty environment, its homes in a folder that is deleted again, no proxies and
    no cluster: a chart's dependencies must be vendored in it, as ``helm package`` does.

    Args:
        archive: the chart's ``.tgz``; its digest was checked by the caller.
        label: ``NAME-VERSION``, for messages and ``where``.
        rendering: the program and its bounds.

    Raises:
        ConfigError: there is no such program.
        ContentError: the chart does not render, takes too long or prints too much.
        InterruptError: cancelled.
    """
    check_cancelled(rendering.cancel)
    if rendering.helm is None:
        raise _missing()
    return _template(archive.absolute(), rendering.helm, label, rendering)


def _missing() -> ConfigError:
    return ConfigError(
        "rendering charts needs the program helm, which was not found",
        hint="install helm, or leave out --render-charts: images are then found statically",
    )


def _template(archive: Path, program: Path, label: str, rendering: Rendering) -> bytes:
    with tempfile.TemporaryDirectory(prefix="bundlectl-helm-") as home:
        values = Path(home, "values.json")
        values.write_bytes(canonical_json(dict(rendering.values or {})))
        command = [str(program), "template", rendering.release, str(archive), "--values", str(values)]
        command += ["--namespace", rendering.namespace]
        command += ["--include-crds"] if rendering.definitions else []
        # What a schema refers to would be fetched.
        command += ["--skip-schema-validation"] if refers_elsewhere(read_chart_file(archive, origin=label)) else []
        if rendering.kube_version:
            command += ["--kube-version", rendering.kube_version]
        try:
            helm = subprocess.Popen(  # noqa: S603 -- the program is the user's, no shell is involved
                command,
                cwd=home,
                env=_environment(home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise _missing() from error
            raise ConfigError(
                f"helm could not be started: {error.strerror}",
                artifact=str(rendering.helm),
                hint="check that helm runs by itself, or leave out --render-charts",
            ) from error
        return _collect(helm, label, rendering)


def _environment(home: str) -> dict[str, str]:
    homes = {f"HELM_{name}_HOME": f"{home}/{name.lower()}" for name in ("CACHE", "CONFIG", "DATA")}
    return {
        **homes,
        "HELM_NO_PLUGINS": "1",
        "HELM_PLUGINS": f"{home}/plugins",
        "HELM_REGISTRY_CONFIG": f"{home}/registry.json",
        "HELM_REPOSITORY_CONFIG": f"{home}/repositories.yaml",
        "HELM_REPOSITORY_CACHE": f"{home}/repository",
        "HOME": home,
        "KUBECONFIG": f"{home}/kubeconfig",
        "TMPDIR": home,
        "PATH": "/usr/bin:/bin",
        "GOMEMLIMIT": "1GiB",
        "LC_ALL": "C.UTF-8",
    }


def _collect(helm: subprocess.Popen[bytes], label: str, rendering: Rendering) -> bytes:
    """Read what helm prints, within the bounds; helm has ended when this returns or raises."""
    out, err = _pipe(helm.stdout), _pipe(helm.stderr)
    late, ended = threading.Event(), threading.Event()

    def watch() -> None:
        expires = time.monotonic() + rendering.timeout
        while not ended.wait(min(_LOOK, rendering.timeout)):
            if time.monotonic() >= expires:
                late.set()
            if late.is_set() or rendering.cancel.is_set():
                _kill(helm)
                return

    complaints = bytearray()
    drain = threading.Thread(target=_drain, args=(err, complaints), daemon=True)
    watcher = threading.Thread(target=watch, daemon=True)
    output = bytearray()
    with out, err:
        drain.start()
        watcher.start()
        try:
            while len(output) <= rendering.output_limit and (block := out.read(_BLOCK)):
                output += block
            if len(output) > rendering.output_limit:
                raise ContentError(
                    f"the chart renders to more than {rendering.output_limit} bytes",
                    artifact=label,
                    hint="leave out --render-charts to find its images statically",
                )
            status = helm.wait()
        finally:
            ended.set()
            if helm.poll() is None:
                _kill(helm)
                helm.wait()
            drain.join()
            watcher.join()
    check_cancelled(rendering.cancel)
    if late.is_set():
        raise ContentError(
            f"the chart did not render within {rendering.timeout:g} seconds",
            artifact=label,
            hint="leave out --render-charts to find its images statically",
        )
    if status != 0:
        said = complaints.decode("utf-8", "replace").strip().removeprefix("Error: ")[:500]
        raise ContentError(
            f"helm could not render the chart: {said or f'exit status {status}'}",
            artifact=label,
            hint="leave out --render-charts to find its images statically",
        )
    return bytes(output)


def _kill(helm: subprocess.Popen[bytes]) -> None:
    """Kill helm and whatever it started: a child that outlives it would hold the pipes open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(helm.pid, signal.SIGKILL)


def _drain(pipe: IO[bytes], kept: bytearray) -> None:
    while block := pipe.read1(_BLOCK) if hasattr(pipe, "read1") else pipe.read(_BLOCK):
        kept += block[: max(0, _KEPT_ERRORS - len(kept))]


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ConfigError("helm was started without pipes")
    return pipe


def _images(output: bytes, label: str) -> ChartImages:
    marks = list(_marks(output))
    lines = [line for line, _ in marks]
    images: set[FoundImage] = set()
    excluded: set[Excluded] = set()
    count = 0
    for document in read_yaml_documents(output, origin=f"{label} (rendered)"):
        for value in _image_values(document):
            count += 1
            if count > PLACES_LIMIT:
                raise too_many_images(label)
            # The comment stands before its document; Helm prints CHART/templates/file.yaml.
            mark = bisect.bisect_right(lines, value.line) - 1
            source = marks[mark][1].partition("/")[2] if mark >= 0 else "output"
            found = judge_reference(value.text, f"{label}!{source} (rendered)")
            if isinstance(found, FoundImage):
                images.add(found)
            else:
                excluded.add(found)
    return ChartImages(tuple(sorted(images)), tuple(sorted(excluded)))


def _marks(output: bytes) -> Iterator[tuple[int, str]]:
    """The line and the name of each template that helm names."""
    line, read = 1, 0
    for match in _SOURCE.finditer(output):
        line += output.count(b"\n", read, match.start())
        read = match.start()
        yield line, match[1].decode("utf-8", "replace")


def _image_values(node: Node) -> Iterator[Scalar]:
    """Every text under a key ``image``, wherever: containers, and custom resources that start them."""
    waiting: list[Node] = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Listing):
            waiting.extend(node.entries)
        elif isinstance(node, Table):
            value = node.entries.get("image")
            if isinstance(value, Scalar) and value.text:
                yield value
            waiting.extend(node.entries.values())

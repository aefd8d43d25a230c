"""Chart archives (``.tgz``), read in memory and never unpacked to disk."""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bundlectl.errors import ContentError
from bundles.helm.yamlnodes import Table, read_yaml
from mirror.filesystem import mapped_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["CHART_LIMIT", "Chart", "read_chart", "read_chart_file"]

_HINT: Final = "package the chart again with `helm package`, or leave it out with --exclude"
CHART_LIMIT: Final = 20 * 1024 * 1024
"""Bytes of a chart archive as it travels; Helm's own charts stay far below."""

_CONTENT_LIMIT: Final = 64 * 1024 * 1024
_MEMBERS: Final = 10_000
_STREAMS: Final = 100
"""Gzip streams one after the other in an archive; one is usual."""
_SUBCHART_DEPTH: Final = 6
_BLOCK: Final = 1024 * 1024
_GZIP: Final = b"\x1f\x8b"
_DRIVE: Final = re.compile(r"[A-Za-z]:[/\\]")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Chart:
    """What is needed of a chart: its metadata, its files, the charts vendored in it.

    ``files`` maps paths relative to the chart's own folder to bytes, without ``Chart.yaml``'s
    siblings that no image can stand in (README, icons, the folder ``charts/``).
    """

    name: str
    version: str
    app_version: str
    metadata: Table = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)
    subcharts: tuple[Chart, ...] = ()
    path: str = ""
    """Where a vendored chart lies in the outermost one, ``charts/NAME/``; else empty."""

    @property
    def label(self) -> str:
        """``NAME-VERSION``."""
        return f"{self.name}-{self.version}"


@dataclass(slots=True)
class _Budget:
    """What may still be unpacked, over a chart and everything vendored in it."""

    content: int = _CONTENT_LIMIT
    members: int = _MEMBERS


def read_chart(raw: bytes, *, origin: str) -> Chart:
    """Read a chart archive.

    Args:
        raw: the ``.tgz``, at most 20 MiB; 64 MiB and 10,000 files when unpacked, vendored
            charts included.
        origin: the reference, URL or path, for messages.

    Raises:
        ContentError: not a chart archive, beyond a limit, or with names that leave its folder.
    """
    return _read(raw, origin, "", _Budget(), 0)


def read_chart_file(chart: Path, *, origin: str = "") -> Chart:
    """Read a chart that lies on the disk.

    Args:
        chart: a ``.tgz``.
        origin: for messages; the file's name where there is none.

    Raises:
        ContentError: it is not a chart.
        StoreError: it cannot be read.
    """
    with mapped_errors(chart, action="read"):
        raw = chart.read_bytes()
    return read_chart(raw, origin=origin or chart.name)


def _read(raw: bytes, origin: str, path: str, budget: _Budget, depth: int) -> Chart:
    if len(raw) > CHART_LIMIT:
        raise ContentError(f"the chart archive is larger than {CHART_LIMIT} bytes", artifact=origin, hint=_HINT)
    if depth > _SUBCHART_DEPTH:
        raise ContentError(f"charts vendored more than {_SUBCHART_DEPTH} deep", artifact=origin, hint=_HINT)
    members = _members(_decompress(raw, origin, budget), origin, budget)
    folders = {name.partition("/")[0] for name in members}
    roots = [folder for folder in folders if f"{folder}/Chart.yaml" in members]
    if len(folders) != 1 or not roots:
        raise ContentError(
            "not a chart archive: it must hold one folder with a Chart.yaml", artifact=origin, hint=_HINT
        )
    prefix = len(roots[0]) + 1
    return _assemble({name[prefix:]: data for name, data in members.items()}, origin, path, budget, depth)


def _decompress(raw: bytes, origin: str, budget: _Budget) -> bytes:
    """Unpack gzip, stopping before the budget bursts rather than after."""
    out = io.BytesIO()
    rest = raw
    streams = 0
    try:
        while rest.startswith(_GZIP):
            streams += 1
            if streams > _STREAMS:
                raise ContentError(
                    f"the chart archive has more than {_STREAMS} gzip streams", artifact=origin, hint=_HINT
                )
            stream = zlib.decompressobj(wbits=31)
            while not stream.eof:
                block = stream.decompress(rest, _BLOCK)
                rest = stream.unconsumed_tail
                budget.content -= len(block)
                if budget.content < 0:
                    raise ContentError(
                        f"the chart unpacks to more than {_CONTENT_LIMIT} bytes", artifact=origin, hint=_HINT
                    )
                out.write(block)
                if not stream.eof and not rest and not block:
                    raise ContentError("the chart archive is cut short", artifact=origin, retryable=True, hint=_HINT)
            rest = stream.unused_data
    except zlib.error as error:
        raise ContentError("the chart archive is damaged: not gzip", artifact=origin, hint=_HINT) from error
    if not out.tell():
        raise ContentError("not a chart archive: not gzip", artifact=origin, hint=_HINT)
    return out.getvalue()


def _members(tar: bytes, origin: str, budget: _Budget) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as archive:
            for member in archive:
                budget.members -= 1
                if budget.members < 0:
                    raise ContentError(f"the chart holds more than {_MEMBERS} files", artifact=origin, hint=_HINT)
                if member.isdir():
                    continue
                name = _safe(member, origin)
                if name in found:
                    raise ContentError(f"the chart holds two files {name[:200]!r}", artifact=origin, hint=_HINT)
                # A sparse member's size is not backed by bytes of the archive.
                if member.issparse() or member.size > len(tar):
                    raise ContentError(f"the chart's file {name[:200]!r} is sparse", artifact=origin, hint=_HINT)
                reader = archive.extractfile(member)
                found[name] = reader.read() if reader else b""
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError, RecursionError) as error:
        raise ContentError("the chart archive is damaged: not a tar", artifact=origin, hint=_HINT) from error
    return found


def _safe(member: tarfile.TarInfo, origin: str) -> str:
    name = member.name.replace("\\", "/").removeprefix("./")
    parts = name.split("/")
    if not member.isreg():
        raise ContentError(
            f"the chart holds {member.name[:200]!r}, which is not a regular file",
            artifact=origin,
            hint="`helm package` writes regular files only; package the chart again",
        )
    if name.startswith("/") or _DRIVE.match(name) or "\0" in name or any(part in {"", ".", ".."} for part in parts):
        raise ContentError(f"the chart holds the unsafe file name {member.name[:200]!r}", artifact=origin, hint=_HINT)
    if len(parts) == 1:
        raise ContentError(f"the chart holds {name[:200]!r} outside of its folder", artifact=origin, hint=_HINT)
    return name


def _assemble(files: Mapping[str, bytes], origin: str, path: str, budget: _Budget, depth: int) -> Chart:
    """Make a chart of the files below its folder; ``charts/`` is read as Helm reads it."""
    if depth > _SUBCHART_DEPTH:
        raise ContentError(f"charts vendored more than {_SUBCHART_DEPTH} deep", artifact=origin, hint=_HINT)
    place = f"{origin}!{path}Chart.yaml"
    metadata = read_yaml(files["Chart.yaml"], origin=place)
    if not isinstance(metadata, Table):
        raise ContentError("Chart.yaml is not a mapping", artifact=place, hint=_HINT)
    name, version = metadata.text("name"), metadata.text("version")
    if not _NAME.fullmatch(name):
        raise ContentError(f"{name[:200]!r} is not a chart name", artifact=place, hint=_HINT)
    if not _VERSION.fullmatch(version):
        raise ContentError(f"{version[:200]!r} is not a chart version", artifact=place, hint=_HINT)
    return Chart(
        name,
        version,
        metadata.text("appVersion"),
        metadata,
        {key: data for key, data in files.items() if not key.startswith("charts/")},
        tuple(_subcharts(files, origin, path, budget, depth)),
        path,
    )


def _subcharts(files: Mapping[str, bytes], origin: str, path: str, budget: _Budget, depth: int) -> Iterable[Chart]:
    folders: dict[str, dict[str, bytes]] = {}
    for key in sorted(files):
        if not key.startswith("charts/"):
            continue
        first, slash, rest = key.removeprefix("charts/").partition("/")
        # Helm ignores what begins with a dot or an underscore here, and loose files.
        if first.startswith((".", "_")):
            continue
        if slash:
            folders.setdefault(first, {})[rest] = files[key]
        elif first.endswith(".tgz"):
            yield _read(files[key], f"{origin}!{path}{key}", f"{path}charts/{first}/", budget, depth + 1)
    for folder, inside in folders.items():
        if "Chart.yaml" in inside:
            yield _assemble(inside, origin, f"{path}charts/{folder}/", budget, depth + 1)

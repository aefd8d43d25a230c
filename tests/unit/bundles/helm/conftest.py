from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping


class PackChart(Protocol):
    def __call__(self, files: Mapping[str, str | bytes], *, name: str = "web", version: str = "1.2.3") -> bytes: ...


class PackTar(Protocol):
    def __call__(self, members: list[tuple[str | tarfile.TarInfo, bytes]]) -> bytes: ...


@pytest.fixture(scope="session")
def pack_tar() -> PackTar:
    """Packs (name, data) pairs, and ready TarInfo objects, into a .tgz without adding anything."""

    def pack(members: list[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, data in members:
                member = tarfile.TarInfo(name) if isinstance(name, str) else name
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return gzip.compress(buffer.getvalue(), mtime=0)

    return pack


@pytest.fixture(scope="session")
def pack_chart(pack_tar: PackTar) -> PackChart:
    """Packs files of a chart; a Chart.yaml is made unless given."""

    def pack(files: Mapping[str, str | bytes], *, name: str = "web", version: str = "1.2.3") -> bytes:
        chart = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: v9.9\n", **files}
        return pack_tar(
            [(f"{name}/{key}", data.encode() if isinstance(data, str) else data) for key, data in chart.items()]
        )

    return pack

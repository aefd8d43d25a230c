"""Chart archives to fuzz with: files, names, types, tar headers and gzip streams that are not quite right."""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import cache
from typing import TYPE_CHECKING

from mutation import change_bytes, change_lines, change_text

if TYPE_CHECKING:
    from random import Random

__all__ = ["make_archive", "read_archive"]

DIGEST = "sha256:" + "a" * 64
VALUES = """\
sourceRegistry: public.ecr.aws/eks-anywhere
global:
  imageRegistry: registry.example
defaults: &defaults
  repository: a/b
  tag: "1.10"
image:
  <<: *defaults
  digest: {digest}
sidecar: {{image: "registry.example/c/d:1.2", pullPolicy: Always}}
list:
  - image: registry.example/e
    tag: 3
  - repository: f
    registry: registry.example
    sha: {hex}
webhookImage: registry.example/w:1 # a comment
"""
REQUIRES = """\
kind: Requires
spec:
  images:
    - repository: a/b
      tag: v1
      digest: {digest}
"""
TEMPLATE = """\
{{{{- define "x" }}}}
spec:
  containers:
    - name: x
      image: "registry.example/t/u:1.0"
    - image: {{{{ .Values.image.repository }}}}:{{{{ .Values.image.tag }}}}
"""
CHART = """\
apiVersion: v2
name: {name}
version: 1.2.3+x
appVersion: 1.10
dependencies:
  - name: sub
    alias: other
    version: "*"
annotations:
  artifacthub.io/images: |
    - name: x
      image: registry.example/h/i:1
"""
NAMES = (
    "../x",
    "/x",
    "C:\\x",
    "a//b",
    "a/./b",
    "x",
    "",
    "chart/charts/sub.tgz",
    "chart/charts/_x/Chart.yaml",
    "a" * 300,
)
KINDS = (
    *(tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE),
    *(tarfile.CHRTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, b"Z"),
)
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


@cache
def _files(name: str) -> dict[str, bytes]:
    texts = {"Chart.yaml": CHART, "values.yaml": VALUES, "requires.yaml": REQUIRES, "templates/x.yaml": TEMPLATE}
    return {
        path: text.format(name=name, digest=DIGEST, hex="b" * 64, alias="&").encode() for path, text in texts.items()
    }


def make_archive(dice: Random) -> bytes:
    """A chart of a few files, with something changed at one level or another."""
    chart = {f"chart/{path}": data for path, data in _files("chart").items()}
    inner = {f"sub/{path}": data for path, data in _files("sub").items()}
    match dice.randrange(4):
        case 0:
            chart["chart/charts/sub-1.tgz"] = _packed(_changed(inner, dice), dice)
        case 1:
            chart |= {f"chart/charts/{path}": data for path, data in inner.items()}
        case _:
            pass
    return _packed(_changed(chart, dice), dice)


def read_archive(raw: bytes) -> None:
    """Read a chart, and look for the images in it."""
    from bundles.helm.archive import read_chart  # noqa: PLC0415 -- only where it is fuzzed
    from bundles.helm.images import find_images  # noqa: PLC0415

    find_images(read_chart(raw, origin="fuzzed.tgz"), source_registry="registry.example")


def _changed(files: dict[str, bytes], dice: Random) -> dict[str, bytes]:
    files = dict(files)
    for _ in range(dice.randint(0, 2)):
        path = dice.choice(list(files))
        match dice.randrange(8):
            case 0:
                files[_name(path, dice)] = files[path]
            case 1:
                files[_name(path, dice)] = files.pop(path)
            case 2:
                files[path] = change_bytes(files[path], dice)
            case _:
                text = files[path].decode("utf-8", "surrogateescape")
                files[path] = change_lines(text, dice).encode("utf-8", "surrogatepass")
    return files


def _name(path: str, dice: Random) -> str:
    # tarfile itself cannot write half of a surrogate pair.
    name = dice.choice(NAMES) if dice.random() < 0.5 else change_text(path, dice)
    return name.encode("utf-8", "replace").decode()


def _packed(files: dict[str, bytes], dice: Random) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=dice.choice(FORMATS)) as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            if dice.random() < 0.01:
                member.type, member.linkname = dice.choice(KINDS), path
            try:
                archive.addfile(member, io.BytesIO(data))
            except ValueError:
                continue  # USTAR has no place for a name so long
    tar = buffer.getvalue()
    if dice.random() < 0.2:
        at = dice.randrange(0, len(tar), 512)
        tar = tar[:at] + change_bytes(tar[at : at + 512], dice)[:512].ljust(512, b"\0") + tar[at + 512 :]
    raw = gzip.compress(tar, 1, mtime=0)
    match dice.randrange(40):
        case 0:
            return change_bytes(raw, dice)
        case 1:
            return raw + gzip.compress(dice.randbytes(20), 1, mtime=0) * dice.choice((1, 150))
        case 2:
            return raw[: dice.randrange(len(raw))]
        case _:
            return raw

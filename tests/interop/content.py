"""Images, charts and layouts made here, small and different from each other."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OCI = "application/vnd.oci.image"


def write_layout(folder: Path, *, seed: int, name: str = "v1", platforms: tuple[str, ...] = ("amd64", "arm64")) -> str:
    """Write an OCI image layout with one multi-platform image, and return the digest of its index.

    The images are real enough for ``crane validate``: gzipped tars whose ``diff_ids`` are right.
    """
    (folder / "blobs" / "sha256").mkdir(parents=True)
    shared = _layer(random.Random(seed).randbytes(40_000), "shared.bin")
    children = [_image(folder, architecture, seed, shared) for architecture in platforms]
    index = _put(folder, {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": children})
    index["mediaType"] = f"{OCI}.index.v1+json"
    index["annotations"] = {"org.opencontainers.image.ref.name": name}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(index["digest"])


def write_chart(folder: Path, name: str, version: str) -> Path:
    """Write the source of a Helm chart, to be packaged by helm itself."""
    chart = folder / name
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\ndescription: a test\n")
    (chart / "values.yaml").write_text("greeting: hello\n")
    (chart / "templates" / "configmap.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  greeting: {{{{ .Values.greeting }}}}\n"
    )
    return chart


def _image(folder: Path, architecture: str, seed: int, shared: tuple[bytes, str]) -> dict[str, Any]:
    own = _layer(random.Random(f"{seed} {architecture}").randbytes(20_000), f"{architecture}.bin")
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/none"]},
        "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in (shared, own)]},
        "history": [{"created_by": "a test"}] * 2,
    }
    layers = [_put(folder, data) | {"mediaType": f"{OCI}.layer.v1.tar+gzip"} for data, _ in (shared, own)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": _put(folder, config) | {"mediaType": f"{OCI}.config.v1+json"},
        "layers": layers,
    }
    described = _put(folder, manifest) | {"mediaType": f"{OCI}.manifest.v1+json"}
    return described | {"platform": {"architecture": architecture, "os": "linux"}}


def _layer(content: bytes, name: str) -> tuple[bytes, str]:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    unpacked = plain.getvalue()
    return gzip.compress(unpacked, mtime=0), f"sha256:{hashlib.sha256(unpacked).hexdigest()}"


def _put(folder: Path, content: bytes | dict[str, Any]) -> dict[str, Any]:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    digest = hashlib.sha256(raw).hexdigest()
    (folder / "blobs" / "sha256" / digest).write_bytes(raw)
    return {"digest": f"sha256:{digest}", "size": len(raw)}

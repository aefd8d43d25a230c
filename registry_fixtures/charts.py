"""Helm charts, packed and pushed as Helm does it, with values in the style of AWS's charts."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from mirror.oci.mediatype import HELM_CHART, HELM_CONFIG, OCI_MANIFEST
from registry_fixtures.layers import TIME, tar_gzip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.oci.descriptor import Descriptor
    from mirror.oci.digest import Digest
    from registry_fixtures.holdings import Holdings

__all__ = ["ChartImage", "build_chart", "push_chart"]

_TEMPLATE: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-images
  namespace: {{ .Release.Namespace }}
data:
  sourceRegistry: {{ .Values.sourceRegistry | quote }}
  values: {{ toJson .Values | quote }}
"""
_SCHEMA: Final = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {"sourceRegistry": {"type": "string"}, "imagePullSecrets": {"type": "array"}},
}


@dataclass(frozen=True, slots=True)
class ChartImage:
    """An image that a chart deploys; ``repository`` is the path below the source registry."""

    repository: str
    tag: str
    digest: Digest


def build_chart(
    name: str,
    version: str,
    *,
    source_registry: str,
    images: Sequence[ChartImage] = (),
    requires: bool = False,
    dependencies: Sequence[str] = (),
) -> bytes:
    """Pack an installable chart.

    Args:
        name: of the chart, and of the folder inside the archive.
        version: semver; a leading ``v`` is dropped.
        source_registry: what comes before each image's repository, in ``values.yaml``.
        images: one block of repository, tag and digest in ``values.yaml`` for each; every second
            chart (by its name) lists them in ``artifacthub.io/images`` as well.
        requires: add ``requires.yaml``, as the charts of curated packages have it.
        dependencies: names of packages for ``requires.yaml``.

    Returns:
        The ``.tgz``, the same bytes for the same arguments.
    """
    metadata = _metadata(name, version, source_registry, images)
    values: dict[str, Any] = {"sourceRegistry": source_registry, "imagePullPolicy": "IfNotPresent"}
    if len(images) == 1:
        values["image"] = _block(images[0])
    else:
        for image in images:
            values[_camel(image.repository, taken=values)] = {"image": _block(image), "enabled": True}
    files = {
        f"{name}/Chart.yaml": _yaml(metadata),
        f"{name}/values.yaml": b"# Default values, in the style of AWS's charts\n" + _yaml(values),
        f"{name}/templates/configmap.yaml": _TEMPLATE.encode(),
    }
    if requires:
        files[f"{name}/requires.yaml"] = _yaml(_requires(name, images, dependencies))
    return tar_gzip(files)


def push_chart(holdings: Holdings, repository: str, tag: str, archive: bytes, *, version: str) -> Descriptor:
    """Put a packed chart into a repository as ``helm push`` does: a manifest without ``mediaType``."""
    name = repository.rpartition("/")[2]
    config = json.dumps(_metadata(name, version, "", ())).encode()
    manifest = {
        "schemaVersion": 2,
        "config": _blob(holdings, repository, config, HELM_CONFIG),
        "layers": [_blob(holdings, repository, archive, HELM_CHART)],
        "annotations": {
            "org.opencontainers.image.created": "2024-05-01T00:00:00Z",
            "org.opencontainers.image.description": f"Helm chart for {name}",
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": version.removeprefix("v"),
        },
    }
    raw = json.dumps(manifest, separators=(",", ":")).encode()
    return holdings.put_manifest(repository, raw, OCI_MANIFEST, tag=tag).descriptor


def _metadata(name: str, version: str, source_registry: str, images: Sequence[ChartImage]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "apiVersion": "v2",
        "name": name,
        "version": version.removeprefix("v"),
        "appVersion": version.removeprefix("v"),
        "description": f"Helm chart for {name}",
        "type": "application",
    }
    if images and len(name) % 2:
        listed = [
            {"name": image.repository, "image": f"{source_registry}/{image.repository}:{image.tag}"} for image in images
        ]
        metadata["annotations"] = {"artifacthub.io/images": _yaml(listed).decode()}
    return metadata


def _requires(name: str, images: Sequence[ChartImage], dependencies: Sequence[str]) -> dict[str, Any]:
    schema = gzip.compress(json.dumps(_SCHEMA).encode(), mtime=TIME)
    spec: dict[str, Any] = {
        "images": [_block(image) for image in images],
        "configurations": [{"name": "sourceRegistry", "required": False, "default": ""}],
        "schema": base64.b64encode(schema).decode(),
    }
    if dependencies:
        spec["dependencies"] = list(dependencies)
    metadata = {"name": name, "namespace": "eksa-packages"}
    return {"apiVersion": "packages.eks.amazonaws.com/v1alpha1", "kind": "Requires", "metadata": metadata, "spec": spec}


def _block(image: ChartImage) -> dict[str, str]:
    return {"repository": image.repository, "tag": image.tag, "digest": str(image.digest)}


def _camel(repository: str, *, taken: dict[str, Any]) -> str:
    """A key for a values file: the last part of the repository, in camel case, not used yet."""
    first, *rest = repository.rpartition("/")[2].replace("_", "-").replace(".", "-").split("-")
    key = first + "".join(part.capitalize() for part in rest)
    while key in taken:
        key += "2"
    return key


def _blob(holdings: Holdings, repository: str, data: bytes, media_type: str) -> dict[str, Any]:
    digest = holdings.put_blob(repository, data)
    return {"mediaType": media_type, "digest": str(digest), "size": len(data)}


def _yaml(value: object) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, width=200).encode()

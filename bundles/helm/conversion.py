"""A chart archive in OCI form, as ``helm push`` makes it (``wire.md`` section 4).

Helm stamps the archive's modification time into the manifest, so that two pushes of one chart
differ. Here the same archive always gives the same manifest: nothing is stamped, the JSON is
canonical, and the layer is the archive byte for byte.
"""

from __future__ import annotations

from typing import Any, Final

from bundlectl.errors import ContentError
from bundles.helm.archive import Chart, read_chart
from bundles.helm.yamlnodes import Scalar, Table
from mirror.oci.artifact import WrappedArtifact
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest, canonical_json
from mirror.oci.mediatype import HELM_CHART, HELM_CONFIG

__all__ = ["chart_tag", "convert"]

_HINT: Final = "package the chart again with `helm package`, or leave it out with --exclude"
_TITLE: Final = "org.opencontainers.image.title"
_VERSION: Final = "org.opencontainers.image.version"
_TEXTS: Final = ("name", "home", "version", "description", "icon", "apiVersion", "condition", "tags", "appVersion")
_MORE_TEXTS: Final = ("kubeVersion", "type")
_MAINTAINER: Final = ("name", "email", "url")
_DEPENDENCY: Final = ("name", "version", "repository", "condition", "alias")


def chart_tag(version: str) -> str:
    """The tag of a chart version: ``+`` is not allowed in tags, Helm writes ``_`` for it."""
    return version.replace("+", "_")


def convert(archive: bytes, *, origin: str) -> WrappedArtifact:
    """Make the OCI manifest, config and layer of a chart archive.

    Args:
        archive: the ``.tgz``, byte for byte the layer.
        origin: the URL or path, for messages.

    Returns:
        The manifest, the layer's descriptor, and config and layer by digest.

    Raises:
        ContentError: not a chart archive.
    """
    chart = read_chart(archive, origin=origin)
    config = canonical_json(_config(chart.metadata, origin))
    layer = Descriptor(HELM_CHART, Digest.of(archive), len(archive))
    config_descriptor = Descriptor(HELM_CONFIG, Digest.of(config), len(config))
    # Like Helm's, it has no mediaType field.
    manifest = Manifest.render(
        {
            "schemaVersion": 2,
            "config": config_descriptor.to_json(),
            "layers": [layer.to_json()],
            "annotations": _annotations(chart),
        }
    )
    return WrappedArtifact(manifest, layer, {config_descriptor.digest: config, layer.digest: archive})


def _annotations(chart: Chart) -> dict[str, str]:
    metadata = chart.metadata
    found = {
        "org.opencontainers.image.description": metadata.text("description"),
        "org.opencontainers.image.url": metadata.text("home"),
        "org.opencontainers.image.source": next(iter(_texts(metadata, "sources")), ""),
        "org.opencontainers.image.authors": ", ".join(_author(item) for item in _tables(metadata, "maintainers")),
    }
    declared = metadata.table("annotations")
    if declared:
        found.update({key: declared.text(key) for key in declared.entries})
    # A chart's own annotations never say what it is called.
    found.update({_TITLE: chart.name, _VERSION: chart.version})
    return {key: value for key, value in found.items() if value}


def _author(maintainer: Table) -> str:
    name, email = maintainer.text("name"), maintainer.text("email")
    return f"{name} ({email})" if email else name


def _config(metadata: Table, origin: str) -> dict[str, Any]:
    """Chart.yaml as the JSON that Helm keeps: its known fields, empty ones left out."""
    found: dict[str, Any] = {key: metadata.text(key) for key in (*_TEXTS, *_MORE_TEXTS)}
    for key in ("sources", "keywords"):
        found[key] = _texts(metadata, key)
    found["maintainers"] = [_fields(item, _MAINTAINER) for item in _tables(metadata, "maintainers")]
    found["dependencies"] = [
        _fields(item, _DEPENDENCY)
        | _when("enabled", _flag(item, "enabled", origin))
        | _when("tags", _texts(item, "tags"))
        for item in _tables(metadata, "dependencies")
    ]
    found["deprecated"] = _flag(metadata, "deprecated", origin)
    annotations = metadata.table("annotations")
    if annotations:
        found["annotations"] = {key: annotations.text(key) for key in annotations.entries}
    return {key: value for key, value in found.items() if value}


def _flag(table: Table, key: str, origin: str) -> bool:
    value = table.text(key)
    if value.lower() not in {"", "true", "false"}:
        raise ContentError(f"{key!r} in Chart.yaml is neither true nor false", artifact=origin, hint=_HINT)
    return value.lower() == "true"


def _when(key: str, value: object) -> dict[str, object]:
    return {key: value} if value else {}


def _fields(table: Table, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: table.text(key) for key in keys if table.text(key)}


def _texts(table: Table, key: str) -> list[str]:
    return [item.text for item in table.items(key) if isinstance(item, Scalar)]


def _tables(table: Table, key: str) -> list[Table]:
    return [item for item in table.items(key) if isinstance(item, Table)]

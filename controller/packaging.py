"""The Helm chart of the controller, made of what ``controller manifests`` prints, so that the two cannot differ."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from typing import Any, Final

from bundlectl import __version__
from bundlectl.operations.package_objects import NAMESPACE
from bundles.goyaml import write_yaml
from controller.crds import load_definitions
from controller.manifests import NAME, Installation, controller_objects

__all__ = ["chart_files", "pack_chart"]

_NUMBER: Final = re.compile(r"'(\{\{ int [^}]+\}\})'")
_TEMPLATES: Final = Installation(
    image="{{ .Values.image }}",
    clusters=("{{ .Values.clusterName }}",),
    replicas="{{ int .Values.replicas }}",
    public_key="{{ .Values.publicKey }}",
)
_VALUES: Final[dict[str, Any]] = {"image": "", "clusterName": "", "replicas": 1, "publicKey": ""}
# What is put between quotes by the templates must not be able to end them.
_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["image", "clusterName"],
    "properties": {
        "image": {
            "description": "The image of the controller, in full.",
            "type": "string",
            "pattern": "^[A-Za-z0-9./:@_-]+$",
        },
        "clusterName": {
            "description": "The cluster that it runs in.",
            "type": "string",
            "pattern": "^[a-z0-9]([-a-z0-9]{0,47}[a-z0-9])?$",
        },
        "replicas": {"description": "How many may take over from each other.", "type": "integer", "minimum": 0},
        "publicKey": {
            "description": "The key of bundles, base64 of its DER; AWS's when empty.",
            "type": "string",
            "pattern": "^[A-Za-z0-9+/=]*$",
        },
    },
}
_NOTES: Final = f"""\
The controller has no registry yet. Point it at yours:
  bundlectl controller feed --registry HOST[/PREFIX] --cluster {{{{ .Values.clusterName }}}}
{{{{- if ne .Release.Namespace "{NAMESPACE}" }}}}
{{{{ fail "install it with --namespace {NAMESPACE} --create-namespace" }}}}
{{{{- end }}}}
"""


def chart_files() -> dict[str, bytes]:
    """The files of the chart by path, in a folder of its name.

    It has no namespaces: of its own that is helm's, those of clusters are made by ``controller feed`` and must
    outlive the chart, for the Packages are in them.
    """
    head = {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Installs curated packages of EKS Anywhere from a local mirror, and nothing that is not signed",
        "type": "application",
        "version": __version__,
        "appVersion": __version__,
        "kubeVersion": ">=1.28.0-0",
    }
    objects = "---\n".join(map(write_yaml, controller_objects(_TEMPLATES)))
    files = {
        "Chart.yaml": write_yaml(head),
        "values.yaml": write_yaml(_VALUES),
        "values.schema.json": json.dumps(_SCHEMA, indent=2) + "\n",
        "templates/controller.yaml": _NUMBER.sub(r"\1", objects),
        "templates/NOTES.txt": _NOTES,
        **{f"crds/{item['spec']['names']['plural']}.yaml": write_yaml(item) for item in load_definitions()},
    }
    return {f"{NAME}/{path}": text.encode() for path, text in files.items()}


def pack_chart() -> bytes:
    """The chart as ``helm package`` would pack it; the same version gives the same bytes."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path, content in chart_files().items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()

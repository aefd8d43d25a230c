"""A chart of one deployment, for clusters whose pods are ready because kwok says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "registry.example/greeter@sha256:" + "0" * 64
UNREADY = {"bundlectl.test/stays-unready": "yes"}
"""Annotations of a pod that never becomes ready."""

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  {{ if .Values.namesNamespace }}namespace: {{ .Release.Namespace }}{{ end }}
  labels: {chart-version: {{ .Chart.Version | quote }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name | quote }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name | quote }}}
      annotations: {{ toJson .Values.annotations }}
    spec:
      imagePullSecrets: {{ toJson .Values.imagePullSecrets }}
      containers:
      - name: greeter
        image: {{ .Values.image | quote }}
"""


def write_workload_chart(folder: Path, name: str, version: str, **values: Any) -> Path:
    """Write the source of a chart; ``values`` replace its own.

    Those are ``replicas``, ``annotations`` of the pod, ``image``, pull secrets, and whether its object names its
    namespace, as those of AWS's charts do (``namesNamespace``).
    """
    defaults = {"replicas": 1, "annotations": {}, "image": IMAGE, "imagePullSecrets": [], "sourceRegistry": ""}
    defaults["namesNamespace"] = False
    chart = folder / f"{name}-{version}"
    (chart / "templates").mkdir(parents=True)
    # JSON is YAML
    (chart / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": name, "version": version}))
    (chart / "values.yaml").write_text(json.dumps(defaults | values))
    (chart / "templates" / "deployment.yaml").write_text(_DEPLOYMENT)
    return chart

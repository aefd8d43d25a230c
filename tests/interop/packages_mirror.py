"""A mirror of two packages in three bundles: one needs the other, and its newest version never gets ready."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.interop.content import write_layout
from tests.interop.programs import Program, bundlectl, docker_registry, provided
from tests.interop.workloads import UNREADY, write_workload_chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESPACE = "site/eks-anywhere"
BASE = "base-system"
"""Where the chart of what others need says that it goes."""
SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer", "minimum": 0}}, "required": []}

HOOK = """\
{{ if .Values.stuck }}
apiVersion: batch/v1
kind: Job
metadata:
  name: stuck
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    metadata: {annotations: {bundlectl.test/stays-unready: "yes"}}
    spec: {restartPolicy: Never, containers: [{name: stuck, image: none.example/none}]}
{{ end }}
"""
"""A hook that helm waits for in vain."""

WIDE = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "{{ .Release.Name }}-{{ .Release.Namespace }}"}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
"""
"""What has no namespace, called as charts call it."""


@dataclass(frozen=True)
class Mirror:
    """A registry with three bundles; the newest has a greeter that never gets ready."""

    host: str
    key: Path

    @property
    def target(self) -> str:
        return f"{self.host}/site"

    @property
    def trusted(self) -> tuple[str, ...]:
        return ("--verify", f"{self.key}.pub")


@contextmanager
def mirror_in(place: Path) -> Iterator[Mirror]:
    """Start a registry, and fill it; its files are below ``place``."""
    home = place / "home"
    home.mkdir()
    helm = Program(provided("helm3"), home, (), {f"HELM_{name}_HOME": str(home / name) for name in ("CACHE", "CONFIG")})
    crane, ours = Program(provided("crane"), home, ("--insecure",)), bundlectl(home)
    with docker_registry(place / "registry") as host:
        image = f"{host}/{NAMESPACE}/tools/greeter:v2"
        write_layout(place / "image", seed=1)
        crane.run("push", "--index", place / "image", image)
        for version, more in (("1.0.0", {}), ("1.1.0", {"replicas": 2}), ("2.0.0", {"annotations": UNREADY})):
            needs = {} if version == "2.0.0" else {"dependencies": ["base"]}
            _push(helm, place, write_workload_chart(place, "greeter", version, image=image, **more), host, needs)
        base = write_workload_chart(place, "base", "3.0.0", image=image, defaultNamespace=BASE)
        (base / "templates" / "wide.yaml").write_text(WIDE)
        _push(helm, place, base, host, {})
        key = home / "site.key"
        ours.run("keys", "generate", key)
        for name, version in (("v1-33-1", "1.0.0"), ("v1-33-2", "1.1.0"), ("v1-33-3", "2.0.0")):
            given, bundle = home / "input.yaml", home / f"{name}.yaml"
            projects = [
                {"name": package, "repository": package, "versions": [{"name": wanted}]}
                for package, wanted in (("greeter", version), ("base", "3.0.0"))
            ]
            described = {"name": name, "kubernetesVersion": "1.33", "packages": [{"projects": projects}]}
            given.write_text(yaml.safe_dump(described))
            where = f"{host}/{NAMESPACE}"
            ours.run("package-bundle", "build", given, "--registry", where, "--key", key, "--out", bundle)
            ours.run("package-bundle", "push", bundle, "--to", f"{host}/site", "--verify", f"{key}.pub")
        yield Mirror(host, key)


def _push(helm: Program, folder: Path, chart: Path, host: str, needs: dict[str, Any]) -> None:
    (chart / "templates" / "hook.yaml").write_text(HOOK)
    (chart / "values.schema.json").write_text(json.dumps(SCHEMA))
    if needs:
        (chart / "requires.yaml").write_text(yaml.safe_dump({"kind": "Requires", "spec": needs}))
    helm.run("package", chart, "--destination", folder / "packed")
    for archive in (folder / "packed").iterdir():
        helm.run("push", archive, f"oci://{host}/{NAMESPACE}", "--plain-http")
        archive.unlink()

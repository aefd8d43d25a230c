"""A registry with charts in it, for whoever builds bundles of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from bundlectl.operations import Session
from registry_fixtures.charts import push_chart
from registry_fixtures.layers import tar_gzip
from tests.unit.bundlectl.operations.signed import push_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.oci.descriptor import Descriptor
    from registry_fixtures.registry import ServedRegistry

__all__ = ["PackageSite", "chart", "requires", "write_input"]


def chart(name: str, version: str, files: Mapping[str, str]) -> bytes:
    """Pack a chart."""
    head = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: {version}\n"}
    return tar_gzip({f"{name}/{key}": text.encode() for key, text in {**head, **files}.items()})


def requires(**spec: Any) -> dict[str, str]:
    """A requires.yaml."""
    return {"requires.yaml": yaml.safe_dump({"kind": "Requires", "spec": spec})}


def write_input(path: Path, *projects: Mapping[str, Any], name: str = "v1-33-1001", **more: str) -> Path:
    """An input of these packages; of ``versions`` the names are enough, ``repository`` is the name when absent."""
    listed = [
        {"repository": project["name"], **project, "versions": [{"name": text} for text in project["versions"]]}
        for project in projects
    ]
    document = {"name": name, "kubernetesVersion": "1.33", **more, "packages": [{"org": "site", "projects": listed}]}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


class PackageSite:
    """A registry whose packages lie below ``eks/eks-anywhere``, where a mirror at ``eks`` has them."""

    def __init__(self, served: ServedRegistry) -> None:
        self.served = served
        self.to = f"{served.host}/eks"
        self.packages = f"{served.host}/eks/eks-anywhere"

    def chart(self, repository: str, version: str, *, tag: str = "", **files: str) -> str:
        """Push a chart with files (``values`` for ``values.yaml``); its digest."""
        named = {"values": "values.yaml", "requires": "requires.yaml", "schema": "values.schema.json"}
        content = {named.get(key, f"templates/{key}.yaml"): text for key, text in files.items()}
        archive = chart(repository.rpartition("/")[2], version, content)
        place = f"eks/eks-anywhere/{repository}"
        return str(push_chart(self.served.holdings, place, tag or version, archive, version=version).digest)

    def image(self, repository: str, tag: str = "v1") -> Descriptor:
        """Push an image."""
        with Session() as session:
            target = session.target(self.served.host).repository(f"eks/eks-anywhere/{repository}")
            return push_image(target, f"{repository}:{tag}".encode(), tag=tag)

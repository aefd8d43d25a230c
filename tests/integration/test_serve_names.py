"""The names under which ``serve`` answers."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from bundlectl.operations.serving import ServeOptions, serve
from mirror.layout import Store
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_INDEX

if TYPE_CHECKING:
    from pathlib import Path

CHART = "public.ecr.aws/eks-anywhere/harbor/harbor"
IMAGE = "783794618700.dkr.ecr.us-west-2.amazonaws.com/harbor/harbor"


def test_a_chart_and_an_image_of_one_name_are_both_served(tmp_path: Path) -> None:
    wanted = {}
    with Store.open(tmp_path / "store", create=True) as store:
        for name, tag in ((CHART, "1.0.0"), (IMAGE, "v2.5.1")):
            document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"of": name}}
            wanted[tag] = Manifest.render(document)
            store.repository(name).put_manifest(wanted[tag], tag=tag)
    with serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0", read_only=True)) as server:
        for tag, manifest in wanted.items():
            for reference in (tag, str(manifest.descriptor.digest)):
                url = f"{server.url}/v2/eks-anywhere/harbor/harbor/manifests/{reference}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    assert answer.read() == manifest.raw

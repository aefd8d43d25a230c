"""The names under which ``serve`` answers."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

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


@pytest.mark.parametrize("name", ["a.a/eks/tool", "localhost/eks/tool", "eks/tool", "public.ecr.aws/eks/tool"])
def test_what_somebody_pushed_never_stands_in_for_a_release(tmp_path: Path, name: str) -> None:
    """Before and after the release came, under every name that could be taken for its own."""
    signed, pushed = (Manifest.render({"schemaVersion": 2, "manifests": [], "annotations": {"of": of}}) for of in "sp")
    with Store.open(tmp_path / "store", create=True) as store:
        store.repository(name, trust="pushed").put_manifest(pushed, tag="v1")
        store.repository(name, trust="pushed").put_manifest(pushed, tag="theirs")
        store.repository("public.ecr.aws/eks/tool", trust="signed").put_manifest(signed, tag="v1")
    with serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0", read_only=True)) as server:
        for asked in ("eks/tool/manifests/v1", "eks/tool/manifests/v1?ns=public.ecr.aws"):
            with urllib.request.urlopen(f"{server.url}/v2/{asked}", timeout=10) as answer:
                assert answer.read() == signed.raw
        with urllib.request.urlopen(f"{server.url}/v2/{name}/manifests/theirs", timeout=10) as answer:
            assert answer.read() == pushed.raw
        with urllib.request.urlopen(f"{server.url}/v2/_catalog", timeout=10) as answer:
            listed = json.load(answer)["repositories"]
        assert listed == sorted({"eks/tool", name} - {"public.ecr.aws/eks/tool"})

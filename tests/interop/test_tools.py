"""The programs of ``tools.txt`` start as the other tests start them."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.interop.content import write_layout
from tests.interop.programs import Program, chromium, distribution3, docker_registry, provided

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path


@pytest.fixture(params=[docker_registry, distribution3], ids=["docker-registry", "distribution3"])
def registry(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[str]]:
    """One of the reference registries."""
    started: Callable[..., AbstractContextManager[str]] = request.param
    return started


def test_a_reference_registry_keeps_what_regctl_brings_and_logs_the_requests(
    registry: Callable[..., AbstractContextManager[str]], home: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    digest = write_layout(layout, seed=1)
    place = tmp_path / "registry"
    with registry(place, access_log=True) as host:
        regctl = Program(provided("regctl"), home, (f"--host=reg={host},tls=disabled",))
        regctl.run("image", "copy", f"ocidir://{layout}@{digest}", f"{host}/app:v1")
    with registry(place) as host, urllib.request.urlopen(f"http://{host}/v2/app/tags/list") as answer:
        assert json.load(answer)["tags"] == ["v1"]
    assert "PUT /v2/app/manifests/v1 HTTP/1.1" in (place / "registry.log").read_text()
    assert "tags/list" not in (place / "registry.log").read_text()


def test_regsync_copies_from_one_registry_to_another(home: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    digest = write_layout(layout, seed=1)
    with docker_registry(tmp_path / "source") as source, distribution3(tmp_path / "target") as target:
        regctl = Program(provided("regctl"), home, (f"--host=reg={source},tls=disabled",))
        regctl.run("image", "copy", f"ocidir://{layout}@{digest}", f"{source}/app:v1")
        written = tmp_path / "regsync.yml"
        hosts = [{"registry": host, "tls": "disabled"} for host in (source, target)]
        sync = [{"source": f"{source}/app:v1", "target": f"{target}/app:v1", "type": "image"}]
        written.write_text(json.dumps({"version": 1, "creds": hosts, "sync": sync}))
        Program(provided("regsync"), home).run("once", "-c", written)
        with urllib.request.urlopen(f"http://{target}/v2/app/tags/list") as answer:
            assert json.load(answer)["tags"] == ["v1"]


def test_chromium_runs_the_script_of_a_page(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p id=a></p><script>document.getElementById('a').textContent = 'made ' + (1 + 1)</script>")
    assert '<p id="a">made 2</p>' in chromium(home).run("--dump-dom", page.as_uri())

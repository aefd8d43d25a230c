from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError, ContentError, InterruptError
from bundles.helm.rendering import Rendering, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    PackChart = Callable[..., bytes]
    WriteHelm = Callable[[str], Path]

RENDERED = """\
---
# Source: web/templates/job.yaml
kind: Job
spec:
  initContainers: [{image: "r.example/init:1"}]
  containers:
  - image: r.example/main@sha256:%s
---
# Source: web/charts/db/templates/db.yaml
kind: List
items:
- spec: {image: busybox}
- spec: {image: {repository: x}}
""" % ("2" * 64)


@pytest.fixture
def helm(tmp_path: Path) -> WriteHelm:
    """Writes a program that stands in for helm."""

    def write(body: str) -> Path:
        program = tmp_path / "helm"
        program.write_text(f"#!{sys.executable} -I\nimport os, sys, time\n{body}\n")
        program.chmod(0o755)
        return program

    return write


@pytest.fixture
def chart(tmp_path: Path, pack_chart: PackChart) -> Path:
    path = tmp_path / "web.tgz"
    path.write_bytes(pack_chart({}))
    return path


def test_the_images_of_rendered_documents_are_found(helm: WriteHelm, chart: Path) -> None:
    program = helm(f"print({RENDERED!r})")

    found = render(chart, "web-1.2.3", Rendering(helm=program))

    assert [(image.reference, image.where) for image in found.images] == [
        ("r.example/init:1", "web-1.2.3!templates/job.yaml (rendered)"),
        (f"r.example/main@sha256:{'2' * 64}", "web-1.2.3!templates/job.yaml (rendered)"),
    ]
    assert [(item.reference, item.reason, item.found_in) for item in found.excluded] == [
        ("busybox", "names no registry", "web-1.2.3!charts/db/templates/db.yaml (rendered)")
    ]


def test_helm_gets_the_values_and_nothing_of_the_users_environment(
    helm: WriteHelm, chart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    program = helm(
        "assert not {'HTTPS_PROXY', 'AWS_SECRET_ACCESS_KEY'} & os.environ.keys()\n"
        "assert sys.argv[1:3] == ['template', 'bundlectl']\n"
        "assert sys.argv[-2:] == ['--kube-version', '1.33']\n"
        "print('image:', open(sys.argv[5]).read())"
    )
    rendering = Rendering(helm=program, values={"image": "r.example/given:1"}, kube_version="1.33")

    assert render(chart, "web-1.2.3", rendering).images[0].reference == "r.example/given:1"


@pytest.mark.parametrize(("reference", "skipped"), [("#/definitions/a", False), ("https://example.com/a.json", True)])
def test_helm_fetches_nothing_that_the_schema_of_a_chart_refers_to(
    helm: WriteHelm,
    chart: Path,
    pack_chart: PackChart,
    reference: str,
    skipped: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    chart.write_bytes(pack_chart({"values.schema.json": f'{{"allOf": [{{"$ref": "{reference}"}}]}}'}))
    program = helm("print('image: r.example/a:' + ('skipped' if '--skip-schema-validation' in sys.argv else 'held'))")
    found = render(chart, "web-1.2.3", Rendering(helm=program))
    assert [image.reference for image in found.images] == [f"r.example/a:{'skipped' if skipped else 'held'}"]


def test_without_helm_the_error_says_what_to_do(chart: Path, tmp_path: Path) -> None:
    for missing in (None, tmp_path / "nothing"):
        with pytest.raises(ConfigError) as caught:
            render(chart, "web-1.2.3", Rendering(helm=missing))
        assert "--render-charts" in (caught.value.hint or "")


def test_a_program_that_cannot_be_started_is_a_configuration_error(chart: Path, tmp_path: Path) -> None:
    program = tmp_path / "helm"
    program.write_text("not executable")

    with pytest.raises(ConfigError, match="could not be started"):
        render(chart, "web-1.2.3", Rendering(helm=program))


def test_what_helm_complains_of_is_told(helm: WriteHelm, chart: Path) -> None:
    program = helm("sys.stderr.write('Error: values missing' + ' ' * 500_000); sys.exit(1)")

    with pytest.raises(ContentError, match="values missing"):
        render(chart, "web-1.2.3", Rendering(helm=program))


def test_a_chart_that_renders_for_too_long_is_stopped_with_its_children(helm: WriteHelm, chart: Path) -> None:
    program = helm("os.fork()\ntime.sleep(60)")

    with pytest.raises(ContentError, match="did not render within"):
        render(chart, "web-1.2.3", Rendering(helm=program, timeout=0.2))


def test_a_chart_that_prints_without_end_is_stopped(helm: WriteHelm, chart: Path) -> None:
    program = helm("while True: sys.stdout.write('x' * 65536)")

    with pytest.raises(ContentError, match="more than 1000000 bytes"):
        render(chart, "web-1.2.3", Rendering(helm=program, output_limit=1_000_000))


def test_a_chart_is_let_go_of_as_soon_as_the_run_is_stopped(helm: WriteHelm, chart: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    program = helm(f"open({str(begun)!r}, 'w').write(str(os.getpid()) + ' ')\ntime.sleep(60)")
    cancel = threading.Event()

    def stop() -> None:
        while not (begun.exists() and begun.read_text().endswith(" ")):
            time.sleep(0.01)
        cancel.set()

    stopping = threading.Thread(target=stop)
    stopping.start()
    started = time.monotonic()
    with pytest.raises(InterruptError):
        render(chart, "web-1.2.3", Rendering(helm=program, cancel=cancel))
    stopping.join()
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
    with pytest.raises(InterruptError):
        render(chart, "web-1.2.3", Rendering(helm=program, cancel=cancel))


def test_a_chart_that_renders_to_very_many_images_is_refused(helm: WriteHelm, chart: Path) -> None:
    program = helm("print('- image: r.example/a:1\\n' * 10_001)")
    with pytest.raises(ContentError, match="names images in more than 10000 places"):
        render(chart, "web-1.2.3", Rendering(helm=program))

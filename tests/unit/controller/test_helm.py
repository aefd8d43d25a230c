"""How helm is run: by a program that notes what it was given."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError
from controller.helm import Helm, HelmError, HelmTarget, find_helm
from tests.unit.bundlectl.operations.packages import chart

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """#!/bin/sh
case "$1" in version) printf 'v4.1.0'; exit;; esac
for word in "$@"; do printf '%s\\n' "$word" >> "{folder}/words"; done
env > "{folder}/environment"
cat > "{folder}/given"; ls -AR "{folder}/work" > "{folder}/listed"
{body}
"""


CHART = "apiVersion: v2\nname: b\nversion: 1.0.0\n"


def program(folder: Path, body: str = "") -> Path:
    path = folder / "helm"
    path.write_text(SCRIPT.format(folder=folder, body=body))
    path.chmod(0o755)
    return path


@pytest.fixture
def target(tmp_path: Path) -> HelmTarget:
    return HelmTarget(kubeconfig=tmp_path / "kubeconfig", namespace="apps", as_user="installer")


def words(folder: Path) -> list[str]:
    return (folder / "words").read_text().split("\n")


def test_values_travel_in_a_file_without_a_name_that_a_kill_cannot_leave_behind(
    tmp_path: Path, target: HelmTarget
) -> None:
    helm = Helm(program(tmp_path), tmp_path / "work")
    (tmp_path / "a.tgz").write_bytes(chart("a", "1.0.0", {}))
    helm.install(target, "hello", tmp_path / "a.tgz", {"password": "hidden"}, labels={"a": "b"}, description="d")
    given = words(tmp_path)
    assert given[:3] == ["upgrade", "hello", str(tmp_path / "a.tgz")]
    pairs = ("--namespace apps", "--kube-as-user installer", "--labels a=b", "--description d", "--values -")
    for option, value in map(str.split, pairs):
        assert given[given.index(option) + 1] == value
    assert "--force-conflicts" in given
    assert "hidden" not in (tmp_path / "words").read_text()
    assert json.loads((tmp_path / "given").read_text()) == {"password": "hidden"}
    assert (tmp_path / "listed").read_text().split("\n")[1:] == [""], "while helm runs, its folder is empty"


def test_values_are_written_as_the_yaml_of_go_takes_them(tmp_path: Path, target: HelmTarget) -> None:
    (tmp_path / "a.tgz").write_bytes(chart("a", "1.0.0", {}))
    values = {"a": "\U0001f600 \u00e9 \x7f\x80\u2028\ufeff\uffff \\ud83d"}
    Helm(program(tmp_path), tmp_path / "work").install(target, "hello", tmp_path / "a.tgz", values)
    given = (tmp_path / "given").read_text()
    assert json.loads(given) == values
    assert "\U0001f600" in given, "a pair of escapes is none of YAML's"
    assert not set(given) & set("\x7f\x80\u2028\ufeff\uffff"), "which must be escaped in YAML"


@pytest.mark.parametrize(
    ("schema", "skipped"),
    [
        ('{"$schema": "http://json-schema.org/schema#", "$ref": "#/definitions/a", "definitions": {"a": {}}}', False),
        ('{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": ["object"]}', False),
        ('{"properties": {"a": {"anyOf": [{"\\u0024ref": "https://example.com/a.json"}]}}}', True),
        ('{"$id": "http://example.com/a.json", "allOf": [{"$ref": "b.json"}]}', True),
        ('{"$ref": "file:///etc/passwd"}', True),
        ('{"$schema": "http://example.com/schema#"}', True),
        ("not JSON", True),
        ("[" * 100_000, True),
    ],
)
def test_helm_fetches_nothing_that_a_schema_of_a_chart_refers_to(
    tmp_path: Path,
    target: HelmTarget,
    schema: str,
    skipped: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    (tmp_path / "a.tgz").write_bytes(
        chart("a", "1.0.0", {"charts/b/Chart.yaml": CHART, "charts/b/values.schema.json": schema})
    )
    Helm(program(tmp_path), tmp_path / "work").install(target, "hello", tmp_path / "a.tgz", {})
    assert ("--skip-schema-validation" in words(tmp_path)) is skipped


def test_helm_gives_up_before_it_is_killed_so_that_it_can_write_down_that_it_failed(
    tmp_path: Path, target: HelmTarget
) -> None:
    Helm(program(tmp_path), tmp_path / "work", seconds=100.0).rollback(target, "hello", 1)
    given = words(tmp_path)
    assert given[given.index("--timeout") + 1] == "85s"


def test_it_has_folders_of_its_own_and_nothing_of_the_users_environment(
    tmp_path: Path, target: HelmTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("HELM_DRIVER", "memory")
    Helm(program(tmp_path), tmp_path / "work").uninstall(target, "hello")
    environment = (tmp_path / "environment").read_text()
    assert "proxy.example" not in environment
    assert "HELM_DRIVER" not in environment
    assert "\nPATH=/usr/bin:/bin\n" in environment
    assert f"HELM_CONFIG_HOME={tmp_path / 'work'}" in environment
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700


def test_for_a_user_it_finds_what_the_users_kubeconfig_runs_and_works_as_before(
    tmp_path: Path, target: HelmTarget
) -> None:
    user = {"HOME": "/home/me", "PATH": "/opt/me:/usr/bin:/bin", "AWS_PROFILE": "site", "HELM_DRIVER": "memory"}
    Helm(program(tmp_path), tmp_path / "work", environment=user).uninstall(target, "hello")
    environment = (tmp_path / "environment").read_text().split("\n")
    assert {"HOME=/home/me", "PATH=/opt/me:/usr/bin:/bin", "AWS_PROFILE=site"} <= set(environment)
    assert not [line for line in environment if line.startswith("HELM_DRIVER")]
    assert f"HELM_PLUGINS={tmp_path / 'work' / 'plugins'}" in environment


def test_what_helm_says_is_the_error_without_its_warnings(tmp_path: Path, target: HelmTarget) -> None:
    body = "echo 'WARNING: something' >&2; echo 'Error: UPGRADE FAILED: no' >&2; exit 1"
    helm = Helm(program(tmp_path, body), tmp_path / "work")
    with pytest.raises(HelmError) as caught:
        helm.rollback(target, "hello", 3)
    assert (caught.value.message, caught.value.artifact) == ("UPGRADE FAILED: no", "apps/hello")


@pytest.mark.parametrize(
    "body",
    [
        """echo 'uninstall.go:125: now [debug] uninstall: Failed to delete release: [configmaps "k" is forbidden: x]'
        echo 'Error: failed to delete release: hello'
        echo 'helm.go:92: now [debug] failed to delete release: hello'; echo 'main.main'""",
        """echo 'level=DEBUG msg="deleting resource" name=k'
        echo 'level=DEBUG msg="uninstall: Failed to delete release" error="[configmaps \\"k\\" is forbidden: x]"'
        echo 'Error: failed to delete release: hello'""",
    ],
    ids=["helm 3", "helm 4"],
)
def test_what_cannot_be_deleted_is_told_with_the_reason(tmp_path: Path, target: HelmTarget, body: str) -> None:
    helm = Helm(program(tmp_path, f"({body}) >&2; exit 1"), tmp_path / "work")
    with pytest.raises(HelmError) as caught:
        helm.uninstall(target, "hello")
    assert caught.value.message == 'failed to delete: configmaps "k" is forbidden: x'


def test_what_helm_says_for_debugging_is_left_out(tmp_path: Path, target: HelmTarget) -> None:
    lines = ("client.go:1: now [debug] a", "Error: no", "helm.go:92: now [debug] no", "main.main", "\t/src/helm.go:91")
    (tmp_path / "lines").write_text("\n".join(lines))
    helm = Helm(program(tmp_path, f"cat {tmp_path / 'lines'} >&2; exit 1"), tmp_path / "work")
    with pytest.raises(HelmError) as caught:
        helm.uninstall(target, "hello")
    assert caught.value.message == "no"


def test_a_release_that_is_not_there_has_no_history(tmp_path: Path, target: HelmTarget) -> None:
    helm = Helm(program(tmp_path, "echo 'Error: release: not found' >&2; exit 1"), tmp_path / "work")
    assert helm.history(target, "hello") == []
    with pytest.raises(HelmError) as caught:
        helm.manifest(target, "hello")
    assert caught.value.missing


def test_one_that_takes_too_long_is_killed_with_its_children(tmp_path: Path, target: HelmTarget) -> None:
    helm = Helm(program(tmp_path, "sleep 60"), tmp_path / "work", seconds=0.5)
    began = time.monotonic()
    with pytest.raises(HelmError, match="took longer"):
        helm.rollback(target, "hello", 1)
    assert time.monotonic() - began < 10


def test_all_that_run_can_be_killed_and_none_is_started_before_it_is_revived(
    tmp_path: Path, target: HelmTarget
) -> None:
    helm = Helm(program(tmp_path, "sleep 60"), tmp_path / "work")
    assert helm.major == 4
    said: list[str] = []

    def run() -> None:
        with pytest.raises(HelmError) as caught:
            helm.rollback(target, "hello", 1)
        said.append(caught.value.message)

    running = threading.Thread(target=run)
    running.start()
    while not (tmp_path / "environment").exists():
        time.sleep(0.01)
    helm.kill()
    running.join(10)
    assert said == ["helm rollback was stopped"]
    with pytest.raises(HelmError, match="not started"):
        helm.rollback(target, "hello", 1)
    helm.revive()
    assert helm.major == 4


def test_none_is_started_for_who_may_not_write_any_more_though_nobody_has_killed_yet(
    tmp_path: Path, target: HelmTarget
) -> None:
    leads = [True]
    helm = Helm(program(tmp_path), tmp_path / "work", may_start=lambda: leads[0])
    helm.uninstall(target, "hello")
    leads[0] = False
    (tmp_path / "words").unlink(missing_ok=True)
    with pytest.raises(HelmError, match="does not lead"):
        helm.uninstall(target, "hello")
    assert not (tmp_path / "words").exists()


@pytest.mark.parametrize(("body", "ended"), [("trap 'touch {}; exit 1' TERM", True), ("trap '' TERM", False)])
def test_one_that_is_to_be_killed_may_be_given_time_to_write_down_that_it_was_stopped(
    tmp_path: Path,
    target: HelmTarget,
    body: str,
    ended: bool,  # noqa: FBT001 -- a parameter of the test
) -> None:
    body = f"{body.format(tmp_path / 'noted')}; touch {tmp_path / 'begun'}; while :; do sleep 0.05; done"
    helm = Helm(program(tmp_path, body), tmp_path / "work", grace=2.0)

    def run() -> None:
        with pytest.raises(HelmError):
            helm.rollback(target, "hello", 1)

    running = threading.Thread(target=run)
    running.start()
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    began = time.monotonic()
    helm.kill()
    running.join(10)
    assert (tmp_path / "noted").exists() is ended
    assert (time.monotonic() - began < 2.0) is ended


def test_one_that_prints_without_end_is_stopped_and_told(
    tmp_path: Path, target: HelmTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.helm._OUTPUT_LIMIT", 1000)
    helm = Helm(program(tmp_path, "yes"), tmp_path / "work")
    with pytest.raises(HelmError, match="printed more than 1000 bytes"):
        helm.manifest(target, "hello")


def test_a_program_that_is_not_there_or_another_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no program"):
        find_helm(tmp_path / "absent", "/usr/bin")
    path = tmp_path / "helm"
    for version in ("v2.17.0", "v3.12.3"):
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)
        with pytest.raises(ConfigError, match=re.escape(version)):
            Helm(find_helm(path, ""), tmp_path / "work").major  # noqa: B018 -- asked for what it raises

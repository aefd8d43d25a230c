"""How helm is run: by a program that notes what it was given."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import ConfigError
from controller.helm import Helm, HelmError, HelmTarget, find_helm

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """#!/bin/sh
case "$1" in version) printf 'v4.1.0'; exit;; esac
for word in "$@"; do printf '%s\\n' "$word" >> "{folder}/words"; done
env > "{folder}/environment"
while [ "$1" ]; do case "$1" in --values) cp -p "$2" "{folder}/values";; esac; shift; done
{body}
"""


def program(folder: Path, body: str = "") -> Path:
    path = folder / "helm"
    path.write_text(SCRIPT.format(folder=folder, body=body))
    path.chmod(0o755)
    return path


@pytest.fixture
def target(tmp_path: Path) -> HelmTarget:
    return HelmTarget(kubeconfig=tmp_path / "kubeconfig", namespace="apps", as_user="installer")


def test_values_travel_in_a_file_that_nobody_else_reads_and_is_gone_afterwards(
    tmp_path: Path, target: HelmTarget
) -> None:
    helm = Helm(program(tmp_path), tmp_path / "work")
    helm.install(target, "hello", tmp_path / "a.tgz", {"password": "hidden"}, labels={"a": "b"}, description="d")
    words = (tmp_path / "words").read_text().split("\n")
    assert words[:3] == ["upgrade", "hello", str(tmp_path / "a.tgz")]
    for pair in (("--namespace", "apps"), ("--kube-as-user", "installer"), ("--labels", "a=b"), ("--description", "d")):
        assert words[words.index(pair[0]) + 1] == pair[1]
    assert "--force-conflicts" in words
    assert "hidden" not in (tmp_path / "words").read_text()
    copied = tmp_path / "values"
    assert (json.loads(copied.read_text()), copied.stat().st_mode & 0o777) == ({"password": "hidden"}, 0o600)
    assert list((tmp_path / "work").glob("*.json")) == []


def test_it_has_folders_of_its_own_and_nothing_of_the_users_environment(
    tmp_path: Path, target: HelmTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("HELM_DRIVER", "memory")
    Helm(program(tmp_path), tmp_path / "work").uninstall(target, "hello")
    environment = (tmp_path / "environment").read_text()
    assert "proxy.example" not in environment
    assert "HELM_DRIVER" not in environment
    assert f"HELM_CONFIG_HOME={tmp_path / 'work'}" in environment
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700


def test_what_helm_says_is_the_error_without_its_warnings(tmp_path: Path, target: HelmTarget) -> None:
    body = "echo 'WARNING: something' >&2; echo 'Error: UPGRADE FAILED: no' >&2; exit 1"
    helm = Helm(program(tmp_path, body), tmp_path / "work")
    with pytest.raises(HelmError) as caught:
        helm.rollback(target, "hello", 3)
    assert (caught.value.message, caught.value.artifact) == ("UPGRADE FAILED: no", "apps/hello")


def test_a_release_that_is_not_there_has_no_history_and_no_status(tmp_path: Path, target: HelmTarget) -> None:
    helm = Helm(program(tmp_path, "echo 'Error: release: not found' >&2; exit 1"), tmp_path / "work")
    assert helm.history(target, "hello") == []
    assert helm.status(target, "hello") is None
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
    assert said == ["helm rollback was killed: this replica leads no more"]
    with pytest.raises(HelmError, match="not started"):
        helm.rollback(target, "hello", 1)
    helm.revive()
    assert helm.major == 4


def test_a_program_that_is_not_there_or_another_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no program"):
        find_helm(tmp_path / "absent", "/usr/bin")
    path = tmp_path / "helm"
    path.write_text("#!/bin/sh\necho v2.17.0\n")
    path.chmod(0o755)
    with pytest.raises(ConfigError, match=r"v2\.17\.0"):
        Helm(find_helm(path, ""), tmp_path / "work").major  # noqa: B018 -- asked for what it raises

"""``registry check``, ``registry config`` and ``--create-projects`` as they are typed."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bundlectl.cli.main import complete_lone_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry


def validate(name: str, document: object) -> None:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator(schema).validate(document)


@pytest.fixture
def logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Log in at a host as Harbor's first administrator."""

    def log_in(host: str) -> None:
        entry = {"username": "admin", "password": "Harbor12345"}
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {host: entry}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))

    return log_in


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["mirror", "--create-projects", "x.yaml"], ["mirror", "--create-projects=private", "x.yaml"]),
        (["mirror", "--create-projects=public"], ["mirror", "--create-projects=public"]),
        (["mirror", "--", "--create-projects"], ["mirror", "--", "--create-projects"]),
        (["mirror"], ["mirror"]),
    ],
)
def test_an_option_alone_takes_nothing_that_follows_for_its_value(given: list[str], meant: list[str]) -> None:
    assert complete_lone_options(given) == meant


def test_an_unknown_visibility_is_a_usage_error(bundlectl: Callable[..., Any]) -> None:
    ran = bundlectl("mirror", "x.yaml", "--to", "127.0.0.1:9/x", "--create-projects=secret")
    assert ran.exit_code == 2
    assert "'private', 'public'" in ran.err


def test_a_check_is_a_document_and_exits_with_what_it_found(
    bundlectl: Callable[..., Any], registry: ServedRegistry
) -> None:
    good = bundlectl("registry", "check", f"{registry.host}/eks", "-o", "json")
    assert good.exit_code == 0
    validate("registry-check", good.document)
    assert good.document["usable"] is True
    registry.close()
    bad = bundlectl("registry", "check", f"{registry.host}/eks", "-o", "json")
    assert bad.exit_code == 1
    validate("registry-check", bad.document)
    assert bad.document["checks"][-1]["fix"]


def test_a_check_for_people_has_a_line_a_check_and_the_fix_below(
    bundlectl: Callable[..., Any], harbor: HarborFixture, logged_in: Callable[[str], None]
) -> None:
    logged_in(harbor.host)
    ran = bundlectl("registry", "check", f"{harbor.host}/nope", "--read-only")
    assert ran.exit_code == 1
    lines = ran.out.splitlines()
    assert lines[0] == f"{harbor.host}/nope (Harbor {harbor.settings.version})"
    at = next(number for number, line in enumerate(lines) if line.startswith("failed   project"))
    assert "->" in lines[at + 1]
    assert "--create-projects" in lines[at + 1]
    assert lines[-1].startswith("cannot be filled: 1 failed")


def test_a_url_is_no_registry(bundlectl: Callable[..., Any]) -> None:
    assert bundlectl("registry", "check", "https://harbor.example/eks").exit_code == 2
    assert bundlectl("registry", "config", "https://harbor.example/eks").exit_code == 2
    assert bundlectl("registry", "config").exit_code == 2
    assert bundlectl("registry", "config", "harbor.example", "--to", "harbor.example").exit_code == 2


def test_the_configuration_is_ready_to_paste_and_remarks_go_elsewhere(
    bundlectl: Callable[..., Any], logged_in: Callable[[str], None]
) -> None:
    logged_in("harbor.example")
    ran = bundlectl("registry", "config", "harbor.example/eks", "--map", "quay.io=quay")
    assert ran.exit_code == 0
    found = yaml.safe_load(ran.out)["spec"]["registryMirrorConfiguration"]
    assert {entry["registry"]: entry["namespace"] for entry in found["ociNamespaces"]} == {
        "public.ecr.aws": "eks",
        "783794618700.dkr.ecr.us-west-2.amazonaws.com": "eks/eks-anywhere",
        "quay.io": "eks/quay",
    }
    assert found["authenticate"] is True
    assert "REGISTRY_USERNAME" in ran.err
    assert "Harbor12345" not in ran.out + ran.err


@pytest.mark.parametrize("form", ["eks-a", "containerd", "registries-yaml"])
def test_the_configuration_is_a_document_too(bundlectl: Callable[..., Any], form: str) -> None:
    ran = bundlectl("registry", "config", "--to", "harbor.example/eks", "--format", form, "-o", "json")
    assert ran.exit_code == 0
    validate("registry-config", ran.document)
    assert ran.document["target"] == "harbor.example/eks"


def test_a_ca_file_that_is_none_is_refused(bundlectl: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    ran = bundlectl("registry", "config", "harbor.example", "--ca-file", f"harbor.example={tmp_path / 'ca.pem'}")
    assert ran.exit_code == 1
    assert "PEM" in ran.err


def test_a_lock_that_is_none_is_told_so(bundlectl: Callable[..., Any], tmp_path: Path) -> None:
    assert bundlectl("registry", "config", "harbor.example", "--lock", tmp_path / "absent.json").exit_code == 1

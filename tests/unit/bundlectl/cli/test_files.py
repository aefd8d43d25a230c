"""``bundlectl files``: what it prints, how it ends, and that what it wrote can be verified."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.bundles.documents import shared

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

RELEASE = "eks-a:v0.24.1"
WORD = "eks-anywhere-downloads"


@cache
def validator() -> Draft202012Validator:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath("files.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def checked(ran: Ran) -> Any:
    found = ran.document
    validator().validate(found)
    return found


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def upstream(upstream_served: Served) -> list[str]:
    """The options that lead to the upstream of the samples, whose documents nobody signed."""
    return [*(word for pair in upstream_served.origins for word in ("--origin", pair)), "--verify", "off"]


def test_the_document_fits_its_schema(bundlectl: Callable[..., Ran], upstream: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ("--base-url", "https://files.example")
    found = checked(bundlectl("files", RELEASE, "--to", out, *base, *upstream, "-o", "json"))
    assert found["files"]["written"] == found["files"]["total"] > 10
    assert found["rewritten"]
    assert found["kept"]
    assert found["bundlesOverride"] is None
    assert any("--verify off" in text or "not verified" in text for text in found["weakened"])


def test_the_text_says_what_to_do_next(bundlectl: Callable[..., Ran], upstream: list[str], tmp_path: Path) -> None:
    ran = bundlectl("files", RELEASE, "--to", tmp_path / WORD, "--layout", "eks-anywhere", *upstream)
    assert ran.exit_code == 0
    assert f"--bundles-override ./{WORD}/bundle-release.yaml" in ran.out
    again = bundlectl("files", RELEASE, "--to", tmp_path / WORD, "--layout", "eks-anywhere", *upstream)
    assert "0 written, 14 up to date" in again.out


def test_a_narrower_tree_lists_what_was_left_out(
    bundlectl: Callable[..., Ran], upstream: list[str], tmp_path: Path
) -> None:
    options = ("--layout", "eks-anywhere", "--kube-version", "1.33", "-o", "json")
    found = checked(bundlectl("files", RELEASE, "--to", tmp_path / WORD, *options, *upstream))
    assert found["bundlesOverride"] == f"./{WORD}/bundle-release.yaml"
    assert {item["reason"] for item in found["excluded"]} <= {"only Kubernetes 1.33 is wanted"}


def test_a_wrong_folder_is_wrong_usage(bundlectl: Callable[..., Ran], upstream: list[str], tmp_path: Path) -> None:
    ran = bundlectl("files", RELEASE, "--to", tmp_path / "x", "--layout", "eks-anywhere", *upstream, "-o", "json")
    assert ran.exit_code == 2
    assert WORD in ran.document["error"]["hint"]


def test_a_folder_that_cannot_be_written_is_told(
    bundlectl: Callable[..., Ran], upstream: list[str], tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    ran = bundlectl("files", RELEASE, "--to", tmp_path / "out", *upstream, "-o", "json")
    assert ran.exit_code == 1
    assert ran.document["error"]["code"] == "store"


def test_what_aws_signed_is_verified_before_and_after(bundlectl: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "bundles.yaml"
    path.write_bytes(shared("bundles-minimal.aws-kms-signed.yaml"))
    ran = bundlectl("files", path, "--to", tmp_path / WORD, "--layout", "eks-anywhere", "-o", "json")
    assert ran.exit_code == 0
    assert checked(ran)["files"]["written"] == 1
    assert bundlectl("verify", tmp_path / WORD / "bundle-release.yaml").exit_code == 0

    path.write_bytes(path.read_bytes().replace(b'"1.31"', b'"1.32"'))
    ran = bundlectl("files", path, "--to", tmp_path / f"{WORD}-2", "--layout", "eks-anywhere", "-o", "json")
    assert ran.exit_code == 3
    assert not (tmp_path / f"{WORD}-2").exists()

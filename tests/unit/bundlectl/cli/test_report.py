"""``bundlectl report``: what is written where, and what is told of it."""

from __future__ import annotations

import csv
import io
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from mirror.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.upstream import Served
    from tests.unit.bundlectl.cli.conftest import Ran

SOURCE = "image:public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"


def valid(document: Any, package: str, name: str) -> Any:
    Draft202012Validator(json.loads(files(package).joinpath(f"{name}.schema.json").read_bytes())).validate(document)
    return document


@pytest.fixture
def report(bundlectl: Callable[..., Ran], upstream_served: Served) -> Callable[..., Ran]:
    origins = [word for pair in upstream_served.origins for word in ("--origin", pair)]
    return lambda *arguments: bundlectl("report", *arguments, *origins)


def test_the_suffix_says_what_is_written(report: Callable[..., Ran], tmp_path: Path) -> None:
    for suffix in ("html", "json", "csv"):
        ran = report(SOURCE, "--out", tmp_path / f"r.{suffix}")
        assert ran.exit_code == 0, ran.err
        assert "artifacts: 1, bytes: " in ran.out
    assert (tmp_path / "r.html").read_bytes().startswith(b"<!DOCTYPE html>")
    found = json.loads((tmp_path / "r.json").read_bytes())
    assert len(valid(found, "bundles.reporting", "report")["artifacts"]) == 1
    assert len(list(csv.reader(io.StringIO((tmp_path / "r.csv").read_text())))) == 2


def test_the_option_wins_over_the_suffix_and_a_dash_is_standard_output(
    report: Callable[..., Ran], tmp_path: Path
) -> None:
    assert report(SOURCE, "--out", tmp_path / "r.txt", "--format", "csv").exit_code == 0
    assert (tmp_path / "r.txt").read_text().startswith("release,component,")
    ran = report(SOURCE, "--out", "-", "--format", "json")
    assert valid(ran.document, "bundles.reporting", "report")["kind"] == "Report"
    assert report(SOURCE, "--out", "-").out.startswith("<!DOCTYPE html>")


def test_standard_output_is_one_json_document_where_output_json_says_so(report: Callable[..., Ran]) -> None:
    ran = report(SOURCE, "--out", "-", "-o", "json")
    assert valid(ran.document, "bundles.reporting", "report")["kind"] == "Report"
    ran = report(SOURCE, "--out", "-", "-o", "json", "--format", "csv")
    assert ran.exit_code == 2
    assert "--out FILE" in ran.document["error"]["hint"]


def test_a_suffix_that_says_nothing_is_refused_before_anything_is_asked(
    report: Callable[..., Ran], upstream_served: Served, tmp_path: Path
) -> None:
    ran = report(SOURCE, "--out", tmp_path / "r.pdf")
    assert ran.exit_code == 2
    assert "--format html|json|csv" in ran.err
    assert upstream_served.requests.count() == 0


def test_output_json_tells_of_the_file(report: Callable[..., Ran], tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    told = valid(report(SOURCE, "--out", out, "-o", "json").document, "bundlectl.cli.schemas", "report-file")
    assert told["digest"] == str(Digest.of(out.read_bytes()))
    assert told["size"] == out.stat().st_size
    assert {item["gravity"] for item in told["concerns"]} == {"ask", "know"}


def test_what_could_not_be_pinned_is_in_the_report_and_in_the_exit_code(
    report: Callable[..., Ran], tmp_path: Path
) -> None:
    out = tmp_path / "r.json"
    ran = report(SOURCE, "image:public.ecr.aws/eks-distro/absent:v1", "--out", out)
    assert ran.exit_code == 4
    assert [item["reference"] for item in json.loads(out.read_bytes())["unpinned"]] == [
        "public.ecr.aws/eks-distro/absent:v1"
    ]


def test_an_inventory_that_is_none_is_refused(report: Callable[..., Ran], tmp_path: Path) -> None:
    since = tmp_path / "since.json"
    since.write_text("{}")
    ran = report(SOURCE, "--out", tmp_path / "r.html", "--since", since)
    assert ran.exit_code == 3
    assert "is not an inventory" in ran.err
    assert not (tmp_path / "r.html").exists()

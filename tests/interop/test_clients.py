"""skopeo, crane and helm push to and pull from ``bundlectl serve`` and docker-registry alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.content import write_chart, write_layout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.programs import Program

PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture(params=["served", "distribution"])
def registry(request: pytest.FixtureRequest) -> str:
    """Ours, and the one that everybody knows, so that a failure says whose fault it is."""
    return str(request.getfixturevalue(request.param))


def test_skopeo_copies_a_multi_platform_image_in_and_out_with_its_digest(
    registry: str, skopeo: Program, tmp_path: Path
) -> None:
    digest = write_layout(tmp_path / "image", seed=1)
    skopeo.run("copy", "--all", *PLAIN, f"oci:{tmp_path / 'image'}:v1", f"docker://{registry}/site/app:v1")
    skopeo.run("copy", "--all", *PLAIN, f"docker://{registry}/site/app@{digest}", f"oci:{tmp_path / 'back'}:v1")
    assert (tmp_path / "back" / "blobs" / "sha256" / digest.removeprefix("sha256:")).is_file()
    found = skopeo.document("inspect", "--tls-verify=false", f"docker://{registry}/site/app:v1")
    assert found["Digest"] == digest
    assert found["RepoTags"] == ["v1"]


def test_crane_pushes_validates_and_copies_between_repositories(registry: str, crane: Program, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "image", seed=2)
    crane.run("push", "--index", tmp_path / "image", f"{registry}/site/app:v1")
    pushed = crane.run("digest", f"{registry}/site/app:v1").strip()
    crane.run("validate", "--remote", f"{registry}/site/app:v1")
    # crane pushes index.json itself; the image that it names keeps its digest
    crane.run("copy", f"{registry}/site/app@{digest}", f"{registry}/elsewhere/app:v2")
    assert crane.run("digest", f"{registry}/elsewhere/app:v2").strip() == digest
    crane.run("validate", "--remote", f"{registry}/elsewhere/app:v2")
    assert crane.run("ls", f"{registry}/elsewhere/app").split() == ["v2"]
    assert set(crane.run("catalog", registry).split()) == {"site/app", "elsewhere/app"}
    assert pushed in (digest, crane.run("digest", f"{registry}/site/app@{pushed}").strip())


def test_crane_pulls_an_image_as_a_layout(registry: str, crane: Program, skopeo: Program, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "image", seed=3)
    skopeo.run("copy", "--all", *PLAIN, f"oci:{tmp_path / 'image'}:v1", f"docker://{registry}/a/b/c:v1")
    crane.run("pull", "--format", "oci", f"{registry}/a/b/c:v1", tmp_path / "back")
    assert (tmp_path / "back" / "blobs" / "sha256" / digest.removeprefix("sha256:")).is_file()


def test_helm_pushes_a_chart_and_pulls_it_back(registry: str, helm: Program, tmp_path: Path) -> None:
    helm.run("package", write_chart(tmp_path, "greeter", "1.2.3+build.4"), "--destination", tmp_path)
    package = tmp_path / "greeter-1.2.3+build.4.tgz"
    helm.run("push", package, f"oci://{registry}/charts", "--plain-http")
    (tmp_path / "back").mkdir()
    chart = f"oci://{registry}/charts/greeter"
    helm.run("pull", chart, "--version", "1.2.3+build.4", "--plain-http", "--destination", tmp_path / "back")
    assert (tmp_path / "back" / package.name).read_bytes() == package.read_bytes()
    assert "greeting: hello" in helm.run("template", "x", chart, "--version", "1.2.3+build.4", "--plain-http")


def test_an_unknown_image_is_reported_as_missing(registry: str, crane: Program, skopeo: Program) -> None:
    outcome = crane.attempt("digest", f"{registry}/no/such:v1")
    assert outcome.returncode != 0
    assert "MANIFEST_UNKNOWN" in outcome.stderr or "NAME_UNKNOWN" in outcome.stderr or "404" in outcome.stderr
    outcome = skopeo.attempt("inspect", "--tls-verify=false", f"docker://{registry}/no/such:v1")
    assert outcome.returncode != 0
    assert "unknown" in outcome.stderr


def test_crane_deletes_what_it_pushed(registry: str, crane: Program, skopeo: Program, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "image", seed=4)
    skopeo.run("copy", "--all", *PLAIN, f"oci:{tmp_path / 'image'}:v1", f"docker://{registry}/site/app:v1")
    crane.run("delete", f"{registry}/site/app@{digest}")
    assert crane.attempt("digest", f"{registry}/site/app:v1").returncode != 0

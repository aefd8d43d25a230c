"""The made-up Harbor holds up against the programs that people point at a real one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.interop.content import write_chart, write_layout
from tests.interop.programs import Program, provided

if TYPE_CHECKING:
    from pathlib import Path

    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.harbor.identity import Robot

pytestmark = pytest.mark.interop

PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture
def robot(harbor: HarborFixture) -> Robot:
    """A robot that may mirror into the private projects ``lab`` and ``site``."""
    harbor.add_project("lab")
    harbor.add_project("site")
    return harbor.add_robot("mirror")


def log_in(program: Program, *arguments: str, robot: Robot) -> None:
    """Give a program the robot's secret by its standard input."""
    done = subprocess.run(
        [program.path, *program.options, *arguments, "--username", robot.name, "--password-stdin"],
        input=robot.secret,
        env=program.variables(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def docker_login(harbor: HarborFixture, robot: Robot, crane: Program) -> None:
    """The robot in docker's configuration, where crane, cosign, skopeo and bundlectl look."""
    log_in(crane, "auth", "login", harbor.host, robot=robot)


@pytest.mark.usefixtures("docker_login")
def test_crane_pushes_copies_by_mount_and_pulls(harbor: HarborFixture, crane: Program, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "image", seed=1)
    crane.run("push", "--index", tmp_path / "image", f"{harbor.host}/lab/app:v1")
    crane.run("validate", "--remote", f"{harbor.host}/lab/app:v1")
    crane.run("copy", f"{harbor.host}/lab/app@{digest}", f"{harbor.host}/site/deep/app:v2")
    assert harbor.requests.count("POST", "/v2/site/deep/app/blobs/uploads/", status=201) > 0
    assert harbor.requests.count("PATCH", "/v2/site/*") == 0
    assert crane.run("digest", f"{harbor.host}/site/deep/app:v2").strip() == digest
    assert crane.run("ls", f"{harbor.host}/site/deep/app").split() == ["v2"]
    crane.run("pull", "--format", "oci", f"{harbor.host}/site/deep/app:v2", tmp_path / "back")
    assert (tmp_path / "back" / "blobs" / "sha256" / digest.removeprefix("sha256:")).is_file()


@pytest.mark.usefixtures("docker_login")
def test_crane_is_told_what_harbor_refuses(harbor: HarborFixture, crane: Program, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", seed=1)
    said = crane.attempt("push", "--index", tmp_path / "image", f"{harbor.host}/nope/app:v1").stderr
    assert "401 Unauthorized" in said
    harbor.add_immutable_rule("lab")
    crane.run("push", "--index", tmp_path / "image", f"{harbor.host}/lab/app:v1")
    write_layout(tmp_path / "other", seed=2)
    said = crane.attempt("push", "--index", tmp_path / "other", f"{harbor.host}/lab/app:v1").stderr
    assert "configured as immutable" in said
    harbor.database.projects["site"].storage_limit = 1000
    said = crane.attempt("push", "--index", tmp_path / "image", f"{harbor.host}/site/app:v1").stderr
    assert "will exceed the configured upper limit of 1000 B" in said


def test_skopeo_logs_in_and_copies_a_multi_platform_image_in_and_out(
    harbor: HarborFixture, robot: Robot, skopeo: Program, tmp_path: Path
) -> None:
    bare = Program(skopeo.path, skopeo.home, (), skopeo.environment)
    log_in(bare, "login", "--tls-verify=false", harbor.host, robot=robot)
    digest = write_layout(tmp_path / "image", seed=2)
    skopeo.run("copy", "--all", *PLAIN, f"oci:{tmp_path / 'image'}:v1", f"docker://{harbor.host}/lab/app:v1")
    skopeo.run("copy", "--all", *PLAIN, f"docker://{harbor.host}/lab/app@{digest}", f"oci:{tmp_path / 'back'}:v1")
    assert (tmp_path / "back" / "blobs" / "sha256" / digest.removeprefix("sha256:")).is_file()
    found = skopeo.document("inspect", "--tls-verify=false", f"docker://{harbor.host}/lab/app:v1")
    assert (found["Digest"], found["RepoTags"]) == (digest, ["v1"])


def test_helm_logs_in_and_pushes_a_chart_that_harbor_knows_as_one(
    harbor: HarborFixture, robot: Robot, helm: Program, tmp_path: Path
) -> None:
    log_in(helm, "registry", "login", harbor.host, "--plain-http", robot=robot)
    helm.run("package", write_chart(tmp_path, "greeter", "1.2.3"), "--destination", tmp_path)
    helm.run("push", tmp_path / "greeter-1.2.3.tgz", f"oci://{harbor.host}/lab/charts", "--plain-http")
    (tmp_path / "back").mkdir()
    chart = f"oci://{harbor.host}/lab/charts/greeter"
    helm.run("pull", chart, "--version", "1.2.3", "--plain-http", "--destination", tmp_path / "back")
    packed = (tmp_path / "greeter-1.2.3.tgz").read_bytes()
    assert (tmp_path / "back" / "greeter-1.2.3.tgz").read_bytes() == packed
    artifact = harbor.artifact("lab/charts/greeter", "1.2.3")
    assert (artifact.type, artifact.extra_attrs["version"]) == ("CHART", "1.2.3")


@pytest.mark.usefixtures("docker_login")
@pytest.mark.parametrize("version", ["cosign2", "cosign3"])
@pytest.mark.parametrize("bundle", ["false", "true"])
def test_cosign_signs_and_verifies_and_harbor_takes_the_image_for_signed(
    harbor: HarborFixture, crane: Program, home: Path, tmp_path: Path, *, version: str, bundle: str
) -> None:
    cosign = Program(provided(version), home, (), {"COSIGN_PASSWORD": "a pass phrase"})
    cosign.run("generate-key-pair")
    digest = write_layout(tmp_path / "image", seed=3)
    crane.run("push", "--index", tmp_path / "image", f"{harbor.host}/lab/app:v1")
    harbor.database.projects["lab"].metadata["enable_content_trust_cosign"] = "true"
    name = f"{harbor.host}/lab/app:v1"
    assert "not signed by cosign" in crane.attempt("manifest", name).stderr
    unlogged = ("--yes", "--tlog-upload=false", "--use-signing-config=false", f"--new-bundle-format={bundle}")
    cosign.run("sign", *unlogged, "--key", home / "cosign.key", name)
    (home / "root.json").write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    trust = ("--trusted-root", home / "root.json") if bundle == "true" else ()
    offline = ("--insecure-ignore-tlog", f"--new-bundle-format={bundle}", *trust)
    cosign.run("verify", *offline, "--key", home / "cosign.pub", name)
    repository = harbor.database.projects["lab"].repositories["lab/app"]
    assert {accessory.type for accessory in repository.accessories.values()} == {"signature.cosign"}
    assert digest in crane.run("manifest", name) + crane.run("digest", name)


@pytest.mark.usefixtures("docker_login")
def test_bundlectl_mirrors_to_it_and_out_of_it(
    harbor: HarborFixture, crane: Program, ours: Program, distribution: str, tmp_path: Path
) -> None:
    write_layout(tmp_path / "image", seed=4)
    crane.run("push", "--index", tmp_path / "image", f"{distribution}/a/app:v1")
    digest = crane.run("digest", f"{distribution}/a/app:v1").strip()
    options = ("--plain-http", harbor.host, "--plain-http", distribution)
    ours.run("mirror", f"image:{distribution}/a/app:v1", "--to", f"{harbor.host}/lab/in", *options)
    (name,) = harbor.database.projects["lab"].repositories
    assert crane.run("digest", f"{harbor.host}/{name}:v1").strip() == digest
    ours.run("mirror", f"image:{harbor.host}/{name}:v1", "--to", f"{distribution}/out", *options)
    found = [line for line in crane.run("catalog", distribution).split() if line.startswith("out")]
    assert [crane.run("digest", f"{distribution}/{copy}:v1").strip() for copy in found] == [digest]


@pytest.mark.usefixtures("docker_login")
def test_bundlectl_asks_little_when_all_is_there(
    harbor: HarborFixture, crane: Program, ours: Program, distribution: str, tmp_path: Path
) -> None:
    write_layout(tmp_path / "image", seed=5)
    crane.run("push", "--index", tmp_path / "image", f"{distribution}/a/app:v1")
    command = ("mirror", f"image:{distribution}/a/app:v1", "--to", f"{harbor.host}/lab/in")
    options = ("--plain-http", harbor.host, "--plain-http", distribution)
    ours.run(*command, *options)
    harbor.requests.clear()
    ours.run(*command, *options)
    assert harbor.requests.count("PUT|POST|PATCH") == 0

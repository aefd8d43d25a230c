"""crane, skopeo, regctl, helm and cosign against `bundlectl serve` with TLS and passwords."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import bcrypt
import pytest

from tests.interop.content import write_chart, write_layout
from tests.interop.programs import Program, bundlectl, provided, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "site", "a password: with a colon"


@dataclass(frozen=True)
class Secured:
    """The host of a registry that speaks TLS and lets only one user in; its certificate."""

    host: str
    certificate: Path
    home: Path

    def configure(self, program: Program, password: str = PASSWORD) -> Program:
        """The program with the certificate to trust, and a login where each looks for it."""
        login = base64.b64encode(f"{USER}:{password}".encode()).decode()
        document = json.dumps({"auths": {self.host: {"auth": login}}})
        folder = self.home / f"login-{len(password)}"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(document)
        return replace(
            program,
            environment={
                **program.environment,
                "SSL_CERT_FILE": str(self.certificate),
                "DOCKER_CONFIG": str(folder),
                "REGISTRY_AUTH_FILE": str(folder / "config.json"),
                "HELM_REGISTRY_CONFIG": str(folder / "config.json"),
            },
        )


@pytest.fixture
def secured(tmp_path: Path, home: Path) -> Iterator[Secured]:
    users = tmp_path / "users"
    users.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()}\n")
    program = bundlectl(home)
    log = tmp_path / "serve.log"
    log.touch()
    with running(
        [program.path, "serve", "--store", tmp_path / "store", "--listen", "127.0.0.1:0", "--tls-self-signed",
         "--htpasswd", users],
        environment={**program.variables(), "XDG_STATE_HOME": str(home / "state"), "PYTHONUNBUFFERED": "1"},
        log=log,
        ready=lambda: "listening on https://" in log.read_text(),
    ):  # fmt: skip
        found = re.search(r"listening on https://(\S+)", log.read_text())
        assert found
        certificate = next((home / "state").rglob("tls.crt"))
        yield Secured(found[1].rstrip("/"), certificate, home)


def test_crane_pushes_and_validates(secured: Secured, home: Path, tmp_path: Path) -> None:
    crane = secured.configure(Program(provided("crane"), home))
    write_layout(tmp_path / "image", seed=1)
    crane.run("push", "--index", tmp_path / "image", f"{secured.host}/site/app:v1")
    crane.run("validate", "--remote", f"{secured.host}/site/app:v1")
    assert crane.run("ls", f"{secured.host}/site/app").split() == ["v1"]


def test_skopeo_copies_in_and_out(secured: Secured, skopeo: Program, tmp_path: Path) -> None:
    skopeo = secured.configure(skopeo)
    digest = write_layout(tmp_path / "image", seed=2)
    skopeo.run("copy", "--all", f"oci:{tmp_path / 'image'}:v1", f"docker://{secured.host}/site/app:v1")
    skopeo.run("copy", "--all", f"docker://{secured.host}/site/app@{digest}", f"oci:{tmp_path / 'back'}:v1")
    assert (tmp_path / "back" / "blobs" / "sha256" / digest.removeprefix("sha256:")).is_file()


def test_regctl_copies_lists_and_deletes(secured: Secured, home: Path, tmp_path: Path) -> None:
    regctl = secured.configure(Program(provided("regctl"), home))
    digest = write_layout(tmp_path / "image", seed=3)
    regctl.run("image", "copy", f"ocidir://{tmp_path / 'image'}:v1", f"{secured.host}/site/app:v1")
    assert regctl.run("image", "digest", f"{secured.host}/site/app:v1").strip() == digest
    regctl.run("image", "copy", f"{secured.host}/site/app:v1", f"{secured.host}/site/copy:v1")
    regctl.run("image", "copy", f"{secured.host}/site/copy:v1", f"ocidir://{tmp_path / 'back'}:v1")
    assert regctl.run("tag", "ls", f"{secured.host}/site/copy").split() == ["v1"]
    regctl.run("tag", "delete", f"{secured.host}/site/copy:v1")
    assert regctl.attempt("image", "digest", f"{secured.host}/site/copy:v1").returncode != 0
    assert regctl.run("image", "digest", f"{secured.host}/site/app:v1").strip() == digest


def test_helm_pushes_a_chart_and_renders_it(secured: Secured, helm: Program, tmp_path: Path) -> None:
    helm = secured.configure(helm)
    helm.run("package", write_chart(tmp_path, "greeter", "1.2.3"), "--destination", tmp_path)
    helm.run("push", tmp_path / "greeter-1.2.3.tgz", f"oci://{secured.host}/charts")
    assert "greeting: hello" in helm.run("template", "x", f"oci://{secured.host}/charts/greeter", "--version", "1.2.3")


@pytest.mark.parametrize("name", ["cosign2", "cosign3"])
def test_cosign_signs_and_verifies(secured: Secured, home: Path, tmp_path: Path, name: str) -> None:
    crane = secured.configure(Program(provided("crane"), home))
    digest = write_layout(tmp_path / "image", seed=4)
    crane.run("push", "--index", tmp_path / "image", f"{secured.host}/site/app:v1")
    digest = crane.run("digest", f"{secured.host}/site/app:v1").strip()
    cosign = secured.configure(Program(provided(name), home, (), {"COSIGN_PASSWORD": "x"}))
    cosign.run("generate-key-pair", "--output-key-prefix", "theirs")
    image = f"{secured.host}/site/app@{digest}"
    quiet = ("--tlog-upload=false",) if name == "cosign2" else ("--use-signing-config=false", "--tlog-upload=false")
    cosign.run("sign", "--yes", "--new-bundle-format=false", *quiet, "--key", home / "theirs.key", image)
    cosign.run("verify", "--insecure-ignore-tlog", "--new-bundle-format=false", "--key", home / "theirs.pub", image)


def test_a_wrong_password_and_none_are_told_as_such(secured: Secured, home: Path, tmp_path: Path) -> None:
    write_layout(tmp_path / "image", seed=5)
    program = Program(provided("crane"), home)
    wrong = secured.configure(program, password="wrong")
    outcome = wrong.attempt("push", "--index", tmp_path / "image", f"{secured.host}/site/app:v1")
    assert outcome.returncode != 0
    assert "UNAUTHORIZED" in outcome.stderr or "401" in outcome.stderr
    nobody = replace(program, environment={"SSL_CERT_FILE": str(secured.certificate)})
    assert nobody.attempt("ls", f"{secured.host}/site/app").returncode != 0


def test_bundlectl_mirrors_into_it_and_verifies_all_of_it(secured: Secured, home: Path, tmp_path: Path) -> None:
    crane = secured.configure(Program(provided("crane"), home))
    digest = write_layout(tmp_path / "image", seed=6)
    crane.run("push", "--index", tmp_path / "image", f"{secured.host}/upstream/app:v1")
    digest = crane.run("digest", f"{secured.host}/upstream/app:v1").strip()
    ours = secured.configure(bundlectl(home))
    trust = ("--ca-file", f"{secured.host}={secured.certificate}")
    ours.run("mirror", f"image:{secured.host}/upstream/app:v1", "--to", f"{secured.host}/site", *trust)
    assert crane.run("digest", f"{secured.host}/site/upstream/app:v1").strip() == digest
    ours.run("lock", f"image:{secured.host}/upstream/app:v1", "--out", tmp_path / "lock.json", *trust)
    ours.run("verify", f"registry:{secured.host}/site", "--against", tmp_path / "lock.json", "--deep", *trust)

"""Every registry product as a source and as a target of `bundlectl mirror`: what went in comes out."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from registry_fixtures.harbor import HarborFixture, LoginPace
from tests.interop.content import write_chart, write_layout
from tests.interop.programs import Program, distribution3, docker_registry, embedded_registry, provided

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PRODUCTS = ("docker-registry", "distribution3", "serve", "harbor")
PROJECTS = ("site", "charts", "mirror")


@contextmanager
def product(name: str, folder: Path) -> Iterator[tuple[str, str]]:
    """A registry of that product; yields its host and the login to it (``user:password``, or empty)."""
    folder.mkdir()
    if name == "docker-registry":
        with docker_registry(folder) as host:
            yield host, ""
    elif name == "distribution3":
        with distribution3(folder) as host:
            yield host, ""
    elif name == "serve":
        with embedded_registry(folder, folder / "store") as host:
            yield host, ""
    else:
        with HarborFixture(pace=LoginPace(human=0.0, lock=0.0)) as harbor:
            for project in PROJECTS:
                harbor.add_project(project)
            robot = harbor.add_robot("mirror")
            yield harbor.host, f"{robot.name}:{robot.secret}"


def logged_in(program: Program, logins: dict[str, str]) -> Program:
    """The program with the logins where docker keeps them."""
    folder = program.home / "docker"
    folder.mkdir(exist_ok=True)
    known = {host: {"auth": base64.b64encode(login.encode()).decode()} for host, login in logins.items() if login}
    (folder / "config.json").write_text(json.dumps({"auths": known}))
    kept = {"DOCKER_CONFIG": str(folder), "HELM_REGISTRY_CONFIG": str(folder / "config.json")}
    return replace(program, environment={**program.environment, **kept})


@pytest.mark.parametrize("target", PRODUCTS)
@pytest.mark.parametrize("source", PRODUCTS)
def test_a_signed_image_and_a_chart_go_from_one_product_to_another_and_nothing_is_done_twice(
    source: str, target: str, ours: Program, crane: Program, home: Path, tmp_path: Path
) -> None:
    write_layout(tmp_path / "image", seed=1)
    with (
        product(source, tmp_path / "from") as (here, from_login),
        product(target, tmp_path / "to") as (there, to_login),
    ):
        logins = {here: from_login, there: to_login}
        ours, crane = logged_in(ours, logins), logged_in(crane, logins)
        helm = logged_in(Program(provided("helm3"), home), logins)
        crane.run("push", "--index", tmp_path / "image", f"{here}/site/app:v1")
        ours.run("keys", "generate", "site.key")
        ours.run("sign", f"{here}/site/app:v1", "--key", "site.key", "--signature-format", "both")
        helm.run("package", write_chart(tmp_path, "greeter", "1.2.3+x"), "--destination", tmp_path)
        helm.run("push", tmp_path / "greeter-1.2.3+x.tgz", f"oci://{here}/charts", "--plain-http")
        lock = tmp_path / "lock.json"
        ours.run("lock", f"image:{here}/site/app:v1", f"chart:{here}/charts/greeter:1.2.3_x", "--out", lock)

        first = ours.document("mirror", lock, "--to", f"{there}/mirror", "-o", "json")
        assert first["artifacts"]["done"] == 2
        assert first["failed"] == []
        ours.run("verify", f"registry:{there}/mirror", "--against", lock, "--deep")
        ours.run("verify", f"{there}/mirror/site/app:v1", "--key", "site.key.pub")
        crane.run("validate", "--remote", f"{there}/mirror/site/app:v1")

        again = ours.document("mirror", lock, "--to", f"{there}/mirror", "-o", "json")
        assert again["artifacts"]["skipped"] == 2
        assert again["requests"]["source"] == 0
        assert again["blobs"]["transferred"] == 0

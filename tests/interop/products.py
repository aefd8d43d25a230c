"""Registries of every product, empty, and programs that are logged in to them."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from registry_fixtures.harbor import HarborFixture, LoginPace
from tests.interop.programs import Program, distribution3, docker_registry, embedded_registry

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

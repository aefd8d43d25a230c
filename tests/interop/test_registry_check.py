"""`registry check` and `registry config` at real registries, and the Harbor fixture as a target of whole commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from registry_fixtures.harbor import HarborFixture
from tests.interop.content import write_layout
from tests.interop.products import PRODUCTS, logged_in, product

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.programs import Program

pytestmark = pytest.mark.interop

ABLE = {
    "docker-registry": {"chunked-upload", "mount", "delete", "sha512"},
    "distribution3": {"chunked-upload", "mount", "delete", "sha512"},
    "harbor": {"chunked-upload", "mount", "referrers"},
    "serve": {"chunked-upload", "mount", "delete", "sha512", "referrers", "sparse-index"},
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_real_registry_is_found_to_be_able_to_do_what_it_can(
    name: str, ours: Program, crane: Program, tmp_path: Path
) -> None:
    with product(name, tmp_path / "registry") as (host, login):
        ours, crane = logged_in(ours, {host: login}), logged_in(crane, {host: login})
        found = ours.document("registry", "check", f"{host}/site", "-o", "json")
        assert found["usable"] is True
        good = {check["name"] for check in found["checks"] if check["outcome"] == "ok"}
        assert ABLE[name] | {"dns", "tcp", "api", "push", "pull"} <= good
        left = crane.attempt("ls", f"{host}/site/bundlectl/check").stdout
        # The robot may not delete, which is said: then what was pushed stays.
        assert left.split() == ([] if "delete" in good else ["check"])
        assert ("delete" in good) == (name != "harbor")


def test_an_image_goes_into_a_harbor_whose_projects_are_made_on_the_way(
    ours: Program, crane: Program, home: Path, tmp_path: Path
) -> None:
    write_layout(tmp_path / "image", seed=1)
    with product("docker-registry", tmp_path / "from") as (here, _), HarborFixture() as harbor:
        (home / ".docker").mkdir(exist_ok=True)
        entry = {"username": "admin", "password": "Harbor12345"}
        (home / ".docker" / "config.json").write_text(json.dumps({"auths": {harbor.host: entry}}))
        crane.run("push", "--index", tmp_path / "image", f"{here}/site/app:v1")
        refused = ours.attempt("mirror", f"image:{here}/site/app:v1", "--to", harbor.host)
        assert refused.returncode == 1
        assert "--create-projects" in refused.stderr
        ours.run("mirror", f"image:{here}/site/app:v1", "--to", harbor.host, "--create-projects")
        crane.run("validate", "--remote", f"{harbor.host}/site/app:v1")
        ours.run("registry", "check", f"{harbor.host}/site")
        mirror = yaml.safe_load(ours.run("registry", "config", harbor.host))["spec"]["registryMirrorConfiguration"]
        assert f"{mirror['endpoint']}:{mirror['port']}" == harbor.host
        assert mirror["authenticate"] is True

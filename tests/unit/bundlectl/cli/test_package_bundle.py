"""package-bundle build and push, and what is made of their result by the other commands."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.bundlectl.operations.packages import PackageSite, requires, write_input

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from registry_fixtures.registry import ServedRegistry
    from tests.unit.bundlectl.cli.conftest import Ran

    Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def packages(registry: ServedRegistry) -> PackageSite:
    """A registry with the charts of two packages, one in two versions, and their images."""
    site = PackageSite(registry)
    image = site.image("site/greeter", "v1")
    listed = [{"repository": "site/greeter", "tag": "v1", "digest": str(image.digest)}]
    site.chart("greeter", "1.0.0", requires=requires(images=listed)["requires.yaml"])
    site.image("site/base", "v2")
    site.chart("greeter", "1.1.0", requires=requires(images=listed, dependencies=["base"])["requires.yaml"])
    site.chart("base", "2.0.0", values="image: {repository: site/base, tag: v2}\n")
    return site


@pytest.fixture
def key(bundlectl: Run, tmp_path: Path) -> Path:
    path = tmp_path / "site.key"
    assert bundlectl("keys", "generate", path).exit_code == 0
    return path


@pytest.fixture
def given(tmp_path: Path) -> Path:
    return write_input(
        tmp_path / "packages.yaml",
        {"name": "greeter", "versions": ["1.1.0", "1.0.0"]},
        {"name": "base", "versions": ["2.0.0"]},
    )


def described(ran: Ran, name: str) -> Any:
    schema = json.loads(files("bundlectl.cli.schemas").joinpath(f"{name}.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(ran.document)
    return ran.document


def test_from_an_input_to_a_mirror_of_what_was_built(
    bundlectl: Run, packages: PackageSite, key: Path, given: Path, registry_factory: Any, tmp_path: Path
) -> None:
    out, public = tmp_path / "bundle.yaml", f"{key}.pub"
    build = ("package-bundle", "build", given, "--registry", packages.packages, "--key", key, "--out", out)
    built = described(bundlectl(*build, "-o", "json"), "package-bundle-build")
    assert (built["name"], built["unchanged"], len(built["packages"])) == ("v1-33-1001", False, 2)
    assert bundlectl("verify", out, "--key", public).exit_code == 0

    push = ("package-bundle", "push", out, "--to", packages.to, "--verify", public)
    pushed = described(bundlectl(*push, "-o", "json"), "package-bundle-push")
    assert pushed["target"] == f"{packages.packages}/eks-anywhere-packages-bundles"
    assert [item["written"] for item in pushed["tags"]] == [True, True]
    assert pushed["chartsNotBeside"] == []
    assert bundlectl("verify", f"{pushed['target']}:v1-33-latest", "--key", public).exit_code == 0

    where = ("--package-registry", packages.packages, "--package-image-registry", packages.packages)
    seen = bundlectl("inspect", "packages:1-33", *where, "--verify", public, "-o", "json")
    assert seen.exit_code == 0, seen.err
    assert seen.document["sources"][0]["name"] == "v1-33-1001"
    assert {item["trust"] for item in seen.document["artifacts"]} == {"signed"}
    assert (seen.document["totals"]["charts"], seen.document["totals"]["images"]) == (3, 2)

    lock = tmp_path / "packages.lock.json"
    made = bundlectl("lock", "packages:v1-33-1001", *where, "--verify", public, "--out", lock)
    assert made.exit_code == 0, made.err
    elsewhere = registry_factory()
    copied = bundlectl("mirror", lock, "--to", f"{elsewhere.host}/copy", "--verify", "off", "-o", "json")
    assert (copied.exit_code, copied.document["failed"]) == (0, []), copied.err
    checked = bundlectl("verify", f"registry:{elsewhere.host}/copy", "--against", lock, "--deep", "--verify", "off")
    assert checked.exit_code == 0, checked.out
    again = ("--package-registry", f"{elsewhere.host}/copy{_path(packages)}", *where[2:], "--verify", public)
    assert bundlectl("inspect", "packages:1-33", *again).exit_code == 0


def _path(packages: PackageSite) -> str:
    return "/" + packages.packages.partition("/")[2]


def test_built_again_the_file_is_left_as_it_is(bundlectl: Run, packages: PackageSite, key: Path, given: Path) -> None:
    out = given.with_name("bundle.yaml")
    build = ("package-bundle", "build", given, "--registry", packages.packages, "--key", key, "--out", out)
    assert bundlectl(*build).exit_code == 0
    before = (out.read_bytes(), out.stat().st_ino)
    again = bundlectl(*build)
    assert "as it was before" in again.out
    assert (out.read_bytes(), out.stat().st_ino) == before


@pytest.mark.parametrize("there", [b"no bundle", b"\0" * (17 * 1024 * 1024)], ids=["other", "large"])
def test_whatever_the_file_held_before_the_bundle_takes_its_place(
    bundlectl: Run, packages: PackageSite, given: Path, there: bytes
) -> None:
    out = given.with_name("bundle.yaml")
    out.write_bytes(there)
    assert bundlectl("package-bundle", "build", given, "--registry", packages.packages, "--out", out).exit_code == 0
    assert out.read_bytes().startswith(b"apiVersion: packages.eks.amazonaws.com/v1alpha1\n")


def test_a_file_that_cannot_be_is_told(bundlectl: Run, packages: PackageSite, given: Path) -> None:
    out = given.with_name("a" * 300)
    ran = bundlectl("package-bundle", "build", given, "--registry", packages.packages, "--out", out)
    assert (ran.exit_code, "cannot be written" in ran.err) == (1, True)


def test_the_bundle_goes_to_standard_output_and_is_signed_later(
    bundlectl: Run, packages: PackageSite, key: Path, given: Path
) -> None:
    ran = bundlectl("package-bundle", "build", given, "--registry", packages.packages, "--name", "v1-33-7")
    assert ran.out.startswith("apiVersion: packages.eks.amazonaws.com/v1alpha1\n")
    assert "name: v1-33-7\n" in ran.out
    assert "eksa.aws.com/signature" not in ran.out
    path = given.with_name("bundle.yaml")
    path.write_text(ran.out)
    refused = bundlectl("package-bundle", "push", path, "--to", packages.to, "--verify", f"{key}.pub")
    assert refused.exit_code == 3
    assert "is not signed" in refused.err
    assert bundlectl("sign", path, "--key", key, "--out", path).exit_code == 0
    pushed = bundlectl("package-bundle", "push", path, "--to", packages.to, "--verify", f"{key}.pub")
    assert pushed.exit_code == 0
    assert pushed.out.splitlines()[1:3] == [
        f"  {packages.packages}/eks-anywhere-packages-bundles:v1-33-7",
        f"  {packages.packages}/eks-anywhere-packages-bundles:v1-33-latest",
    ]


def test_nothing_is_written_when_something_is_missing(bundlectl: Run, packages: PackageSite, tmp_path: Path) -> None:
    given = write_input(tmp_path / "packages.yaml", {"name": "greeter", "versions": ["3.0.0"]})
    out = tmp_path / "bundle.yaml"
    ran = bundlectl("package-bundle", "build", given, "--registry", packages.packages, "--out", out, "-o", "json")
    assert (ran.exit_code, out.exists()) == (4, False)
    assert ran.document["error"]["artifact"] == f"{packages.packages}/greeter:3.0.0"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("build", "packages.yaml", "-o", "json"), "--out FILE"),
        (("build", "packages.yaml", "--registry", "https://a.example"), "is a URL"),
        (("build", "packages.yaml", "--name", "v1-32-1", "--registry", "a.example"), "for Kubernetes 1.32"),
        (("push", "packages.yaml"), "--to"),
        (("push", "packages:1-33", "--to", "a.example"), "no file"),
    ],
)
def test_wrong_usage_is_told(bundlectl: Run, given: Path, arguments: tuple[str, ...], told: str) -> None:
    assert given.name == "packages.yaml"
    ran = bundlectl("package-bundle", *arguments)
    assert ran.exit_code == 2
    assert told in ran.err


def test_options_come_from_the_environment_and_the_file_too(
    bundlectl: Run, packages: PackageSite, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLECTL_PACKAGE_BUNDLE_BUILD_REGISTRY", packages.packages)
    config = tmp_path / "config.toml"
    config.write_text('[package-bundle.build]\nname = "v1-33-42"\n')
    ran = bundlectl("--config", config, "package-bundle", "build", given)
    assert "name: v1-33-42\n" in ran.out

"""The input of package-bundle build."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from bundlectl.errors import BundlectlError, ContentError, UsageError
from bundles.package_bundle import BundleName
from bundles.package_input import PackageInput, PackageProject, parse_package_input

if TYPE_CHECKING:
    from pathlib import Path

HEAD = 'name: "v1-33-1001"\nkubernetesVersion: "1.33"\n'
PROJECT = "{name: a, repository: a/b, versions: [{name: 1.0.0}]}"
FULL = """\
name: v1-33-1001
kubernetesVersion: "1.33"
minControllerVersion: v0.4.4
packages:
- org: site
  projects:
  - name: greeter
    registry: harbor.example:8443/eks
    repository: site/greeter
    versions:
    - name: 1.4.2
    - name: 1.3-latest
- projects:
  - name: cert-manager
    workloadonly: true
    repository: cert-manager/cert-manager
    versions:
    - name: latest
"""


def read(text: str, **more: str) -> PackageInput:
    return parse_package_input(text.encode(), origin="packages.yaml", **more)


def test_a_full_input_is_read_in_its_order() -> None:
    assert read(FULL) == PackageInput(
        name=BundleName("v1-33-1001", "1-33", (1, 1001)),
        min_controller_version="v0.4.4",
        projects=(
            PackageProject(
                name="greeter",
                registry="harbor.example:8443/eks",
                repository="site/greeter",
                versions=("1.4.2", "1.3-latest"),
            ),
            PackageProject(
                name="cert-manager",
                repository="cert-manager/cert-manager",
                versions=("latest",),
                workloadonly=True,
            ),
        ),
    )


def test_the_input_of_aws_is_read(shared_data: Path) -> None:
    found = parse_package_input(shared_data.joinpath("package-input-1-33.yaml").read_bytes(), origin="aws.yaml")
    assert (found.name.text, found.min_controller_version, found.warnings) == ("v1-33-1001", "v0.4.4", ())
    assert len(found.projects) == 15
    assert [project.name for project in found.projects if project.workloadonly] == ["cert-manager"]
    assert {project.registry.rpartition(".ecr.")[2] for project in found.projects} == {"us-west-2.amazonaws.com"}


def test_another_name_replaces_that_of_the_input_even_where_that_is_none() -> None:
    found = read(FULL.replace("v1-33-1001", "whatever"), name="v1-33-2026-06-26-1782500000")
    assert found.name.age == (4, 2026, 6, 26, 1782500000)


@pytest.mark.parametrize("name", ["v1-32-7", "1-33-7", "latest", "v1-33-7-prod"])
def test_another_name_must_be_one_for_this_version(name: str) -> None:
    with pytest.raises(UsageError, match="name of a bundle"):
        read(FULL, name=name)


def test_a_version_without_quotes_is_taken_as_written_with_a_warning() -> None:
    found = read(FULL.replace('"1.33"', "1.30").replace("v1-33-1001", "v1-30-1"))
    assert found.name.kube_version == "1.30"
    assert found.warnings[0].startswith("packages.yaml:2: kubernetesVersion: 1.30 is not in quotes")


@pytest.mark.parametrize("version", ["0.4.4", "v00.4.4", "v0.4", "0.4"])
def test_a_minimum_that_no_controller_would_hold_itself_to_is_refused(version: str) -> None:
    # For Go's semver these are no versions, and older than every version.
    with pytest.raises(ContentError, match="minControllerVersion") as caught:
        read(FULL.replace("v0.4.4", version))
    assert "such as v0.4.4" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "place", "hint"),
    [
        ("kubernetesVersion: '1.33'\npackages: []\n", "packages.yaml:1: ", ""),
        (HEAD, 'packages.yaml:1: "packages" is a required property', ""),
        (HEAD + "packages: []\n", "packages.yaml:3: packages: ", "one or more groups"),
        (HEAD + "packages: [{org: a}]\n", 'packages.yaml:3: packages[0]: "projects" is a required', ""),
        (HEAD + "packages: [{projects: []}]\n", "packages.yaml:3: packages[0].projects: ", "one or more packages"),
        (
            HEAD + "packages:\n- projects:\n  - name: a\n    repo: a\n    repository: a\n    versions: [{name: 1}]\n",
            "packages.yaml:6: packages[0].projects[0]: Additional properties",
            "known fields are name, registry",
        ),
        (
            HEAD + "packages:\n- projects:\n  - {name: a, repository: A, versions: [{name: 1.0}]}\n",
            'packages.yaml:5: packages[0].projects[0].repository: "A"',
            "lower-case",
        ),
        (
            HEAD + "packages:\n- projects:\n  - name: a\n    repository: a\n    versions:\n    - 1.0\n",
            "packages.yaml:8: packages[0].projects[0].versions[0]: ",
            "",
        ),
        (
            HEAD + f"packages:\n- projects:\n  - {PROJECT}\n- projects:\n  - {PROJECT}\n",
            "packages.yaml:7: packages[1].projects[0].name: there is a package of this name already, on line 5",
            "another name",
        ),
        (
            HEAD + "packages:\n- projects:\n  - {name: a, registry: nowhere, repository: a, versions: [{name: b}]}\n",
            "packages.yaml:5: packages[0].projects[0].registry: 'nowhere",
            "HOST",
        ),
        (HEAD.replace("1001", "x") + f"packages: [{{projects: [{PROJECT}]}}]\n", "packages.yaml:1: name: ", "v1-33"),
        (HEAD.replace('"1.33"', '"1.34"') + f"packages: [{{projects: [{PROJECT}]}}]\n", "packages.yaml:1: name: ", ""),
        (HEAD + "packages: &a []\n---\nname: b\n", "packages.yaml:4: more than one document", "split it"),
        ("- a\n", "packages.yaml:1: the document must be a map", ""),
    ],
)
def test_a_fault_names_file_line_and_field(text: str, place: str, hint: str) -> None:
    with pytest.raises(ContentError) as caught:
        read(text)
    assert str(caught.value).startswith(place)
    assert hint in (caught.value.hint or "")


def test_a_second_package_whose_name_differs_by_case_is_refused() -> None:
    other = PROJECT.replace("name: a,", "name: A,")
    with pytest.raises(ContentError, match="already, on line"):
        read(HEAD + f"packages:\n- projects:\n  - {PROJECT}\n  - {other}\n")


def test_the_schema_is_valid_and_ships_with_the_package() -> None:
    for name in ("package-input.schema.json", "package-requires.schema.json"):
        schema = json.loads(files("bundles").joinpath(name).read_bytes())
        Draft202012Validator.check_schema(schema)
        assert schema["$id"].startswith("https://bundlectl.dev/")


PARTS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,20}", fullmatch=True)
PROJECTS = st.fixed_dictionaries(
    {
        "name": PARTS,
        "repository": st.lists(PARTS, min_size=1, max_size=3).map("/".join),
        "versions": st.lists(TAGS, min_size=1, max_size=3).map(lambda tags: [{"name": tag} for tag in tags]),
    },
    optional={"workloadonly": st.booleans(), "registry": PARTS.map("registry.example/{}".format)},
)


@given(
    projects=st.lists(PROJECTS, min_size=1, max_size=6, unique_by=lambda item: item["name"]),
    number=st.integers(0, 10**15),
    cut=st.integers(0, 5),
)
@example(
    projects=[{"name": "1", "repository": "1e3", "versions": [{"name": "0x10"}], "workloadonly": False}],
    number=0,
    cut=1,
)
def test_what_is_written_is_what_is_read(projects: list[dict[str, Any]], number: int, cut: int) -> None:
    groups = [{"org": "a", "projects": part} for part in (projects[:cut], projects[cut:]) if part]
    # JSON is YAML, with quotes around every text: a package called y would be true without.
    found = read(json.dumps({"name": f"v1-33-{number}", "kubernetesVersion": "1.33", "packages": groups}))
    assert [
        (item.name, item.repository, list(item.versions), item.registry, item.workloadonly) for item in found.projects
    ] == [
        (
            item["name"],
            item["repository"],
            [version["name"] for version in item["versions"]],
            item.get("registry", ""),
            item.get("workloadonly", False),
        )
        for item in projects
    ]
    assert found.name.age == (1, number)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_text_does_more_than_be_refused(raw: bytes) -> None:
    with pytest.raises(BundlectlError):
        parse_package_input(raw, origin="packages.yaml")


NODES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(where=st.sampled_from(["name", "kubernetesVersion", "packages", "org", "projects", "versions"]), node=NODES)
def test_anything_in_a_field_is_read_or_told_with_its_line(where: str, node: Any) -> None:
    document: dict[str, Any] = yaml.safe_load(FULL)
    place = document["packages"][0]
    holder = {"org": place, "projects": place, "versions": place["projects"][0]}.get(where, document)
    holder[where] = node
    try:
        read(yaml.safe_dump(document, allow_unicode=True))
    except ContentError as error:
        told = str(error)
    else:
        told = "packages.yaml:"
    assert told.startswith("packages.yaml:")

"""Each registry product of the folder is data that the rest can rely on."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import mirror.profiles
from mirror.oci.artifact import FILES_REPOSITORY
from mirror.oci.reference import check_repository
from mirror.profiles import GENERIC, RegistryProfile, every_profile, recognize

FOLDER = Path(mirror.profiles.__file__).parent
every = pytest.mark.parametrize("profile", every_profile(), ids=lambda profile: profile.name)


def test_a_product_is_found_by_its_file_being_there() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {profile.name for profile in every_profile()} == files
    assert {"generic", "harbor", "ecr"} <= files


@every
def test_a_profile_is_called_like_its_module_and_has_a_title(profile: RegistryProfile) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", profile.name)
    assert profile.title.strip() == profile.title
    assert profile.title


@every
def test_a_profile_says_how_it_is_recognized_unless_it_is_what_nothing_is_known_of(profile: RegistryProfile) -> None:
    assert bool(profile.token_services or profile.hosts) == (profile is not GENERIC)
    re.compile(profile.hosts)


@every
def test_what_a_profile_recognizes_no_other_one_does(profile: RegistryProfile) -> None:
    for service in profile.token_services:
        assert recognize("registry.example", service) is profile
    others = [other for other in every_profile() if other is not profile]
    assert not any(other.token_services & profile.token_services for other in others)


@every
def test_names_are_limited_within_what_any_registry_takes(profile: RegistryProfile) -> None:
    assert 100 <= profile.name_limit <= 255
    check_repository("a" * profile.name_limit)


@every
def test_what_bundlectl_makes_itself_has_names_that_are_not_misread(profile: RegistryProfile) -> None:
    for repository in (FILES_REPOSITORY, profile.documents, "eks-anywhere/eks-anywhere-packages-bundles"):
        check_repository(repository)
        assert not profile.misreads(repository)
        assert not profile.misreads(f"project/{repository}")


@every
def test_the_management_api_that_a_profile_names_is_there(profile: RegistryProfile) -> None:
    assert not profile.api or find_spec(f"mirror.remote.{profile.api}")


@every
def test_a_project_is_the_first_component_where_there_are_projects(profile: RegistryProfile) -> None:
    assert profile.project_of("team/app/web") == ("team" if profile.has_projects else "")
    assert not profile.one_token_a_project or profile.has_projects


@pytest.mark.parametrize(
    ("host", "service", "name"),
    [
        ("harbor.example:8443", "harbor-registry", "harbor"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "", "ecr"),
        ("123456789012.dkr-ecr.eu-west-1.on.aws", "ecr", "ecr"),
        ("harbor.example", "", "generic"),
        ("harbor.example", "registry.docker.io", "generic"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example", "", "generic"),
    ],
)
def test_a_product_is_told_by_challenge_or_host_and_never_by_what_a_name_contains(
    host: str, service: str, name: str
) -> None:
    assert recognize(host, service).name == name

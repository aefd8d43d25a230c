"""What is read from the environment."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from bundlectl.cli.environment import current_time, read_environment
from bundlectl.errors import ConfigError

HOME = Path("/home/someone")


def test_configuration_is_found_in_the_user_s_and_the_system_s_folder_only() -> None:
    found = read_environment({}, home=HOME).config_files
    assert found == (HOME / ".config/bundlectl/config.toml", Path("/etc/bundlectl/config.toml"))
    found = read_environment({"XDG_CONFIG_HOME": "/elsewhere"}, home=HOME).config_files
    assert found[0] == Path("/elsewhere/bundlectl/config.toml")


def test_a_relative_config_home_is_ignored_since_it_would_be_the_working_directory() -> None:
    found = read_environment({"XDG_CONFIG_HOME": "."}, home=HOME).config_files
    assert found[0] == HOME / ".config/bundlectl/config.toml"


def test_credentials_are_looked_for_at_docker_then_podman() -> None:
    found = read_environment({"XDG_RUNTIME_DIR": "/run/user/7"}, home=HOME).credential_files
    assert found == (
        HOME / ".docker/config.json",
        Path("/run/user/7/containers/auth.json"),
        HOME / ".config/containers/auth.json",
    )
    assert read_environment({"DOCKER_CONFIG": "/d"}, home=HOME).credential_files[0] == Path("/d/config.json")


def test_registry_auth_file_excludes_all_others() -> None:
    found = read_environment({"REGISTRY_AUTH_FILE": "/a.json", "DOCKER_CONFIG": "/d"}, home=HOME).credential_files
    assert found == (Path("/a.json"),)


def test_proxies_are_read_in_either_case_and_secrets_stay_out_of_the_repr() -> None:
    found = read_environment(
        {
            "https_proxy": "http://user:hunter2@proxy.example",
            "HTTP_PROXY": "http://other.example",
            "NO_PROXY": "10.0.0.0/8",
            "DOCKER_AUTH_CONFIG": '{"auths":{"h":{"auth":"c2VjcmV0"}}}',
        },
        home=HOME,
    )
    assert found.https_proxy == "http://user:hunter2@proxy.example"
    assert found.http_proxy == "http://other.example"
    assert found.no_proxy == "10.0.0.0/8"
    assert found.credential_json
    assert "hunter2" not in repr(found)
    assert "c2VjcmV0" not in repr(found)


def test_programs_that_act_for_the_user_see_all_but_what_is_meant_for_bundlectl() -> None:
    kept = {"HOME": "/home/me", "PATH": "/usr/bin", "AWS_PROFILE": "site"}
    ours = {"BUNDLECTL_PKCS11_PIN": "1234", "COSIGN_PASSWORD": "a", "DOCKER_AUTH_CONFIG": "{}"}
    found = read_environment({**kept, **ours})
    assert found.for_programs == kept
    assert "AWS_PROFILE" not in repr(found)


def test_source_date_epoch_stands_in_for_the_time() -> None:
    stated = current_time(read_environment({"SOURCE_DATE_EPOCH": "1700000000"}, home=HOME))
    assert stated == dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)
    before = dt.datetime.now(dt.UTC)
    now = current_time(read_environment({}, home=HOME))
    assert now.microsecond == 0
    assert abs(now - before) < dt.timedelta(minutes=1)


@pytest.mark.parametrize("wrong", ["yesterday", "-1", "1.5", " 1", "\u0661", "9" * 30, "9" * 5000])
def test_a_time_that_is_none_is_said_to_be_none(wrong: str) -> None:
    with pytest.raises(ConfigError, match="not a number of seconds"):
        current_time(read_environment({"SOURCE_DATE_EPOCH": wrong}, home=HOME))

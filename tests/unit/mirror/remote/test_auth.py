"""Credentials where docker and podman keep them."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ConfigError
from mirror.oci.reference import Reference
from mirror.remote.auth import Credential, CredentialStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

part = st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def store(document: Any, **more: Any) -> CredentialStore:
    return CredentialStore(inline=json.dumps(document), **more)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs docker-credential-NAME as a shell script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def install(name: str, script: str) -> Any:
        path = folder / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return install


def test_files_are_asked_in_order_and_absent_ones_skipped(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps({"auths": {"a.test": auth("one", "p:w")}}))
    other.write_text(json.dumps({"auths": {"a.test": auth("other", "x"), "b.test": auth("other", "x")}}))
    found = CredentialStore(files=[tmp_path / "absent.json", one, other])
    assert found.lookup("a.test") == Credential("one", "p:w")
    assert found.lookup("b.test", "x/y") == Credential("other", "x")
    assert found.lookup("c.test") is None


def test_the_command_line_beats_inline_beats_files_beats_providers(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {f"{n}.test": auth("file", "x") for n in "abc"}}))
    found = store(
        {"auths": {f"{n}.test": auth("inline", "x") for n in "ab"}},
        files=[file],
        explicit={"a.test": Credential("explicit", "x")},
        providers=[lambda host: Credential("provider", "x") if host != "e.test" else None],
    )
    hosts = [found.lookup(f"{n}.test") for n in "abcde"]
    assert [item and item.username for item in hosts] == ["explicit", "inline", "file", "provider", None]


def test_a_provider_is_asked_once_for_all_repositories() -> None:
    asked = []

    def provider(host: str) -> Any:
        asked.append(host)
        return Credential("AWS", "token")

    found = CredentialStore(providers=[provider])
    for repository in ("a", "b", "c"):
        assert found.lookup("1.dkr.ecr.test", repository).username == "AWS"
    assert asked == ["1.dkr.ecr.test"]


@pytest.mark.parametrize(
    "key", ["a.test:5000", "https://a.test:5000", "https://a.test:5000/v2/", "http://A.test:5000/v1/"]
)
def test_keys_written_as_urls_name_their_host(key: str) -> None:
    assert store({"auths": {key: auth("u", "p")}}).lookup("a.test:5000", "x") == Credential("u", "p")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io", "index.docker.io"])
@pytest.mark.parametrize("host", ["docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(key: str, host: str) -> None:
    assert store({"auths": {key: auth("u", "p")}}).lookup(host) == Credential("u", "p")


def test_the_most_specific_key_wins() -> None:
    found = store({"auths": {"a.test": auth("host", "x"), "a.test/ns": auth("ns", "x"), "a.test/ns/b": auth("b", "x")}})
    names = {"": "host", "other": "host", "ns": "ns", "ns/c": "ns", "ns/b": "b", "ns/b/c": "b", "nsx": "host"}
    assert {path: found.lookup("a.test", path).username for path in names} == names


@given(part, st.lists(part, min_size=1, max_size=4), st.integers(0, 4))
def test_a_reference_finds_the_key_of_any_part_of_it(host: str, parts: list[str], length: int) -> None:
    reference = Reference.parse(f"{host}.test/{'/'.join(parts)}:v1")
    key = "/".join([f"{host}.test", *parts[:length]])
    found = store({"auths": {key: auth("u", "p"), f"{key}x": auth("other", "p")}})
    assert found.lookup(reference.registry, reference.repository) == Credential("u", "p")


def test_other_forms_of_entries_are_read() -> None:
    found = store(
        {
            "auths": {
                "a": {"username": "u", "password": "p"},
                "b": {"identitytoken": "t"},
                "c": {"registrytoken": "r"},
                "d": {},
                "e": {"auth": ""},
                "f": {**auth("u", "p\0\0"), "email": "x"},
                "g": "nonsense",
            }
        }
    )
    assert found.lookup("a") == Credential("u", "p")
    assert found.lookup("b") == Credential(identity_token="t")
    assert found.lookup("c") == Credential(registry_token="r")
    assert found.lookup("f") == Credential("u", "p")
    assert [found.lookup(name) for name in "deg"] == [None, None, None]


def test_the_flat_file_of_old_is_read() -> None:
    assert store({"https://a.test/v1/": {**auth("u", "p"), "email": "x"}}).lookup("a.test") == Credential("u", "p")


def test_secrets_are_not_shown() -> None:
    shown = repr(Credential("user", "s3cret", "t0ken", "r3gistry"))
    assert "user" in shown
    assert not any(secret in shown for secret in ("s3cret", "t0ken", "r3gistry"))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths":{"a.test":{"auth":"!!"}}}', '{"auths":{"a.test":{"auth":"YWJj"}}}']
)
def test_a_malformed_file_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        CredentialStore(files=[file]).lookup("a.test")
    assert caught.value.artifact == str(file)
    assert "YWJj" not in str(caught.value)


@given(
    st.recursive(
        st.none() | st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=8), inner), max_leaves=8
    )
)
def test_no_json_makes_the_lookup_fail_otherwise(document: Any) -> None:
    with contextlib.suppress(ConfigError):
        store({"auths": document, "credHelpers": {}, "credsStore": ""}).lookup("a.test", "b")


def test_a_helper_is_asked_through_its_standard_input(helper: Callable[[str, str], Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    helper("mine", f'read server; echo "$1 $server" >> {log}; echo \'{{"Username":"u","Secret":"s"}}\'')
    found = store({"credHelpers": {"a.test": "mine"}, "auths": {"a.test": auth("no", "no")}})
    assert found.lookup("a.test", "x") == Credential("u", "s")
    assert found.lookup("a.test", "x") == Credential("u", "s")
    assert log.read_text() == "get a.test\n"


def test_a_helper_is_asked_once_for_all_repositories_of_a_host(
    helper: Callable[[str, str], Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    helper("once", f'read server; echo "$server" >> {log}; echo \'{{"Username":"u","Secret":"s"}}\'')
    store = CredentialStore(inline='{"credsStore": "once"}')
    assert {store.lookup("site.example", f"team/app-{number}") for number in range(5)} == {Credential("u", "s")}
    assert log.read_text().split() == ["site.example"]


def test_the_store_of_docker_hub_is_asked_by_its_old_url(helper: Callable[[str, str], Path]) -> None:
    helper("desk", 'read server; echo "{\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"')
    found = store({"credsStore": "desk", "auths": {"https://index.docker.io/v1/": {}}})
    assert found.lookup("docker.io").username == "https://index.docker.io/v1/"


def test_a_token_from_a_helper_is_an_identity_token(helper: Callable[[str, str], Path]) -> None:
    helper("tok", 'echo \'{"Username":"<token>","Secret":"refresh"}\'')
    assert store({"credsStore": "tok"}).lookup("a.test") == Credential(identity_token="refresh")


def test_a_helper_that_knows_nothing_leaves_the_file_to_speak(helper: Callable[[str, str], Path]) -> None:
    helper("none", "echo credentials not found in native keychain; exit 1")
    assert store({"credsStore": "none", "auths": {"a.test": auth("u", "p")}}).lookup("a.test") == Credential("u", "p")
    assert store({"credsStore": "none"}).lookup("b.test") is None


@pytest.mark.parametrize("script", ["echo s3cret; exit 1", "echo s3cret", 'echo \'{"Username":"s3cret"}\'', "kill $$"])
def test_a_failing_helper_is_an_error_that_repeats_nothing(helper: Callable[[str, str], Path], script: str) -> None:
    helper("bad", script)
    with pytest.raises(ConfigError) as caught:
        store({"credsStore": "bad"}).lookup("a.test")
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("name", ["absent-here", "../evil", "a b", "-x", ""])
def test_a_helper_that_cannot_be_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError):
        store({"credHelpers": {"a.test": name or "/"}}).lookup("a.test")


def test_a_helper_that_hangs_is_given_up(helper: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.remote.keychain._SECONDS", 0.05)
    helper("slow", "exec sleep 5")
    with pytest.raises(ConfigError, match="did not answer"):
        store({"credsStore": "slow"}).lookup("a.test")

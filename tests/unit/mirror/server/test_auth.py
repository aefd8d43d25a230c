from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ConfigError, UsageError
from mirror.server.auth import Access, AccessPolicy, Users, access_policy, is_loopback, load_users, parse_htpasswd
from mirror.server.message import RefusedError, Request

if TYPE_CHECKING:
    from pathlib import Path

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
EVERY = "0.0.0.0"  # noqa: S104 -- never bound here
CLOSED = AccessPolicy(anonymous_pull=False, anonymous_push=False, writable=True)


def request(authorization: str = "", **environ: str) -> Request:
    if authorization:
        environ["HTTP_AUTHORIZATION"] = authorization
    return Request("GET", "/v2/", {}, environ)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_without_users_loopback_may_push() -> None:
    policy = access_policy(host="127.0.0.1", tls=False, htpasswd=False)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True)


def test_without_users_any_other_address_is_read_only() -> None:
    policy = access_policy(host=EVERY, tls=True, htpasswd=False)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=False)


def test_another_address_can_be_opened_for_pushes() -> None:
    policy = access_policy(host=EVERY, tls=False, htpasswd=False, anonymous_push=True)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True)


def test_read_only_closes_loopback() -> None:
    policy = access_policy(host="::1", tls=False, htpasswd=False, read_only=True)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=False)


def test_with_users_nobody_else_may_read_or_write() -> None:
    assert access_policy(host="127.0.0.1", tls=False, htpasswd=True) == CLOSED
    assert access_policy(host=EVERY, tls=True, htpasswd=True) == CLOSED


def test_with_users_reading_can_be_opened() -> None:
    policy = access_policy(host=EVERY, tls=True, htpasswd=True, anonymous_pull=True)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=True)


def test_who_may_push_may_pull() -> None:
    policy = access_policy(host="127.0.0.1", tls=False, htpasswd=True, anonymous_push=True)
    assert policy == AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True)


def test_read_only_binds_users_too() -> None:
    policy = access_policy(host=EVERY, tls=True, htpasswd=True, read_only=True)
    assert not policy.writable


def test_a_password_without_tls_off_loopback_is_refused() -> None:
    with pytest.raises(ConfigError, match="unencrypted"):
        access_policy(host="192.0.2.1", tls=False, htpasswd=True)


def test_contradicting_flags_are_refused() -> None:
    with pytest.raises(UsageError):
        access_policy(host="127.0.0.1", tls=False, htpasswd=False, read_only=True, anonymous_push=True)


@given(
    host=st.sampled_from(["127.0.0.1", "::1", "localhost", EVERY, "::", "10.0.0.1", "registry.example"]),
    tls=st.booleans(),
    htpasswd=st.booleans(),
    pull=st.booleans(),
    push=st.booleans(),
    read_only=st.booleans(),
)
def test_nobody_without_a_name_writes_off_loopback_unless_told(
    host: str, *, tls: bool, htpasswd: bool, pull: bool, push: bool, read_only: bool
) -> None:
    try:
        policy = access_policy(
            host=host, tls=tls, htpasswd=htpasswd, anonymous_pull=pull, anonymous_push=push, read_only=read_only
        )
    except (UsageError, ConfigError):
        return
    if policy.anonymous_push:
        assert push or (is_loopback(host) and not htpasswd)
    assert not (read_only and policy.writable)
    assert policy.anonymous_pull or htpasswd


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.9.9.9", "::1", "[::1]", "LocalHost")],
        *[(host, False) for host in (EVERY, "::", "10.0.0.1", "localhost.example", "", "127.0.0.1.example")],
    ],
)
def test_loopback_is_known(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_bcrypt_entries_are_read() -> None:
    raw = f"# people\n\nalice:{HASH}\nbob:{HASH.replace('$2b$', '$2y$')}\n".encode()
    assert list(parse_htpasswd(raw, origin="f")) == ["alice", "bob"]


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ("u:$apr1$salt$hash", "MD5"),
        ("u:$1$salt$hash", "MD5"),
        ("u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
        ("u:$5$salt$hash", "SHA-256"),
        ("u:$6$salt$hash", "SHA-512"),
        ("u:plainpassword", "not bcrypt"),
        ("u:$2b$31$" + "." * 53, "takes too long"),
    ],
)
def test_any_other_hash_is_refused_without_being_shown(entry: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        parse_htpasswd(entry.encode(), origin="users")
    assert entry.partition(":")[2] not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    "raw", [b"", b"# nobody\n", b"no-colon\n", b":hash\n", b"\xff:x", f"a:{HASH}\na:{HASH}".encode()]
)
def test_a_malformed_file_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_htpasswd(raw, origin="users")


@given(st.binary(max_size=200))
def test_any_file_is_users_or_a_config_error(raw: bytes) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_htpasswd(raw, origin="users")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="htpasswd"):
        load_users(tmp_path / "absent")
    (tmp_path / "users").write_text(f"alice:{HASH}\n")
    assert load_users(tmp_path / "users").verify("alice", "secret")


def test_passwords_are_checked() -> None:
    users = Users({"alice": HASH})
    assert users.verify("alice", "secret")
    assert not users.verify("alice", "wrong")
    assert not users.verify("bob", "secret")
    assert not users.verify("alice", "secret" * 20)
    assert not users.verify("alice", "sec\0ret")
    assert HASH not in repr(users)


def test_a_right_password_is_checked_slowly_once(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users({"alice": HASH})
    assert users.verify("alice", "secret")
    calls: list[bytes] = []
    monkeypatch.setattr(users._bcrypt, "checkpw", lambda password, _: calls.append(password))
    assert users.verify("alice", "secret")
    assert not calls
    assert not users.verify("alice", "wrong")
    assert calls == [b"wrong"]


def test_nothing_remembered_holds_the_password() -> None:
    users = Users({"alice": HASH})
    users.verify("alice", "secret")
    assert b"secret" not in b"".join(users._seen.values())


def test_a_stranger_is_asked_for_a_password() -> None:
    access = Access(CLOSED, Users({"alice": HASH}))
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(), "pull")
    assert caught.value.status == 401
    assert caught.value.headers[0][0] == "WWW-Authenticate"
    assert caught.value.headers[0][1].startswith("Basic realm=")


@pytest.mark.parametrize(
    "header",
    [
        basic("alice", "wrong"),
        basic("bob", "secret"),
        "Basic !!!",
        "Basic",
        "Bearer token",
        "Basic " + "A" * 5000,
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"alice").decode(),
    ],
)
def test_bad_credentials_are_refused_even_where_none_are_needed(header: str) -> None:
    access = Access(AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True), Users({"alice": HASH}))
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(header), "pull")
    assert caught.value.status == 401


def test_empty_credentials_are_none() -> None:
    access = Access(AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=True), Users({"alice": HASH}))
    assert access.authorize(request(basic("", "")), "pull") is None


def test_a_user_may_pull_and_push() -> None:
    access = Access(CLOSED, Users({"alice": HASH}))
    assert access.authorize(request(basic("alice", "secret")), "pull") == "alice"
    assert access.authorize(request(basic("alice", "secret")), "push") == "alice"


def test_a_read_only_registry_tells_everyone_so() -> None:
    access = Access(AccessPolicy(anonymous_pull=True, anonymous_push=False, writable=False), Users({"alice": HASH}))
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(basic("alice", "secret")), "push")
    assert (caught.value.status, caught.value.code) == (403, "DENIED")


def test_a_web_page_may_not_push_through_its_visitor() -> None:
    access = Access(AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True))
    assert access.authorize(request(HTTP_ORIGIN="http://evil.example"), "pull") is None
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(HTTP_ORIGIN="http://evil.example"), "push")
    assert caught.value.status == 403


def test_credentials_are_ignored_where_there_are_no_users() -> None:
    access = Access(AccessPolicy(anonymous_pull=True, anonymous_push=True, writable=True))
    assert access.authorize(request(basic("x", "y")), "push") is None
    assert access.ping_challenge is None


def test_users_who_may_only_pull_pull_and_do_not_push(tmp_path: Path) -> None:
    both, pull = tmp_path / "both", tmp_path / "pull"
    both.write_text(f"alice:{HASH}\n")
    pull.write_text(f"bob:{HASH}\n")
    access = Access(CLOSED, load_users(both, pull))
    assert access.authorize(request(basic("alice", "secret")), "push") == "alice"
    assert access.authorize(request(basic("bob", "secret")), "pull") == "bob"
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(basic("bob", "secret")), "push")
    assert (caught.value.status, caught.value.code) == (403, "DENIED")
    with pytest.raises(RefusedError) as caught:
        access.authorize(request(basic("bob", "wrong")), "pull")
    assert caught.value.status == 401


def test_a_user_of_both_files_is_a_contradiction(tmp_path: Path) -> None:
    both, pull = tmp_path / "both", tmp_path / "pull"
    both.write_text(f"alice:{HASH}\n")
    pull.write_text(f"alice:{HASH}\n")
    with pytest.raises(ConfigError, match="both name 'alice'"):
        load_users(both, pull)


def test_with_users_who_may_only_pull_nobody_pushes_and_nobody_else_pulls() -> None:
    policy = access_policy(host="127.0.0.1", tls=False, htpasswd=False, htpasswd_pull=True)
    assert policy == AccessPolicy(anonymous_pull=False, anonymous_push=False, writable=False)
    with pytest.raises(ConfigError, match="unencrypted"):
        access_policy(host="192.0.2.1", tls=False, htpasswd=False, htpasswd_pull=True)


def test_a_password_that_was_right_once_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    users = Users({"alice": HASH})
    assert users.verify("alice", "secret")
    monkeypatch.setattr(users, "_bcrypt", None)  # whoever hashes now fails
    assert all(users.verify("alice", "secret") for _ in range(1000))


def test_when_too_many_passwords_are_checked_a_client_is_asked_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirror.server.auth._CHECK_WAIT", 0.01)
    users = Users({"alice": HASH})
    with users._slots, users._slots, pytest.raises(RefusedError) as caught:
        users.verify("alice", "secret")
    assert (caught.value.status, dict(caught.value.headers)["Retry-After"]) == (503, "5")

"""Who we are, told to the right server at the right time."""

from __future__ import annotations

import io
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bundlectl.errors import MissingError, RegistryError, TransportError
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.remote import Credential, CredentialStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mirror.remote import RemoteRegistry
    from tests.unit.mirror.conftest import Asked, Web
    from tests.unit.mirror.remote.conftest import FakeRegistry

BLOB = Descriptor("application/octet-stream", Digest.of(b"data"), 4)


def scopes_of(line: str) -> Any:
    return parse_qs(urlsplit(line.split()[1]).query)["scope"]


def test_an_anonymous_token_is_fetched_once_and_used_from_then_on(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    repository = make_registry().repository("team/app")
    for _ in range(3):
        assert not repository.has(BLOB)
    assert len(fake.token_lines) == 1
    assert scopes_of(fake.token_lines[0]) == ["repository:team/app:pull"]
    assert "service=svc" in fake.token_lines[0]
    assert len(fake.lines) == 4


def test_many_workers_fetch_one_token(fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]) -> None:
    fake.auth = "bearer"
    registry = make_registry(user="robot")
    threads = [threading.Thread(target=registry.repository("team/app").has, args=(BLOB,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.token_lines) == 1


def test_a_known_realm_is_asked_before_the_next_repository(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    registry = make_registry()
    registry.repository("team/app").has(BLOB)
    registry.repository("team/other").has(BLOB)
    assert len(fake.lines) == 3
    assert len(fake.token_lines) == 2


def test_writing_asks_for_pull_and_push_and_reading_uses_that_token(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    repository = make_registry(user="robot").repository("team/app")
    repository.begin_blob(BLOB).write(lambda: io.BytesIO(b"data"))
    assert repository.has(BLOB)
    assert [scopes_of(line) for line in fake.token_lines] == [["repository:team/app:pull,push"]]


def test_a_target_needs_one_token_a_repository(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    repository = make_registry(user="robot", push=True).repository("team/app")
    assert not repository.has(BLOB)
    repository.begin_blob(BLOB).write(lambda: io.BytesIO(b"data"))
    assert len(fake.token_lines) == 1


def test_a_mount_asks_for_both_repositories(fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]) -> None:
    fake.auth = "bearer"
    fake.blobs["base/os", str(BLOB.digest)] = b"data"
    repository = make_registry(user="robot").repository("team/app")
    assert repository.begin_blob(BLOB, mount_from="base/os") == "mounted"
    assert scopes_of(fake.token_lines[0]) == ["repository:team/app:pull,push", "repository:base/os:pull"]


def test_a_revoked_token_is_replaced_once(fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]) -> None:
    fake.auth = "bearer"
    repository = make_registry().repository("team/app")
    repository.has(BLOB)
    fake.tokens.clear()
    fake.tokens["token-x"] = []
    repository.has(BLOB)
    assert len(fake.token_lines) == 2


def test_a_token_that_runs_out_during_an_upload_is_replaced(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    repository = make_registry(user="robot").repository("team/app")
    upload = repository.begin_blob(BLOB)

    def before(asked: Asked) -> Any:
        if asked.method == "PUT" and len(fake.token_lines) == 1:
            _ = asked.body
            fake.tokens.clear()
            fake.tokens["token-x"] = []
            return fake.challenge(asked)
        return None

    fake.before = before
    upload.write(lambda: io.BytesIO(b"data"))
    assert fake.blobs["team/app", str(BLOB.digest)] == b"data"


def test_a_second_401_says_no_permission_or_no_project(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    fake.rights = "pull"
    repository = make_registry(user="robot").repository("team/app")
    with pytest.raises(RegistryError, match=r"no permission, or no such project or repository: no entry$") as caught:
        repository.begin_blob(BLOB)
    assert (caught.value.status, caught.value.error_code, caught.value.retryable) == (401, "UNAUTHORIZED", False)
    assert caught.value.hint
    assert len([line for line in fake.lines if line.startswith("POST")]) == 2


def test_missing_credentials_are_called_missing(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "basic"
    with pytest.raises(RegistryError, match="none were found") as caught:
        make_registry().repository("team/app").tags()
    assert caught.value.hint.startswith("docker login")


def test_a_missing_project_is_called_missing_and_not_asked_for_twice(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.before = lambda _asked: (
        401,
        {"WWW-Authenticate": ""},
        b'{"errors":[{"code":"UNAUTHORIZED","message":"project nope not found: project nope not found"}]}',
    )
    with pytest.raises(MissingError, match=r"the project nope does not exist$"):
        make_registry(user="robot").repository("nope/app").tags()
    with pytest.raises(RegistryError, match=r"the project nope does not exist$") as caught:
        make_registry(user="robot").repository("nope/app").begin_blob(BLOB)
    assert "--create-projects" in (caught.value.hint or "")
    assert [line.split()[0] for line in fake.lines] == ["GET", "POST"]


def test_basic_is_learned_and_then_sent_at_once(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "basic"
    repository = make_registry(user="robot").repository("team/app")
    repository.tags()
    repository.tags()
    assert [bool(asked.headers.get("Authorization")) for asked in fake.web.asked] == [False, True, True]


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_asking_what_a_registry_is_spares_the_first_refusal(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], auth: str
) -> None:
    fake.auth = auth
    registry = make_registry(user="robot")
    assert registry.profile.name == "generic"
    registry.repository("team/app").tags()
    assert registry.profile.name == "generic"
    assert len(fake.lines) == 2
    assert registry.requests == 2


@pytest.mark.parametrize("auth", [None, "basic", "bearer"])
def test_of_many_requests_at_once_one_alone_is_refused(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], auth: str | None
) -> None:
    fake.auth = auth
    registry = make_registry(user="robot")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: registry.repository(f"team/app-{number}").tags(), range(16)))
    assert registry.profile.name == "generic"
    assert registry.requests == 16 + (auth is not None)


def test_what_has_no_answer_keeps_nobody_waiting_in_line(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    together = threading.Barrier(4)

    def refuse(_: Any) -> Any:
        if len(fake.lines) > 1:
            # Breaks unless all who come after the first are here at the same time.
            together.wait(10)
        return 403, {}, b""

    fake.before = refuse
    registry = make_registry()

    def ask(number: int) -> int:
        with pytest.raises(RegistryError) as caught:
            registry.repository(f"team/app-{number}").tags()
        return caught.value.status

    assert ask(0) == 403
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(1, 5))) == [403] * 4


def test_what_is_out_of_order_is_not_taken_for_an_ordinary_registry(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    registry = make_registry()
    fake.before = lambda _: (503, {}, b"<html>")
    with pytest.raises(RegistryError, match="503"):
        _ = registry.profile
    challenge = {"WWW-Authenticate": f'Bearer realm="{fake.web.url("/token")}",service="harbor-registry"'}
    fake.before = lambda asked: (401, challenge, b"") if asked.path == "/v2/" else None
    assert registry.profile.name == "harbor"


def test_a_wrong_password_is_tried_twice_by_nobody(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "basic"
    with pytest.raises(RegistryError) as caught:
        make_registry(user="nobody").repository("team/app").tags()
    assert "secret" not in f"{caught.value}{caught.value.hint}"
    assert len(fake.lines) == 2


def test_refused_credentials_are_told_and_not_hammered(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    fake.auth = "bearer"
    repository = make_registry(user="nobody").repository("team/app")
    for _ in range(3):
        with pytest.raises(RegistryError, match="refused the credentials of nobody") as caught:
            repository.tags()
    assert caught.value.hint
    assert len(fake.token_lines) == 1


@pytest.mark.parametrize("oauth", [True, False])
def test_an_identity_token_is_exchanged_or_falls_back(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], web: Web, *, oauth: bool
) -> None:
    fake.auth = "bearer"
    fake.users["<token>"] = "refresh-me"
    forms = []

    def before(asked: Asked) -> Any:
        if asked.method == "POST" and asked.path == "/token" and oauth:
            forms.append(parse_qs(asked.body.decode()))
            fake.tokens["t"] = ["repository:team/app:pull"]
            return 200, {}, b'{"access_token":"t"}'
        return None

    fake.before = before
    store = CredentialStore(explicit={web.host: Credential(identity_token="refresh-me")})
    assert not make_registry(credentials=store).repository("team/app").has(BLOB)
    if oauth:
        assert forms[0]["grant_type"] == ["refresh_token"]
        assert forms[0]["refresh_token"] == ["refresh-me"]
        assert forms[0]["scope"] == ["repository:team/app:pull"]
    assert "refresh-me" not in " ".join(web.lines)


def test_a_registry_token_is_sent_as_it_is(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], web: Web
) -> None:
    fake.auth = "bearer"
    fake.tokens["ready"] = ["repository:team/app:pull"]
    store = CredentialStore(explicit={web.host: Credential(registry_token="ready")})
    assert not make_registry(credentials=store).repository("team/app").has(BLOB)
    assert fake.token_lines == []


def test_a_scope_of_its_own_kind_is_asked_for_with_ours(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], web: Web
) -> None:
    challenge = f'Bearer realm="{web.url("/token")}",service="public",scope="aws"'
    seen = []

    def before(asked: Asked) -> Any:
        if asked.path.startswith("/token"):
            seen.append(parse_qs(urlsplit(asked.path).query)["scope"])
            return 200, {}, b'{"token":"t"}'
        if asked.headers.get("Authorization") != "Bearer t":
            return 401, {"WWW-Authenticate": challenge}, b""
        return 404, {}, b""

    fake.before = before
    registry = make_registry()
    registry.repository("a/b").has(BLOB)
    registry.repository("c/d").has(BLOB)
    assert seen == [["repository:a/b:pull", "aws"], ["repository:c/d:pull", "aws"]]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token":""}', b'{"token":"a\\nb"}', b"<html>"])
def test_a_token_service_that_talks_nonsense_is_told(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], body: bytes
) -> None:
    fake.auth = "bearer"
    fake.before = lambda asked: (200, {}, body) if asked.path.startswith("/token") else None
    with pytest.raises(Exception, match="token service") as caught:
        make_registry().repository("team/app").tags()
    assert type(caught.value).__name__ == "ContentError"


@pytest.mark.parametrize("realm", ["http://10.0.0.5/token", "http://169.254.169.254/latest/meta-data", "file:///etc"])
def test_a_realm_inside_is_never_asked(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], realm: str
) -> None:
    fake.before = lambda _asked: (401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}, b"")
    with pytest.raises(TransportError):
        make_registry(user="robot").repository("team/app").tags()
    assert len(fake.web.asked) == 1


def test_a_challenge_of_another_host_is_not_answered(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], make_web: Callable[..., Web]
) -> None:
    fake.auth = "basic"
    other = make_web()
    other.answer = lambda _asked: (401, {"WWW-Authenticate": f'Bearer realm="{other.url("/t")}"'}, b"")
    moved = {"Location": other.url("/blob")}
    fake.before = lambda asked: (307, moved, b"") if asked.headers.get("Authorization") else None
    with pytest.raises(RegistryError):
        make_registry(user="robot").repository("team/app").open_blob(BLOB)
    assert other.lines == ["GET /blob"]
    assert not other.asked[0].headers.get("Authorization")


def test_a_catalogue_that_takes_no_token_is_asked_for_by_password(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry]
) -> None:
    """Harbor: ``_catalog`` is for Basic alone, everything else is for tokens too."""
    fake.auth = "bearer"

    def before(asked: Asked) -> Any:
        if not asked.path.startswith("/v2/_catalog"):
            return None
        if asked.headers.get("Authorization", "").startswith("Basic "):
            return fake.admitted(asked)
        return 401, {"WWW-Authenticate": 'Basic realm="harbor"'}, b""

    fake.before = before
    registry = make_registry(user="robot")
    assert registry.repository("team/app").tags() == []
    assert registry.repositories() == []
    assert registry.repository("team/app").tags() == []
    assert fake.web.asked[-1].headers["Authorization"].startswith("Bearer ")


@pytest.mark.parametrize("life", ["1" + "0" * 400, "NaN", "-1", "true", '"long"'])
def test_an_odd_life_of_a_token_is_survived(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], life: str
) -> None:
    fake.auth = "bearer"
    fake.tokens["t"] = ["repository:team/app:pull"]
    body = b'{"token":"t","expires_in":' + life.encode() + b"}"
    fake.before = lambda asked: (200, {}, body) if asked.path.startswith("/token") else None
    repository = make_registry().repository("team/app")
    assert [repository.tags(), repository.tags()] == [[], []]
    assert len(fake.token_lines) == 1


def test_docker_hub_is_contacted_at_its_api_host(make_registry: Callable[..., RemoteRegistry], web: Web) -> None:
    registry = make_registry(host="docker.io")
    assert registry._connection.base == "https://registry-1.docker.io/v2/"
    assert registry.repository("library/nginx").name == "docker.io/library/nginx"
    assert make_registry(host="docker.io", origin=f"{web.host}/hub")._connection.base == f"http://{web.host}/v2/"


def test_credentials_are_looked_up_for_the_origin(
    fake: FakeRegistry, make_registry: Callable[..., RemoteRegistry], web: Web
) -> None:
    fake.auth = "basic"
    store = CredentialStore(
        inline=json.dumps({"auths": {f"{web.host}/cache/a": {"username": "robot", "password": "secret"}}})
    )
    registry = make_registry(host="public.ecr.aws", origin=f"{web.host}/cache", credentials=store)
    assert registry.repository("a/b").tags() == []
    with pytest.raises(RegistryError, match=f"none were found for {re.escape(web.host)}"):
        registry.repository("x/y").tags()

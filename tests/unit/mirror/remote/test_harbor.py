"""Harbor: told apart by reading alone, few tokens, its management API and the traps in that."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bundlectl.errors import BundlectlError, MissingError, RegistryError
from mirror.http import HttpClient, Transport
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import EMPTY, OCI_MANIFEST, OCTET_STREAM
from mirror.remote import Credential, CredentialStore, RemoteRegistry
from mirror.remote.tokens import _names_nobody
from registry_fixtures.faults import Fault
from registry_fixtures.harbor import LoginPace, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from registry_fixtures.exchange import Answer, Handler, Request
    from registry_fixtures.harbor import HarborFixture
    from tests.unit.mirror.conftest import Web

BLOB = Descriptor(OCTET_STREAM, Digest.of(b"data"), 4)
EMPTY_CONFIG = Descriptor(EMPTY, Digest.of(b"{}"), 2)


def made(text: str, **more: Any) -> Manifest:
    """A small artifact, another one for each text."""
    return Manifest.render(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.test",
            "config": EMPTY_CONFIG.to_json(),
            "layers": [],
            "annotations": {"text": text},
            **more,
        }
    )


@dataclass(frozen=True)
class Meanwhile:
    """Lets something happen before a request is answered."""

    happen: Callable[[], object]

    def apply(self, request: Request, handler: Handler) -> Answer:
        self.happen()
        return handler(request)


@pytest.fixture
def connect() -> Iterator[Callable[..., RemoteRegistry]]:
    clients: list[HttpClient] = []

    def make(harbor: HarborFixture, name: str = "", secret: str = "", *, push: bool = True) -> RemoteRegistry:
        clients.append(HttpClient(Transport(retries=1, backoff=0.001, max_wait=0.1, read_timeout=10.0)))
        explicit = {harbor.host: Credential(name, secret)} if name else {}
        return RemoteRegistry(
            harbor.host, client=clients[-1], credentials=CredentialStore(explicit=explicit), push=push
        )

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def registry(harbor: HarborFixture, connect: Callable[..., RemoteRegistry]) -> RemoteRegistry:
    """As a robot that mirrors into the projects ``team`` and ``other``."""
    harbor.add_project("team")
    harbor.add_project("other")
    robot = harbor.add_robot("copier")
    return connect(harbor, robot.name, robot.secret)


def test_it_is_recognized_by_one_request_that_reads_and_carries_no_credentials(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    assert registry.profile.name == "harbor"
    assert registry.harbor is not None
    assert [(entry.method, entry.path, entry.authorization) for entry in harbor.requests.entries()] == [
        ("GET", "/v2/", "")
    ]


def test_one_token_does_for_all_repositories_of_a_project_and_for_all_threads(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    threads = [
        threading.Thread(target=registry.repository(f"team/app-{number}").has, args=(BLOB,)) for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.repository("team/app-0").begin_blob(BLOB).write(lambda: io.BytesIO(b"data"))
    assert registry.repository("team/app-1").begin_blob(BLOB, mount_from="team/app-0") == "mounted"
    assert harbor.requests.count(path="/service/token") == 1


def test_a_token_for_the_next_project_is_good_for_those_before_as_well(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    for name in ("team/a", "other/b", "team/c", "other/d"):
        registry.repository(name).has(BLOB)
    registry.repository("team/a").begin_blob(BLOB).write(lambda: io.BytesIO(b"data"))
    assert registry.repository("other/b").begin_blob(BLOB, mount_from="team/a") == "mounted"
    assert harbor.requests.count(path="/service/token") == 2


def test_scopes_in_a_token_are_capped(harbor: HarborFixture, connect: Callable[..., RemoteRegistry]) -> None:
    robot = harbor.add_robot("copier")
    registry = connect(harbor, robot.name, robot.secret)
    for number in range(60):
        harbor.add_project(f"project-{number}")
        registry.repository(f"project-{number}/app").has(BLOB)
    asked = [entry.query.count("scope=") for entry in harbor.requests.entries(path="/service/token")]
    assert max(asked) == 50


def test_a_password_is_never_sent_with_content_and_no_cookie_ever_is(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team")
    repository = connect(harbor, "admin", "Harbor12345").repository("team/app")
    repository.begin_blob(EMPTY_CONFIG).write(lambda: io.BytesIO(b"{}"))
    repository.put_manifest(made("one"), tag="v1")
    repository.delete_manifest(made("one").descriptor.digest)
    assert {entry.authorization for entry in harbor.requests.entries(path="/v2/*")} == {"", "Bearer"}
    assert harbor.requests.count(status=403) == 0


def test_a_wrong_password_is_found_out_though_harbor_gives_a_token_for_it(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirror.remote.tokens._LOCKED_LOGIN", 0.01)
    harbor.add_project("team", public=True)
    with pytest.raises(RegistryError, match="refused the credentials of admin") as caught:
        connect(harbor, "admin", "wrong").repository("team/app").tags()
    assert "wrong" not in f"{caught.value} {caught.value.hint}"
    assert harbor.requests.count(path="/service/token") == 2


def test_a_name_that_somebody_else_locked_is_tried_once_more(
    harbor_factory: Callable[..., HarborFixture], connect: Callable[..., RemoteRegistry]
) -> None:
    harbor = harbor_factory(pace=LoginPace(human=0, lock=1.0))
    harbor.add_project("team")
    guessing = threading.Thread(target=harbor.people.login, args=("admin", "guess"))
    guessing.start()
    while harbor.people.login("admin", "Harbor12345") is not None:
        pass
    assert connect(harbor, "admin", "Harbor12345").repository("team/app").tags() == []
    guessing.join()


def test_tokens_from_before_a_project_was_made_are_not_used_for_it(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team")
    registry = connect(harbor, "admin", "Harbor12345")
    registry.repository("team/app").has(BLOB)
    harbor.clock.advance(120)
    api = registry.harbor
    assert api
    assert api.create_project("fresh")
    registry.repository("fresh/app").begin_blob(BLOB).write(lambda: io.BytesIO(b"data"))
    assert harbor.requests.count("POST|PUT|PATCH", "/v2/*", status=401) == 0


def test_a_refused_right_is_told_at_once(harbor: HarborFixture, connect: Callable[..., RemoteRegistry]) -> None:
    harbor.add_project("team")
    robot = harbor.add_robot("reader", rights=("repository:pull",))
    repository = connect(harbor, robot.name, robot.secret).repository("team/app")
    for _ in range(3):
        with pytest.raises(RegistryError, match="no permission"):
            repository.begin_blob(BLOB)
    assert harbor.requests.count(path="/service/token") == 1


def test_a_missing_project_is_missing_for_whoever_reads_and_named_to_whoever_writes(
    registry: RemoteRegistry,
) -> None:
    repository = registry.repository("nope/app")
    with pytest.raises(MissingError):
        repository.resolve("v1")
    with pytest.raises(MissingError, match="the project nope does not exist"):
        repository.tags()
    with pytest.raises(RegistryError, match="the project nope does not exist") as caught:
        repository.begin_blob(BLOB)
    assert registry.harbor
    assert not registry.harbor.has_project("nope")
    assert not repository.has(BLOB)
    assert "--create-projects" in (caught.value.hint or "")


def test_what_a_policy_withholds_is_there_all_the_same(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team", metadata={"enable_content_trust_cosign": "true"})
    robot = harbor.add_robot("copier")
    repository = connect(harbor, robot.name, robot.secret).repository("team/app")
    manifest = made("unsigned")
    harbor.put_manifest("team/app", manifest.raw, tag="v1")
    assert repository.resolve("v1").digest == manifest.descriptor.digest
    assert repository.has(manifest.descriptor)
    with pytest.raises(RegistryError, match="not signed by cosign") as caught:
        repository.manifest(manifest.descriptor)
    assert "end that policy" in (caught.value.hint or "")
    with pytest.raises(MissingError):
        repository.resolve("v2")


def test_projects_are_made_once_and_as_visible_as_wanted(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    api = connect(harbor, "admin", "Harbor12345").harbor
    assert api
    assert not api.has_project("team")
    assert api.create_project("team", public=True)
    assert not api.create_project("team", public=True)
    assert api.has_project("team")
    assert api.policies("team")["public"] == "true"
    assert api.create_project("hidden")
    assert api.policies("hidden")["public"] == "false"


def test_whoever_may_not_make_projects_is_told_who_may(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    harbor.settings.project_creation_restriction = "adminonly"
    assert registry.harbor
    with pytest.raises(RegistryError, match="the project cannot be made") as caught:
        registry.harbor.create_project("fresh")
    assert "administrator" in (caught.value.hint or "")


def test_wrong_credentials_are_not_taken_for_an_absent_project(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    api = connect(harbor, "nobody", "secret").harbor
    assert api
    assert not api.knows_us()
    with pytest.raises(RegistryError, match="refused the credentials of nobody"):
        api.has_project("library")


def test_a_quota_is_read_with_the_rights_of_a_robot(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    harbor.add_project("small", quota=1000)
    assert registry.harbor
    small, team = registry.harbor.project("small"), registry.harbor.project("team")
    assert small
    assert small.quota
    assert (small.quota.used, small.quota.hard, small.quota.left) == (0, 1000, 1000)
    assert team
    assert team.quota
    assert team.quota.left is None
    assert registry.harbor.project("nope") is None


def test_a_robot_without_that_right_sees_no_quota_and_no_error(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team")
    robot = harbor.add_robot("pusher", rights=("repository:pull", "repository:push"))
    api = connect(harbor, robot.name, robot.secret).harbor
    assert api
    assert api.project("team") is None
    assert api.has_project("team")
    assert api.immutable_rules("team") is None
    assert api.free_space() is None
    assert api.collects_untagged() is None


def test_a_proxy_cache_is_known_for_one(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    harbor.add_project("cache", proxy=True)
    assert registry.harbor
    found = registry.harbor.project("cache")
    assert found
    assert found.proxied


def fill(harbor: HarborFixture, repositories: int, tags: int) -> dict[tuple[str, str], Digest]:
    wanted = {}
    for number in range(repositories):
        for tag in range(tags):
            manifest = made(f"{number}-{tag}")
            harbor.put_manifest(f"team/group/app-{number}", manifest.raw, tag=f"v{tag}")
            wanted[f"{harbor.host}/team/group/app-{number}", f"v{tag}"] = manifest.descriptor.digest
    return wanted


def test_all_tags_of_a_project_are_listed_a_hundred_at_a_time(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    wanted = fill(harbor, 10, 21)
    assert registry.list_tags(Counter(name for name, _ in wanted)) == wanted
    assert harbor.requests.count(path="/api/v2.0/projects/team/artifacts") == 3


def test_of_a_large_project_only_the_repositories_asked_for_are_listed(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    wanted = fill(harbor, 4, 120)
    two = dict.fromkeys((f"{harbor.host}/team/group/app-{number}" for number in (1, 3)), 120)
    assert registry.list_tags(two) == {key: digest for key, digest in wanted.items() if key[0] in two}
    assert harbor.requests.count(path="/api/v2.0/projects/team/artifacts") == 1
    assert harbor.requests.count(path="/api/v2.0/projects/team/repositories/*") == 4


def test_several_projects_are_listed_and_absent_repositories_have_no_tags(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    manifest = made("x")
    harbor.put_manifest("other/app", manifest.raw, tag="v1")
    wanted = {f"{harbor.host}/{name}": 2 for name in ("other/app", "team/none", "team/neither")}
    assert registry.list_tags(wanted) == {(f"{harbor.host}/other/app", "v1"): manifest.descriptor.digest}


def test_a_project_that_is_hidden_from_us_keeps_no_other_from_being_listed(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    manifest = made("x")
    harbor.put_manifest("team/app", manifest.raw, tag="v1")
    wanted = {f"{harbor.host}/absent/app": 2, f"{harbor.host}/team/app": 2}
    assert registry.list_tags(wanted) == {(f"{harbor.host}/team/app", "v1"): manifest.descriptor.digest}


def test_no_more_pages_are_asked_for_than_tags_are_wanted(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    wanted = fill(harbor, 2, 250)
    found = registry.list_tags({f"{harbor.host}/team/group/app-0": 1, f"{harbor.host}/team/group/app-1": 2})
    # The project has five pages, each repository three: of two each the first was asked for.
    assert harbor.requests.count(path="/api/*") == 2
    assert found.items() <= wanted.items()


def test_a_repository_of_which_one_tag_is_wanted_is_not_listed(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    fill(harbor, 1, 3)
    assert registry.list_tags({f"{harbor.host}/team/group/app-0": 1}) == {}
    assert harbor.requests.count(path="/api/*") == 0


def test_where_listing_is_not_allowed_nothing_is_listed(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team")
    fill(harbor, 2, 1)
    robot = harbor.add_robot("pusher", rights=("repository:pull", "repository:push"))
    wanted = {f"{harbor.host}/team/group/app-{number}": 2 for number in range(2)}
    assert connect(harbor, robot.name, robot.secret).list_tags(wanted) == {}
    assert harbor.requests.count(path="/api/*") == 2
    assert connect(harbor).list_tags(wanted) == {}


def test_other_products_have_no_such_list(registry_factory: Callable[..., Any]) -> None:
    served = registry_factory()
    with HttpClient(Transport(retries=0)) as client:
        explicit = {served.host: Credential("robot", "secret")}
        plain = RemoteRegistry(served.host, client=client, credentials=CredentialStore(explicit=explicit))
        assert plain.list_tags({f"{served.host}/a/b": 2}) == {}
        assert plain.harbor is None
        assert plain.profile.name == "generic"


def test_repositories_are_listed_for_a_robot_that_may_not_see_the_catalogue(
    harbor: HarborFixture, registry: RemoteRegistry
) -> None:
    fill(harbor, 110, 1)
    harbor.put_manifest("other/group/app-1", made("x").raw, tag="v1")
    assert registry.repositories("other") == ["other/group/app-1"]
    assert len(registry.repositories("team")) == 110
    assert registry.repositories("team/group/app-7") == ["team/group/app-7"]
    assert len(registry.repositories()) == 111


def test_with_wrong_credentials_no_list_of_what_strangers_see_is_taken_for_all_there_is(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("open", public=True)
    harbor.put_manifest("open/app", made("x").raw, tag="v1")
    with pytest.raises(RegistryError, match="refused the credentials"):
        connect(harbor, "robot$gone", "wrong").repositories()
    assert connect(harbor).repositories() == ["open/app"]


def test_a_list_that_shrinks_while_it_is_read_is_not_taken_for_complete(
    harbor: HarborFixture, registry: RemoteRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(harbor, 4, 1)
    monkeypatch.setattr("mirror.remote.harbor._PAGE_SIZE", 2)
    held = harbor.database.projects["team"].repositories
    harbor.faults.add(Fault(Meanwhile(lambda: held.pop("team/group/app-0")), path="*/team/repositories", nth=2))
    with pytest.raises(RegistryError, match="3 of 4"):
        registry.repositories("team")


def test_a_repository_is_deleted_with_all_that_is_in_it(
    harbor: HarborFixture, connect: Callable[..., RemoteRegistry]
) -> None:
    harbor.add_project("team")
    fill(harbor, 1, 2)
    api = connect(harbor, "admin", "Harbor12345").harbor
    assert api
    api.delete_repository("team/group/app-0")
    assert api.artifact("team/group/app-0", "v0") is None
    with pytest.raises(MissingError):
        api.delete_repository("team/group/app-0")


def test_what_belongs_to_an_image_is_shown_with_its_kind(harbor: HarborFixture, registry: RemoteRegistry) -> None:
    image = made("image")
    harbor.put_manifest("team/app", image.raw, tag="v1")
    bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
    signature = made("signature", subject=image.descriptor.to_json(), artifactType=bundle)
    harbor.put_manifest("team/app", signature.raw)
    assert registry.harbor
    assert registry.harbor.accessories("team/app", image.descriptor.digest) == [
        ("signature.cosign", str(signature.descriptor.digest))
    ]


def test_garbage_collection_of_untagged_content_is_seen_by_an_administrator(
    harbor_factory: Callable[..., HarborFixture], connect: Callable[..., RemoteRegistry]
) -> None:
    for schedule, untagged, expected in (("0 0 2 * * *", True, True), ("0 0 2 * * *", False, False), ("", True, False)):
        harbor = harbor_factory(settings=Settings(gc_schedule=schedule, gc_delete_untagged=untagged))
        api = connect(harbor, "admin", "Harbor12345").harbor
        assert api
        assert api.collects_untagged() is expected


KEYS = (
    *("storage", "free", "quota", "hard", "used", "registry", "name", "metadata", "tags", "digest", "type"),
    *("schedule", "parameters", "job_parameters", "repository_name", "harbor_version"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(document=JSON)
@example(document=[{"tags": 5, "digest": "sha256:" + "0" * 64}])
@example(document={"storage": 5})
def test_whatever_json_the_api_answers_nothing_but_our_errors_comes_of_it(
    web: Web, connect: Callable[..., RemoteRegistry], document: object
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="{web.url("/service/token")}",service="harbor-registry"'}
    body = json.dumps(document).encode()
    web.answer = lambda asked: (401, challenge, b"") if asked.path.startswith("/v2/") else (200, {}, body)
    api = connect(web, "robot", "secret").harbor
    assert api
    for attempt in (
        api.system,
        api.free_space,
        api.collects_untagged,
        lambda: api.project("p"),
        lambda: api.policies("p"),
        lambda: api.immutable_rules("p"),
        lambda: api.retention("1"),
        lambda: api.artifact("p/r", "v1"),
        lambda: api.accessories("p/r", Digest.of(b"")),
        lambda: api.tags("p", {"p/a": 2, "p/b": 2}),
        lambda: api.repositories("p"),
    ):
        with contextlib.suppress(BundlectlError):
            attempt()


@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: f"a.{base64.b64encode(raw).decode()}.c"))
def test_a_token_that_is_no_jwt_is_taken_as_it_is(text: str) -> None:
    assert _names_nobody(text) in (True, False)

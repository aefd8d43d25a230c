"""``registry check``: what works, what does not, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.operations import Connection, Naming, Session
from bundlectl.operations.checking_registries import RegistryCheck, check_registry
from mirror.http import HostTransport, Transport
from mirror.oci.manifest import Manifest
from mirror.oci.mediatype import OCI_INDEX
from mirror.remote import Credential
from registry_fixtures.accounts import Accounts
from registry_fixtures.faults import Fault, FaultPlan, FlipByte
from registry_fixtures.features import Features
from registry_fixtures.harbor import Settings
from registry_fixtures.harbor.fixture import MIRROR_RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.operations.reaching import Check
    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry

ADMIN = ("admin", "Harbor12345")


def examine(
    host: str,
    *,
    prefix: str = "eks",
    account: tuple[str, str] | None = None,
    read_only: bool = False,
    hosts: dict[str, HostTransport] | None = None,
) -> RegistryCheck:
    transport = Transport(retries=0, hosts=hosts or {}, connect_timeout=2.0)
    explicit = {host: Credential(*account)} if account else {}
    with Session(Connection(transport=transport, explicit=explicit)) as session:
        return check_registry(Naming.parse(f"{host}/{prefix}".rstrip("/")), session=session, read_only=read_only)


def outcomes(result: RegistryCheck) -> dict[str, str]:
    """The worst outcome of each check."""
    order = ["skipped", "ok", "warning", "failed"]
    found: dict[str, str] = {}
    for check in result.checks:
        found[check.name] = max(found.get(check.name, "skipped"), check.outcome, key=order.index)
    return found


def one(result: RegistryCheck, name: str) -> Check:
    (found,) = (check for check in result.checks if check.name == name)
    return found


def test_a_complete_registry_passes_and_is_left_as_it_was(registry: ServedRegistry) -> None:
    result = examine(registry.host)
    assert result.usable
    assert result.exit_code == 0
    assert outcomes(result) == {
        "dns": "ok",
        "tcp": "ok",
        "tls": "warning",
        "api": "ok",
        "credentials": "ok",
        "push": "ok",
        "pull": "ok",
        "chunked-upload": "ok",
        "mount": "ok",
        "referrers": "ok",
        "sparse-index": "warning",
        "sha512": "ok",
        "delete": "ok",
    }
    assert not any(registry.holdings.repository(name).manifests for name in registry.holdings.names())


@pytest.mark.parametrize(
    ("features", "name"),
    [
        (Features(referrers_api=False), "referrers"),
        (Features(mount=False), "mount"),
        (Features(sha512=False), "sha512"),
        (Features(delete=False), "delete"),
        (Features(sparse_indexes=False), "sparse-index"),
    ],
)
def test_what_a_registry_cannot_do_is_a_warning_with_its_consequence(
    registry_factory: Callable[..., ServedRegistry], features: Features, name: str
) -> None:
    result = examine(registry_factory(features=features).host)
    found = one(result, name)
    assert found.outcome == "warning"
    assert found.fix
    assert result.exit_code == 0


def test_a_registry_that_takes_sparse_indexes_is_told_so(registry_factory: Callable[..., ServedRegistry]) -> None:
    assert one(examine(registry_factory(features=Features(sparse_indexes=True)).host), "sparse-index").outcome == "ok"


def test_a_registry_that_takes_no_push_cannot_serve(registry_factory: Callable[..., ServedRegistry]) -> None:
    result = examine(registry_factory(features=Features(read_only=True)).host)
    assert one(result, "push").outcome == "failed"
    assert result.exit_code == 1
    assert result.checks[-1].name == "push"


@pytest.mark.parametrize(("scheme", "told"), [("none", "were not tried"), ("basic", "lets robot in")])
def test_credentials_that_nobody_asked_for_are_not_called_good(
    registry_factory: Callable[..., ServedRegistry], scheme: Any, told: str
) -> None:
    target = registry_factory(accounts=Accounts(scheme=scheme, users={"robot": "secret"}))
    found = one(examine(target.host, account=("robot", "secret"), read_only=True), "credentials")
    assert (found.outcome, told in found.message) == ("ok", True)


def test_looking_alone_writes_nothing(registry: ServedRegistry) -> None:
    result = examine(registry.host, read_only=True)
    assert result.exit_code == 0
    assert "push" not in outcomes(result)
    assert {entry.method for entry in registry.requests.entries()} <= {"GET", "HEAD"}


def test_an_unknown_name_ends_the_check_there() -> None:
    result = examine("registry.invalid")
    assert [(check.name, check.outcome) for check in result.checks] == [("dns", "failed")]
    assert result.exit_code == 1
    assert result.checks[0].fix


def test_a_closed_port_ends_the_check_there(registry: ServedRegistry) -> None:
    registry.close()
    result = examine(registry.host)
    assert result.checks[-1].outcome == "failed"
    assert result.checks[-1].name == "tcp"


def test_missing_and_wrong_credentials_are_told_apart(registry_factory: Callable[..., ServedRegistry]) -> None:
    served = registry_factory(accounts=Accounts(scheme="token", users={"robot": "secret"}))
    assert "docker login" in (one(examine(served.host), "push").fix or "")
    refused = one(examine(served.host, account=("robot", "wrong")), "credentials")
    assert (refused.outcome, "refused the credentials of robot" in refused.message) == ("failed", True)
    assert examine(served.host, account=("robot", "secret")).usable


@pytest.mark.parametrize("path", ["*/blobs/*", "*/manifests/*"])
def test_what_comes_back_altered_is_found(registry_factory: Callable[..., ServedRegistry], path: str) -> None:
    faults = FaultPlan(Fault(FlipByte(), method="GET", path=path))
    result = examine(registry_factory(faults=faults).host)
    assert one(result, "pull").outcome == "failed"
    assert result.exit_code == 1


# Harbor


@pytest.fixture
def robot(harbor: HarborFixture) -> tuple[str, str]:
    harbor.add_project("eks")
    made = harbor.add_robot("copier", rights=(*MIRROR_RIGHTS, "repository:delete"))
    return made.name, made.secret


def test_a_harbor_that_is_ready_passes_and_is_left_as_it_was(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    result = examine(harbor.host, account=robot)
    assert (result.product, result.version, result.account) == ("Harbor", harbor.settings.version, robot[0])
    assert result.usable
    assert {name for name, outcome in outcomes(result).items() if outcome != "ok"} == {"tls", "sparse-index", "sha512"}
    assert "accessories" in one(result, "referrers").message
    assert all(not found.artifacts for found in harbor.database.projects["eks"].repositories.values())


def test_an_administrator_learns_of_the_disk_and_of_garbage_collection(
    harbor_factory: Callable[..., HarborFixture],
) -> None:
    harbor = harbor_factory(settings=Settings(gc_schedule="0 0 2 * * *", gc_delete_untagged=True))
    harbor.add_project("eks")
    result = examine(harbor.host, account=ADMIN, read_only=True)
    assert one(result, "disk").outcome == "ok"
    assert one(result, "garbage-collection").outcome == "warning"
    assert "tag" in (one(result, "garbage-collection").fix or "")


def test_a_person_is_advised_to_send_a_robot(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    assert "robot account" in one(examine(harbor.host, account=ADMIN, read_only=True), "credentials").message
    assert "person" not in one(examine(harbor.host, account=robot, read_only=True), "credentials").message


def test_a_password_is_not_believed_because_a_public_project_can_be_read(harbor: HarborFixture) -> None:
    harbor.add_project("eks", public=True)
    result = examine(harbor.host, account=("admin", "wrong"))
    assert one(result, "credentials").outcome == "failed"
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("setting", "name", "word"),
    [
        ({}, "project", "--create-projects"),
        ({"proxy": True}, "project", "another project"),
    ],
)
def test_a_project_that_cannot_be_filled_is_a_failure(
    harbor: HarborFixture, setting: dict[str, Any], name: str, word: str
) -> None:
    if setting:
        harbor.add_project("eks", **setting)
    result = examine(harbor.host, account=ADMIN)
    assert one(result, name).outcome == "failed"
    assert word in (one(result, name).fix or "")
    assert harbor.requests.count("POST|PUT|PATCH", "/v2/*") == 0


def test_a_harbor_without_a_project_named_is_looked_at_and_left_alone(harbor: HarborFixture) -> None:
    result = examine(harbor.host, prefix="", account=ADMIN)
    assert one(result, "project").outcome == "warning"
    assert result.checks[-1].name == "project"
    assert result.exit_code == 0
    harbor.add_project("bundlectl")
    assert one(examine(harbor.host, prefix="", account=ADMIN), "push").outcome == "ok"


def test_a_prefix_that_harbor_misreads_is_a_failure(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    result = examine(harbor.host, account=robot, prefix="eks/manifests")
    assert one(result, "project").outcome == "failed"
    assert harbor.requests.count("POST|PUT|PATCH", "/v2/*") == 0


def test_read_only_mode_is_a_failure(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    harbor.settings.read_only = True
    assert one(examine(harbor.host, account=robot), "read-only").outcome == "failed"


def test_a_quota_is_shown_and_a_full_one_is_a_failure(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    project = harbor.database.projects["eks"]
    project.storage_limit = 10**9
    assert one(examine(harbor.host, account=robot), "quota").outcome == "ok"
    project.storage_limit = 0
    full = one(examine(harbor.host, account=robot, read_only=True), "quota")
    assert full.outcome == "failed"


@pytest.mark.parametrize(
    ("tags", "outcome", "words"),
    [
        ("**", "warning", {"except sha256-* from the rule", "except *-latest from the rule"}),
        ("v*", "warning", {"except *-latest from the rule"}),
        ("{sha256-*,release-?}", "warning", {"except sha256-* from the rule"}),
        ("release-*", "ok", set()),
    ],
)
def test_rules_of_immutable_tags_are_read_for_what_they_would_break(
    harbor: HarborFixture, robot: tuple[str, str], tags: str, outcome: str, words: set[str]
) -> None:
    harbor.add_immutable_rule("eks", tags=tags)
    result = examine(harbor.host, account=robot, read_only=True)
    assert outcomes(result)["immutable-tags"] == outcome
    assert {check.fix for check in result.checks if check.name == "immutable-tags" and check.fix} == words


def test_retention_and_pull_policies_are_warned_of(harbor: HarborFixture, robot: tuple[str, str]) -> None:
    harbor.add_project("eks", metadata={"enable_content_trust_cosign": "true", "prevent_vul": "true"})
    rule = {"template": "latestPushedK", "params": {"latestPushedK": 3}, "action": "retain"}
    harbor.set_retention("eks", {"algorithm": "or", "rules": [rule], "trigger": {"kind": "Schedule", "settings": {}}})
    found = outcomes(examine(harbor.host, account=robot))
    assert (found["retention"], found["signatures-required"], found["vulnerabilities"]) == ("warning",) * 3
    assert found["push"] == "ok"
    assert found["pull"] == "warning"


def test_without_the_right_to_delete_it_is_said_what_stays(harbor: HarborFixture) -> None:
    harbor.add_project("eks")
    made = harbor.add_robot("copier")
    left = one(examine(harbor.host, account=(made.name, made.secret)), "delete")
    assert left.outcome == "warning"
    assert "eks/bundlectl/check" in (left.fix or "")


@pytest.mark.parametrize("name", ["eks/bundlectl/check", "eks/bundlectl/check-mount"])
def test_what_others_keep_where_a_check_pushes_stays(harbor: HarborFixture, name: str) -> None:
    harbor.add_project("eks")
    raw = Manifest.render({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).raw
    kept = harbor.put_manifest(name, raw, tag="theirs")
    result = examine(harbor.host, account=ADMIN)
    assert outcomes(result)["delete"] == "ok"
    held = harbor.database.projects["eks"].repositories[name]
    assert (set(held.tags), set(held.artifacts)) == ({"theirs"}, {kept.descriptor.digest})


def test_a_tag_that_a_check_left_behind_and_that_cannot_move_does_not_fail_the_next_one(harbor: HarborFixture) -> None:
    harbor.add_project("eks")
    harbor.add_immutable_rule("eks")
    made = harbor.add_robot("copier")
    first, second = (examine(harbor.host, account=(made.name, made.secret)) for _ in range(2))
    assert first.usable
    assert second.usable
    assert "by-digest-" in one(second, "push").message


def test_a_robot_that_may_only_pull_cannot_fill_it(harbor: HarborFixture) -> None:
    harbor.add_project("eks")
    made = harbor.add_robot("reader", rights=("repository:pull",))
    result = examine(harbor.host, account=(made.name, made.secret))
    assert one(result, "push").outcome == "failed"
    assert "no permission" in one(result, "push").message

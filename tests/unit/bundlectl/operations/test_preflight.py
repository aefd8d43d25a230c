"""Before the first byte goes to a Harbor: its projects, quotas, disk and modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import RegistryError, UsageError
from bundlectl.events import Notice
from bundlectl.operations import (
    Connection,
    CopyReport,
    MirrorPlan,
    Naming,
    Session,
    lock,
    mirror,
    plan,
    verify_registry,
)
from bundlectl.operations.preflight import prepare_target
from bundles.plan import TargetPlan
from mirror.http import Transport
from mirror.remote import Credential
from registry_fixtures.accounts import Accounts
from tests.unit.bundlectl.operations.test_moving import EKSD, PACKAGES, PAUSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.events import Event
    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry
    from tests.unit.bundlectl.operations.site import Site

ADMIN = ("admin", "Harbor12345")
IMAGE = f"image:{PAUSE}"


class Mirroring:
    """Fills a Harbor from the upstream of the samples."""

    def __init__(self, site: Site, harbor: HarborFixture) -> None:
        self.site = site
        self.harbor = harbor
        self.account = ADMIN
        self.heard: list[Event] = []

    def session(self) -> Session:
        transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
        explicit = {self.harbor.host: Credential(*self.account)} if self.account[0] else {}
        connection = Connection(transport=transport, origins=self.site.source.origin_map, jobs=4, explicit=explicit)
        return Session(connection, listener=self.heard.append)

    def naming(self, prefix: str) -> Naming:
        return Naming.parse(f"{self.harbor.host}/{prefix}" if prefix else self.harbor.host)

    def mirror(self, *sources: str, to: str = "eks", **more: Any) -> CopyReport:
        with self.session() as session:
            return mirror(self.site.request(*sources), session=session, target=self.naming(to), **more)

    def plan(self, *sources: str, to: str = "eks", **more: Any) -> MirrorPlan:
        with self.session() as session:
            return plan(self.site.request(*sources), session=session, target=self.naming(to), **more)

    @property
    def written(self) -> list[str]:
        """Requests that change something on the registry API."""
        return [f"{entry.method} {entry.path}" for entry in self.harbor.requests.entries("POST|PUT|PATCH", "/v2/*")]


@pytest.fixture
def filling(site: Site, harbor: HarborFixture) -> Mirroring:
    return Mirroring(site, harbor)


def test_a_missing_project_ends_the_run_before_the_first_byte(filling: Mirroring) -> None:
    with pytest.raises(RegistryError, match="the project eks does not exist") as caught:
        filling.mirror(IMAGE)
    assert "--create-projects" in (caught.value.hint or "")
    assert caught.value.exit_code == 1
    assert filling.written == []


def test_all_missing_projects_are_named_at_once(filling: Mirroring) -> None:
    filling.harbor.add_project("bundlectl")
    with pytest.raises(RegistryError, match="the projects csi-components, eks-anywhere, eks-distro do not exist"):
        filling.mirror(EKSD, PACKAGES, to="")


@pytest.mark.parametrize("visibility", ["private", "public"])
def test_missing_projects_are_made_when_told_to_and_then_filled(filling: Mirroring, visibility: Any) -> None:
    report = filling.mirror(EKSD, to="", create_projects=visibility)
    assert (report.exit_code, report.artifacts_done) == (0, report.artifacts_total)
    projects = filling.harbor.database.projects
    assert {"eks-distro", "bundlectl"} <= projects.keys()
    assert projects["eks-distro"].metadata["public"] == str(visibility == "public").lower()
    told = [event.message for event in filling.heard if isinstance(event, Notice)]
    assert f"the project eks-distro was made ({visibility})" in told


def test_a_dry_run_makes_no_project_and_says_so(filling: Mirroring) -> None:
    planned = filling.plan(IMAGE, create_projects="private")
    assert planned.estimate.bytes > 0
    assert "eks" not in filling.harbor.database.projects
    assert any("would be made" in event.message for event in filling.heard if isinstance(event, Notice))
    with pytest.raises(RegistryError, match="does not exist"):
        filling.plan(IMAGE)


def test_an_account_that_may_not_make_projects_is_told_before_the_first_byte(filling: Mirroring) -> None:
    filling.harbor.settings.project_creation_restriction = "adminonly"
    robot = filling.harbor.add_robot("copier")
    filling.account = (robot.name, robot.secret)
    with pytest.raises(RegistryError, match="the project cannot be made"):
        filling.mirror(IMAGE, create_projects="private")
    assert filling.written == []


def test_a_robot_with_the_rights_of_the_docs_fills_a_project(filling: Mirroring) -> None:
    filling.harbor.add_project("eks", quota=10**9)
    robot = filling.harbor.add_robot("copier")
    filling.account = (robot.name, robot.secret)
    assert filling.mirror(EKSD).exit_code == 0
    assert filling.mirror(EKSD).artifacts_done == 0


def test_a_quota_that_cannot_suffice_is_named_before_the_first_byte(filling: Mirroring) -> None:
    filling.harbor.add_project("eks", quota=2000)
    with pytest.raises(RegistryError, match=r"the quota is too small: eks has used .* and needs") as caught:
        filling.mirror(IMAGE)
    assert "raise the quota" in (caught.value.hint or "")
    assert filling.written == []


def test_the_quota_that_a_new_project_is_given_counts(filling: Mirroring) -> None:
    filling.harbor.settings.storage_per_project = 2000
    with pytest.raises(RegistryError, match="the quota is too small"):
        filling.mirror(IMAGE, create_projects="private")
    assert filling.written == []


def test_the_exact_need_decides_where_the_upper_bound_does_not_fit(filling: Mirroring) -> None:
    project = filling.harbor.add_project("eks")
    filling.mirror(EKSD)
    used = quota_of(filling, "eks")
    project.storage_limit = used + 20_000
    assert filling.mirror(EKSD, IMAGE).exit_code == 0
    project.storage_limit = used
    assert filling.mirror(EKSD).exit_code == 0


def quota_of(filling: Mirroring, project: str) -> int:
    with filling.session() as session:
        api = session.target(filling.harbor.host).harbor
        found = api.project(project) if api else None
    assert found
    assert found.quota
    return found.quota.used


def test_what_one_repository_of_a_project_holds_needs_no_room_for_another(filling: Mirroring) -> None:
    project = filling.harbor.add_project("eks")
    filling.mirror(IMAGE)
    project.storage_limit = quota_of(filling, "eks")
    locked, naming = filling.site.lock(IMAGE), filling.naming("eks/again")
    held = TargetPlan.of(locked, filling.naming("eks")).artifacts
    planned = TargetPlan.of(locked, naming)
    both = TargetPlan(naming, (*held, *planned.artifacts))
    with filling.session() as session:
        registry = session.target(filling.harbor.host)
        prepare_target(registry, both, locked, both.artifacts, session=session)
        with pytest.raises(RegistryError, match="the quota is too small"):
            prepare_target(registry, planned, locked, planned.artifacts, session=session)


def test_what_one_project_holds_takes_no_more_disk_for_another(filling: Mirroring) -> None:
    filling.harbor.add_project("eks")
    filling.harbor.add_project("other")
    filling.mirror(IMAGE)
    locked, naming = filling.site.lock(IMAGE), filling.naming("other")
    held = TargetPlan.of(locked, filling.naming("eks")).artifacts
    planned = TargetPlan.of(locked, naming)
    both = TargetPlan(naming, (*held, *planned.artifacts))
    filling.harbor.settings.volume_size = sum(record.size for record in filling.harbor.database.blobs.values()) + 100
    with filling.session() as session:
        registry = session.target(filling.harbor.host)
        prepare_target(registry, both, locked, both.artifacts, session=session)
        with pytest.raises(RegistryError, match="of disk left"):
            prepare_target(registry, planned, locked, planned.artifacts, session=session)


def test_read_only_mode_ends_the_run_before_the_first_byte(filling: Mirroring) -> None:
    filling.harbor.add_project("eks")
    filling.harbor.settings.read_only = True
    with pytest.raises(RegistryError, match="read-only mode") as caught:
        filling.mirror(IMAGE)
    assert caught.value.hint
    assert filling.written == []


def test_what_is_all_there_needs_neither_room_nor_a_registry_that_can_be_written(filling: Mirroring) -> None:
    project = filling.harbor.add_project("eks")
    path = filling.site.lock_file(EKSD)
    filling.mirror(path)
    project.storage_limit = 1
    filling.harbor.settings.read_only = True
    filling.harbor.requests.clear()
    assert filling.mirror(path).artifacts_done == 0
    assert filling.harbor.requests.count(path="/api/*") == 0


def test_a_proxy_cache_ends_the_run_before_the_first_byte(filling: Mirroring) -> None:
    filling.harbor.add_project("eks", proxy=True)
    with pytest.raises(RegistryError, match="proxy cache"):
        filling.mirror(IMAGE)
    assert filling.written == []


def test_a_name_that_harbor_cannot_hold_is_refused_by_its_length(filling: Mirroring) -> None:
    with pytest.raises(UsageError, match="takes 245") as caught:
        filling.mirror(IMAGE, to="eks/" + "a" * 220)
    assert "--map" in (caught.value.hint or "")
    assert filling.written == []


@pytest.mark.parametrize("to", ["eks", ""])
def test_documents_have_a_name_there_that_harbor_does_not_misread(filling: Mirroring, to: str) -> None:
    filling.harbor.settings.misread_paths = True
    for project in ("eks", "eks-distro", "csi-components", "bundlectl"):
        filling.harbor.add_project(project)
    path = filling.site.lock_file(EKSD)
    planned = filling.plan(path, to=to)
    report = filling.mirror(path, to=to)
    assert (report.exit_code, report.artifacts_done) == (0, report.artifacts_total)
    with filling.session() as session:
        assert verify_registry(filling.naming(to), against=path, session=session, deep=True).findings == []
    assert filling.mirror(path, to=to).artifacts_done == 0
    targets = [target for item in planned.to_json()["manifests"] for target in item["targets"]]
    assert targets
    name = "/".join(part for part in (filling.harbor.host, to, "bundlectl/release-manifests") if part)
    assert {target.rpartition(":")[0] for target in targets} == {name}


def test_a_robot_mirrors_out_of_a_harbor_that_shows_it_no_catalogue(filling: Mirroring) -> None:
    filling.harbor.add_project("eks")
    robot = filling.harbor.add_robot("copier")
    filling.account = (robot.name, robot.secret)
    filling.mirror(IMAGE)
    with filling.session() as session:
        found = lock(filling.site.request(f"registry:{filling.harbor.host}/eks"), session=session)
    (image,) = found.artifacts
    assert image.digest == filling.site.lock(IMAGE).artifacts[0].digest
    assert image.referrers


@pytest.mark.parametrize("prefix", ["eks/manifests", "eks/a/referrers", "eks/tags/list", "eks/blobs/uploads/b"])
def test_a_name_whose_paths_harbor_misreads_is_refused(filling: Mirroring, prefix: str) -> None:
    with pytest.raises(UsageError, match="for those of another one") as caught:
        filling.mirror(IMAGE, to=prefix)
    assert "--exclude" in (caught.value.hint or "")
    assert filling.written == []


@pytest.mark.parametrize("prefix", ["manifests", "eks/manifests-of", "eks/tags/a", "eks/a-referrers", "eks/blobs"])
def test_a_name_that_only_resembles_such_a_one_is_none(filling: Mirroring, prefix: str) -> None:
    assert filling.mirror(IMAGE, to=prefix, create_projects="private").exit_code == 0


def test_what_was_all_listed_as_being_there_costs_no_question_about_room(
    filling: Mirroring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlectl.operations.mirroring._LISTING_PAYS", 1)
    filling.harbor.add_project("eks")
    path = filling.site.lock_file(EKSD)
    filling.mirror(path)
    filling.harbor.requests.clear()
    assert filling.mirror(path).artifacts_done == 0
    assert {entry.path for entry in filling.harbor.requests.entries(path="/api/*")} == {
        "/api/v2.0/projects/eks/artifacts"
    }


def test_without_credentials_nothing_is_asked_that_a_plain_registry_would_not_be(site: Site) -> None:
    assert site.mirror(IMAGE).exit_code == 0
    assert site.target.requests.count(path="/v2/") == 0
    assert site.target.requests.count(path="/api/*") == 0


def test_a_harbor_whose_management_api_is_hidden_is_filled_with_a_warning(
    filling: Mirroring, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling.harbor.add_project("eks")
    monkeypatch.setattr("mirror.remote.harbor._API", "hidden/")
    assert filling.mirror(IMAGE).exit_code == 0
    assert any("management API" in event.message for event in filling.heard if isinstance(event, Notice))


def test_one_token_does_for_a_whole_run_into_one_project(
    site: Site, harbor_factory: Callable[..., HarborFixture]
) -> None:
    filling = Mirroring(site, harbor_factory())
    filling.harbor.add_project("eks")
    assert filling.mirror(EKSD).exit_code == 0
    assert filling.harbor.requests.count(path="/service/token") == 1
    assert {entry.authorization for entry in filling.harbor.requests.entries(path="/v2/*")} <= {"", "Bearer"}


@pytest.mark.parametrize("person", [True, False])
def test_a_private_harbor_is_a_source_as_well(filling: Mirroring, *, person: bool) -> None:
    filling.harbor.add_project("eks")
    assert filling.mirror(IMAGE).exit_code == 0
    if not person:
        reader = filling.harbor.add_robot("reader", rights=("repository:pull", "artifact:read"))
        filling.account = (reader.name, reader.secret)
    held = f"{filling.harbor.host}/eks/{PAUSE.partition('/')[2]}"
    filling.harbor.requests.clear()
    with filling.session() as session:
        report = mirror(filling.site.request(f"image:{held}"), session=session, target=filling.site.naming)
    assert (report.exit_code, report.artifacts_done) == (0, 1)
    assert filling.harbor.requests.count(path="/service/token") == 1
    assert {entry.authorization for entry in filling.harbor.requests.entries(path="/v2/*")} <= {"", "Bearer"}
    (image,) = (item for item in filling.site.target.holdings.names() if item.endswith("kubernetes/pause"))
    # Signatures came along, whichever way Harbor lists them.
    (locked,) = filling.site.lock(IMAGE).artifacts
    arrived = filling.site.target.holdings.repository(image)
    assert locked.referrers
    assert {item.digest for item in locked.referrers} <= arrived.manifests.keys()
    assert {item.tag for item in locked.referrers if item.tag} <= arrived.tags.keys()


@pytest.mark.parametrize("scheme", ["basic", "token"])
def test_at_another_registry_nothing_is_asked_to_recognize_it_and_one_request_is_refused(
    site: Site, registry_factory: Callable[..., ServedRegistry], scheme: Any
) -> None:
    target = registry_factory(accounts=Accounts(scheme=scheme, users={"robot": "secret"}))
    transport = Transport(retries=1, backoff=0.001, max_wait=0.01)
    explicit = {target.host: Credential("robot", "secret")}
    connection = Connection(transport=transport, origins=site.source.origin_map, jobs=4, explicit=explicit)
    with Session(connection) as session:
        naming = Naming.parse(f"{target.host}/eks")
        assert mirror(site.request(IMAGE), session=session, target=naming).exit_code == 0
    assert target.requests.count(status=401) == 1
    assert target.requests.count(path="/v2/|/api/*") == 0

"""Mirroring once more: what is asked of either side when all is there already, and what is noticed nevertheless."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.events import Notice
from bundlectl.operations import Connection, Naming, Session, mirror
from mirror.http import Transport
from mirror.oci.platform import Platform
from mirror.remote import Credential
from registry_fixtures.accounts import Accounts
from registry_fixtures.faults import Fault, Refuse
from registry_fixtures.features import Features
from tests.unit.bundlectl.operations.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundles.lock import Lock
    from mirror.oci.digest import Digest
    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.holdings import RepositoryHoldings
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Served

EKSD = "eks-d:1-33"
PACKAGES = "packages:1-33"
PAUSE = "public.ecr.aws/eks-distro/kubernetes/pause:v1.33.5-eks-1-33-12"
COREDNS = "public.ecr.aws/eks-distro/coredns/coredns:v1.12.1-eks-1-33-12"
PAUSE_TAG = PAUSE.rpartition(":")[2]


@pytest.fixture
def site(upstream_served: Served, registry_factory: Callable[..., ServedRegistry], tmp_path: Path) -> Iterator[Site]:
    """As ever, but what was confirmed is remembered, and the target takes sparse indexes."""
    with Site(upstream_served, registry_factory(features=Features(sparse_indexes=True)), tmp_path) as place:
        place.memory = tmp_path / "state"
        yield place


def pause(site: Site) -> RepositoryHoldings:
    return site.target.holdings.repository("eks/eks-distro/kubernetes/pause")


def asked(site: Site) -> Counter[tuple[str, str]]:
    """What the target was asked, and how often."""
    return Counter((entry.method, entry.path.partition("/v2/")[2]) for entry in site.target.requests.entries())


def once_each(site: Site) -> Counter[tuple[str, str]]:
    """One HEAD for every tag of the target."""
    holdings = site.target.holdings
    return Counter(("HEAD", f"{name}/manifests/{tag}") for name in holdings.names() for tag in holdings.find(name).tags)  # type: ignore[union-attr]


def cleared(site: Site) -> Site:
    site.source.requests.clear()
    site.target.requests.clear()
    site.heard.clear()
    return site


def children(lock: Lock, reference: str) -> list[Digest]:
    (artifact,) = (item for item in lock.artifacts if item.reference == reference)
    return [digest for digest in artifact.manifests if digest != artifact.digest]


def warnings(site: Site) -> list[str]:
    """What was told, but for that signatures are not looked at here."""
    told = [event.message for event in site.heard if isinstance(event, Notice) and event.level == "warning"]
    return [message for message in told if "--verify off" not in message]


def test_a_lock_of_what_is_there_costs_nothing_at_the_source_and_one_request_a_tag_at_the_target(site: Site) -> None:
    lock = site.lock_file(EKSD, PACKAGES)
    site.mirror(lock)
    report = cleared(site).mirror(lock)
    assert (report.artifacts_skipped, report.exit_code) == (report.artifacts_total, 0)
    assert site.source.requests.count() == 0
    assert asked(site) == once_each(site)
    assert (report.requests_source, report.requests_target) == (0, sum(asked(site).values()))


@pytest.mark.parametrize("listing", [1, 1000])
@pytest.mark.parametrize("scheme", ["none", "basic", "token"])
def test_with_credentials_one_request_more_is_refused_and_none_is_spent_on_recognizing_the_target(
    site: Site,
    registry_factory: Callable[..., ServedRegistry],
    monkeypatch: pytest.MonkeyPatch,
    scheme: Any,
    listing: int,
) -> None:
    monkeypatch.setattr("bundlectl.operations.mirroring._LISTING_PAYS", listing)
    accounts = Accounts(scheme=scheme, users={"robot": "secret"})
    site.target = registry_factory(features=Features(sparse_indexes=True), accounts=accounts)
    site.naming = Naming.parse(f"{site.target.host}/eks")
    site.explicit = {site.target.host: Credential("robot", "secret")}
    lock = site.lock_file(EKSD, PACKAGES)
    site.mirror(lock)
    assert cleared(site).mirror(lock).artifacts_done == 0
    requests = site.target.requests
    refused = [(entry.method, entry.path.partition("/v2/")[2]) for entry in requests.entries(status=401)]
    assert len(refused) == (scheme != "none")
    tokens = Counter({("GET", ""): requests.count(path="/token")})
    assert asked(site) == once_each(site) + Counter(refused) + tokens


def test_what_another_tool_brought_is_looked_through_once_and_then_remembered(site: Site, tmp_path: Path) -> None:
    lock = site.lock_file(EKSD)
    site.mirror(lock)
    site.memory = tmp_path / "of another machine"
    assert cleared(site).mirror(lock).artifacts_done == 0
    assert sum(asked(site).values()) > sum(once_each(site).values())
    assert cleared(site).mirror(lock).artifacts_done == 0
    assert asked(site) == once_each(site)


def test_without_memory_a_lost_child_is_brought_back(site: Site, tmp_path: Path) -> None:
    path = site.lock_file(f"image:{PAUSE}")
    site.mirror(path)
    child = children(site.lock(f"image:{PAUSE}"), PAUSE)[0]
    del pause(site).manifests[child]
    site.memory = tmp_path / "lost"
    assert site.mirror(path).artifacts_done == 1
    assert child in pause(site).manifests


def test_a_tag_that_somebody_moved_is_put_right(site: Site) -> None:
    path = site.lock_file(EKSD)
    site.mirror(path)
    digest, child = pause(site).tags[PAUSE_TAG], children(site.lock(f"image:{PAUSE}"), PAUSE)[0]
    pause(site).tags[PAUSE_TAG] = child
    assert site.mirror(path).artifacts_done == 1
    assert pause(site).tags[PAUSE_TAG] == digest
    assert cleared(site).mirror(path).artifacts_done == 0
    assert asked(site) == once_each(site)


def test_where_a_tag_was_moved_and_moved_back_what_is_below_is_looked_at_again(site: Site) -> None:
    path = site.lock_file(f"image:{PAUSE}")
    site.mirror(path)
    digest, child = pause(site).tags[PAUSE_TAG], children(site.lock(f"image:{PAUSE}"), PAUSE)[0]
    del pause(site).tags[PAUSE_TAG]
    # The run that notices cannot mend it.
    site.target.faults.add(Fault(Refuse(403), method="PUT"))
    assert site.mirror(path).exit_code == 4
    site.target.faults.clear()
    pause(site).tags[PAUSE_TAG] = digest
    del pause(site).manifests[child]
    assert site.mirror(path).artifacts_done == 1
    assert child in pause(site).manifests


def test_a_wider_lock_after_a_narrower_one_brings_the_other_platforms(site: Site) -> None:
    narrow = site.lock_file(f"image:{PAUSE}", platforms=(Platform.parse("linux/amd64"),))
    site.mirror(narrow)
    assert site.mirror(narrow).artifacts_done == 0
    wide = site.lock_file(f"image:{PAUSE}")
    before = len(pause(site).manifests)
    assert site.mirror(wide).artifacts_done == 1
    assert len(pause(site).manifests) > before
    assert site.verify(wide).findings == []


def test_signatures_that_an_earlier_lock_left_out_are_brought(site: Site) -> None:
    site.mirror(site.lock_file(f"image:{PAUSE}", referrers=False))
    signed = site.lock_file(f"image:{PAUSE}")
    assert site.mirror(signed).artifacts_done == 1
    (artifact,) = site.lock(f"image:{PAUSE}").artifacts
    assert {item.digest for item in artifact.referrers} <= pause(site).manifests.keys()


def test_a_referrer_that_the_target_has_and_does_not_list_is_listed(
    site: Site, registry_factory: Callable[..., ServedRegistry]
) -> None:
    site.target = registry_factory(features=Features(referrers_api=False))
    site.naming = Naming.parse(f"{site.target.host}/eks")
    path = site.lock_file(f"image:{PAUSE}")
    site.mirror(path)
    lists = [tag for tag in pause(site).tags if tag.startswith("sha256-") and "." not in tag]
    assert lists
    for tag in lists:
        del pause(site).tags[tag]
    site.memory = None
    assert site.mirror(path).artifacts_done == 1
    assert [tag for tag in lists if tag not in pause(site).tags] == []


def test_what_verify_found_missing_is_brought_by_the_next_mirror(site: Site) -> None:
    path = site.lock_file(EKSD)
    site.mirror(path)
    lock = site.lock(f"image:{PAUSE}")
    child, blob = children(lock, PAUSE)[0], lock.artifacts[0].blobs[0]
    del pause(site).manifests[child]
    pause(site).blobs.discard(blob)
    assert {item.digest for item in site.verify(path, deep=False).findings} == {str(child), str(blob)}
    assert site.mirror(path).artifacts_done == 1
    assert site.verify(path).findings == []
    assert site.mirror(path).artifacts_done == 0


def test_from_tags_one_request_each_at_the_source_is_more(site: Site) -> None:
    sources = (f"image:{PAUSE}", f"image:{COREDNS}")
    site.mirror(*sources, referrers=False)
    report = cleared(site).mirror(*sources, referrers=False)
    assert report.artifacts_skipped == 2
    assert [entry.method for entry in site.source.requests.entries()] == ["HEAD", "HEAD"]
    assert sum(asked(site).values()) == 2


def test_from_tags_nothing_is_read_twice_in_a_first_run(site: Site) -> None:
    site.mirror(f"image:{PAUSE}")
    read = Counter(entry.path for entry in site.source.requests.entries("GET", "*/manifests/*"))
    assert set(read.values()) == {1}


def test_recorded_state_that_is_trusted_costs_a_sample(site: Site) -> None:
    lock = site.lock_file(EKSD, PACKAGES)
    total = site.mirror(lock).artifacts_total
    report = cleared(site).mirror(lock, trust_recorded=True)
    assert report.artifacts_skipped == total > 10
    tagged = {path for method, path in asked(site) if ":" not in path.rpartition("/")[2]}
    assert 0 < len(tagged) < sum(once_each(site).values())
    assert site.source.requests.count() == 0
    assert warnings(site) == []


def test_a_sample_that_is_not_as_recorded_lets_everything_be_asked_for(site: Site) -> None:
    lock = site.lock_file(EKSD)
    site.mirror(lock)
    holdings = site.target.holdings
    for name in holdings.names():
        holdings.repository(name).tags.clear()
    report = cleared(site).mirror(lock, trust_recorded=True)
    assert (report.artifacts_done, report.exit_code) == (report.artifacts_total, 0)
    assert any("not as recorded" in message for message in warnings(site))
    assert site.verify(lock).findings == []


def test_what_a_sample_finds_missing_below_a_tag_is_brought_back(site: Site) -> None:
    lock = site.lock_file(f"image:{PAUSE}", f"image:{COREDNS}")
    site.mirror(lock)
    child = children(site.lock(f"image:{PAUSE}"), PAUSE)[0]
    del pause(site).manifests[child]
    assert cleared(site).mirror(lock, trust_recorded=True).artifacts_done == 1
    assert any("not as recorded" in message for message in warnings(site))
    assert child in pause(site).manifests


def test_trusting_what_was_never_recorded_asks_for_everything(site: Site) -> None:
    lock = site.lock_file(EKSD)
    assert site.mirror(lock, trust_recorded=True).artifacts_done > 0
    assert site.verify(lock).findings == []


def test_a_plan_asks_no_more_than_the_run(site: Site) -> None:
    lock = site.lock_file(EKSD)
    site.mirror(lock)
    assert cleared(site).plan(lock).estimate.pending == []
    assert asked(site) == once_each(site)


def test_one_platform_under_the_tag_of_an_index_is_remembered_as_that(
    site: Site, registry_factory: Callable[..., ServedRegistry]
) -> None:
    site.target = registry_factory()
    site.naming = Naming.parse(f"{site.target.host}/eks")
    path = site.lock_file(f"image:{PAUSE}", platforms=(Platform.parse("linux/amd64"),), referrers=False)
    first = site.mirror(path)
    assert len(first.not_addressable) == 1
    report = cleared(site).mirror(path)
    assert (report.artifacts_skipped, report.not_addressable) == (1, first.not_addressable)
    assert asked(site) == once_each(site)
    assert site.mirror(path, trust_recorded=True).not_addressable == first.not_addressable


def test_runs_at_once_share_what_they_remember(site: Site) -> None:
    locks = [site.lock_file(EKSD), site.lock_file(PACKAGES), site.lock_file(f"image:{PAUSE}")]
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(site.mirror, locks))
    assert [report.exit_code for report in reports] == [0, 0, 0]
    assert warnings(site) == []
    both = site.lock_file(EKSD, PACKAGES)
    assert cleared(site).mirror(both).artifacts_done == 0
    assert asked(site) == once_each(site)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_damaged_memory_is_told_of_and_costs_requests_only(site: Site, content: bytes) -> None:
    lock = site.lock_file(f"image:{PAUSE}")
    site.mirror(lock)
    assert site.memory is not None
    for file in site.memory.rglob("*.sqlite"):
        file.write_bytes(content)
    report = cleared(site).mirror(lock)
    assert (report.exit_code, report.artifacts_skipped) == (0, 1)
    assert any("damaged" in message for message in warnings(site))
    assert cleared(site).mirror(lock).artifacts_done == 0
    assert (asked(site), warnings(site)) == (once_each(site), [])


def test_a_memory_that_cannot_be_written_is_told_of_and_costs_requests_only(site: Site) -> None:
    site.memory = site.folder / "state"
    site.memory.write_text("a file where the directory should be")
    lock = site.lock_file(f"image:{PAUSE}")
    assert site.mirror(lock).artifacts_done == 1
    assert site.mirror(lock).artifacts_skipped == 1
    assert any("nothing is remembered" in message for message in warnings(site))


def test_a_memory_that_others_could_have_written_is_not_believed(site: Site) -> None:
    lock = site.lock_file(f"image:{PAUSE}")
    site.mirror(lock)
    assert site.memory is not None
    files = list(site.memory.rglob("*.sqlite"))
    assert files
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        file.chmod(0o666)
    child = children(site.lock(f"image:{PAUSE}"), PAUSE)[0]
    del pause(site).manifests[child]
    assert cleared(site).mirror(lock).artifacts_done == 1
    assert child in pause(site).manifests


def test_nothing_is_remembered_of_a_run_that_failed(site: Site) -> None:
    lock = site.lock_file(EKSD)
    site.target.faults.add(Fault(Refuse(403), method="PUT", path=f"*/pause/manifests/{PAUSE_TAG}"))
    assert site.mirror(lock).exit_code == 4
    site.target.faults.clear()
    pause(site).tags[PAUSE_TAG] = next(iter(pause(site).manifests))
    assert site.mirror(lock).artifacts_done == 1
    assert site.verify(lock).findings == []


def test_the_report_is_the_same_with_and_without_memory(site: Site, tmp_path: Path) -> None:
    lock = site.lock_file(EKSD)
    site.mirror(lock)
    reports = []
    for memory in (site.memory, None, tmp_path / "new"):
        site.memory = memory
        shown = site.mirror(lock).to_json()
        reports.append(json.dumps({key: shown[key] for key in shown if key not in ("requests", "seconds")}))
    assert len(set(reports)) == 1


def test_a_harbor_is_asked_for_lists_in_place_of_tags(
    site: Site, harbor: HarborFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlectl.operations.mirroring._LISTING_PAYS", 5)
    lock = site.lock_file(EKSD, PACKAGES)
    connection = Connection(
        transport=Transport(retries=1, backoff=0.001, max_wait=0.01),
        origins=site.source.origin_map,
        explicit={harbor.host: Credential("admin", "Harbor12345")},
        memory=site.memory,
    )
    target = Naming.parse(f"{harbor.host}/eks")
    for _ in range(2):
        harbor.requests.clear()
        with Session(connection, listener=site.heard.append) as session:
            report = mirror(site.request(lock), session=session, target=target, create_projects="private")
    assert (report.exit_code, report.artifacts_skipped) == (0, report.artifacts_total)
    heads = Counter(entry.path for entry in harbor.requests.entries("HEAD", "/v2/*"))
    # The first is challenged, and answered when asked again; those of cosign's scheme are not listed.
    (first,) = (path for path in heads if "/manifests/sha256-" not in path)
    assert heads.pop(first) == 2
    assert set(heads.values()) == {1}
    assert harbor.requests.count(path="/v2/") == 0

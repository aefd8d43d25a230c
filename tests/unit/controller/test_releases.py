"""helm's records, as far as they can be judged without a cluster."""

from __future__ import annotations

from typing import Any, cast

import pytest

from controller.releases import DESCRIPTION, Release, Revision, read_release
from tests.unit.controller.test_records import record


def revision(number: int, status: str, fingerprint: str = "a", *, ready: bool = False) -> Revision:
    return Revision(number=number, status=status, fingerprint=fingerprint, ready=ready)


class Secrets:
    """The records of a release in an API server."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record

    def list_metadata(self, path: str, **query: str) -> list[dict[str, Any]]:
        assert (path, query["as_user"]) == ("/api/v1/namespaces/apps/secrets", "installer")
        labels = {"version": "1", "status": "pending-install", "bundlectl.dev/bundle": "v1-33-1"}
        return [{"metadata": {"labels": labels, "creationTimestamp": "2026-01-01T00:00:10Z"}}]

    def find(self, path: str, *, as_user: str) -> dict[str, Any]:
        assert (path.rpartition("/")[2], as_user) == ("sh.helm.release.v1.a.v1", "installer")
        return self.record


def test_a_release_says_of_which_chart_it_is_and_when_its_last_revision_began() -> None:
    held = {"info": {"description": "d"}, "chart": {"metadata": {"name": "greeter"}}}
    found = read_release(cast("Any", Secrets(record(held))), "apps", "a", as_user="installer")
    assert found is not None
    assert (found.description, found.chart, found.pending) == ("d", "greeter", True)
    assert (found.last.began, found.last.bundle) == (1767225610.0, "v1-33-1")


@pytest.mark.parametrize("held", [{"info": [], "chart": "x"}, {"chart": {"metadata": {"name": 3}}}, {}])
def test_a_record_that_somebody_made_up_says_nothing(held: object) -> None:
    found = read_release(cast("Any", Secrets(record(held))), "apps", "a", as_user="installer")
    assert found is not None
    assert (found.description, found.chart) == ("", "")


def test_what_is_wanted_is_held_where_the_last_revision_says_so_and_is_ours() -> None:
    release = Release(revisions=(revision(1, "deployed"),), description=f"{DESCRIPTION}: 1.0.0")
    assert release.holds("a")
    assert not release.holds("b")
    assert not Release(revisions=release.revisions, description="Upgrade complete").holds("a")
    assert not Release(revisions=(revision(1, "failed"),), description=DESCRIPTION).holds("a")


def test_the_last_good_revision_is_the_newest_that_was_ready_else_the_newest_that_was_deployed() -> None:
    old, unready, new = revision(1, "superseded", ready=True), revision(2, "superseded"), revision(3, "deployed")
    assert Release(revisions=(old, unready, new)).last_good == old
    assert Release(revisions=(unready, new)).last_good == unready
    assert Release(revisions=(revision(1, "failed"), new)).last_good is None
    assert Release(revisions=(new,)).last_good is None
    still, tried = revision(1, "deployed"), revision(2, "superseded")
    assert Release(revisions=(still, tried, revision(3, "failed"))).last_good == still, "a rollback to it failed"


def test_only_what_was_tried_was_rolled_back() -> None:
    good, again = revision(1, "superseded", "old"), revision(3, "deployed", "old")
    for status, tried in (("superseded", True), ("failed", True), ("pending-upgrade", False)):
        release = Release(revisions=(good, revision(2, status, "new"), again), description="Rollback to 1")
        assert release.was_rolled_back("new") is tried
        assert not release.was_rolled_back("other")

"""helm's records, as far as they can be judged without a cluster."""

from __future__ import annotations

import base64
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlectl.errors import ContentError
from controller.releases import DESCRIPTION, Release, Revision, decode


def record(release: object) -> dict[str, dict[str, str]]:
    packed = base64.b64encode(gzip.compress(json.dumps(release).encode()))
    return {"data": {"release": base64.b64encode(packed).decode()}}


def revision(number: int, status: str, fingerprint: str = "a", *, ready: bool = False) -> Revision:
    return Revision(number=number, status=status, fingerprint=fingerprint, ready=ready)


def test_a_record_is_read() -> None:
    assert decode(record({"name": "a", "manifest": "x"}), "a") == {"name": "a", "manifest": "x"}


@given(st.text(max_size=50))
def test_whatever_else_is_in_it_is_told(text: str) -> None:
    with pytest.raises(ContentError):
        decode({"data": {"release": text}}, "a")


def test_a_record_that_unpacks_without_end_is_refused() -> None:
    packed = base64.b64encode(gzip.compress(b" " * (65 * 1024 * 1024)))
    with pytest.raises(ContentError):
        decode({"data": {"release": base64.b64encode(packed).decode()}}, "a")


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


def test_only_what_was_tried_was_rolled_back() -> None:
    good, again = revision(1, "superseded", "old"), revision(3, "deployed", "old")
    for status, tried in (("superseded", True), ("failed", True), ("pending-upgrade", False)):
        release = Release(revisions=(good, revision(2, status, "new"), again), description="Rollback to 1")
        assert release.was_rolled_back("new") is tried
        assert not release.was_rolled_back("other")

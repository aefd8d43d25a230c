"""What users of such tools lost hours to, and what they see here instead: exit code and words.

The rows are those of the survey of peers (its section 3) that the network or the target can cause. Each
has a test here or in the module named; the matrix (``test_fault_matrix``) holds the rest of the combinations.

== ======================================= ============================================== ====================
#  pain                                    test                                           outcome
== ======================================= ============================================== ====================
2  restart from zero after a cut           a_cut_costs_only_what_had_not_arrived          0, the rest is fetched
.  the same, killed                        test_interrupted                               0 with the same command
3  success that is none                    a_target_that_says_created_and_keeps_nothing   4, names each artifact
6  the target's disk is full               a_full_target_is_told                          4, the server's words
7  large layers die behind a proxy         a_proxy_that_limits_sizes_or_time              0, in chunks
.  upload sessions that get lost           a_session_that_the_registry_forgot             0, begun anew
.  chunks that break                       unit: remote/test_upload                       0, goes on at the offset
.  the same, before a Harbor               a_harbor_behind_a_proxy_that_limits_sizes      0, begun anew
10 private CA, plain HTTP found out late   an_unknown_certificate_is_told_at_once         1, how to trust it
11 the project does not exist              a_harbor_without_the_project                   4, make the project
13 signatures lost                         test_fault_matrix (referrers_api=False)        0, the tag scheme
14 rate limits, 429                        a_host_that_takes_few_requests_at_once         0, fewer at a time
.  429 for ever                            a_host_that_refuses_for_ever                   4, use fewer --jobs
15 concurrency not tunable or too low      unit: http/test_limits                         fewer, then more again
16 a hang without a word                   a_host_that_falls_silent_is_cut                0 or 4, fell silent
17 progress that goes wrong                progress_counts_every_byte_once                every byte once
18 is the mirror complete?                 what_the_target_lost_later_is_found            4, then mended
20 mounts that ask for other projects      a_mount_that_is_refused_becomes_an_upload      0, silently
23 tags lost, digests only                 a_target_that_drops_tags_is_found_out          4, no such tag
25 a store after a crash                   test_store_faults, test_interrupted            verified, resumed
-  slow links (1 MB/s and less)            unit: http/test_stalls; matrix (SlowBody)      0, never cut
-  content collected while it is copied    a_blob_that_was_collected_meanwhile            0, brought again
== ======================================= ============================================== ====================
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.events import BytesMoved, Notice, TransferPlanned, Waiting
from mirror.remote import Credential
from mirror.server.selfsigned import self_signed
from registry_fixtures.faults import CutBody, CutUpload, Fault, FaultPlan, HangUp, Refuse
from registry_fixtures.features import Features
from registry_fixtures.overload import AtMost, StallBody, Swallow
from tests.faults.field import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from registry_fixtures.harbor import HarborFixture
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.upstream import Upstream

MANIFESTS = "/v2/*/manifests/*"
BLOBS = "/v2/*/blobs/sha256:*"
UPLOADS = "/v2/*/blobs/uploads/*"
HTML = b"<html><body>nginx</body></html>"


@pytest.fixture
def field(
    upstream: Upstream, registry_factory: Callable[..., ServedRegistry], locked: Path, tmp_path: Path
) -> Iterator[Callable[..., Field]]:
    """Make the places where a command runs; the last one is closed at the end."""
    made: list[Field] = []

    def make(**options: Any) -> Field:
        made.append(Field(upstream, registry_factory, tmp_path, locked, **options))
        return made[-1]

    yield make
    for place in made:
        place.__exit__()


def strike_target(place: Field, action: Any, method: str, path: str, **when: Any) -> None:
    place.target.registry.faults.add(Fault(action, method=method, path=path, **when))


@pytest.mark.parametrize("command", ["download", "mirror"])
def test_a_cut_costs_only_what_had_not_arrived(field: Callable[..., Field], command: str) -> None:
    place = field(jobs=1, transport={"retries": 3})
    place.source.faults.add(Fault(CutBody(900), method="GET", path=BLOBS, count=2))
    assert place.run(command) == 0
    ranges = [entry.headers.get("range") for entry in place.source.requests.entries("GET", BLOBS)]
    assert [text for text in ranges if text] == ["bytes=900-", "bytes=1800-"]


@pytest.mark.parametrize("path", [UPLOADS, MANIFESTS], ids=["blobs", "manifests"])
def test_a_target_that_says_created_and_keeps_nothing(field: Callable[..., Field], path: str) -> None:
    place = field()
    strike_target(place, Swallow(), "PUT", path)
    assert place.run("mirror") == 4
    assert place.failed >= {artifact.reference for artifact in place.lock.artifacts}
    assert all(place.target.host in text for text in place.told)


def test_a_target_that_drops_tags_is_found_out(field: Callable[..., Field]) -> None:
    place = field()
    by_tag = Tagged(Swallow())
    strike_target(place, by_tag, "PUT", MANIFESTS)
    assert place.run("mirror") == 4
    assert any("no such tag" in text for text in place.told)


def test_a_full_target_is_told(field: Callable[..., Field]) -> None:
    place = field()
    strike_target(place, Refuse(507), "PUT", UPLOADS)
    assert place.run("mirror") == 4
    assert all("507" in text for text in place.told)


@pytest.mark.parametrize(
    "action",
    [Refuse(413, early=True, body=HTML), Refuse(504, body=HTML), Refuse(501, body=HTML), HangUp()],
    ids=["413", "504", "501", "cut"],
)
def test_a_proxy_that_limits_sizes_or_time(field: Callable[..., Field], action: Any) -> None:
    place = field(transport={"retries": 4})
    strike_target(place, Bodies(action), "PUT", UPLOADS)
    assert place.run("mirror") == 0
    assert place.target.requests.count("PATCH", UPLOADS, status=202)
    assert place.verify("mirror").exit_code == 0


def test_a_session_that_the_registry_forgot(field: Callable[..., Field]) -> None:
    place = field(features=Features(put_limit=0, fragile_uploads=True))
    strike_target(place, Refuse(404, code="BLOB_UPLOAD_UNKNOWN"), "PATCH|PUT", UPLOADS, count=3)
    assert place.run("mirror", retries=4) == 0


def test_an_unknown_certificate_is_told_at_once(
    field: Callable[..., Field], registry_factory: Callable[..., ServedRegistry], tmp_path: Path
) -> None:
    files = self_signed(tmp_path / "tls", "127.0.0.1")
    secured = registry_factory(tls=(files.certificate, files.key), faults=FaultPlan())
    place = field(target=secured)
    assert place.run("mirror") == 1
    assert "is not trusted" in place.told[0]
    assert f"--ca-file {secured.host}=FILE" in place.told[0]
    assert secured.requests.count() == 0


def test_a_harbor_without_the_project(
    field: Callable[..., Field], harbor_factory: Callable[..., HarborFixture]
) -> None:
    harbor = harbor_factory()
    harbor.add_user("admin2", "Harbor12345", administrator=True)
    place = field(target=harbor, credential=Credential("admin2", "Harbor12345"))
    assert place.run("mirror") in (1, 4)
    assert all("project eks does not exist" in text for text in place.told)
    assert all("--create-projects" in text for text in place.told)


def test_a_harbor_behind_a_proxy_that_limits_sizes_and_breaks(
    field: Callable[..., Field], harbor_factory: Callable[..., HarborFixture]
) -> None:
    faults = FaultPlan(
        Fault(Bodies(Refuse(413, early=True, body=HTML)), method="PUT", path=UPLOADS),
        Fault(CutUpload(500), method="PATCH", path=UPLOADS, count=2),
        Fault(Refuse(502, body=HTML), method="PATCH", path=UPLOADS, nth=5),
    )
    harbor = harbor_factory(faults=faults)
    harbor.add_project("eks")
    robot = harbor.add_robot("copier")
    place = field(target=harbor, credential=Credential(robot.name, robot.secret), transport={"retries": 4})
    assert place.run("mirror") == 0, place.told
    assert place.verify("mirror").exit_code == 0


def test_a_host_that_takes_few_requests_at_once(field: Callable[..., Field]) -> None:
    place = field(jobs=8, transport={"retries": 20})
    strike_target(place, AtMost(2), "*", "/v2/*")
    assert place.run("mirror") == 0
    waits = [event for event in place.heard if isinstance(event, Waiting)]
    assert any("429" in wait.reason and wait.host == place.target.host for wait in waits)
    notices = [event.message for event in place.heard if isinstance(event, Notice)]
    assert any("at a time from now on" in text for text in notices)


def test_a_host_that_refuses_for_ever(field: Callable[..., Field]) -> None:
    place = field()
    strike_target(place, Refuse(429), "POST", UPLOADS)
    assert place.run("mirror") == 4
    assert all("429" in text and "--jobs" in text for text in place.told)


def test_a_host_that_falls_silent_is_cut(field: Callable[..., Field]) -> None:
    place = field(transport={"read_timeout": 0.3})
    place.source.faults.add(Fault(StallBody(500, 1.0), method="GET", path=BLOBS, count=1))
    assert place.run("mirror") == 0
    other = field(transport={"read_timeout": 0.3})
    other.source.faults.add(Fault(StallBody(0, 1.0), method="GET", path="/v2/*coredns*/blobs/sha256:*"))
    assert other.run("mirror") == 4
    assert any("fell silent" in text for text in other.told)


def test_progress_counts_every_byte_once(field: Callable[..., Field]) -> None:
    place = field(transport={"retries": 3})
    place.source.faults.add(Fault(CutBody(700), method="GET", path=BLOBS, probability=0.3))
    strike_target(place, HangUp(), "PUT", UPLOADS, count=2)
    assert place.run("mirror") == 0
    moved = [event.count for event in place.heard if isinstance(event, BytesMoved)]
    assert sum(moved) == sum(event.bytes for event in place.heard if isinstance(event, TransferPlanned))
    assert min(itertools.accumulate(moved)) >= 0


def test_what_the_target_lost_later_is_found(field: Callable[..., Field]) -> None:
    place = field()
    assert place.run("mirror") == 0
    held = place.target.holdings.repository(next(iter(place.target.holdings.names())))
    held.blobs.clear()
    assert place.verify("mirror").exit_code == 4


def test_a_mount_that_is_refused_becomes_an_upload(field: Callable[..., Field]) -> None:
    place = field()
    strike_target(place, Mounts(Refuse(401)), "POST", UPLOADS)
    assert place.run("mirror") == 0
    assert place.verify("mirror").exit_code == 0


def test_a_blob_that_was_collected_meanwhile(field: Callable[..., Field]) -> None:
    place = field()
    strike_target(place, CollectFirst(place), "PUT", MANIFESTS, count=1)
    assert place.run("mirror") == 0
    assert place.verify("mirror").exit_code == 0


@dataclass(frozen=True)
class Tagged:
    """Strike what names a tag, and leave digests alone."""

    action: Any

    def apply(self, request: Any, handler: Any) -> Any:
        return handler(request) if ":" in request.path.rpartition("/")[2] else self.action.apply(request, handler)


@dataclass(frozen=True)
class Bodies:
    """Strike requests that carry something."""

    action: Any

    def apply(self, request: Any, handler: Any) -> Any:
        carries = int(request.header("content-length") or 0)
        return self.action.apply(request, handler) if carries else handler(request)


@dataclass(frozen=True)
class Mounts:
    """Strike requests to mount from another repository."""

    action: Any

    def apply(self, request: Any, handler: Any) -> Any:
        source = request.asked("from")
        other = source and f"/v2/{source}/" not in request.path
        return self.action.apply(request, handler) if other else handler(request)


@dataclass(frozen=True)
class CollectFirst:
    """A garbage collection takes the blobs of a repository just before a manifest is put there."""

    place: Field

    def apply(self, request: Any, handler: Any) -> Any:
        name = request.path.removeprefix("/v2/").partition("/manifests/")[0]
        held = self.place.target.holdings.find(name)
        if held is not None:
            held.blobs.clear()
        return handler(request)

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from registry_fixtures.accounts import Accounts
from registry_fixtures.cdn import Cdn
from registry_fixtures.faults import (
    AlterHeaders,
    CutBody,
    Delay,
    ExtraBody,
    Fault,
    FlipByte,
    ForgetAuthorization,
    HangUp,
    IgnoreQuery,
    IgnoreRange,
    MoveLocation,
    Redirect,
    Refuse,
    ShiftRange,
    SlowBody,
    Truncate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from registry_fixtures.faults import Action
    from registry_fixtures.registry import ServedRegistry
    from registry_fixtures.serving import LoopbackServer
    from tests.unit.registry_fixtures.conftest import Ask

DATA = bytes(range(256)) * 800  # several blocks


@pytest.fixture
def site() -> Iterator[LoopbackServer]:
    cdn = Cdn()
    cdn.put("/host/file", DATA)
    with cdn.serve() as server:
        yield server
    cdn.depot.close()


def _arm(site: LoopbackServer, action: Action) -> None:
    site.faults.add(Fault(action, method="GET", path="/host/*"))


def test_an_error_comes_with_its_headers_and_then_the_file(site: LoopbackServer, ask: Ask) -> None:
    site.faults.add(Fault(Refuse(429, retry_after="2"), path="/host/*", count=2))
    replies = [ask(site.host, "GET", "/host/file") for _ in range(3)]
    assert [reply.status for reply in replies] == [429, 429, 200]
    assert replies[0].headers["Retry-After"] == "2"
    assert b"TOOMANYREQUESTS" in replies[0].body


def test_an_error_may_be_a_page_of_a_proxy(site: LoopbackServer, ask: Ask) -> None:
    _arm(site, Refuse(502, body=b"<html>Bad Gateway</html>"))
    reply = ask(site.host, "GET", "/host/file")
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (502, "text/html", b"<html>Bad Gateway</html>")


@pytest.mark.parametrize("after", [0, 1, 100_000])
def test_a_body_is_cut_after_a_number_of_bytes(site: LoopbackServer, ask: Ask, after: int) -> None:
    _arm(site, CutBody(after))
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(site.host, "GET", "/host/file")
    assert cut.value.partial == DATA[:after]


def test_a_connection_is_closed_without_an_answer(site: LoopbackServer, ask: Ask) -> None:
    _arm(site, HangUp())
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(site.host, "GET", "/host/file")
    assert site.requests.entries()[0].status == 0


def test_a_slow_body_arrives_whole(site: LoopbackServer, ask: Ask) -> None:
    _arm(site, SlowBody(chunk=50_000, seconds=0.001))
    _arm(site, Delay(0.001))
    assert ask(site.host, "GET", "/host/file").body == DATA


@pytest.mark.parametrize("offset", [0, 70_000, len(DATA) - 1])
def test_a_byte_is_flipped_and_the_length_stays(site: LoopbackServer, ask: Ask, offset: int) -> None:
    _arm(site, FlipByte(offset))
    body = ask(site.host, "GET", "/host/file").body
    assert [index for index in range(len(DATA)) if body[index] != DATA[index]] == [offset]
    assert len(body) == len(DATA)


def test_a_body_is_shorter_or_longer_and_looks_right(site: LoopbackServer, ask: Ask) -> None:
    site.faults.add(Fault(Truncate(3), nth=1), Fault(ExtraBody(4), nth=2), Fault(ExtraBody(5, silent=True), nth=3))
    bodies = [ask(site.host, "GET", "/host/file") for _ in range(3)]
    assert [len(reply.body) - len(DATA) for reply in bodies] == [-3, 4, 5]
    assert [reply.headers["Content-Length"] for reply in bodies] == [str(len(DATA) - 3), str(len(DATA) + 4), None]


def test_ranges_are_ignored_or_answered_with_another_part(site: LoopbackServer, ask: Ask) -> None:
    site.faults.add(Fault(IgnoreRange(), nth=1), Fault(ShiftRange(2), nth=2))
    asked = {"Range": "bytes=10-19"}
    ignored, shifted = (ask(site.host, "GET", "/host/file", headers=asked) for _ in range(2))
    assert (ignored.status, ignored.body) == (200, DATA)
    assert (shifted.status, shifted.headers["Content-Range"]) == (206, f"bytes 12-19/{len(DATA)}")


def test_a_client_is_sent_elsewhere(site: LoopbackServer, ask: Ask) -> None:
    _arm(site, Redirect("https://other.example/base"))
    reply = ask(site.host, "GET", "/host/file?a=b")
    assert (reply.status, reply.headers["Location"]) == (307, "https://other.example/base/host/file?a=b")


def test_headers_are_changed_and_dropped(site: LoopbackServer, ask: Ask) -> None:
    _arm(site, AlterHeaders(set={"Docker-Content-Digest": "sha256:lie"}, drop=("ETag",)))
    reply = ask(site.host, "GET", "/host/file")
    assert (reply.headers["Docker-Content-Digest"], reply.headers["ETag"], reply.body) == ("sha256:lie", None, DATA)


def test_an_expired_token_is_the_registrys_own_401(registry_factory: Callable[..., ServedRegistry], ask: Ask) -> None:
    registry = registry_factory(accounts=Accounts(scheme="basic", users={"u": "p"}))
    registry.faults.add(Fault(ForgetAuthorization(), nth=1))
    known = {"Authorization": "Basic dTpw"}
    assert [ask(registry.host, "GET", "/v2/", headers=known).status for _ in range(2)] == [401, 200]


def test_mounting_is_ignored_and_locations_move(registry: ServedRegistry, ask: Ask) -> None:
    digest = registry.holdings.put_blob("c/d", b"data")
    registry.faults.add(Fault(IgnoreQuery(), method="POST"), Fault(MoveLocation("http://127.0.0.1:9"), method="POST"))
    begun = ask(registry.host, "POST", f"/v2/a/b/blobs/uploads/?mount={digest}&from=c/d")
    assert begun.status == 202
    assert begun.headers["Location"].startswith("http://127.0.0.1:9/v2/a/b/blobs/uploads/")


def test_a_full_disk_shows_after_the_upload(registry: ServedRegistry, ask: Ask) -> None:
    registry.faults.add(Fault(Refuse(507), method="PUT", path="/v2/*/blobs/uploads/*"))
    location = ask(registry.host, "POST", "/v2/a/b/blobs/uploads/").headers["Location"]
    assert ask(registry.host, "PUT", location, body=DATA).status == 507
    assert registry.requests.entries("PUT")[0].received == len(DATA)


def test_a_fault_counts_only_the_requests_it_is_for(site: LoopbackServer, ask: Ask) -> None:
    site.faults.add(Fault(Refuse(500), method="GET|HEAD", path="/host/f*", after=1, count=1))
    assert ask(site.host, "GET", "/host/other").status == 404
    assert [ask(site.host, "HEAD", "/host/file").status for _ in range(3)] == [200, 500, 200]
    assert site.faults.fired == 1
    site.faults.clear()
    assert site.faults.fired == 0


def test_chance_is_the_same_for_the_same_seed(site: LoopbackServer, ask: Ask) -> None:
    runs = []
    for seed in (1, 1, 2):
        site.faults.clear()
        site.faults.add(Fault(Refuse(503), probability=0.5, seed=seed))
        runs.append([ask(site.host, "HEAD", "/host/file").status for _ in range(16)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 503}


def test_a_mistake_of_the_fixture_itself_is_a_500_with_the_trace_in_the_log(site: LoopbackServer, ask: Ask) -> None:
    class Broken:
        def apply(self, _request: object, _handler: object) -> object:
            raise LookupError("oops")

    site.faults.add(Fault(Broken()))  # type: ignore[arg-type] -- broken on purpose
    assert ask(site.host, "GET", "/host/file").status == 500
    assert "LookupError: oops" in site.requests.entries()[0].error

"""Blobs whose upload breaks, is refused as too large, or in a form that something on the way does not take."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import BundlectlError, ContentError, RegistryError, TransportError
from mirror.oci.artifact import SHA512_ANNOTATION
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from mirror.remote import Credential, CredentialStore
from mirror.remote.chunking import BodyLimits
from registry_fixtures.accounts import Accounts
from registry_fixtures.faults import AlterHeaders, CutUpload, Fault, FaultPlan, ForgetAuthorization, HangUp, Refuse
from registry_fixtures.features import Features

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.remote import RemoteRegistry, RemoteRepository
    from registry_fixtures.registry import ServedRegistry

CHUNK = 100_000
DATA = bytes(range(256)) * 4000
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))
UPLOADS = "/v2/*/blobs/uploads/*"


class Place:
    """A made-up registry, and a repository of it seen through a client."""

    def __init__(self, served: ServedRegistry, registry: RemoteRegistry) -> None:
        self.served = served
        self.registry = registry
        self.repository: RemoteRepository = registry.repository("team/app")
        self.opened: list[int] = []

    def strike(self, action: Any, method: str, **when: Any) -> None:
        self.served.faults.add(Fault(action, method=method, path=UPLOADS, **when))

    def send(self, data: bytes = DATA, blob: Descriptor = BLOB, *, tries: int = 6) -> None:
        """Upload as the copy engine does: the same upload again after a retryable error."""
        upload = self.repository.begin_blob(blob)
        assert not isinstance(upload, str)

        def opener() -> Any:
            self.opened.append(upload.offset())
            return io.BytesIO(data[upload.offset() :])

        for left in reversed(range(tries)):
            try:
                upload.write(opener)
            except BundlectlError as error:
                if not (error.retryable and left):
                    raise
            else:
                return

    def lines(self) -> str:
        """Methods of all requests for uploads, and the HEADs."""
        entries = self.served.requests.entries("*", "*/blobs/*")
        return " ".join(entry.method for entry in entries)

    def received(self) -> int:
        """Bytes of bodies that the registry was sent."""
        return sum(entry.received for entry in self.served.requests.entries("PUT|PATCH", UPLOADS))

    @property
    def holds_it(self) -> bool:
        held = self.served.holdings.find("team/app")
        return held is not None and BLOB.digest in held.blobs


@pytest.fixture
def place(
    registry_factory: Callable[..., ServedRegistry],
    make_registry: Callable[..., RemoteRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Place]:
    monkeypatch.setattr("mirror.remote.chunking._CHUNK", CHUNK)
    monkeypatch.setattr("mirror.remote.chunking._SMALLEST_CHUNK", 10_000)

    def make(**features: Any) -> Place:
        served = registry_factory(features=Features(**features), faults=FaultPlan())
        return Place(served, make_registry(host=served.host))

    return make


def test_a_token_that_runs_out_between_chunks_costs_one_chunk(
    registry_factory: Callable[..., ServedRegistry],
    make_registry: Callable[..., RemoteRegistry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirror.remote.chunking._CHUNK", CHUNK)
    accounts = Accounts(scheme="token", users={"robot": "secret"})
    served = registry_factory(accounts=accounts, faults=FaultPlan())
    credentials = CredentialStore(explicit={served.host: Credential("robot", "secret")})
    here = Place(served, make_registry(host=served.host, credentials=credentials))
    here.registry._connection.body_limits.whole_refused(0)
    for nth in (2, 5):
        here.strike(ForgetAuthorization(), "PATCH", nth=nth)
    here.send()
    assert here.holds_it
    assert here.received() == len(DATA) + 2 * CHUNK
    assert served.requests.count("POST", UPLOADS, status=202) == 1


def in_chunks(place: Callable[..., Place], **features: Any) -> Place:
    """A place where blobs cannot be sent in one request, and where that is known."""
    made = place(put_limit=1000, **features)
    made.registry._connection.body_limits.whole_refused(0)
    return made


def test_a_chunk_that_breaks_goes_on_where_the_registry_stands(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(CutUpload(40_000), "PATCH", nth=4)
    here.send()
    assert here.holds_it
    # Three chunks were confirmed, 40,000 bytes of the fourth kept: they are read again, and not sent again.
    assert here.opened == [0, 3 * CHUNK]
    resumed = here.served.requests.entries("PATCH", UPLOADS)[4]
    assert resumed.headers["content-range"].startswith("340000-")
    assert here.received() == len(DATA) + CHUNK - 40_000
    assert here.lines().count("POST") == 1


def test_a_first_chunk_that_breaks_goes_on_too_at_the_next_try(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(CutUpload(40_000), "PATCH", nth=1)
    here.send()
    assert here.holds_it
    assert here.lines().startswith("POST PATCH HEAD GET PATCH")
    assert here.served.requests.entries("PATCH", UPLOADS)[1].headers["content-range"].startswith("40000-")


def test_a_registry_that_forgets_a_torn_session_gets_it_from_the_beginning(place: Callable[..., Place]) -> None:
    here = in_chunks(place, fragile_uploads=True)
    here.strike(CutUpload(40_000), "PATCH", nth=4)
    here.send()
    assert here.holds_it
    assert here.opened == [0, 0]
    assert here.lines().count("POST") == 2


@pytest.mark.parametrize(
    "told",
    ["0-9999999", "0-5", "", "nonsense", "0-99999999999999999999"],
    ids=["more than sent", "less than confirmed", "nothing", "nonsense", "without end"],
)
def test_a_registry_that_says_what_cannot_be_gets_it_from_the_beginning(place: Callable[..., Place], told: str) -> None:
    here = in_chunks(place)
    here.strike(CutUpload(40_000), "PATCH", nth=4)
    here.strike(AlterHeaders({"Range": told}), "GET")
    here.send()
    assert here.holds_it
    assert here.lines().count("POST") == 2


def test_a_registry_that_lies_about_where_it_stands_is_not_believed_twice(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(CutUpload(40_000), "PATCH", nth=4)
    here.strike(AlterHeaders({"Range": "0-349999"}), "GET", count=1)
    here.send()
    assert here.holds_it
    assert here.lines().count("POST") <= 2


def test_a_chunk_whose_answer_was_lost_is_not_sent_again(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(AnswerLost(), "PATCH", nth=4)
    here.send()
    assert here.holds_it
    assert here.received() == len(DATA)


def test_a_chunk_in_the_wrong_place_is_answered_with_the_right_one(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    # The registry has it, and said it was busy.
    here.strike(SaysBusy(), "PATCH", nth=3)
    here.strike(Refuse(404), "GET", count=1)
    here.send()
    assert here.holds_it


def test_a_416_that_says_where_it_stands_is_followed(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(TakenTwice(), "PATCH", nth=3)
    here.send()
    assert here.holds_it
    assert [entry.status for entry in here.served.requests.entries("PATCH", UPLOADS)].count(416) == 1
    assert here.lines().count("POST") == 1


def test_tries_end_where_nothing_comes_of_them(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(HangUp(), "PATCH", after=2)
    with pytest.raises(TransportError) as caught:
        here.send(tries=4)
    assert caught.value.retryable
    # Two that went well, one that was recovered at once because of them, and the tries.
    assert here.lines().count("PATCH") == 2 + 1 + 4


def test_the_shortest_chunk_that_a_registry_asks_for_is_kept_also_after_a_break(place: Callable[..., Place]) -> None:
    here = in_chunks(place, chunk_min_length=150_000)
    here.strike(CutUpload(40_000), "PATCH", nth=3)
    here.send()
    assert here.holds_it
    lengths = [entry.received for entry in here.served.requests.entries("PATCH", UPLOADS)]
    assert all(length >= 150_000 for length in lengths[:-1])


def test_a_proxy_that_refused_a_size_once_is_not_offered_it_for_every_blob(place: Callable[..., Place]) -> None:
    here = place(put_limit=200_000)
    here.served.faults.add(Fault(LimitOf(30_000), method="PATCH", path=UPLOADS))
    here.send()
    refused = len(here.served.requests.entries("PUT|PATCH", UPLOADS, status=413))
    for number in range(4):
        data = DATA + bytes([number])
        here.send(data, Descriptor("application/octet-stream", Digest.of(data), len(data)))
    assert here.holds_it
    assert len(here.served.requests.entries("PUT|PATCH", UPLOADS, status=413)) == refused
    small = b"a small one"
    here.served.requests.clear()
    here.send(small, Descriptor("application/octet-stream", Digest.of(small), len(small)))
    assert here.lines() == "POST PUT"


@pytest.mark.parametrize("status", [400, 405, 411, 501])
def test_a_form_that_something_on_the_way_does_not_take_is_not_used_again(
    place: Callable[..., Place], status: int
) -> None:
    here = place()
    here.strike(Refuse(status, body=b"<html>no</html>"), "PUT", count=1)
    here.send()
    assert here.holds_it
    assert "PATCH" in here.lines()


def test_a_registry_that_explains_its_refusal_is_believed(place: Callable[..., Place]) -> None:
    here = place()
    here.strike(Refuse(400, code="NAME_INVALID"), "PUT")
    with pytest.raises(RegistryError, match="400"):
        here.send()
    assert "PATCH" not in here.lines()


@pytest.mark.parametrize("action", [Refuse(504, body=b"<html>"), CutUpload(500_000)], ids=["timed out", "cut"])
def test_what_takes_a_proxy_too_long_twice_goes_in_chunks_and_so_do_others_of_its_size(
    place: Callable[..., Place], action: Any
) -> None:
    here = place()
    here.strike(action, "PUT", count=2)
    here.send()
    assert here.holds_it
    assert here.lines().count("PUT") == 3
    here.served.requests.clear()
    other = DATA + b"x"
    here.send(other, Descriptor("application/octet-stream", Digest.of(other), len(other)))
    assert here.lines().startswith("POST PATCH")


def test_wrong_bytes_are_found_out_over_every_break(place: Callable[..., Place]) -> None:
    here = in_chunks(place)
    here.strike(CutUpload(40_000), "PATCH", nth=4)
    with pytest.raises(ContentError, match="has digest"):
        here.send(DATA[:-1] + b"x")
    assert not here.holds_it


def test_a_stated_sha512_holds_over_a_break(place: Callable[..., Place]) -> None:
    for stated, fails in ((Digest.of(DATA, "sha512").encoded, False), ("0" * 128, True)):
        here = in_chunks(place)
        here.strike(CutUpload(40_000), "PATCH", nth=4)
        blob = Descriptor(BLOB.media_type, BLOB.digest, BLOB.size, annotations={SHA512_ANNOTATION: stated})
        if fails:
            with pytest.raises(ContentError, match="sha512"):
                here.send(blob=blob)
        else:
            here.send(blob=blob)
        assert here.holds_it != fails


def test_limits_are_learned_only_where_they_matter() -> None:
    limits = BodyLimits()
    limits.whole_broke(2000)
    assert limits.takes_whole(10**12)
    limits.whole_refused(5 * 10**7)
    assert (limits.takes_whole(5 * 10**7), limits.takes_whole(5 * 10**7 - 1)) == (False, True)
    assert limits.chunk_refused(8 * 2**20, 0)
    assert limits.chunk(0) == 2 * 2**20
    assert limits.chunk(4 * 2**20) == 4 * 2**20
    assert not limits.chunk_refused(512 * 2**10, 0)


class AnswerLost:
    """Do what was asked, then close the connection without a word."""

    def apply(self, request: Any, handler: Any) -> Any:
        handler(request)
        return HangUp().apply(request, handler)


class SaysBusy:
    """Do what was asked, and say that it could not be done."""

    def apply(self, request: Any, handler: Any) -> Any:
        handler(request)
        return Refuse(503, early=True).apply(request, handler)


class TakenTwice:
    """Take a chunk twice, as where a proxy repeats requests: the second time it is in the wrong place."""

    def apply(self, request: Any, handler: Any) -> Any:
        data = request.body.read(int(request.header("content-length")))
        handler(replace(request, body=io.BytesIO(data)))
        return handler(replace(request, body=io.BytesIO(data)))


class LimitOf:
    """A proxy's limit of the size of a request's body."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def apply(self, request: Any, handler: Any) -> Any:
        if int(request.header("content-length") or 0) > self.limit:
            return Refuse(413, body=b"<html>", early=True).apply(request, handler)
        return handler(request)

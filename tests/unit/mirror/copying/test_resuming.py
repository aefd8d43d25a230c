"""A source that breaks in the middle of a blob: what the target, and the user, notice of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import BundlectlError, ContentError, InterruptError, MissingError, TransportError
from mirror.copying import Persistence
from mirror.copying.resuming import ResumingReader
from mirror.http import HttpClient, Transport
from mirror.oci.descriptor import Descriptor
from mirror.oci.digest import Digest
from registry_fixtures.exchange import Answer
from registry_fixtures.faults import CutBody, Fault, FlipByte, HangUp, IgnoreRange, Refuse, ShiftRange

if TYPE_CHECKING:
    from mirror.copying import CopyReport, Root
    from registry_fixtures.faults import Action
    from tests.unit.mirror.copying.bench import Bench

DATA = bytes(range(256)) * 12_000
DIGEST = Digest.of(DATA)
BLOB = f"*/blobs/{DIGEST}"
MIB = 1024 * 1024
ASKED = Descriptor("application/octet-stream", DIGEST, len(DATA))


def uploads_of_the_blob(bench: Bench) -> list[Any]:
    return [entry for entry in bench.sent("PUT", "*/blobs/uploads/*") if entry.received == len(DATA)]


def test_the_upload_that_is_under_way_goes_on_and_only_the_rest_is_fetched(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(MIB), path=BLOB, count=2))
    report = bench.copy([bench.root("a/one", bench.image("a/one", DATA))])
    assert report.exit_code == 0, report.failed
    assert [entry.headers.get("range") for entry in bench.source.requests.entries("GET", BLOB)] == [
        None,
        f"bytes={MIB}-",
        f"bytes={2 * MIB}-",
    ]
    assert len(uploads_of_the_blob(bench)) == 1
    assert bench.moved() == bench.planned()


@pytest.mark.parametrize("action", [IgnoreRange(), ShiftRange(7), Refuse(416)], ids=str)
def test_a_source_without_usable_ranges_is_read_past_what_is_there(bench: Bench, action: Action) -> None:
    bench.source.faults.add(Fault(CutBody(MIB), path=BLOB, count=1), Fault(OnRanges(action), path=BLOB))
    report = bench.copy([bench.root("a/one", bench.image("a/one", DATA))])
    assert report.exit_code == 0, report.failed
    assert len(uploads_of_the_blob(bench)) == 1


def test_a_source_that_always_breaks_is_followed_to_the_end_as_long_as_it_gives_something(bench: Bench) -> None:
    data = DATA * 2
    path = f"*/blobs/{Digest.of(data)}"
    bench.source.faults.add(Fault(CutBody(MIB + 1), path=path))
    image = bench.image("a/one", data)
    report = bench.copy([bench.root("a/one", image)], persistence=Persistence(tries=3, backoff=0.001))
    assert report.exit_code == 0, report.failed
    assert bench.source.requests.count("GET", path) == 6


def test_tries_that_give_next_to_nothing_end(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(1000), path=BLOB))
    report = bench.copy(
        [bench.root("a/one", bench.image("a/one", DATA))], persistence=Persistence(tries=4, backoff=0.001)
    )
    assert (report.exit_code, bench.source.requests.count("GET", BLOB)) == (4, 4)
    assert "broke" in report.failed[0].error
    assert bench.tag("a/one") is None


def test_two_halves_that_do_not_fit_are_fetched_again_in_one_piece(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(MIB), path=BLOB, count=1), Fault(OnRanges(FlipByte(5)), path=BLOB))
    report = bench.copy([bench.root("a/one", bench.image("a/one", DATA))])
    assert report.exit_code == 0, report.failed
    assert [entry.headers.get("range") for entry in bench.source.requests.entries("GET", BLOB)] == [
        None,
        f"bytes={MIB}-",
        None,
    ]


def test_bytes_that_are_wrong_from_the_start_are_not_fetched_again(bench: Bench) -> None:
    bench.source.faults.add(Fault(FlipByte(5), path=BLOB))
    assert bench.copy([bench.root("a/one", bench.image("a/one", DATA))]).exit_code == 3
    assert bench.source.requests.count("GET", BLOB) == 1


def test_what_is_gone_when_it_is_opened_again_is_taken_from_another_source(bench: Bench) -> None:
    roots = [bench.root(name, bench.image(name, DATA)) for name in ("a/one", "a/two")]
    only = f"/v2/a/one/blobs/{DIGEST}"
    bench.source.faults.add(Fault(CutBody(MIB), path=only, count=1), Fault(Refuse(404), path=only, after=1))
    bench.source.faults.add(Fault(CutBody(MIB), path=f"/v2/a/two/blobs/{DIGEST}", count=1))
    report = bench.copy(roots)
    assert report.exit_code == 0, report.failed


def read(bench: Bench, **options: Any) -> bytes:
    bench.image("a/one", DATA)
    given = {"persistence": Persistence(tries=3, backoff=0.001), "cancel": threading.Event(), **options}
    with ResumingReader(bench.repository(bench.source, "a/one"), ASKED, 0, **given) as reader:
        return reader.read()


def test_a_reader_gives_every_byte_once_over_all_breaks(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(MIB), path=BLOB, nth=1), Fault(HangUp(), path=BLOB, nth=2))
    bench.source.faults.add(Fault(CutBody(12_345), path=BLOB, nth=3))
    assert read(bench) == DATA


def test_cancelling_ends_the_wait_for_another_try(bench: Bench) -> None:
    cancel = threading.Event()
    bench.source.faults.add(Fault(CutBody(1000), path=BLOB))
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    with pytest.raises(InterruptError):
        read(bench, cancel=cancel, persistence=Persistence(tries=100, backoff=60.0))
    timer.join()


def test_what_is_not_there_is_not_asked_for_twice(bench: Bench) -> None:
    bench.source.faults.add(Fault(Refuse(404), path=BLOB))
    with pytest.raises(MissingError):
        read(bench)
    assert bench.source.requests.count("GET", BLOB) == 1


def test_a_source_that_shrank_is_an_error_and_no_endless_loop(bench: Bench) -> None:
    bench.source.faults.add(Fault(CutBody(MIB), path=BLOB, count=1), Fault(OnRanges(Shrunk()), path=BLOB))
    with pytest.raises((TransportError, ContentError, MissingError)) as caught:
        read(bench)
    assert isinstance(caught.value, BundlectlError)
    assert bench.source.requests.count("GET", BLOB) <= 8


class OnRanges:
    """Do something to requests with a Range only."""

    def __init__(self, action: Action) -> None:
        self.action = action

    def apply(self, request: Any, handler: Any) -> Any:
        return self.action.apply(request, handler) if request.header("range") else handler(request)


class Shrunk:
    """Answer with a short body and 200."""

    def apply(self, _request: Any, _handler: Any) -> Any:
        return Answer.of(200, b"short")


def test_copies_both_ways_at_once_with_one_slot_a_host_all_end(bench: Bench) -> None:
    """Everyone holds a slot of one host and wants one of the other, also when a source is opened anew."""
    blobs = [bytes([number]) * 3 * MIB for number in range(4)]
    images = [bench.image(f"there/{number}", blob) for number, blob in enumerate(blobs)]
    with HttpClient(Transport(retries=1, backoff=0.001, max_wait=0.01)) as client:
        client._backoff._limits._most = 1
        bench.client = client
        there = [bench.root(f"there/{number}", image) for number, image in enumerate(images)]
        assert bench.copy(there).exit_code == 0
        for served in (bench.source, bench.target):
            served.faults.add(Fault(CutBody(MIB), method="GET", path="*/blobs/*", probability=0.7))
        onward, back = [], []
        for number, root in enumerate(there):
            target = bench.repository(bench.target, f"on/{number}")
            onward.append(replace(root, label=f"on/{number}", target=target))
            target = bench.repository(bench.source, f"back/{number}")
            back.append(replace(root, label=f"back/{number}", source=root.target, target=target))
        reports: list[CopyReport] = []

        def run(roots: list[Root]) -> None:
            reports.append(bench.copy(roots, jobs=4, persistence=Persistence(tries=30, backoff=0.001)))

        threads = [threading.Thread(target=run, args=(roots,), daemon=True) for roots in (onward, back)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [report.exit_code for report in reports] == [0, 0], [report.failed for report in reports]

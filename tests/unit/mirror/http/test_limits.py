"""How many requests a host gets at once, and that nobody waits in a circle for a slot."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.errors import InterruptError, TransportError
from bundlectl.events import Notice
from mirror.http import HttpClient, Transport
from mirror.http.flow import Flow
from mirror.http.limits import HostLimits, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.events import Event
    from tests.unit.mirror.conftest import Asked, Web


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def flow() -> Flow:
    return Flow()


def ask(limits: HostLimits, host: str = "a", *, good: bool = True) -> None:
    slot = limits.enter(host)
    slot.answered() if good else slot.refused("it answered 429")
    slot.leave()


def test_a_refusal_halves_the_limit_and_says_so(flow: Flow, heard: list[Event]) -> None:
    limits = HostLimits(8, flow, heard.append)
    ask(limits, good=False)
    assert (limits.allowed("a"), limits.allowed("b")) == (4, 8)
    assert heard == [Notice("info", "a is asked 4 at a time from now on: it answered 429")]


def test_one_bad_moment_of_many_requests_counts_once(flow: Flow) -> None:
    limits = HostLimits(8, flow)
    slots = [limits.enter("a") for _ in range(8)]
    for slot in slots:
        slot.refused("it answered 429")
        slot.leave()
    assert limits.allowed("a") == 4


def test_at_least_one_is_always_under_way(flow: Flow) -> None:
    limits = HostLimits(8, flow)
    for _ in range(20):
        ask(limits, good=False)
    assert limits.allowed("a") == 1
    limits.enter("a").leave()


def test_good_answers_bring_it_back_one_a_round_and_not_beyond_the_start(flow: Flow) -> None:
    limits = HostLimits(8, flow)
    ask(limits, good=False)
    for _ in range(5):
        ask(limits)
    assert limits.allowed("a") == 5
    for _ in range(100):
        ask(limits)
    assert limits.allowed("a") == 8


def test_answers_from_before_a_refusal_do_not_bring_it_back(flow: Flow) -> None:
    limits = HostLimits(8, flow)
    early = [limits.enter("a") for _ in range(8)]
    early[0].refused("it answered 429")
    for slot in early[1:]:
        slot.answered()
    assert limits.allowed("a") == 4


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_answers_that_take_much_longer_than_before_shrink_it_and_staying_slow_is_forgiven(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("mirror.http.limits.time", clock)

    def answer(limits: HostLimits, seconds: float) -> None:
        slot = limits.enter("a")
        clock.now += seconds
        slot.answered()
        slot.leave()

    limits, blind = HostLimits(8, flow), HostLimits(8, flow, by_latency=False)
    for each in (limits, blind):
        for seconds in (0.05,) * 10 + (4.0,) * 10:
            answer(each, seconds)
    assert limits.allowed("a") < 5
    assert blind.allowed("a") == 8
    for _ in range(300):
        answer(limits, 4.0)
    assert limits.allowed("a") == 8


def test_a_host_that_is_merely_slow_keeps_a_quarter_and_one_that_refuses_does_not(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("mirror.http.limits.time", clock)
    limits = HostLimits(32, flow)
    for seconds in (0.02, 9.0) * 100:  # two kinds of question, one of which always takes longer
        slot = limits.enter("a")
        clock.now += seconds
        slot.answered()
        slot.leave()
        assert limits.allowed("a") >= 8
    assert limits.allowed("a") == 8
    ask(limits, good=False)
    assert limits.allowed("a") == 4


def test_those_who_wait_are_served_in_turn(flow: Flow) -> None:
    limits = HostLimits(1, flow)
    first = limits.enter("a")
    order: list[int] = []

    def work(number: int) -> None:
        slot = limits.enter("a")
        order.append(number)
        slot.leave()

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        until = time.monotonic() + 5
        while len(limits._hosts["a"].queues[0]) <= number and time.monotonic() < until:
            time.sleep(0.001)
    first.leave()
    first.leave()
    for thread in threads:
        thread.join(5)
    assert order == [0, 1, 2, 3, 4]


def test_cancelling_ends_the_waits_and_leaves_no_slot_taken(flow: Flow) -> None:
    limits = HostLimits(1, flow)
    held = limits.enter("a")
    ended = []

    def work() -> None:
        with pytest.raises(InterruptError):
            limits.enter("a")
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    flow.stop()
    thread.join(5)
    held.leave()
    assert ended
    assert limits._hosts["a"].busy == [0, 0, 0]


def test_an_answer_that_nobody_closed_gives_its_slot_back(client: HttpClient, web: Web) -> None:
    web.answer = lambda _asked: (200, {}, b"x" * 100)
    reader: Any = client.open(web.url())
    host = client._backoff._limits._hosts[web.host]
    assert host.busy == [0, 1, 0]
    del reader
    gc.collect()
    assert host.busy == [0, 0, 0]


@pytest.mark.parametrize("same", [False, True], ids=["two hosts", "one host"])
def test_streams_both_ways_between_hosts_of_one_slot_each_never_wait_in_a_circle(flow: Flow, *, same: bool) -> None:
    """What a transfer holds: its source while it waits for its target, and both when the source is opened anew."""
    limits = HostLimits(1, flow)
    one, other = "a", "a" if same else "b"
    done, token = [], threading.Lock()

    def transfer(source: str, target: str) -> None:
        for _ in range(50):
            limits.enter(target).leave()
            reading = limits.enter(source, Kind.READING)
            with token:  # one at a time, asked for with the source open
                limits.enter(target).leave()
            sending = limits.enter(target, Kind.SENDING)
            reading.leave()
            again = limits.enter(source, Kind.READING)
            time.sleep(0)
            sending.leave()
            again.leave()
        done.append(source)

    ways = [(one, other), (other, one)] * 4
    threads = [threading.Thread(target=transfer, args=way, daemon=True) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == len(ways)
    assert all(host.busy == [0, 0, 0] for host in limits._hosts.values())


def test_a_host_that_takes_few_requests_at_once_is_not_asked_more_and_everything_is_answered(
    make_client: Callable[..., HttpClient], web: Web
) -> None:
    under_way, most, refused, lock = 0, 0, 0, threading.Lock()

    def answer(_asked: Asked) -> Any:
        nonlocal under_way, most, refused
        with lock:
            under_way += 1
            most = max(most, under_way)
            busy = under_way > 2
            refused += busy
        time.sleep(0.002 if busy else 0.01)
        with lock:
            under_way -= 1
        return (429, {"Retry-After": "0"}, b"") if busy else (200, {}, b"ok")

    web.answer = answer
    client = make_client(retries=20)
    statuses: list[int] = []

    def work() -> None:
        statuses.extend(client.request("GET", web.url()).status for _ in range(15))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert statuses == [200] * 120
    assert most > 2
    assert refused < 100


def test_a_stream_holds_its_slot_until_it_is_closed(web: Web) -> None:
    web.answer = lambda _asked: (200, {}, b"x" * 100)
    with HttpClient(Transport(), pool_size=1) as client:
        reader = client.open(web.url())
        answered = threading.Event()
        thread = threading.Thread(target=lambda: (client.open(web.url("/second")).close(), answered.set()))
        thread.start()
        assert not answered.wait(0.1)
        assert client.request("GET", web.url("/question")).status == 200
        reader.close()
        assert answered.wait(5)
        thread.join()


def test_whoever_waits_for_another_try_holds_no_slot(web: Web) -> None:
    waiting, answered = threading.Event(), threading.Event()

    def answer(asked: Asked) -> Any:
        return (502, {}, b"") if asked.path == "/broken" and not answered.is_set() else (200, {}, b"ok")

    def hear(_event: Event) -> None:
        waiting.set()

    web.answer = answer
    transport = Transport(retries=100, backoff=0.2, max_wait=0.2)
    with HttpClient(transport, pool_size=1, listener=hear) as client:
        thread = threading.Thread(target=client.request, args=("GET", web.url("/broken")))
        thread.start()
        assert waiting.wait(5)
        assert client.request("GET", web.url("/fine")).status == 200
        answered.set()
        thread.join(10)
        assert not thread.is_alive()


def test_a_host_that_breaks_connections_is_asked_less_and_one_that_is_silent_is_not(
    make_client: Callable[..., HttpClient], web: Web
) -> None:
    client = make_client(retries=0, read_timeout=0.1)
    release = threading.Event()
    web.answer = lambda _asked: release.wait(5) and None
    with pytest.raises(TransportError, match="fell silent"):
        client.request("GET", web.url())
    release.set()
    assert client._backoff._limits.allowed(web.host) == 16
    web.answer = lambda _asked: None
    with pytest.raises(TransportError, match="broke"):
        client.request("GET", web.url())
    assert client._backoff._limits.allowed(web.host) == 8


def test_a_source_that_breaks_does_not_count_against_the_host_that_is_sent_to(
    client: HttpClient, web: Web, make_web: Callable[..., Web]
) -> None:
    source = make_web()

    def cut(asked: Asked) -> Any:
        asked.raw.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)

    source.answer = cut
    web.answer = lambda asked: (201, {}, asked.body[:0])
    with client.open(source.url()) as reader, pytest.raises(TransportError, match="broke"):
        client.request("PUT", web.url(), body=reader, length=1_000_000)
    assert client._backoff._limits.allowed(web.host) == 16

"""``bundlectl serve`` with several processes on one store."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundlectl.errors import UsageError
from bundlectl.operations.serving import ServeOptions, serve
from mirror.layout import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("bundlectl")
PATIENCE = 20.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@contextmanager
def serving(store: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program, and its port."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(store.parent), "PYTHONUNBUFFERED": "1"}
    command = [PROGRAM, "serve", "--store", store, "--listen", "127.0.0.1:0", *map(str, options)]
    with subprocess.Popen(
        command, env=environment, cwd=store.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield process, int(line.rpartition(":")[2])
        finally:
            process.kill()


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process.pid and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return sorted(found)


def until(what: object, condition: object) -> None:
    """Wait for a condition, a callable, to hold."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def ask(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read()


def counted(port: int, name: str) -> float:
    lines = ask(port, "/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


def push(port: int, data: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    status, said = ask(port, f"/v2/some/blobs/uploads/?digest={digest}", "POST", data)
    assert status == 201, said
    return digest


def replaced(victim: int, workers: list[int]) -> bool:
    """By one look: of two, the first may still see the victim, and the second no longer."""
    return len(workers) == 2 and victim not in workers


def test_a_killed_worker_is_replaced_and_what_it_counted_is_kept(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--workers", 2) as (process, port):
        before = workers_of(process)
        assert len(before) == 2
        digests = [push(port, b"blob %d" % number) for number in range(20)]
        assert counted(port, 'bundlectl_uploads_total{outcome="finished"}') == 20
        for number, victim in enumerate(before):
            os.kill(victim, signal.SIGKILL)
            until("replaced", lambda victim=victim: replaced(victim, workers_of(process)))
            assert counted(port, 'bundlectl_uploads_total{outcome="finished"}') == 20 + number
            digests.append(push(port, b"after %d" % number))
        for digest in digests:
            assert ask(port, f"/v2/some/blobs/{digest}")[0] == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert err.count("SIGKILL; it is replaced") == 2


def test_workers_end_when_the_process_that_watches_them_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--workers", 2) as (process, port):
        workers = workers_of(process)
        assert ask(port, "/healthz") == (200, b"ok")
        process.kill()
        process.wait()
        until("ended", lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_signal_to_all_processes_lets_a_transfer_end_and_nothing_new_begin(tmp_path: Path) -> None:
    """A terminal's Ctrl-C, and a service manager's stop, reach every process of the group."""
    data = b"x" * 100_000
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with serving(tmp_path / "store", "--workers", 2) as (process, port):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock:
            head = f"POST /v2/some/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
            sock.sendall(head.encode() + data[:50_000])
            until("begun", lambda: counted(port, "bundlectl_http_in_flight") >= 2)
            for pid in (*workers_of(process), process.pid):
                os.kill(pid, signal.SIGTERM)
            until("closed to new clients", lambda: not is_listening(port))
            sock.sendall(data[50_000:])
            assert b" 201 " in sock.recv(65536)
        assert process.wait(timeout=PATIENCE) == 0
    with Store.open(tmp_path / "store", read_only=True) as store:
        assert list(store.verify()) == []
        assert store.stats().blobs == 1


def test_a_transfer_that_never_ends_is_cut(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "store", "--workers", 2) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
    ):
        path = f"/v2/some/blobs/uploads/?digest=sha256:{'0' * 64}"
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n".encode())
        until("begun", lambda: counted(port, "bundlectl_http_in_flight") >= 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0


def test_a_second_signal_cuts_at_once(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "store", "--workers", 1) as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
    ):
        path = f"/v2/some/blobs/uploads/?digest=sha256:{'0' * 64}"
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n".encode())
        until("begun", lambda: counted(port, "bundlectl_http_in_flight") >= 2)
        workers = workers_of(process)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0
        assert time.monotonic() - began < 4.5
        until("ended", lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_the_access_log_has_every_request_of_every_worker_once(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving(tmp_path / "store", "--workers", 2, "--access-log", log) as (process, port):
        threads = [
            threading.Thread(target=lambda one=one: [ask(port, f"/v2/?{one}-{number}") for number in range(25)])
            for one in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 100
    assert len({line["id"] for line in lines}) == 100
    assert {line["status"] for line in lines} == {200}


def test_what_one_worker_stored_every_other_has_at_once(tmp_path: Path) -> None:
    with serving(tmp_path / "store", "--workers", 3) as (_, port):
        config = push(port, b"{}")
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
        media_type = "application/vnd.oci.image.manifest.v1+json"
        for number in range(20):
            document = {"schemaVersion": 2, "mediaType": media_type, "config": described, "layers": []}
            raw = json.dumps(document | {"annotations": {"number": str(number)}}).encode()
            status, said = ask(port, "/v2/some/manifests/latest", "PUT", raw)
            assert status == 201, said
            for _ in range(4):
                assert ask(port, "/v2/some/manifests/latest") == (200, raw)


@pytest.mark.parametrize("workers", [-1, 1000])
def test_a_number_of_workers_that_makes_no_sense_is_wrong_usage(tmp_path: Path, workers: int) -> None:
    with pytest.raises(UsageError):
        serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0", workers=workers))


def test_a_process_with_other_threads_is_not_forked(tmp_path: Path) -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(UsageError, match="without other threads"):
            serve(ServeOptions(store=tmp_path / "store", listen="127.0.0.1:0", workers=2))
    finally:
        over.set()
        other.join()


def test_a_worker_that_cannot_serve_is_told_and_none_is_left(tmp_path: Path) -> None:
    script = """
from contextlib import contextmanager
from mirror.server.workers import Workers
@contextmanager
def work(number):
    if number: raise RuntimeError("no disk")
    yield
workers = Workers(work, 2, listener=print)
try:
    workers.start()
except Exception as error:
    print(type(error).__name__, error, workers.pids)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "worker 1 failed: no disk" in done.stdout + done.stderr
    assert "ConfigError a worker process does not serve" in done.stdout
    assert "[]" in done.stdout


def test_a_worker_that_cannot_be_replaced_yet_is_replaced_later_and_the_others_go_on(tmp_path: Path) -> None:
    script = """
import os, signal, time
from contextlib import contextmanager
from mirror.server.workers import Workers
@contextmanager
def work(number):
    yield
workers = Workers(work, 2, listener=print)
workers.start()
first, second = workers.pids
fork = os.fork
def short():
    raise OSError(11, "Resource temporarily unavailable")
os.fork = short
os.kill(first, signal.SIGKILL)
while len(workers.pids) == 2:
    time.sleep(0.02)
    workers.watch()
for _ in range(10):
    workers.watch()
print("left", workers.pids == [second])
os.fork = fork
workers.watch()
print("now", len(workers.pids), workers.pids[1] == second)
workers.stop(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "left True" in done.stdout
    assert "now 2 True" in done.stdout
    assert done.stdout.count("cannot be replaced yet") == 1


def test_a_program_that_forgets_its_workers_ends_all_the_same_and_so_do_they(tmp_path: Path) -> None:
    script = """
from contextlib import contextmanager
from mirror.server.workers import Workers
@contextmanager
def work(number):
    yield
workers = Workers(work, 2, listener=print)
workers.start()
print(*workers.pids)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    pids = done.stdout.split()
    assert len(pids) == 2
    until("ended", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_workers_that_end_as_soon_as_they_start_are_given_up(tmp_path: Path) -> None:
    script = """
import os, threading, time
from contextlib import contextmanager
from mirror.server.workers import Workers
@contextmanager
def work(number):
    threading.Timer(0.05, os._exit, (3,)).start()
    yield
workers = Workers(work, 1, listener=print)
workers.start()
try:
    while True:
        time.sleep(0.02)
        workers.watch()
except Exception as error:
    print(type(error).__name__, error, workers.pids)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.count("exit 3; it is replaced") == 4
    assert "ConfigError the worker processes end as soon as they start []" in done.stdout

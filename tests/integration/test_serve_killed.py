"""``bundlectl serve`` as a process: killed while clients push, and beside ``store gc``."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mirror.layout import Store
from mirror.oci.digest import Digest
from mirror.oci.mediatype import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(sys.executable).with_name("bundlectl")
PUSHERS = 6
CHUNK = 60_000


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONUNBUFFERED": "1"}


@contextmanager
def serve(folder: Path, store: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the server; yields its process, which leads a group, and its port."""
    command = [PROGRAM, "serve", "--store", store, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        command,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on http://127.0.0.1:" in line
        yield process, int(line.split("127.0.0.1:")[1].split()[0].strip("/"))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@dataclass
class Pusher(threading.Thread):
    """Pushes images until the server is gone or enough of them are there; keeps what was acknowledged."""

    number: int
    port: int
    images: int
    blobs: set[Digest] = field(default_factory=set)
    tags: dict[str, Digest] = field(default_factory=dict)
    session: str = ""
    arrived: int = 0
    error: Exception | None = None

    def __post_init__(self) -> None:
        threading.Thread.__init__(self)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as self.connection:
                for image in range(self.images):
                    while not self.push_image(image):
                        pass  # the server refused it, as it says, because a layer is not there any more
        except (OSError, http.client.HTTPException) as error:
            self.error = error

    def ask(self, method: str, url: str, body: bytes = b"", **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, url, body, named)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Location"] or ""

    def push(self, data: bytes) -> dict[str, object]:
        digest = Digest.of(data)
        if self.ask("HEAD", f"/v2/load/{self.number}/blobs/{digest}")[0] != 200:
            status, location = self.ask("POST", f"/v2/load/{self.number}/blobs/uploads/")
            assert status == 202
            self.session, self.arrived = location, 0
            for start in range(0, len(data), CHUNK):
                part = data[start : start + CHUNK]
                span = f"{start}-{start + len(part) - 1}"
                status, _ = self.ask("PATCH", location, part, Content_Range=span)
                assert status == 202
                self.arrived = start + len(part)
            assert self.ask("PUT", f"{location}?digest={digest}")[0] == 201
            self.session = ""
        self.blobs.add(digest)
        return {"mediaType": OCI_LAYER, "digest": str(digest), "size": len(data)}

    def push_image(self, image: int) -> bool:
        layers = [self.push(random.Random(f"{self.number} {image}").randbytes(200_000)), self.push(b"shared" * 999)]
        config = self.push(b"{}") | {"mediaType": OCI_CONFIG}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
        raw = json.dumps(document).encode()
        tag = f"v{image % 3}"
        self.tags.pop(tag, None)
        status, _ = self.ask("PUT", f"/v2/load/{self.number}/manifests/{tag}", raw, Content_Type=OCI_MANIFEST)
        if status == 201:
            self.tags[tag] = Digest.of(raw)
        return status == 201


def verify(folder: Path, store: Path) -> None:
    outcome = subprocess.run(
        [PROGRAM, "store", "verify", store], env=environment(folder), capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("seed", range(3))
def test_a_server_killed_while_clients_push_loses_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    store = tmp_path / "store"
    Store.open(store, create=True).close()
    with serve(tmp_path, store) as (process, port):
        pushers = [Pusher(number, port, 1000) for number in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        while sum(len(pusher.tags) for pusher in pushers) < PUSHERS:
            time.sleep(0.02)
        time.sleep(random.Random(seed).uniform(0, 0.4))
        os.killpg(process.pid, signal.SIGKILL)
        for pusher in pushers:
            pusher.join(20)
            assert not pusher.is_alive()
            assert pusher.error
    verify(tmp_path, store)
    with serve(tmp_path, store) as (_, port):
        for pusher in pushers:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as pusher.connection:
                name = f"/v2/load/{pusher.number}"
                for digest in pusher.blobs:
                    assert pusher.ask("HEAD", f"{name}/blobs/{digest}")[0] == 200
                for tag in pusher.tags:
                    assert pusher.ask("HEAD", f"{name}/manifests/{tag}")[0] == 200
                go_on(pusher)
    with Store.open(store, read_only=True) as kept:
        for pusher in pushers:
            found = {tag: kept.repository(f"load/{pusher.number}").resolve(tag).digest for tag in pusher.tags}
            assert found == pusher.tags


def go_on(pusher: Pusher) -> None:
    """Hold that a cut upload stands where it was acknowledged, and ends well."""
    if not pusher.session:
        return
    pusher.connection.request("GET", pusher.session)
    answer = pusher.connection.getresponse()
    answer.read()
    if answer.status == 404:
        return  # it was being closed
    stands = int(answer.headers["Range"].partition("-")[2]) + 1
    assert stands >= pusher.arrived
    assert pusher.ask("DELETE", pusher.session)[0] == 204


def test_store_gc_beside_a_server_removes_only_what_nothing_names(tmp_path: Path) -> None:
    store = tmp_path / "store"
    Store.open(store, create=True).close()
    with serve(tmp_path, store) as (_, port):
        pushers = [Pusher(number, port, 25) for number in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        removed = 0
        while any(pusher.is_alive() for pusher in pushers) or not removed:
            removed += collect(tmp_path, store, "1s")
        for pusher in pushers:
            pusher.join()
            assert pusher.error is None
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as pusher.connection:
                for tag in pusher.tags:
                    assert pusher.ask("GET", f"/v2/load/{pusher.number}/manifests/{tag}")[0] == 200
        verify(tmp_path, store)
        time.sleep(0.1)
        collect(tmp_path, store, "0s")
        verify(tmp_path, store)
    with Store.open(store, read_only=True) as kept:
        assert len(kept.refs()) == 3 * PUSHERS
        # An image of each tag, one layer of its own each; the config and the other layer are shared.
        assert kept.stats().blobs == 2 * 3 * PUSHERS + 2


def collect(folder: Path, store: Path, grace: str) -> int:
    outcome = subprocess.run(
        [PROGRAM, "store", "gc", store, "--grace", grace, "-o", "json"],
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    return int(json.loads(outcome.stdout)["removed"]["blobs"])

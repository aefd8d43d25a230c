"""Many clients of one registry at once, which remember what was acknowledged to them and check it.

A cut connection is no fault (a worker may have been killed); an answer that is wrong, refuses, or does
not come is. What was being sent when the connection was cut is pushed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Seen", "children_of", "crowd", "missing"]

PATIENCE = 30.0
"""Seconds without a byte after which a request hangs."""
SMALL, LARGE = 64 * 1024, 1024 * 1024
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Seen:
    """What the clients saw: acknowledged blobs by digest, manifests by path of their tag, and what went wrong."""

    blobs: dict[str, str] = field(default_factory=dict)
    """A path to pull it by."""
    manifests: dict[str, str] = field(default_factory=dict)
    """Path to digest."""
    faults: list[str] = field(default_factory=list)
    pushed: int = 0
    pulled: int = 0
    cuts: int = 0
    longest: float = 0.0

    def add(self, other: Seen) -> None:
        """Add what others saw."""
        self.blobs |= other.blobs
        self.manifests |= other.manifests
        self.faults += other.faults
        self.pushed += other.pushed
        self.pulled += other.pulled
        self.cuts += other.cuts
        self.longest = max(self.longest, other.longest)


def crowd(host: str, seconds: float, *, pushers: int, pullers: int, label: str) -> Seen:
    """Push and pull for a while, each client on a kept connection and a thread of its own.

    Args:
        host: of the registry, on plain HTTP.
        seconds: until no further image is begun.
        pushers: clients that push images of their own.
        pullers: clients that pull what the pushers were told is there.
        label: different for each crowd of a registry.
    """
    seen, until = Seen(), time.monotonic() + seconds
    lock = threading.Lock()
    kinds = [_Pusher] * pushers + [_Puller] * pullers
    clients = [kind(host, f"{label}-{number}", seen, lock) for number, kind in enumerate(kinds)]
    threads = [threading.Thread(target=client.work, args=(until,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def missing(host: str, seen: Seen) -> list[str]:
    """What was acknowledged and is not there, or is something else."""
    client = _Client(host, "check", Seen(), threading.Lock())
    faults = []
    with closing(client):
        for path, digest in [*((path, digest) for digest, path in seen.blobs.items()), *seen.manifests.items()]:
            status, _, body = client.ask("GET", path, Accept=MANIFEST)
            if status != 200 or _digest(body) != digest:
                faults.append(f"{path}: {status}, {len(body)} bytes")
    return faults


def children_of(pid: int) -> list[int]:
    """The processes that a process made and that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.parent.name))
    return sorted(found)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Client:
    def __init__(self, host: str, label: str, seen: Seen, lock: threading.Lock) -> None:
        self._connection = HTTPConnection(host, timeout=PATIENCE)
        self._label = label
        self._seen = seen
        self._lock = lock
        self._dice = random.Random(label)

    def work(self, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            number += 1
            try:
                self.once(number)
            except TimeoutError:
                self._fault("a request hangs")
                self._connection.close()
            except (OSError, HTTPException):
                self._connection.close()
                with self._lock:
                    self._seen.cuts += 1
                time.sleep(0.05)
        self.close()

    def close(self) -> None:
        self._connection.close()

    def once(self, number: int) -> None:
        raise NotImplementedError

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
        began = time.monotonic()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body=body, headers=named)
        response = self._connection.getresponse()
        data = response.read()
        self._seen.longest = max(self._seen.longest, time.monotonic() - began)
        return response.status, response.headers, data

    def expect(self, wanted: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Ask; return the headers of the answer, or None with a fault noted when it is another than wanted."""
        status, found, data = self.ask(method, path, body, **headers)
        if status == wanted:
            return found
        self._fault(f"{method} {path}: {status} {data[:200]!r}")
        return None

    def _fault(self, text: str) -> None:
        with self._lock:
            self._seen.faults.append(f"{self._label}: {text}")


class _Pusher(_Client):
    def once(self, number: int) -> None:
        name = f"crowd/{self._label}"
        size = LARGE if self._dice.random() < 0.1 else self._dice.randrange(1, SMALL)
        layer = os.urandom(size)
        config = json.dumps({"architecture": "amd64", "os": "linux", "number": number, "of": self._label}).encode()
        described = [self._blob(name, data) for data in (config, layer)]
        if not all(described):
            return
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        raw = json.dumps(document).encode()
        path = f"/v2/{name}/manifests/{number}"
        if self.expect(201, "PUT", path, raw, Content_Type=MANIFEST):
            with self._lock:
                self._seen.manifests[path] = _digest(raw)
                self._seen.pushed += 1

    def _blob(self, name: str, data: bytes) -> dict[str, Any] | None:
        digest = _digest(data)
        ways: list[Callable[[str, bytes, str], Any]] = [self._whole, self._parts]
        if not self._dice.choice(ways)(name, data, digest):
            return None
        with self._lock:
            self._seen.blobs[digest] = f"/v2/{name}/blobs/{digest}"
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    def _whole(self, name: str, data: bytes, digest: str) -> Any:
        location = self._begin(name)
        return location and self.expect(201, "PUT", f"{location}?digest={digest}", data)

    def _parts(self, name: str, data: bytes, digest: str) -> Any:
        location, half = self._begin(name), len(data) // 2
        for start, part in ((0, data[:half]), (half, data[half:])):
            if location and part:
                span = f"{start}-{start + len(part) - 1}"
                headers = self.expect(202, "PATCH", location, part, Content_Range=span)
                location = headers and urlsplit(headers["Location"]).path
        return location and self.expect(201, "PUT", f"{location}?digest={digest}", b"")

    def _begin(self, name: str) -> Any:
        headers = self.expect(202, "POST", f"/v2/{name}/blobs/uploads/", b"")
        return headers and urlsplit(headers["Location"]).path


class _Puller(_Client):
    def once(self, number: int) -> None:
        del number
        with self._lock:
            known = list(self._seen.manifests.items()) if self._seen.manifests else []
        if not known:
            time.sleep(0.05)
            return
        path, digest = self._dice.choice(known)
        status, headers, raw = self.ask("GET", path, Accept=MANIFEST)
        if status != 200 or _digest(raw) != digest or headers["Docker-Content-Digest"] != digest:
            self._fault(f"GET {path}: {status}, {len(raw)} bytes")
            return
        document = json.loads(raw)
        name = path.removeprefix("/v2/").partition("/manifests/")[0]
        for item in (document["config"], *document["layers"]):
            status, _, data = self.ask("GET", f"/v2/{name}/blobs/{item['digest']}")
            if status != 200 or _digest(data) != item["digest"]:
                self._fault(f"GET {name} {item['digest']}: {status}, {len(data)} bytes")
        with self._lock:
            self._seen.pulled += 1

"""Many clients at once against ``bundlectl serve``: pulls of small things, and pushes, over kept connections."""

from __future__ import annotations

import hashlib
import json
import statistics
import threading
import time
from array import array
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from corpus import Corpus, corpus_of
from programs import serve_store, workers
from results import Plan, Result, judged

from registry_fixtures.noise import Dice, noise
from registry_fixtures.samples import sample_documents

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load"]

SECONDS = 60.0
CLIENTS = 2
"""Processes: one alone would measure its own interpreter."""
CONNECTIONS = 6
"""Threads of each client, with one connection each."""
SMALL = 64 * 1024
PUSHED = 8 * 1024
MIX = {"HEAD manifest": 8, "GET manifest": 6, "GET blob": 5, "push blob": 1}
"""Operations, and how often one is taken among twenty."""
SHOWN = 3


@dataclass(frozen=True)
class _Content:
    """What may be asked for: an image's path, tag, digest and type, and the digests of its small blobs."""

    path: str
    tag: str
    digest: str
    media_type: str
    blobs: tuple[str, ...]


@dataclass
class _Seen:
    """What one connection saw: seconds of every operation, and what went wrong."""

    times: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in MIX})
    faults: list[str] = field(default_factory=list)
    pushed: int = 0


def load(plan: Plan) -> list[Result]:
    """Serve a store of the samples and let the clients at it for a while."""
    # Without the index of releases, whose second release the samples do not hold.
    with corpus_of(sample_documents()[1:], plan.folder / "samples", scale=1e-4, seed=plan.seed) as made:
        made.locked()
        store = made.folder / "store"
        made.ours("download", made.lock, "--store", store, *made.origins, "-q")
    before = _blobs(made, store)
    content = _content(json.loads(made.lock.read_bytes()))
    seconds = max(2.0, SECONDS * plan.scale)
    with serve_store(made.folder, store) as server:
        began = time.monotonic()
        seen = _clients(server.found, content, seconds, plan.seed)
        took = time.monotonic() - began
    faults = [fault for one in seen for fault in one.faults]
    if server.exit_code != 0:
        faults.append(f"serve ended with exit {server.exit_code}")
    made.ours("store", "verify", store, "-q")
    pushed, kept = sum(one.pushed for one in seen), _blobs(made, store) - before
    if kept != pushed:
        faults.append(f"{pushed} pushes of different blobs were acknowledged, the store has {kept} more")
    return [*_rows(seen, seconds), _total(seen, took, faults, server.peak)]


def _content(lock: dict[str, Any]) -> list[_Content]:
    found = []
    for item in lock["artifacts"]:
        name, _, tag = item["reference"].rpartition(":")
        small = tuple(digest for digest in item["blobs"] if lock["blobs"][digest] <= SMALL)
        if item["type"] == "image" and small:
            found.append(_Content(name.partition("/")[2], tag, item["digest"], item["mediaType"], small))
    return found


def _blobs(made: Corpus, store: Path) -> int:
    return int(made.ours("store", "stats", store, "-o", "json", "-q").report["blobs"])


def _clients(host: str, content: list[_Content], seconds: float, seed: int) -> list[_Seen]:
    with workers(CLIENTS) as pool:
        started = [pool.submit(_client, host, content, seconds, f"{seed} {number}") for number in range(CLIENTS)]
        return [seen for future in started for seen in future.result()]


def _client(host: str, content: list[_Content], seconds: float, label: str) -> list[_Seen]:
    """One process of clients."""
    seen = [_Seen() for _ in range(CONNECTIONS)]
    threads = [
        threading.Thread(target=_Connection(host, content, f"{label} {number}", one).work, args=(seconds,))
        for number, one in enumerate(seen)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


class _Connection:
    """One kept connection, which asks for one thing after the other."""

    def __init__(self, host: str, content: list[_Content], label: str, seen: _Seen) -> None:
        self._connection = HTTPConnection(host, timeout=30)
        self._content = content
        self._label = label
        self._dice = Dice(0)
        self._seen = seen

    def work(self, seconds: float) -> None:
        deck = [name for name, times in MIX.items() for _ in range(times)]
        operations = dict(zip(MIX, (self._head, self._get, self._blob, self._push), strict=True))
        deadline = time.monotonic() + seconds
        number = 0
        while time.monotonic() < deadline:
            number += 1
            name = deck[self._pick(len(deck), number, "operation")]
            image = self._content[self._pick(len(self._content), number, "image")]
            began = time.perf_counter()
            try:
                fault = operations[name](image, number)
            except (OSError, HTTPException) as error:
                fault = f"{type(error).__name__}: {error}"
                self._connection.close()
            if fault:
                self._seen.faults.append(f"{name} {image.path}: {fault}")
            else:
                self._seen.times[name].append(time.perf_counter() - began)
        self._connection.close()

    def _pick(self, count: int, number: int, what: str) -> int:
        return self._dice.pick(count, self._label, str(number), what)

    def _ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[HTTPResponse, bytes]:
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        return response, response.read()

    def _head(self, image: _Content, _number: int) -> str:
        response, _ = self._ask("HEAD", f"/v2/{image.path}/manifests/{image.tag}", Accept=image.media_type)
        right = response.headers.get("Docker-Content-Digest") == image.digest
        return "" if response.status == 200 and right else f"{response.status} {response.headers}"

    def _get(self, image: _Content, _number: int) -> str:
        response, body = self._ask("GET", f"/v2/{image.path}/manifests/{image.tag}", Accept=image.media_type)
        return _fault(response, body, image.digest)

    def _blob(self, image: _Content, number: int) -> str:
        digest = image.blobs[self._pick(len(image.blobs), number, "blob")]
        response, body = self._ask("GET", f"/v2/{image.path}/blobs/{digest}")
        return _fault(response, body, digest)

    def _push(self, image: _Content, number: int) -> str:
        data = b"".join(noise(f"{self._label} {number}", PUSHED))
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        response, _ = self._ask("POST", f"/v2/{image.path}/blobs/uploads/")
        location = urlsplit(response.headers.get("Location", ""))
        if response.status != 202 or not location.path:
            return f"POST: {response.status}"
        query = f"{location.query}&digest={digest}" if location.query else f"digest={digest}"
        response, body = self._ask("PUT", f"{location.path}?{query}", data)
        if response.status != 201:
            return f"PUT: {response.status} {body[:200]!r}"
        self._seen.pushed += 1
        return ""


def _fault(response: HTTPResponse, body: bytes, digest: str) -> str:
    if response.status != 200:
        return f"{response.status} {body[:200]!r}"
    return "" if f"sha256:{hashlib.sha256(body).hexdigest()}" == digest else f"{len(body)} bytes of another digest"


def _rows(seen: list[_Seen], seconds: float) -> list[Result]:
    rows = []
    for name in MIX:
        times = [value for one in seen for value in one.times[name]]
        if len(times) < 2:
            rows.append(Result(f"load: {name}", "never", verdict="FAILED", why="no such request succeeded"))
            continue
        cuts = statistics.quantiles(times, n=100, method="inclusive")
        done = f"{len(times):,}, p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms"
        rows.append(Result(f"load: {name}", done, seconds, f"{len(times) / seconds:.0f}/s"))
    return rows


def _total(seen: list[_Seen], took: float, faults: list[str], peak: int) -> Result:
    count = sum(len(times) for one in seen for times in one.times.values())
    done = f"{count:,} by {CLIENTS * CONNECTIONS} connections, {len(faults)} errors, serve {peak / 1e6:.0f} MB peak"
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return Result("load: all", done, took, f"{count / took:.0f}/s", *judged([*faults[:SHOWN], *more]))

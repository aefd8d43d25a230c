"""A whole release of some size, made up on loopback: locked, downloaded, mirrored, verified, as whole processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from programs import DATA, Ran, bundlectl, run, serve_store, serving
from results import Plan, Result, judged, left_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Corpus", "corpus", "corpus_of"]

DOCUMENT = DATA / "eksa-bundles-main.yaml"
REAL_SIZE = 13.4e9
"""Bytes that the upstream of the document has at the fixtures' scale 1."""
FULL = 2e9
"""Bytes at our own scale 1."""
ROOM = 5
"""Copies that lie on the disk at the same time, at most: the upstream, two stores, the peers' targets."""
MEMORY = 300e6
"""Bytes of memory that no command may need, whatever the size of the blobs."""
PREFIX = "site"


@dataclass(frozen=True)
class Corpus:
    """An upstream that is being served, and where bundlectl's lock of it is (to be written by ``locked``)."""

    folder: Path
    origins: tuple[str, ...]
    document: Path
    lock: Path

    def ours(self, *arguments: str | Path) -> Ran:
        """Run a bundlectl command."""
        program = bundlectl(self.folder)
        return run([program.path, *arguments], program.variables())

    def locked(self) -> Ran:
        """Write the lock."""
        return self.ours("lock", self.document, "--verify", "off", *self.origins, "--out", self.lock, "-q")


@contextmanager
def corpus_of(documents: Sequence[Path], folder: Path, *, scale: float, seed: int) -> Iterator[Corpus]:
    """Make up and serve, in a process of its own, all that release documents name."""
    folder.mkdir()
    options = [word for document in documents for word in ("--document", str(document))]
    command = [sys.executable, "-m", "registry_fixtures", "--scale", str(scale), "--seed", str(seed), *options]
    with serving(
        [*command, "--directory", folder / "upstream", "--out", folder / "documents"],
        {"PATH": os.environ["PATH"], "HOME": str(folder)},
        log=folder / "upstream.log",
        ready=r"(.*\n--origin https://\S+=http://\S+\n)",
    ) as server:
        pairs = re.findall(r"^--origin (\S+)$", server.found, re.MULTILINE)
        # The first line is that of the first document: "KIND NAME LOCATION".
        kind, name = server.found.split(" ")[:2]
        yield Corpus(
            folder,
            tuple(word for pair in pairs for word in ("--origin", pair)),
            folder / "documents" / f"{kind.lower()}-{name or 'unnamed'}.yaml",
            folder / "bundle.lock.json",
        )


def corpus(plan: Plan) -> list[Result]:
    """Take the whole journey."""
    if not DOCUMENT.is_file():
        return [left_out("corpus", f"{DOCUMENT.name} is not beside this checkout (../shared/data)")]
    size = min(FULL * plan.scale, shutil.disk_usage(plan.folder).free / ROOM)
    with corpus_of([DOCUMENT], plan.folder / "corpus", scale=size / REAL_SIZE, seed=plan.seed) as made:
        return _journey(made)


def _journey(made: Corpus) -> list[Result]:
    locked = made.locked()
    document = json.loads(made.lock.read_bytes())
    total, largest = sum(document["blobs"].values()), max(document["blobs"].values())
    size = f"{total / 1e6:,.0f} MB"
    count = len(document["artifacts"])
    results = [Result("lock", f"{count} artifacts", locked.seconds, f"{count / locked.seconds:.0f} artifacts/s")]
    store = made.folder / "store"

    download = made.ours("download", made.lock, "--store", store, *made.origins, "-o", "json", "-q")
    results += [_moved("download", download), _memory("download", download.peak, largest)]
    with serve_store(made.folder, made.folder / "served") as server:
        target = f"{server.found}/{PREFIX}"
        mirror: list[str | Path] = ["mirror", made.lock, "--to", target, *made.origins, "-o", "json", "-q"]
        first = made.ours(*mirror)
        results += [_moved("mirror into serve", first), _memory("mirror", first.peak, largest)]
        results.append(_again(made.ours(*mirror), _tags(document)))
        deep = made.ours("verify", f"registry:{target}", "--against", made.lock, "--deep", "-o", "json", "-q")
        results.append(Result("verify --deep", size, deep.seconds, _rate(total, deep.seconds)))
    ended = [] if server.exit_code == 0 else [f"serve ended with exit {server.exit_code}"]
    results.append(_memory("serve", server.peak, largest, ended))
    checked = made.ours("store", "verify", store, "-o", "json", "-q")
    results.append(Result("store verify", size, checked.seconds, _rate(total, checked.seconds)))
    return results


def _moved(name: str, ran: Ran) -> Result:
    """A first run: everything that the lock names is there now and was not before."""
    report = ran.report
    moved, artifacts = report["bytes"]["transferred"], report["artifacts"]
    faults = [f"{item['reference']}: {item['error']}" for item in report["failed"][:3]]
    if artifacts["done"] != artifacts["total"]:
        faults.append(f"{artifacts['done']} of {artifacts['total']} artifacts were new in an empty place")
    done = f"{moved / 1e6:,.0f} MB, {report['blobs']['transferred']} blobs"
    return Result(name, done, ran.seconds, _rate(moved, ran.seconds), *judged(faults))


def _again(ran: Ran, tags: int) -> Result:
    """A second run: nothing is transferred, nothing asked of the source, and each tag once at most at the target."""
    report = ran.report
    requests, moved = report["requests"], report["bytes"]["transferred"]
    faults = [f"{moved:,} bytes were transferred again"] if moved else []
    faults += [f"{requests['source']} requests at the source"] if requests["source"] else []
    if requests["target"] > tags:
        faults.append(f"{requests['target']} requests at the target for {tags} tags")
    done = (
        f"{moved} bytes, {requests['source']} requests at the source, {requests['target']} at the target ({tags} tags)"
    )
    rate = f"{report['artifacts']['total'] / ran.seconds:.0f} artifacts/s"
    return Result("mirror again", done, ran.seconds, rate, *judged(faults))


def _tags(lock: dict[str, Any]) -> int:
    """How many tags a target of this lock has."""
    referrers = [referrer for item in lock["artifacts"] for referrer in item["referrers"]]
    documents = [tag for item in lock["manifests"] for tag in item.get("tags") or [item["name"]]]
    return len(lock["artifacts"]) + sum("tag" in referrer for referrer in referrers) + len(documents)


def _memory(name: str, peak: int, largest: int, faults: Sequence[str] = ()) -> Result:
    faults = [*faults, *([f"more than {MEMORY / 1e6:.0f} MB"] if peak > MEMORY else [])]
    done = f"largest blob {largest / 1e6:,.1f} MB"
    return Result(f"memory of {name}", done, None, f"{peak / 1e6:.0f} MB peak", *judged(faults))


def _rate(size: int, seconds: float) -> str:
    return f"{size / 1e6 / seconds:.0f} MB/s"

"""The scenarios of ``make bench``, in their order, and what each one claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from carrying import exporting, importing
from copying import first_copy, from_store, resync
from memory import large_layers, many_blobs
from programs import find_program
from pulling import CONNECTIONS, pulling
from reports import COLUMNS, Goal, Report, at_source, at_target, contest_rows, cpu, seconds, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from images import Listing
    from pairing import Chosen, Contest, Observed

__all__ = ["PROGRAMS", "SCENARIOS", "missing_programs"]


Scenario: TypeAlias = "Callable[[Chosen], Report]"

ROUND_TRIP = 30.0
"""Milliseconds, to each of the two registries."""
CPU_GOAL = 1.2
PROGRAMS = ("docker-registry", "distribution3", "regsync", "crane", "skopeo", "regctl")
KINDS = {"docker-registry": "docker-registry 2.8", "distribution3": "distribution 3"}


def _near(chosen: Chosen) -> Report:
    source, contest = first_copy(chosen)
    goals = [*_wall(contest, 0.40, "first copy"), *_cpu(contest)]
    return _report("first-copy", "First copy, registry to registry", _setting(source.listing), contest, goals)


def _unshared(chosen: Chosen) -> Report:
    source, contest = first_copy(chosen.unless_told("regsync", "skopeo", "regctl"), unshared=True)
    goals = _wall(contest, 0.40, "first copy, nothing shared")
    return _report(
        "first-copy-unshared", "The same, of images that share nothing", _setting(source.listing), contest, goals
    )


def _far(chosen: Chosen) -> Report:
    source, contest = first_copy(chosen, round_trip=ROUND_TRIP)
    goals = _wall(contest, 0.50, f"first copy, {ROUND_TRIP:g} ms away")
    setting = f"{_setting(source.listing)} A round trip to each of the registries takes {ROUND_TRIP:g} ms."
    return _report("first-copy-far", f"The same, {ROUND_TRIP:g} ms away", setting, contest, goals)


def _distribution3(chosen: Chosen) -> Report:
    source, contest = first_copy(chosen.unless_told("regsync"), kind="distribution3")
    setting = _setting(source.listing, "distribution3")
    return _report("first-copy-3", "The same, between two of distribution 3", setting, contest, ())


def _store(chosen: Chosen) -> Report:
    source, contest = from_store(chosen)
    goals = _wall(contest, 0.30, "store to registry")
    setting = (
        f"{_content(source.listing)}, from a store (an OCI image layout, which all of them read) into an empty "
        "docker-registry 2.8, a new one for each run."
    )
    return _report("store", "Store to registry", setting, contest, goals)


def _again(chosen: Chosen) -> Report:
    source, contest = resync(chosen)
    tags = len(source.listing.images)
    setting = (
        f"{tags:,} images of two platforms, all of them at the target already, as each tool saw once before: "
        "docker-registry 2.8 on both sides."
    )
    goals = [
        Goal("re-sync: requests at the source", contest.spread(contest.ours, at_source).most, 0, strict=True),
        Goal(
            "re-sync: requests at the target a tag",
            contest.spread(contest.ours, at_target).most / tags,
            1,
            strict=True,
        ),
        *_wall(contest, 1.0, "re-sync"),
    ]
    return _report("re-sync", "Again, with nothing to do", setting, contest, goals)


def _pulls(chosen: Chosen) -> Report:
    listing, duels = pulling(chosen)
    manifests, blobs = duels["manifests"], duels["blobs"]
    found = {
        "manifests a second": manifests.spreads(lambda one: one.requests / one.seconds),
        "99 % of them within, ms": manifests.spreads(lambda one: one.p99 * 1e3),
        "MB of blobs a second": blobs.spreads(lambda one: one.bytes / one.seconds / 1e6),
    }
    rows = [[what, *(shown(spread, 0) for spread in both), shown(ratio, 2)] for what, (*both, ratio) in found.items()]
    goals = [
        Goal("pull, manifests a second : docker-registry", found["manifests a second"][2].median, 2.0, at_least=True),
        Goal("pull, bytes a second : docker-registry", found["MB of blobs a second"][2].median, 1.5, at_least=True),
    ]
    setting = (
        f"{_content(listing)}, from `bundlectl serve` over a store and from docker-registry 2.8, over {CONNECTIONS} "
        "kept connections: the images' indexes by tag and by digest, then the largest layer of each image."
    )
    return Report("pull", "Pulls from serve", setting, ("", "serve", "docker-registry", "serve : it"), rows, goals)


def _memory(chosen: Chosen) -> Report:
    large = large_layers(chosen.plan)
    few, many = many_blobs(chosen.plan)
    growth = (many.peak - few.peak) / max(1, many.blobs - few.blobs)
    rows = [
        [
            *(what, f"{one.blobs:,}", f"{one.bytes / 1e6:,.0f} MB"),
            *(f"{one.seconds:.1f}", f"{one.cpu:.1f}", f"{one.peak / 1e6:.0f} MB"),
        ]
        for what, one in (("large layers", large), ("small layers", few), ("ten times as many", many))
    ]
    goals = [
        Goal("memory, MB with 8 GB of layers", large.peak / 1e6, 120, strict=True),
        Goal("memory, bytes for each further blob", growth, 1024),
    ]
    setting = (
        "`mirror` from a registry that makes its layers up into one that checks digests and keeps nothing: eight "
        "layers of a gigabyte, then images of a hundred layers of 200 bytes."
    )
    columns = ("", "blobs", "sent", "seconds", "CPU s", "peak memory")
    return Report("memory", "Memory", setting, columns, rows, goals)


def _export(chosen: Chosen) -> Report:
    weighed, contest = exporting(chosen)
    peak = contest.spread(contest.ours, lambda one: one.measured.peak / 1e6).most
    goals = [
        *_against(contest, seconds, 1.15, "export, time"),
        Goal("export: memory, MB", peak, 120, strict=True),
        Goal("export: disk beside the blobs, %", 100 * weighed.beyond, 1.0),
    ]
    setting = (
        f"An archive of {weighed.blobs / 1e9:,.1f} GB of layers in a store, in volumes of 4 GiB, every blob and every "
        "volume hashed and synced; the other way does not sync, and hashes once."
    )
    return _report("export", "Export from a store", setting, contest, goals)


def _import(chosen: Chosen) -> Report:
    source, contest = importing(chosen)
    peak = contest.spread(contest.ours, lambda one: one.measured.peak / 1e6).most
    goals = [*_against(contest, seconds, 0.5, "import, time"), Goal("import: memory, MB", peak, 120, strict=True)]
    setting = (
        f"{_content(source.listing)}, from an archive into an empty docker-registry 2.8, a new one for each run; the "
        "other tool reads the layout that the archive unpacks to, and the unpacking is not counted."
    )
    return _report("import", "Import into a registry", setting, contest, goals)


SCENARIOS: dict[str, Scenario] = {
    "first-copy": _near,
    "first-copy-unshared": _unshared,
    "first-copy-far": _far,
    "first-copy-3": _distribution3,
    "store": _store,
    "re-sync": _again,
    "pull": _pulls,
    "export": _export,
    "import": _import,
    "memory": _memory,
}
"""By the key of their report. Each raises RuntimeError when a tool fails at its task."""


def missing_programs() -> list[str]:
    """What the scenarios need and this machine does not have."""
    return [name for name in PROGRAMS if find_program(name) is None]


def _content(listing: Listing) -> str:
    return (
        f"{len(listing.images)} images of two platforms, {listing.size / 1e6:,.0f} MB in {listing.blobs} blobs, "
        f"{listing.shared:.0%} of the bytes they name shared with other images"
    )


def _setting(listing: Listing, kind: str = "docker-registry") -> str:
    return f"{_content(listing)}, from one {KINDS[kind]} into another, empty one, a new one for each run."


def _report(key: str, title: str, setting: str, contest: Contest, goals: Sequence[Goal]) -> Report:
    return Report(key, title, setting, COLUMNS, contest_rows(contest), goals)


def _wall(contest: Contest, limit: float, what: str) -> list[Goal]:
    return _against(contest, seconds, limit, f"{what}, time")


def _cpu(contest: Contest) -> list[Goal]:
    return _against(contest, cpu, CPU_GOAL, "first copy, CPU")


def _against(contest: Contest, value: Callable[[Observed], float], limit: float, what: str) -> list[Goal]:
    """A goal against the best other tool of this very contest, when there is one."""
    best = contest.best(value)
    if best is None:
        return []
    ratio = contest.ratio(best, value)
    return [Goal(f"{what} : {best}", ratio.median, limit, f"({ratio.least:.2f} to {ratio.most:.2f})")]

"""What a reviewer would want to be asked about, before a signature is given."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.reporting.report import Report
    from bundles.reporting.summaries import Severity

__all__ = ["Concern", "Gravity", "concerns"]

Gravity: TypeAlias = Literal["stop", "ask", "know"]
"""``stop``: this is not what it should be. ``ask``: somebody must answer for it. ``know``: nothing is wrong."""

_GRAVE: Final[tuple[Severity, ...]] = ("critical", "high")
_ORDER: Final[tuple[Gravity, ...]] = ("stop", "ask", "know")


@dataclass(frozen=True, slots=True)
class Concern:
    """Something to look at, and the part of the report where it stands."""

    gravity: Gravity
    text: str
    part: str

    def to_json(self) -> dict[str, str]:
        """Render as it stands in a report."""
        return {"gravity": self.gravity, "text": self.text, "part": self.part}


def concerns(report: Report) -> tuple[Concern, ...]:
    """All concerns, the gravest first."""
    found = [*_vouching(report), *_archives(report), *_changes(report), *_artifacts(report), *_reports(report)]
    return tuple(sorted(found, key=lambda item: _ORDER.index(item.gravity)))


def _vouching(report: Report) -> Iterator[Concern]:
    vouching = report.vouching
    if report.unpinned:
        yield Concern(
            "stop", f"{_many(len(report.unpinned), 'artifact')} could not be pinned, and would not cross", "left-out"
        )
    if vouching.verified_by:
        yield Concern("know", f"every digest is vouched for by {vouching.verified_by}, verified here", "vouching")
    elif vouching.made_here:
        yield Concern("ask", "no signed lock was given: nothing vouches for the whole", "vouching")
    elif vouching.says:
        yield Concern("ask", f"the lock's signature was not checked; it says itself: {vouching.says}", "vouching")
    else:
        yield Concern("ask", "the lock is not signed: nothing vouches for the whole", "vouching")
    if report.weakened:
        yield Concern("ask", f"{_many(len(report.weakened), 'thing')} decided or weakened trust", "weakened")
    if report.lock.excluded:
        yield Concern("know", f"{_many(len(report.lock.excluded), 'thing')} that sources name left out", "left-out")
    unsigned = [
        item for item in report.documents if item.document.trust != "signed" and item.document.kind != "Release"
    ]
    if unsigned:
        yield Concern(
            "ask", f"{_many(len(unsigned), 'release document')} without a signature that was verified", "documents"
        )


def _archives(report: Report) -> Iterator[Concern]:
    for archive in report.archives:
        if archive.statement.verified_by is None:
            says = archive.statement.says
            told = f"was not checked; it says itself: {says}" if says else "is not there: nobody vouches for it"
            yield Concern("ask", f"the signature of the archive's inventory {told}", "archive")
        wrong = [item for item in archive.files if item.problem]
        if wrong:
            yield Concern("stop", f"{_many(len(wrong), 'file')} of the archive not what they should be", "archive")
        absent = [item for item in archive.files if item.found is None and not item.problem]
        if absent:
            yield Concern("ask", f"{_many(len(absent), 'file')} of the archive not in this folder", "archive")
        lacking = set(archive.contents.present) - report.since.statement.inventory.blobs if report.since else ()
        if lacking:
            yield Concern(
                "ask",
                f"{_many(len(lacking), 'blob')} neither in the archive nor in the site's inventory",
                "archive",
            )
        if archive.contents.present:
            yield Concern(
                "know",
                f"{_many(len(archive.contents.present), 'blob')} left out of the archive, as the site has them",
                "archive",
            )


def _changes(report: Report) -> Iterator[Concern]:
    since = report.since
    if since is None:
        yield Concern("know", "not compared with an earlier transfer (--since)", "since")
        return
    if since.statement.unverified:
        yield Concern("ask", f"what the site has is an inventory's word, which {since.statement.unverified}", "since")
    if changed := since.count("changed"):
        yield Concern("ask", f"{_many(changed, 'artifact')} with other content under a name that the site has", "since")
    yield Concern("know", f"{_many(since.count('new'), 'artifact')} new to the site", "since")
    if since.gone:
        yield Concern("know", f"{_many(len(since.gone), 'name')} of the site not in this transfer", "since")


def _artifacts(report: Report) -> Iterator[Concern]:
    # Under a signature of the whole all of them are signed now; what they were before is the signer's word alone. What
    # a lock that nobody vouches for says of itself is nobody's.
    whole = report.vouching.verified_by is not None
    levels = Counter[str](item.recorded if whole else item.artifact.trust for item in report.artifacts)
    uncovered = sum(count for level, count in levels.items() if level != "signed")
    if uncovered:
        covered = "under the lock's signature alone" if whole else "under no verified signature"
        yield Concern("ask", f"{_many(uncovered, 'artifact')} {covered}", "uncovered")
    for level, text in (("off", "not checked at all: verification was off"), ("pushed", "pushed by somebody")):
        if levels[level]:
            yield Concern("ask", f"{levels[level]:,} of them {text}", "uncovered")
    foreign = sum(not item.artifact.reference.isascii() for item in report.artifacts)
    if foreign:
        yield Concern("ask", f"{_many(foreign, 'name')} with letters that may look like others", "contents")
    attached = [found for item in report.artifacts for found in item.attached]
    unread = [item for item in attached if item.problem]
    if unread:
        yield Concern("ask", f"{_many(len(unread), 'attached document')} could not be read or used", "attached")
    left = sum(item.kind == "left-out" for item in attached)
    if left:
        yield Concern(
            "know", f"{_many(left, 'attached document')} not in the archive, as the site has them", "attached"
        )


def _reports(report: Report) -> Iterator[Concern]:
    counts = report.vulnerabilities
    grave = [f"{counts[level]:,} {level}" for level in _GRAVE if counts[level]]
    if grave:
        yield Concern("ask", f"vulnerability reports name {' and '.join(grave)}", "attached")
    images = [
        item
        for item in report.artifacts
        if item.artifact.type == "image" and all(found.kind != "left-out" for found in item.attached)
    ]
    unlisted = [item for item in images if not any(found.bills for found in item.attached)]
    unscanned = [item for item in images if not any(found.scans for found in item.attached)]
    if unlisted:
        yield Concern("know", f"{_many(len(unlisted), 'image')} without an SBOM", "attached")
    if unscanned:
        yield Concern("know", f"{_many(len(unscanned), 'image')} without a vulnerability report", "attached")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"

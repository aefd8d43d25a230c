"""Contents: every artifact by release document, component and package."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from bundles.reporting.marks import NO_COMPONENT, attached_anchor, change_mark, code, trust_mark
from bundles.reporting.summaries import SEVERITIES
from mirror.markup import Element, element, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundles.lock import LockedArtifact
    from bundles.reporting.attached import Attached
    from bundles.reporting.report import Report, ReportedArtifact

__all__ = ["contents_part"]

_COLUMNS: Final = ("Artifact", "Version", "Size", "Platforms", "Trust", "Attached")
_NUMBER: Final = 2
_PLATFORM: Final = 30


def contents_part(report: Report) -> Iterator[Element]:
    """A table for each release document, with a heading for each component."""
    names = {item.document.url: f"{item.document.kind} {item.document.name}" for item in report.documents}
    compared = report.since is not None
    columns = (*_COLUMNS, "Site") if compared else _COLUMNS
    for release, items in groupby(report.artifacts, key=lambda item: item.release):
        found = list(items)
        share = report.shares({release: found})[0]
        yield element("h3", names.get(release) or "Named by a source itself")
        yield element("p", f"{len(found):,} artifacts, {size_text(share.size)}. ", code(release) if release else None)
        yield _table(columns, found, report)


def _table(columns: tuple[str, ...], items: Iterable[ReportedArtifact], report: Report) -> Element:
    kind = [{"class_": "n"} if number == _NUMBER else {} for number in range(len(columns))]
    head = element("tr", *(element("th", title, **style) for title, style in zip(columns, kind, strict=True)))
    bodies = []
    for component, group in groupby(items, key=lambda item: item.component):
        found = list(group)
        share = report.shares({component: found})[0]
        title = f"{component or NO_COMPONENT}: {share.artifacts:,}, {size_text(share.size)}"
        heading = element("tr", element("th", title, colspan=str(len(columns)), scope="rowgroup"))
        rows = (
            element("tr", *(element("td", cell, **style) for cell, style in zip(_row(item, report), kind, strict=True)))
            for item in found
        )
        bodies.append(element("tbody", heading, *rows))
    return element("table", element("thead", head), *bodies, class_="artifacts")


def _row(item: ReportedArtifact, report: Report) -> list[Element]:
    artifact = item.artifact
    about: list[str] = [artifact.type]
    if item.package and artifact.type != "chart":
        about.append(f"named by the chart {item.package}")
    if len(artifact.components) > 1:
        about.append(f"also of {', '.join(name for name in sorted(artifact.components) if name != item.component)}")
    if artifact.kube_versions:
        about.append(f"Kubernetes {', '.join(artifact.kube_versions)}")
    if item.volumes:
        about.append(f"in volume {', '.join(map(str, item.volumes))}")
    cells = [
        element(
            "div",
            element("div", code(artifact.reference)),
            element("div", code(str(artifact.digest))),
            element("div", "; ".join(about), class_="quiet"),
        ),
        code(item.version),
        element("span", size_text(artifact.size), title=f"{artifact.size:,} bytes"),
        element("div", *(element("div", str(platform)[:_PLATFORM], class_="keep") for platform in artifact.platforms)),
        trust_mark(artifact.trust, item.recorded),
        element("div", *(_attached(found, artifact) for found in item.attached)),
    ]
    if report.since is not None:
        change = item.change
        told = (change_mark(change), element("div", size_text(change.size), class_="keep")) if change else ()
        cells.append(element("div", *told))
    return cells


def _attached(item: Attached, artifact: LockedArtifact) -> Element:
    if item.kind != "signature":
        return element("div", element("a", _summary(item), href=f"#{attached_anchor(item)}"))
    what = item.what
    if item.subject != artifact.root:
        what += " of one platform" if item.subject in artifact.manifests else " of what is attached"
    if item.verified_by:
        return element("div", element("span", "verified", class_="mark good"), f" {what}: {item.verified_by}")
    told = f"{what}, says itself: {item.says}" if item.says else what
    return element("div", f"{told}; {item.unverified or item.problem or 'not checked'}", class_="quiet")


def _summary(item: Attached) -> str:
    told = [f"SBOM, {bill.packages:,} packages" for bill in item.bills]
    for scan in item.scans:
        found = [f"{scan.counts[severity]:,} {severity}" for severity in SEVERITIES if scan.counts[severity]]
        told.append(f"vulnerabilities: {', '.join(found) or 'none'}")
    return "; ".join(told) or item.what

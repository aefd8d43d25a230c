"""SBOMs, attestations and vulnerability reports: what each of them comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundles.reporting.marks import attached_anchor, code, signer
from bundles.reporting.summaries import SEVERITIES
from mirror.markup import Element, element, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundles.reporting.attached import Attached
    from bundles.reporting.report import Report
    from bundles.reporting.summaries import BillOfMaterials, Vulnerabilities

__all__ = ["attachments_part"]


def attachments_part(report: Report) -> Iterator[Element]:
    """All of them, each with the artifact that it is attached to."""
    rows: list[list[Element | str]] = []
    seen: set[str] = set()
    for artifact in report.artifacts:
        for item in artifact.attached:
            if item.kind != "signature":
                rows.append(_row(artifact.artifact.reference, item, first=item.digest.encoded not in seen))
                seen.add(item.digest.encoded)
    if not rows:
        yield element("p", "None is attached to anything that crosses, or referrers were left out.")
        return
    yield element(
        "p",
        "Each is the word of whoever made it, when it was made. An artifact without one is not one without faults.",
        class_="quiet",
    )
    yield from _severities(report)
    yield table(("Artifact", "What is attached", "What it says", "Signed by"), rows)


def _severities(report: Report) -> Iterator[Element]:
    if any(item.scans for artifact in report.artifacts for item in artifact.attached):
        counts = report.vulnerabilities
        rows = [[f"{counts[severity]:,}" for severity in SEVERITIES]]
        yield element("h3", "Vulnerabilities, as all reports together count them")
        yield table([f"#{severity}" for severity in SEVERITIES], rows)


def _row(reference: str, item: Attached, *, first: bool) -> list[Element | str]:
    what = element("div", element("div", item.what), element("div", code(str(item.digest))))
    if first:
        what.set("id", attached_anchor(item))
    said = [*map(_bill, item.bills), *map(_scan, item.scans)]
    if item.problem:
        said.append(element("div", item.problem, class_="mark ask"))
    return [code(reference), what, element("div", *said), signer(item.says, item.verified_by, item.unverified)]


def _bill(bill: BillOfMaterials) -> Element:
    licences = [f"{name} {count:,}" for name, count in bill.licences]
    if bill.unlicensed:
        licences.append(f"none stated {bill.unlicensed:,}")
    return element(
        "div",
        element("div", f"{bill.packages:,} packages ({bill.format}{f', {bill.tool}' if bill.tool else ''})"),
        element("div", f"licences: {', '.join(licences)}", class_="quiet") if licences else None,
    )


def _scan(scan: Vulnerabilities) -> Element:
    told = ", ".join(f"{scan.counts[severity]:,} {severity}" for severity in SEVERITIES if scan.counts[severity])
    made = f", {scan.made}" if scan.made else ""
    tool = f", {scan.tool}" if scan.tool else ""
    return element("div", f"{told or 'no vulnerabilities'} ({scan.format}{tool}{made})")

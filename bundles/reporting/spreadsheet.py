"""The report as CSV: one line an artifact, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from bundles.reporting.summaries import SEVERITIES
from mirror.markup import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundles.reporting.report import Report, ReportedArtifact

__all__ = ["COLUMNS", "render_csv"]

COLUMNS: Final = (
    *("release", "component", "package", "type", "name", "version", "reference", "digest", "size", "mediaType"),
    *("platforms", "kubeVersions", "foundIn", "trust", "recordedTrust", "verifiedBy", "signaturesSay"),
    *("change", "was", "bytesNew", "sbomPackages", "sbomTool", "scanTool", *SEVERITIES, "volumes"),
)

_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula; the full-width ones are read as the others."""


def render_csv(report: Report) -> bytes:
    """Render as RFC 4180 has it, in UTF-8. Cells that could be taken for a formula begin with an apostrophe."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in _row(item)] for item in report.artifacts)
    return out.getvalue().encode()


def _row(item: ReportedArtifact) -> Iterator[str]:
    artifact = item.artifact
    yield from (item.release, item.component, item.package, artifact.type, artifact.name, item.version)
    yield from (artifact.reference, str(artifact.digest), str(artifact.size), artifact.media_type)
    yield from (_joined(map(str, artifact.platforms)), _joined(artifact.kube_versions), _joined(artifact.found_in))
    signatures = [found for found in item.attached if found.kind == "signature"]
    yield from (artifact.trust, item.recorded, _joined(item.verified_by))
    yield _joined(found.says or "nobody" for found in signatures)
    change = item.change
    yield from (change.kind, str(change.was or ""), str(change.size)) if change else ("", "", "")
    bills = [bill for found in item.attached for bill in found.bills]
    scans = [scan for found in item.attached for scan in found.scans]
    yield str(sum(bill.packages for bill in bills)) if bills else ""
    yield _joined(bill.tool for bill in bills)
    yield _joined(scan.tool for scan in scans)
    for severity in SEVERITIES:
        yield str(sum(scan.counts[severity] for scan in scans)) if scans else ""
    yield _joined(map(str, item.volumes))


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts))


def _cell(text: str) -> str:
    # Line breaks and tabs, which some programs take for the end of a cell, are no part of any name.
    shown = visible(" ".join(text.split()) if any(mark in text for mark in "\r\n\t") else text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown

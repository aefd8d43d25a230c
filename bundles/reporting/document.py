"""The report as JSON (``report.schema.json``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bundles.reporting.concerns import concerns
from mirror.oci.manifest import canonical_json

if TYPE_CHECKING:
    from bundles.reporting.report import Report

__all__ = ["render_json", "report_document"]

_API_VERSION: Final = "bundlectl.dev/v1alpha1"


def render_json(report: Report) -> bytes:
    """Render as canonical JSON, with a newline at its end."""
    return canonical_json(report_document(report)) + b"\n"


def report_document(report: Report) -> dict[str, Any]:
    """Everything that a report says."""
    return {
        "apiVersion": _API_VERSION,
        "kind": "Report",
        "name": report.name,
        "vouching": report.vouching.to_json(),
        "concerns": [item.to_json() for item in concerns(report)],
        "sources": list(report.sources),
        "madeFrom": list(report.made_from),
        "selection": dict(report.lock.selection),
        "documents": [item.to_json() for item in report.documents],
        "artifacts": [item.to_json() for item in report.artifacts],
        "unpinned": [item.to_json() for item in report.unpinned],
        "totals": {
            "artifacts": len(report.artifacts),
            "blobs": len(report.lock.blobs),
            "size": report.size,
            "byType": [share.to_json() for share in report.by_type()],
            "byComponent": [share.to_json() for share in report.by_component()],
        },
        "since": report.since.to_json() if report.since else None,
        "archives": [item.to_json() for item in report.archives],
        "excluded": [{"reference": item.reference, "reason": item.reason} for item in report.lock.excluded],
        "weakened": list(report.weakened),
    }

"""``bundlectl report``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request
from bundlectl.cli.options import (
    Follow,
    Format,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SinceKey,
    SourceOptions,
    Sources,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.cli.writing import write_result
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundles.reporting.report import Report

__all__ = ["ReportFormat", "register"]


class ReportFormat(StrEnum):
    """What a report is written as."""

    HTML = "html"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "report",
        examples=(
            "bundlectl report archive:/media/usb/eks --verify approval.pub --out eks.html",
            "bundlectl report store:/data/store --since site.inventory.json --out next.csv",
        ),
    )
    def report(
        invocation: Invocation,
        *,
        sources: Sources,
        out: Annotated[
            str, option("--out", metavar="FILE", show_default=False, help="Where to write it; - is standard output.")
        ],
        since: Annotated[
            Path | None,
            option(
                "--since",
                metavar="INVENTORY",
                show_default=False,
                help="An inventory of what the site has: say what is new, changed and gone.",
            ),
        ] = None,
        since_key: SinceKey = "",
        format: Annotated[  # noqa: A002 -- the name of the flag
            ReportFormat | None,
            option("--format", show_default=False, help="What to write, unless the suffix of --out says it."),
        ] = None,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        follow: Follow = None,
    ) -> int:
        """Write down what crosses the gap, for whoever must approve it.

        One HTML file that loads nothing and prints: contents by release, component and package, who
        signed what and what no signature covers, what is new since the last transfer, checksums of an
        archive's volumes. SBOMs, signatures and vulnerability reports are read and summed up. The same input
        gives the same bytes.

        Also as JSON, or as CSV with one line an artifact. What could not be pinned, and files of an archive
        that are not what they should be, are in the report and in the exit code.
        """
        wanted = _format(out, format, form.output)
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.cli.believing import since_anchors  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.reporting import make_report  # noqa: PLC0415 -- not for --help

        anchors = since_anchors(invocation, since_key, trust, given=since is not None)
        found = run_session(
            invocation,
            connection,
            lambda session: make_report(request, session=session, since=since, since_anchors=anchors),
        )
        content = _renderer(wanted)(found)
        write_result(invocation.console, out, content)
        if out != "-":
            show(invocation, form, _told(found, out, wanted, content), _render)
        return found.exit_code


def _format(out: str, stated: ReportFormat | None, output: Format) -> ReportFormat:
    """What to write.

    Raises:
        UsageError: neither the option nor the suffix says it; or it is no JSON, and standard output is to be that.
    """
    if out == "-" and output is Format.JSON:
        if stated not in (None, ReportFormat.JSON):
            raise UsageError(
                f"the report itself goes to standard output as {stated}, and --output json says JSON",
                hint="add --out FILE, or --format json",
            )
        return ReportFormat.JSON
    if stated is not None:
        return stated
    suffix = Path(out).suffix.lower()
    if out == "-" or suffix in (".html", ".htm"):
        return ReportFormat.HTML
    if suffix[1:] not in (ReportFormat.JSON, ReportFormat.CSV):
        raise UsageError(
            f"--out {out} does not say what to write",
            hint="let it end in .html, .json or .csv, or add --format html|json|csv",
        )
    return ReportFormat(suffix[1:])


def _renderer(wanted: ReportFormat) -> "Callable[[Report], bytes]":
    match wanted:
        case ReportFormat.HTML:
            from bundles.reporting.page import render_page  # noqa: PLC0415 -- not for --help

            return render_page
        case ReportFormat.JSON:
            from bundles.reporting.document import render_json  # noqa: PLC0415 -- not for --help

            return render_json
        case ReportFormat.CSV:
            from bundles.reporting.spreadsheet import render_csv  # noqa: PLC0415 -- not for --help

            return render_csv


def _told(report: "Report", out: str, wanted: ReportFormat, content: bytes) -> dict[str, Any]:
    from bundles.reporting.concerns import concerns  # noqa: PLC0415 -- not for --help
    from mirror.oci.digest import Digest  # noqa: PLC0415 -- not for --help

    return {
        "out": out,
        "format": str(wanted),
        "size": len(content),
        "digest": str(Digest.of(content)),
        "lock": str(report.vouching.digest),
        "artifacts": len(report.artifacts),
        "bytes": report.size,
        "concerns": [item.to_json() for item in concerns(report)],
    }


def _render(document: dict[str, Any]) -> str:
    words = {"stop": "wrong", "ask": "ask", "know": "note"}
    return "\n".join(
        [
            f"artifacts: {document['artifacts']:,}, bytes: {document['bytes']:,}, lock: {document['lock']}",
            *(f"  {words[item['gravity']]:<5} {item['text']}" for item in document["concerns"]),
            f"sha256 of the report: {document['digest'].partition(':')[2]}",
        ]
    )

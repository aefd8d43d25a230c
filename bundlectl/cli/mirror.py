"""``bundlectl mirror``."""

from dataclasses import replace
from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request, build_target, target_host, wanted_visibility
from bundlectl.cli.options import (
    FillOptions,
    Follow,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    Sources,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_plan, render_report
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.cli.weakening import Weakening

__all__ = ["register"]

TrustRecorded = Annotated[
    bool,
    option(
        "--trust-recorded", help="Take for granted what earlier runs confirmed at the target, if a sample of it holds."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "mirror",
        examples=(
            "bundlectl mirror store:/data/store --to harbor.example.com/eks",
            "bundlectl mirror eks-a:v0.24.1 --to harbor.example.com/eks --dry-run",
            "bundlectl mirror store:/data/store --to harbor.example.com --create-projects=private",
        ),
    )
    def mirror(
        invocation: Invocation,
        *,
        sources: Sources,
        target: FillOptions,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        dry_run: Annotated[bool, option("--dry-run", help="Print what would be copied; change nothing.")] = False,
        trust_recorded: TrustRecorded = False,
        follow: Follow = None,
    ) -> int:
        """Bring everything that sources name into a registry.

        Images, charts, files, signatures and release documents. What is there already is left
        alone; tags are written last. Without --to, a Collection's spec.target says where.
        """
        naming = build_target(target)
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust, target=target_host(target))
        if trust_recorded:
            weakening = Weakening(invocation)
            weakening.tell("what earlier runs recorded of the target is believed, but for a sample", "--trust-recorded")
            connection = replace(connection, weakened=(*connection.weakened, *weakening.recorded))
        from bundlectl.operations.mirroring import mirror as fill  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.mirroring import plan  # noqa: PLC0415 -- not for --help

        created = wanted_visibility(target)
        if dry_run:
            planned = run_session(
                invocation,
                connection,
                lambda session: plan(
                    request, target=naming, session=session, create_projects=created, trust_recorded=trust_recorded
                ),
            )
            show(invocation, form, planned.to_json(), render_plan)
            return planned.exit_code
        report = run_session(
            invocation,
            connection,
            lambda session: fill(
                request, target=naming, session=session, create_projects=created, trust_recorded=trust_recorded
            ),
        )
        show(invocation, form, report.to_json(), lambda found: render_report(found, exit_code=report.exit_code))
        return report.exit_code

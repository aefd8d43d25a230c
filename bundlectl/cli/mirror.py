"""``bundlectl mirror``."""

from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request, build_target, target_host
from bundlectl.cli.options import (
    Follow,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    Sources,
    TargetOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_plan, render_report
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "mirror",
        examples=(
            "bundlectl mirror store:/data/store --to harbor.example.com/eks",
            "bundlectl mirror eks-a:v0.24.1 --to harbor.example.com/eks --dry-run",
        ),
    )
    def mirror(
        invocation: Invocation,
        *,
        sources: Sources,
        target: TargetOptions,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        dry_run: Annotated[bool, option("--dry-run", help="Print what would be copied; change nothing.")] = False,
        follow: Follow = None,
    ) -> int:
        """Bring everything that sources name into a registry.

        Images, charts, files, signatures and release documents. What is there already is left
        alone; tags are written last. Without --to, a Collection's spec.target says where.
        """
        naming = build_target(target)
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust, target=target_host(target))
        from bundlectl.operations.mirroring import mirror as fill  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.mirroring import plan  # noqa: PLC0415 -- not for --help

        if dry_run:
            planned = run_session(invocation, connection, lambda session: plan(request, target=naming, session=session))
            show(invocation, form, planned.to_json(), render_plan)
            return planned.exit_code
        report = run_session(invocation, connection, lambda session: fill(request, target=naming, session=session))
        show(invocation, form, report.to_json(), lambda found: render_report(found, exit_code=report.exit_code))
        return report.exit_code

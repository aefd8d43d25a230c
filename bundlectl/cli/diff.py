"""``bundlectl diff``."""

from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command
from bundlectl.cli.connection import build_connection, build_request
from bundlectl.cli.options import (
    Follow,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_difference
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "diff",
        examples=(
            "bundlectl diff store:/data/store eks-a:latest",
            "bundlectl diff old.lock.json new.lock.json",
            "bundlectl diff site.inventory.json.gz new.lock.json",
        ),
    )
    def diff(
        invocation: Invocation,
        *,
        before: Annotated[
            str, typer.Argument(metavar="A", show_default=False, help="The SOURCE, or inventory, that a site has.")
        ],
        after: Annotated[
            str, typer.Argument(metavar="B", show_default=False, help="The SOURCE, or inventory, that it shall have.")
        ],
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        follow: Follow = None,
    ) -> int:
        """Show what was added, removed and changed between two sources.

        And the bytes that a site that has A must fetch to have B: what `export B --since A` writes, where A is the
        file of an inventory. The names of a registry are compared from where its prefix ends. An inventory knows no
        sizes: as B, what it would cost is unknown. The same artifacts on both sides are no failure and no
        difference: the exit code is 0 either way.
        """
        request = build_request(
            invocation, (before, after), selection=selection, origin=source, trust=trust, follow=follow
        )
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.operations.comparing import diff as compare  # noqa: PLC0415 -- not for --help

        found = run_session(
            invocation, connection, lambda session: compare(before, after, request=request, session=session)
        )
        show(invocation, form, found.to_json(), render_difference)
        return 0

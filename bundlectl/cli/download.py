"""``bundlectl download``."""

from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request
from bundlectl.cli.options import (
    Follow,
    FormatOptions,
    OriginOptions,
    SelectionOptions,
    SourceOptions,
    Sources,
    StoreOption,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_report
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "download",
        examples=(
            "bundlectl download eks-a:v0.24.1 --store /data/store",
            "bundlectl download bundle.lock.json --store /data/store",
        ),
    )
    def download(
        invocation: Invocation,
        *,
        sources: Sources,
        store: StoreOption,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        name: Annotated[
            str,
            option(
                "--name",
                metavar="NAME",
                show_default=False,
                help="Name of the collection in the store; otherwise the first document's.",
            ),
        ] = "",
        follow: Follow = None,
    ) -> int:
        """Fetch everything that sources name into a store.

        Every digest is checked. A run that was cut resumes where it stopped, also within a file.
        """
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.operations.downloading import download as fetch  # noqa: PLC0415 -- not for --help

        report = run_session(
            invocation, connection, lambda session: fetch(request, store=store, name=name or None, session=session)
        )
        show(invocation, form, report.to_json(), lambda found: render_report(found, exit_code=report.exit_code))
        return report.exit_code

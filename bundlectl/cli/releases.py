"""``bundlectl releases``."""

from typing import Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection
from bundlectl.cli.options import FormatOptions, OriginOptions, TransportOptions
from bundlectl.cli.render import render_releases
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "releases", examples=("bundlectl releases",))
    def releases(
        invocation: Invocation,
        *,
        origin: OriginOptions,
        transport: TransportOptions,
        form: FormatOptions,
        url: Annotated[
            str, option("--url", metavar="URL", show_default=False, help="The release index; AWS's by default.")
        ] = "",
    ) -> int:
        """List the releases of EKS Anywhere: version, date, bundle number, Kubernetes versions."""
        from bundlectl.operations.listing import releases as look  # noqa: PLC0415 -- not for --help
        from bundlectl.operations.request import RELEASE_URL  # noqa: PLC0415 -- not for --help

        connection = build_connection(invocation, transport, origin=origin)
        rows = run_session(invocation, connection, lambda session: look(url or RELEASE_URL, session=session))
        show(invocation, form, {"releases": [row.to_json() for row in rows]}, render_releases)
        return 0

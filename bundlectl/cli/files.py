"""``bundlectl files``."""

from enum import StrEnum
from pathlib import Path
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
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render import render_files
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


class Layout(StrEnum):
    """Where files lie in the folder."""

    URL = "url"
    EKS_ANYWHERE = "eks-anywhere"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "files",
        examples=(
            "bundlectl files store:/data/store --to /srv/www/files",
            "bundlectl files store:/data/store --to ./eks-anywhere-downloads --layout eks-anywhere --kube-version 1.33",
        ),
    )
    def files(
        invocation: Invocation,
        *,
        sources: Sources,
        to: Annotated[Path, option("--to", metavar="DIR", show_default=False, help="The folder to write into.")],
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        layout: Annotated[
            Layout,
            option(
                "--layout",
                case_sensitive=False,
                help="By the host and path of each URL, or as eksctl anywhere --bundles-override reads it.",
            ),
        ] = Layout.URL,
        base_url: Annotated[
            str,
            option(
                "--base-url",
                metavar="URL",
                show_default=False,
                help="Where the folder will be served (https): documents then point there.",
            ),
        ] = "",
        follow: Follow = None,
    ) -> int:
        """Write the files of a release into a folder, for a web server or for eksctl.

        Every digest is checked; what is there and right is left alone, so that the same command
        resumes. Addresses in documents are changed only where AWS's signature does not cover them.
        """
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.operations.filing import write_files  # noqa: PLC0415 -- not for --help

        report = run_session(
            invocation,
            connection,
            lambda session: write_files(request, directory=to, session=session, layout=layout.value, base_url=base_url),
        )
        show(invocation, form, report.to_json(), lambda found: render_files(found, exit_code=report.exit_code))
        return report.exit_code

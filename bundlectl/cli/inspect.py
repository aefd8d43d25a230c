"""``bundlectl inspect``."""

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
from bundlectl.cli.render import render_inspection
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "inspect",
        examples=(
            "bundlectl inspect eks-a:v0.24.1",
            "bundlectl inspect --resolve -o json image:public.ecr.aws/eks-distro/coredns/coredns:v1.8.3-eks-1-21-4",
        ),
    )
    def inspect(
        invocation: Invocation,
        *,
        sources: Sources,
        selection: SelectionOptions,
        source: SourceOptions,
        origin: OriginOptions,
        trust: TrustOptions,
        transport: TransportOptions,
        form: FormatOptions,
        resolve: Annotated[bool, option("--resolve", help="Ask registries for digests and sizes.")] = False,
        charts: Annotated[bool, option("--charts", help="Read the charts, and list the images they name.")] = False,
        follow: Follow = None,
    ) -> int:
        """List the images, charts and files that sources hold.

        From documents alone, unless --resolve or --charts ask for more. What is left out is
        listed with its reason.
        """
        request = build_request(invocation, sources, selection=selection, origin=source, trust=trust, follow=follow)
        connection = build_connection(invocation, transport, origin=origin, trust=trust)
        from bundlectl.operations.inspecting import inspect as look  # noqa: PLC0415 -- not for --help

        found = run_session(
            invocation, connection, lambda session: look(request, session=session, resolve=resolve, charts=charts)
        )
        show(invocation, form, found.to_json(), render_inspection)
        return min((failure.exit_code for failure in found.failed), default=0)

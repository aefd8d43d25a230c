"""``bundlectl import``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.connection import build_connection, build_request, build_target, target_host, wanted_visibility
from bundlectl.cli.keying import KeyOptions
from bundlectl.cli.options import (
    FillOptions,
    FormatOptions,
    SelectionOptions,
    SourceOptions,
    TransportOptions,
    TrustOptions,
)
from bundlectl.cli.render_archive import render_import
from bundlectl.cli.result import show
from bundlectl.cli.running import run_session
from bundlectl.errors import UsageError

if TYPE_CHECKING:
    from bundlectl.operations.importing import ImportReport
    from bundlectl.operations.session import Session

__all__ = ["register"]

Archives = Annotated[
    tuple[Path, ...],
    typer.Argument(
        metavar="ARCHIVE",
        show_default=False,
        help="The folder that export wrote, or a volume in it; one for each medium that is here.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "import",
        examples=(
            "bundlectl import /media/usb/eks-a --store /data/store --key transfer.pub",
            "bundlectl import /media/usb/eks-a --to harbor.example.com/eks --key transfer.pub",
            "bundlectl import /media/a/eks-a /media/b/eks-a --store /data/store --key transfer.pub --policy site.yaml",
        ),
    )
    def import_(
        invocation: Invocation,
        *,
        archives: Archives,
        target: FillOptions,
        trust: TrustOptions,
        key: KeyOptions,
        transport: TransportOptions,
        form: FormatOptions,
        store: Annotated[
            Path | None,
            option("--store", metavar="DIR", show_default=False, help="The store to import into; made when absent."),
        ] = None,
        name: Annotated[
            str,
            option(
                "--name", metavar="NAME", show_default=False, help="Of the collection in the store; else the archive's."
            ),
        ] = "",
    ) -> int:
        """Bring an archive into a store, or straight into a registry.

        Signature and policy first, then every digest while it streams; nothing is unpacked, and nothing
        is contacted but the target. A volume that is missing or damaged is named, everything else is
        imported, and the same command goes on once it is there.
        """
        naming = build_target(target)
        if (naming is None) == (store is None):
            raise UsageError("say where to: either --store DIR or --to HOST[:PORT][/PREFIX]")
        if naming is not None and name:
            raise UsageError("--name names a collection in a store", hint="leave it out with --to")
        trust = replace(trust, offline=True)
        request = build_request(
            invocation, (), selection=SelectionOptions(), origin=SourceOptions(), trust=trust, key=key.key
        )
        connection = build_connection(invocation, transport, trust=trust, target=target_host(target))
        from bundlectl.operations.importing import import_into_registry, import_into_store  # noqa: PLC0415

        def work(session: "Session") -> "ImportReport":
            if naming is None:
                return import_into_store(request, archives, store=store or Path(), session=session, name=name or None)
            return import_into_registry(
                request, archives, target=naming, session=session, create_projects=wanted_visibility(target)
            )

        report = run_session(invocation, connection, work)
        show(invocation, form, report.to_json(), lambda found: render_import(found, exit_code=report.exit_code))
        return report.exit_code

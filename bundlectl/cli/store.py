"""``bundlectl store list|verify|stats``."""

import typer

from bundlectl.cli.command import Invocation, command
from bundlectl.cli.options import FormatOptions, StoreDirectory
from bundlectl.cli.render import render_stats, render_store, render_verification
from bundlectl.cli.result import show
from bundlectl.cli.running import run_interruptibly, run_session

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="Look into a store: an OCI image layout that bundlectl fills and serves.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="store")

    @command(noun, "list", path="store", examples=("bundlectl store list /data/store",))
    def list_(invocation: Invocation, *, directory: StoreDirectory, form: FormatOptions) -> int:
        """List the collections and references of a store, with the trust of each."""
        from bundlectl.operations.stores import list_store  # noqa: PLC0415 -- not for --help

        listing = run_interruptibly(lambda: list_store(directory), cancel=_nothing)
        show(invocation, form, listing.to_json(), render_store)
        return 0

    @command(noun, "verify", path="store", examples=("bundlectl store verify /data/store",))
    def verify(invocation: Invocation, *, directory: StoreDirectory, form: FormatOptions) -> int:
        """Hash every blob of a store, and walk everything it says it has."""
        from bundlectl.operations.session import Connection  # noqa: PLC0415 -- imports the HTTP client
        from bundlectl.operations.verifying import verify_store  # noqa: PLC0415 -- not for --help

        report = run_session(invocation, Connection(), lambda session: verify_store(directory, session=session))
        show(invocation, form, report.to_json(), render_verification)
        return report.exit_code

    @command(noun, "stats", path="store", examples=("bundlectl store stats /data/store",))
    def stats(invocation: Invocation, *, directory: StoreDirectory, form: FormatOptions) -> int:
        """Count what a store holds: references, blobs, bytes, and bytes that nothing refers to."""
        from bundlectl.operations.stores import store_stats  # noqa: PLC0415 -- not for --help

        found = run_interruptibly(lambda: store_stats(directory), cancel=_nothing)
        document = {
            "repositories": found.repositories,
            "refs": found.refs,
            "collections": found.collections,
            "blobs": found.blobs,
            "bytes": found.bytes,
            "unreferencedBytes": found.unreferenced_bytes,
            "partialBytes": found.partial_bytes,
        }
        show(invocation, form, document, render_stats)
        return 0


def _nothing() -> None:
    """Reading needs no undoing."""

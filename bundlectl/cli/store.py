"""``bundlectl store list|verify|stats|gc``."""

import re
import threading
from typing import Annotated, Final

import typer

from bundlectl.cli.command import Invocation, command, option
from bundlectl.cli.options import FormatOptions, StoreDirectory
from bundlectl.cli.render import render_collected, render_stats, render_store, render_verification
from bundlectl.cli.result import show
from bundlectl.cli.running import run_interruptibly, run_session
from bundlectl.errors import UsageError

__all__ = ["parse_duration", "register"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")


def parse_duration(text: str) -> int:
    """Read ``90s``, ``30m``, ``24h`` or ``7d``, to seconds.

    Raises:
        UsageError: none of these.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text[:100]!r} is not a length of time", hint="a number with s, m, h or d: 30m, 24h, 7d")
    return int(match[1]) * _UNITS[match[2]]


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

    _register_gc(noun)


def _register_gc(noun: typer.Typer) -> None:
    @command(
        noun,
        "gc",
        path="store",
        examples=("bundlectl store gc /data/store --dry-run", "bundlectl store gc /data/store"),
    )
    def gc(
        invocation: Invocation,
        *,
        directory: StoreDirectory,
        form: FormatOptions,
        dry_run: Annotated[bool, option("--dry-run", help="Only tell what would be removed.")] = False,
        grace: Annotated[
            str,
            option(
                "--grace",
                metavar="TIME",
                help="Keep what arrived within this time though nothing names it: a push sends its blobs first. "
                "30m, 24h, 7d; 0s only while nobody pushes.",
            ),
        ] = "24h",
    ) -> int:
        """Remove blobs that nothing names: what deleted and replaced tags left behind.

        Stays: what a tag, a collection or a referrer of something that stays names; open uploads and cut downloads;
        what arrived lately. Other commands may use the store meanwhile.
        """
        from bundlectl.operations.stores import collect_garbage  # noqa: PLC0415 -- not for --help

        seconds = parse_duration(grace)
        cancelled = threading.Event()
        found = run_interruptibly(
            lambda: collect_garbage(directory, grace=seconds, dry_run=dry_run, cancelled=cancelled),
            cancel=cancelled.set,
        )
        document = {
            "dryRun": found.dry_run,
            "removed": {"blobs": len(found.removed), "bytes": found.removed_bytes},
            "kept": {"blobs": found.kept_blobs, "bytes": found.kept_bytes},
            "young": {"blobs": found.young_blobs, "bytes": found.young_bytes},
            "referrers": found.referrers,
            "freeBytes": found.free_bytes,
            "blobs": [{"digest": str(digest), "size": size} for digest, size in found.removed],
        }
        show(invocation, form, document, render_collected)
        return 0


def _nothing() -> None:
    """Reading needs no undoing."""

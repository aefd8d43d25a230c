"""``bundlectl controller run|manifests|feed``: the package controller."""

import typer

from bundlectl.cli.controller_feed import register_feed
from bundlectl.cli.controller_manifests import register_manifests
from bundlectl.cli.controller_run import register_run

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the noun and its commands."""
    noun = typer.Typer(
        help="Install the package controller, point it at a mirror, run it.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    app.add_typer(noun, name="controller")
    register_run(noun)
    register_manifests(noun)
    register_feed(noun)

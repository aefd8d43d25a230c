"""The tree of commands and the global options."""

import os
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import bundlectl
from bundlectl.cli.command import Start, option
from bundlectl.cli.console import Console
from bundlectl.cli.environment import read_environment
from bundlectl.cli.options import Format
from bundlectl.settings import CommandShape, OptionKind, Settings, find_settings, load_settings

__all__ = ["NOUNS", "build", "shape", "wants_json"]

NOUNS: Final = (
    "releases",
    "inspect",
    "diff",
    "lock",
    "download",
    "mirror",
    "files",
    "export",
    "import",
    "inventory",
    "sign",
    "verify",
    "report",
    "serve",
    "store",
    "registry",
    "keys",
    "package-bundle",
    "packages",
    "controller",
    "quickstart",
)
"""Modules below ``bundlectl.cli`` (`_module`), in the order of ``--help``; each has ``register(app)``."""

_UNSETTABLE: Final = frozenset({"help", "version", "config", "install_completion", "show_completion"})

_GLOBAL_SHAPE: Final[dict[str, OptionKind]] = {
    "verbose": "integer",
    "quiet": "flag",
    "debug": "flag",
    "no_color": "flag",
}


def build(noun: str | None = None) -> Any:  # noqa: ANN401 -- click's command, whose module differs between releases of typer
    """Assemble the program; the result has ``main`` and ``commands``.

    Args:
        noun: the one command that will be run, where that is known: making the parameters of
            all the others takes longer than reading a release document.
    """
    app = typer.Typer(
        name="bundlectl",
        help="Carry Amazon EKS Anywhere across an air gap: look, lock, download, mirror, verify, serve.",
        epilog="Start with: bundlectl quickstart",
        # rich takes longer to import than --help may take
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
    )
    app.callback()(_start)
    for wanted in (noun,) if noun in NOUNS else NOUNS:
        import_module(f"bundlectl.cli.{_module(wanted)}").register(app)
    return typer.main.get_command(app)


def _module(noun: str) -> str:
    name = noun.replace("-", "_")
    return f"{name}_" if iskeyword(name) else name


def shape(command: Any) -> CommandShape:  # noqa: ANN401 -- click's command
    """Say which options a command has, and what their values look like in a configuration file."""
    below = {name: shape(child) for name, child in getattr(command, "commands", {}).items()}
    return {**below, **{parameter.name: _kind(parameter) for parameter in command.params if _settable(parameter)}}


def wants_json(arguments: Sequence[str], settings: Settings) -> bool:
    """Whether the result should be JSON, found out though the arguments may be wrong.

    Flags first, then the environment variable of the command that is named, then the file.
    """
    words = [
        argument
        for previous, argument in zip(("", *arguments), arguments, strict=False)
        if argument and not argument.startswith("-") and previous != "--config"
    ][:2]
    wanted = _stated_output(arguments) or _environment_output(words) or _file_output(words, settings)
    return wanted.lower() == Format.JSON


def _stated_output(arguments: Sequence[str]) -> str:
    wanted = previous = ""
    for argument in arguments:
        if argument == "--":
            break
        if previous in ("-o", "--output"):
            wanted = argument
        elif argument.startswith("--output="):
            wanted = argument.partition("=")[2]
        elif argument.startswith("-o"):
            wanted = argument.removeprefix("-o").removeprefix("=") or wanted
        previous = argument
    return wanted


def _environment_output(words: Sequence[str]) -> str:
    names = ["_".join(words[:length]).upper().replace("-", "_") for length in range(1, len(words) + 1)]
    return next((value for name in names if (value := os.environ.get(f"BUNDLECTL_{name}_OUTPUT"))), "")


def _file_output(words: Sequence[str], settings: Settings) -> str:
    table: Any = settings.options
    for word in words:
        below = table.get(word)
        if not isinstance(below, dict):
            break
        table = below
    found = table.get("output")
    return found if isinstance(found, str) else ""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bundlectl {bundlectl.__version__}")
        raise typer.Exit


def _start(
    ctx: typer.Context,
    version: Annotated[
        bool,
        option(
            "--version",
            callback=_show_version,
            is_eager=True,
            allow_from_autoenv=False,
            help="Show the version and exit.",
        ),
    ] = False,
    verbose: Annotated[int, option("--verbose", "-v", count=True, show_default=False, help="Say more.")] = 0,
    quiet: Annotated[bool, option("--quiet", "-q", help="No progress; only results, warnings, errors.")] = False,
    debug: Annotated[bool, option("--debug", help="Show tracebacks, and log HTTP without secrets.")] = False,
    config: Annotated[
        Path | None,
        option("--config", metavar="FILE", help="Read this configuration file instead of the user's or system's."),
    ] = None,
    no_color: Annotated[bool, option("--no-color", help="No colour; NO_COLOR does the same.")] = False,
) -> None:
    del version
    environment = read_environment()
    file = find_settings(config, environment.config_files)
    known: CommandShape = {**shape(build()), **_GLOBAL_SHAPE} if file else {}
    settings = load_settings(file, known=known)
    ctx.default_map = dict(settings.options)

    def chosen(name: str, given: Any) -> Any:  # noqa: ANN401 -- of the option's own type
        return settings.options.get(name, given) if given in (0, False) else given

    console = Console(
        quiet=chosen("quiet", quiet),
        verbose=chosen("verbose", verbose),
        color=not (chosen("no_color", no_color) or environment.no_color or environment.dumb_terminal),
    )
    wants_debug = chosen("debug", debug)
    if wants_debug:
        from bundlectl.cli.httplog import log_requests  # noqa: PLC0415 -- only with --debug

        ctx.call_on_close(log_requests(console))
    ctx.obj.start = Start(console=console, environment=environment, settings=settings, debug=wants_debug)


def _settable(parameter: Any) -> bool:  # noqa: ANN401 -- click's parameter
    # A name that is one of Python's keywords could not be given under that name.
    return (
        parameter.param_type_name == "option" and parameter.name not in _UNSETTABLE and not parameter.name.endswith("_")
    )


def _kind(parameter: Any) -> OptionKind:  # noqa: ANN401 -- click's parameter
    if getattr(parameter, "multiple", False):
        return "list"
    return "flag" if getattr(parameter, "is_flag", False) else "text"

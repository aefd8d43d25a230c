"""The program: assembles the commands, turns errors into exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import typer

from bundlectl.cli import application
from bundlectl.cli.command import Start, StartSlot
from bundlectl.cli.console import Console, discard_output, error_document
from bundlectl.cli.environment import read_environment
from bundlectl.cli.installation import check_installation
from bundlectl.cli.options import LONE_VALUES
from bundlectl.cli.running import interrupted, leave_at_once, terminable
from bundlectl.errors import BundlectlError, InterruptError, UsageError
from bundlectl.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["complete_lone_options", "hoist_global_options", "main", "run"]

_GLOBAL_FLAGS: Final = frozenset({"--verbose", "--quiet", "--debug", "--no-color"})


def main() -> int:
    """Run the program with the process's arguments; the entry point.

    Returns:
        The exit code.
    """
    exit_code = run(sys.argv[1:])
    if exit_code == InterruptError.exit_code:
        leave_at_once(exit_code)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard_output()
    return exit_code


def run(arguments: Sequence[str]) -> int:
    """Run one command; print what it says, raise nothing.

    Returns:
        The exit code, by the table of ``cli.md``.
    """
    arguments = complete_lone_options(hoist_global_options(arguments))
    report = _Failure(arguments)
    try:
        with terminable():
            check_installation()
            return _invoke(arguments, report)
    except KeyboardInterrupt:
        return report.show(interrupted())
    except BundlectlError as error:
        return report.show(error)
    except Exception as error:  # noqa: BLE001 -- the last resort of a program
        return report.show(_bug(error), debug_error=error)


def hoist_global_options(arguments: Sequence[str]) -> list[str]:
    """Move global options to the front: people write them where they think of them.

    Nothing after ``--`` is touched.
    """
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument in _GLOBAL_FLAGS or argument.startswith("--config=") or _is_short_global(argument):
            front.append(argument)
        elif argument == "--config":
            front += [argument, *(value for value in [next(remaining, None)] if value is not None)]
        else:
            rest.append(argument)
    return front + rest


def complete_lone_options(arguments: Sequence[str]) -> list[str]:
    """Give an option that stands alone the value that this means: what follows it is something else.

    Nothing after ``--`` is touched.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    spoken = [f"{item}={LONE_VALUES[item]}" if item in LONE_VALUES else item for item in arguments[:end]]
    return [*spoken, *arguments[end:]]


def _is_short_global(argument: str) -> bool:
    return len(argument) > 1 and argument[0] == "-" and set(argument[1:]) <= {"v", "q"}


def _invoke(arguments: list[str], report: _Failure) -> int:
    program = application.build(_noun(arguments))
    try:
        result = program.main(
            args=arguments,
            prog_name="bundlectl",
            standalone_mode=False,
            auto_envvar_prefix="BUNDLECTL",
            obj=report.slot,
        )
    except typer.Abort:
        return report.show(interrupted())
    except Exception as error:
        usage = _usage(error)
        if usage is None:
            raise
        return report.show_usage(error, usage)
    if result == InterruptError.exit_code:  # Ctrl-C before the command began
        return report.show(interrupted())
    return result if isinstance(result, int) else 0


def _noun(arguments: Sequence[str]) -> str | None:
    """The command that will be run, when it is the first word."""
    words = iter(arguments)
    for word in words:
        if word == "--config":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _usage(error: Exception) -> UsageError | None:
    """The parser's complaint as an error of ours; None when it is something else.

    typer carries click inside in newer releases and stands on it in older ones; the class that
    both have in common is the parent of what ``typer.BadParameter`` is.
    """
    if not isinstance(error, typer.BadParameter.__mro__[2]):
        return None
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    return UsageError(message, hint=_suggestion(error))


def _suggestion(error: Exception) -> str | None:
    context = getattr(error, "ctx", None)
    wrong = getattr(error, "option_name", None)
    if context is None:
        return None
    close: list[str] = []
    if isinstance(wrong, str):
        flags = [flag for parameter in context.command.params for flag in parameter.opts if flag.startswith("--")]
        close = get_close_matches(wrong, flags, n=1)
    asked = f"did you mean {close[0]}? " if close else ""
    return f"{asked}see {context.command_path} --help"


def _bug(error: Exception) -> BundlectlError:
    return BundlectlError(
        f"this is a bug in bundlectl: {type(error).__name__}: {error}",
        hint="run the same command with --debug to see where, and report it with what that prints",
    )


class _Failure:
    """Shows how a command failed: on standard error, and as a document where JSON was asked for."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self.slot = StartSlot()

    def show(self, error: BundlectlError, *, debug_error: Exception | None = None) -> int:
        """Show an error; the traceback only with ``--debug``."""
        start = self.slot.start or self._early_start()
        if start.debug and not isinstance(error, InterruptError):
            start.console.debug("".join(traceback.format_exception(debug_error or error)).rstrip())
        if application.wants_json(self._arguments, start.settings):
            try:
                start.console.document(error_document(error))
            except BundlectlError as unwritable:
                start.console.error(unwritable)
        start.console.error(error)
        return error.exit_code

    def show_usage(self, original: Exception, error: UsageError) -> int:
        """Show a mistake in the arguments, or the help that a noun alone asks for."""
        context: Any = getattr(original, "ctx", None)
        console = (self.slot.start or self._early_start()).console
        if type(original).__name__ == "NoArgsIsHelpError" and context is not None:
            for line in context.get_help().splitlines():
                console.note(line)
            return UsageError.exit_code
        if context is not None:
            for line in context.get_usage().splitlines():
                console.note(line)
        return self.show(error)

    def _early_start(self) -> Start:
        """Stand in for what ``Start`` would say, when reading the global options is what failed."""
        environment = read_environment()
        colorless = environment.no_color or environment.dumb_terminal or "--no-color" in self._arguments
        return Start(
            console=Console(color=not colorless),
            environment=environment,
            settings=Settings(),
            debug="--debug" in self._arguments or bool(os.environ.get("BUNDLECTL_DEBUG")),
        )

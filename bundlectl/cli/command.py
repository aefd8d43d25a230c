"""Turns a function with option groups into a command.

A command is written as a function of an ``Invocation``, its own parameters, and whole groups::

    @command(app, "lock", examples=("bundlectl lock eks-a:v0.24.1 --out bundle.lock.json",))
    def lock(invocation: Invocation, sources: Sources, *, selection: SelectionOptions) -> int: ...

Each field of a group becomes an option; the function is handed the filled, frozen group. So a
flag is defined once, and is the same wherever its group occurs.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from bundlectl.cli.console import Console
from bundlectl.cli.environment import Environment
from bundlectl.cli.running import interrupted
from bundlectl.settings import Settings

__all__ = ["Invocation", "OptionGroup", "Start", "StartSlot", "command", "option", "option_groups"]

_Function = TypeVar("_Function", bound=Callable[..., int])

_GROUPS: dict[str, tuple[type["OptionGroup"], ...]] = {}


class OptionGroup:
    """Base of the frozen dataclasses whose fields are options (``options.py``)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was settled before the command ran: the global options, environment and file."""

    console: Console
    environment: Environment
    settings: Settings
    debug: bool = False


@dataclass(slots=True)
class StartSlot:
    """Where ``Start`` is put once it is known; the caller of the program keeps it to report failures."""

    start: Start | None = None

    def get(self) -> Start:
        """What was put here.

        Raises:
            LookupError: a command ran without the global options having been read.
        """
        if self.start is None:
            raise LookupError("the global options were not read")
        return self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One run of one command."""

    name: str
    """As typed, without the program: ``store verify``."""
    start: Start
    context: typer.Context

    @property
    def console(self) -> Console:
        """Where to write."""
        return self.start.console

    def came_from(self, option: str) -> str | None:
        """Where the value of an option came from: flag, environment or file; None for its default.

        Args:
            option: the flag, such as ``--verify``.
        """
        name = option.removeprefix("--").replace("-", "_")
        source = self.context.get_parameter_source(name)
        match source.name if source else "":
            case "COMMANDLINE":
                return f"flag {option}"
            case "ENVIRONMENT":
                return f"environment variable {self.context.auto_envvar_prefix}_{name.upper()}"
            case "DEFAULT_MAP":
                return f"file {self.start.settings.path}"
            case _:
                return None


def option(*flags: str, **settings: Any) -> Any:  # noqa: ANN401 -- as typer.Option itself
    """Describe an option, as ``typer.Option`` does.

    Its environment variable is not repeated in ``--help``: every option has one of the same form.
    """
    return typer.Option(*flags, show_envvar=False, **settings)


def command(
    app: typer.Typer, name: str, *, examples: tuple[str, ...], path: str = ""
) -> Callable[[_Function], _Function]:
    """Register a command.

    Args:
        app: the application or noun it belongs to.
        name: of the command.
        examples: lines that run as they stand, shown by ``--help``.
        path: the nouns before the name, such as ``store``.
    """
    full_name = f"{path} {name}".strip()

    def register(function: _Function) -> _Function:
        parameters = dict(_parameters(function))
        several = {key for key, parameter in parameters.items() if _is_list(parameter.annotation)}
        groups = {
            key: kind
            for key, kind in get_type_hints(function).items()
            if isinstance(kind, type) and issubclass(kind, OptionGroup)
        }
        _GROUPS[full_name] = tuple(groups.values())

        def run(ctx: typer.Context, **values: Any) -> int:  # noqa: ANN401 -- what the parser read
            frozen = {key: tuple(value or ()) if key in several else value for key, value in values.items()}
            arguments: dict[str, Any] = {
                key: kind(**{field.name: frozen.pop(field.name) for field in _fields(kind)})
                for key, kind in groups.items()
            }
            invocation = Invocation(name=full_name, start=ctx.obj.get(), context=ctx)
            try:
                return function(invocation, **arguments, **frozen)
            except KeyboardInterrupt:
                # typer would turn it into an exit code without a word
                raise interrupted() from None

        context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        run.__signature__ = inspect.Signature([context, *parameters.values()])  # type: ignore[attr-defined]
        run.__annotations__ = {"ctx": typer.Context, **{key: item.annotation for key, item in parameters.items()}}
        run.__name__ = function.__name__
        run.__module__ = function.__module__
        app.command(name, help=_help(function, examples), epilog=_epilog(full_name))(run)
        return function

    return register


def option_groups() -> Mapping[str, tuple[type[OptionGroup], ...]]:
    """Say which groups each registered command has, for the tests of the contract."""
    return dict(_GROUPS)


def _parameters(function: Callable[..., int]) -> Iterator[tuple[str, inspect.Parameter]]:
    hints = get_type_hints(function, include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        kind = hints[key]
        if kind is Invocation:
            continue
        if isinstance(kind, type) and issubclass(kind, OptionGroup):
            inner = get_type_hints(kind, include_extras=True)
            for field in _fields(kind):
                default = inspect.Parameter.empty if field.default is MISSING else field.default
                yield _parameter(field.name, inner[field.name], default)
        else:
            yield _parameter(key, kind, parameter.default)


def _parameter(name: str, annotation: Any, default: Any) -> tuple[str, inspect.Parameter]:  # noqa: ANN401
    shown = _repeatable(annotation)
    # None is what every release of typer takes for "none given" of an option or argument with several values
    default = None if default == () else default
    return name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=shown)


def _repeatable(annotation: Any) -> Any:  # noqa: ANN401 -- an annotation can be anything
    """Turn ``tuple[X, ...]``, which commands take, into ``list[X]``, which typer knows."""
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, *metadata = get_args(annotation)
    if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
        kind = list[get_args(kind)[0]]  # type: ignore[misc]
    return Annotated[kind, *metadata]


def _is_list(annotation: Any) -> bool:  # noqa: ANN401 -- an annotation can be anything
    return get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) is list


def _fields(kind: type[OptionGroup]) -> tuple[Any, ...]:
    return fields(kind) if is_dataclass(kind) else ()


def _help(function: Callable[..., int], examples: tuple[str, ...]) -> str:
    lines = "\n".join(f"  {line}" for line in examples)
    # \b keeps the lines below it as they are.
    return f"{inspect.getdoc(function)}\n\n\b\nExample:\n{lines}"


def _epilog(full_name: str) -> str:
    prefix = f"BUNDLECTL_{full_name}_".upper().replace(" ", "_").replace("-", "_")
    table = full_name.replace(" ", ".")
    return (
        f"Every option can also be set by an environment variable ({prefix}<OPTION>) or in the "
        f"configuration file (table [{table}]); flags come first, then the environment."
    )

"""Shows a result in the form that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bundlectl.cli.console import one_line
from bundlectl.cli.options import DocumentFormat, Format

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.cli.command import Invocation
    from bundlectl.cli.options import DocumentFormatOptions, FormatOptions

__all__ = ["show"]

_Document = TypeVar("_Document", dict[str, Any], list[dict[str, Any]])


def show(
    invocation: Invocation,
    form: FormatOptions | DocumentFormatOptions,
    document: _Document,
    render: Callable[[_Document], str],
) -> None:
    """Write a result to standard output: the document itself, or what ``render`` makes of it.

    References, file names and annotations are other people's text, so ``render`` gets every text on one line.
    """
    if form.output == Format.JSON:
        invocation.console.document(document)
    elif form.output == DocumentFormat.YAML:
        from bundles.goyaml import write_yaml  # noqa: PLC0415 -- not for --help

        invocation.console.text(write_yaml(document).rstrip("\n"))
    else:
        invocation.console.text(render(_lined(document)))


def _lined(value: Any) -> Any:  # noqa: ANN401 -- whatever JSON can say
    match value:
        case str():
            return one_line(value)
        case list():
            return [_lined(item) for item in value]
        case dict():
            return {key: _lined(item) for key, item in value.items()}
        case _:
            return value

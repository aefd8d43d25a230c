"""Shows a result in the form that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bundlectl.cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundlectl.cli.command import Invocation
    from bundlectl.cli.options import FormatOptions

__all__ = ["show"]

_Document = TypeVar("_Document", dict[str, Any], list[dict[str, Any]])


def show(
    invocation: Invocation,
    form: FormatOptions,
    document: _Document,
    render: Callable[[_Document], str],
) -> None:
    """Write a result to standard output: the document itself, or what ``render`` makes of it."""
    if form.output is Format.JSON:
        invocation.console.document(document)
    else:
        invocation.console.text(render(document))

"""Files and functions stay small enough to be read whole."""

from __future__ import annotations

import ast
import re
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.conftest import Source

FILE_LIMIT = 700
FILE_P90 = 450
FUNCTION_LIMIT = 80
PARAMETER_LIMIT = 7


def test_no_file_is_over_700_lines_and_nine_in_ten_are_below_450(everything: list[Source]) -> None:
    assert [f"{s.where}: {s.lines} lines" for s in everything if s.lines > FILE_LIMIT] == []
    assert statistics.quantiles([s.lines for s in everything], n=10)[8] <= FILE_P90


def test_no_function_is_over_80_lines(everything: list[Source]) -> None:
    long = [
        f"{source.where}:{function.lineno} {function.name}: {length} lines"
        for source in everything
        for function in _functions(source.tree)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LIMIT
        and not _is_command(source, function)
    ]
    assert long == []


def test_no_function_takes_more_than_seven_parameters(product: list[Source]) -> None:
    wide = [
        f"{source.where}:{function.lineno} {function.name}: {count} parameters"
        for source in product
        for function in _functions(source.tree)
        if (count := _parameters(function)) > PARAMETER_LIMIT and not _is_command(source, function)
    ]
    assert wide == []


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    bound = named[:1] in (["self"], ["cls"])
    # A constructor is judged by ruff (PLR0913); an exception's arguments are its fields.
    return 0 if function.name == "__init__" else len(named) - bound


def _is_command(source: Source, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Typer turns each parameter into an option, so a command has as many as the contract has options."""
    if not source.where.startswith("bundlectl/cli/"):
        return False
    names = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(re.match(r"(\w+\.)*(command|callback)\b", name) for name in names)

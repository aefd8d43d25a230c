"""Only the command line reads the environment, prints and exits."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.architecture.conftest import Source

ATTRIBUTES = {
    "os.environ",
    "os.environb",
    "os.getenv",
    "os.putenv",
    "os._exit",
    "sys.argv",
    "sys.exit",
    "sys.stderr",
    "sys.stdout",
}
# Made-up upstreams are also a program for developers, and a pytest plugin that must know it is in CI.
PROGRAMS = ("registry_fixtures/__main__.py", "registry_fixtures/plugin.py")
NAMES = {"print", "input", "exit", "quit", "SystemExit"}
FROM = {("os", "environ"), ("os", "getenv"), ("sys", "exit"), ("sys", "argv"), ("sys", "stdout"), ("sys", "stderr")}


def test_only_the_command_line_reads_the_environment_prints_and_exits(product: list[Source]) -> None:
    wrong = [
        f"{source.where}:{line} {what}"
        for source in product
        if not source.where.startswith(("bundlectl/cli/", *PROGRAMS))
        for line, what in _forbidden(source.tree)
    ]
    assert wrong == []


def _forbidden(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ATTRIBUTES:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
            yield node.lineno, node.id
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module, alias.name) in FROM:
                    yield node.lineno, f"from {node.module} import {alias.name}"

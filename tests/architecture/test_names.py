"""Names say what a thing is, and every module says what it offers."""

from __future__ import annotations

import ast
import importlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.architecture.conftest import Source

VAGUE_MODULES = {"common", "helpers", "misc", "util", "utils"}
VAGUE_CLASSES = re.compile(r"(Manager|Info|Data|Impl)$")
PROPER_NAMES = {"CertManager"}  # a component of that name


def test_every_module_lists_its_public_names_in_order(product: list[Source]) -> None:
    wrong = []
    for source in product:
        listed = _listed(source.tree)
        if listed is None:
            if _public(source.tree):
                wrong.append(f"{source.where}: no __all__")
        elif listed != sorted(set(listed), key=_order):
            wrong.append(f"{source.where}: __all__ is not sorted")
    assert wrong == []


def test_every_listed_name_can_be_imported(product: list[Source]) -> None:
    missing = []
    for source in product:
        listed = _listed(source.tree)
        if listed:
            module = importlib.import_module(source.module)
            missing += [f"{source.module}.{name}" for name in listed if not hasattr(module, name)]
    assert missing == []


def test_no_module_and_no_class_has_a_name_that_says_nothing(everything: list[Source]) -> None:
    wrong = [s.where for s in everything if VAGUE_MODULES & set(re.split(r"[/._-]", s.where))]
    wrong += [
        f"{source.where}:{node.lineno} {node.name}"
        for source in everything
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and VAGUE_CLASSES.search(node.name) and node.name not in PROPER_NAMES
    ]
    assert wrong == []


def _listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List | ast.Tuple), "__all__ is written out"
            return [str(ast.literal_eval(item)) for item in value.elts]
    return None


def _public(tree: ast.Module) -> list[str]:
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    return [node.name for node in named if not node.name.startswith("_")]


def _order(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    """Constants, classes, functions, each in natural order: what ruff's RUF022 writes."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return kind, [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]

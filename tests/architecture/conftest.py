"""The source tree as the architecture tests see it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = ("bundlectl", "bundles", "controller", "mirror", "registry_fixtures", "signing")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One Python file: where it is, and what it says."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def module(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def lines(self) -> int:
        return self.text.count("\n")


def _read(folders: tuple[str, ...]) -> list[Source]:
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append(Source(path, text, ast.parse(text, filename=str(path))))
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def product() -> list[Source]:
    """Every module of the six packages."""
    return _read(PACKAGES)


@pytest.fixture(scope="session")
def everything(product: list[Source]) -> list[Source]:
    """The product, its tests, benchmarks, what builds what is shipped, and the programs of the docs."""
    return [*product, *_read(("tests", "benchmarks", "docs", "shipping"))]

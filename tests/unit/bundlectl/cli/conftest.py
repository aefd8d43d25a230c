"""Commands run in this process, away from the user's own settings."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from bundlectl.cli.main import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Ran:
    exit_code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def bundlectl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Runs the program in this process; its configuration folder is empty."""
    for name in os.environ:
        if name.startswith("BUNDLECTL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def call(*arguments: object) -> Ran:
        capfd.readouterr()
        exit_code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Ran(exit_code, captured.out, captured.err)

    return call
